"""The ledger, as operators read it: entries of all tenants, what was entered, and what verifying found."""

from typing import Annotated, TypedDict

from app.auth.keys import Mode
from app.documents.amounts.limits import Limit
from app.documents.fields import Moment
from app.documents.schema import keywords
from app.kit.clock import iso
from app.quotas.balances.ledger import Entry, Kind

Reference = Annotated[str | None, keywords("The payment's or adjustment's number.")]


class ListedEntry(TypedDict):
    """An entry of the ledger; what was entered is never changed."""

    entry: Annotated[int, keywords("Its number.")]
    at: Moment
    tenant: Annotated[str, keywords("The tenant's name.")]
    mode: Mode
    kind: Kind
    microcredits: Annotated[int, keywords("The change of the balance: below 0 for a hold, 0 for a settle.")]
    request_id: str | None
    kid: Annotated[str | None, keywords("The API key whose balance was changed; null: the tenant's.")]
    model_id: Annotated[str | None, keywords("The model whose balance was changed; null: that of all.")]
    reference: Reference
    note: str | None


class EntryPage(TypedDict):
    """A page of the ledger, newest first."""

    entries: list[ListedEntry]
    next_cursor: str | None


class EnteredEntry(TypedDict):
    """A top-up or an adjustment, and how the account's limits stand afterwards."""

    tenant: Annotated[str, keywords("The tenant's name.")]
    mode: Mode
    kid: str | None
    model_id: str | None
    is_new: Annotated[bool, keywords("False: an entry with this reference was there already.")]
    microcredits: int
    reference: Reference
    standings: list[Limit]


class WrongRow(TypedDict):
    """A violation of a rule of the ledger."""

    rule: str
    subject: Annotated[str, keywords("The id of a request or an entry, or the key of a row of usage.")]
    detail: str


class VerifiedLedger(TypedDict):
    """What was counted, and every violation of a rule; without any, the ledger is consistent."""

    generations: int
    entries: int
    in_flight: int
    held_microcredits: int
    spent_microcredits: int
    added_microcredits: int
    findings: list[WrongRow]


def listed_entry(tenant: str, one: Entry) -> ListedEntry:
    """Returns the document of an entry."""
    return {
        "entry": one.id,
        "at": iso(one.at_ms),
        "tenant": tenant,
        "mode": "live" if one.owner.mode == "live" else "test",
        "kind": one.kind,
        "microcredits": one.microcredits,
        "request_id": one.generation_id,
        "kid": one.scope.kid or None,
        "model_id": one.scope.model_id or None,
        "reference": one.reference,
        "note": one.note,
    }


class RepricingOfRequest(TypedDict):
    """What one request was charged, and what it should have been."""

    request_id: str
    tenant: Annotated[str, keywords("The tenant's name.")]
    from_microcredits: int
    to_microcredits: int


class Repricing(TypedDict):
    """The requests that were charged with a wrong version of prices."""

    dry_run: Annotated[bool, keywords("Whether nothing was changed.")]
    corrections: list[RepricingOfRequest]
    change_microcredits: Annotated[int, keywords("What all balances together gain; below 0 where they lose.")]
    has_more: Annotated[bool, keywords("Whether there are more: one call corrects 5,000 at most.")]


class BillDifference(TypedDict):
    """A difference of RunComfy's bill and the ledger."""

    rule: str
    subject: Annotated[str, keywords("The request's id, or RunComfy's where no request has it.")]
    detail: str


class BillRule(TypedDict):
    """How often one kind of difference was found, and what it means."""

    rule: str
    count: int
    meaning: str


class Reconciliation(TypedDict):
    """A bill beside the ledger; without differences they agree."""

    lines: int
    billed_usd: Annotated[str, keywords("The sum of the bill, in US dollars.")]
    matched: Annotated[int, keywords("How many lines are for live requests of this gateway.")]
    charged_microcredits: Annotated[int, keywords("What was charged for these, and so on.")]
    refunded_microcredits: int
    held_microcredits: int
    rules: Annotated[list[BillRule], keywords("All differences, counted.")]
    differences: Annotated[list[BillDifference], keywords("The differences, 10,000 at most.")]
