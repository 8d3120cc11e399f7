"""The audit log, as operators read it."""

from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

from app.documents.fields import Moment
from app.documents.schema import keywords
from app.kit.clock import iso

Hash = Annotated[str, keywords("SHA-256, in hexadecimal.")]
Number = Annotated[int, keywords("The entry's number: 1, 2, 3 …")]


class AuditActor(TypedDict):
    """Who made a change."""

    kind: Annotated[
        str,
        keywords(
            "`command`, `admin_key`, `person` (who signed in to the console by OpenID Connect), `api_key` (a"
            " tenant's), or `gateway` for what it does by itself."
        ),
    ]
    name: Annotated[
        str,
        keywords(
            "The account that ran the command, the kid of the key, what the person is called, or the work."
        ),
    ]


class AuditSubject(TypedDict):
    """What was changed."""

    kind: str
    id: str


class AuditEntry(TypedDict):
    """A change that an operator made."""

    seq: Number
    at: Moment
    actor: AuditActor
    action: Annotated[str, keywords("What was done, such as `tenant.disable`.")]
    subject: AuditSubject
    tenant: Annotated[str | None, keywords("The name of the tenant whose it is; null: of no tenant's.")]
    before: Annotated[
        dict[str, Any] | None, keywords("The fields before the change; null: nothing was there.")
    ]
    after: Annotated[dict[str, Any] | None, keywords("The fields after the change; null: nothing is there.")]
    reason: str | None
    trace_id: Annotated[str | None, keywords("The call that it was made by; null: a command's.")]
    hash: Annotated[Hash, keywords("The entry's hash, which is over its text and the hash before.")]


class AuditPage(TypedDict):
    """A page of entries, newest first."""

    entries: list[AuditEntry]
    next_cursor: str | None


class AuditLink(TypedDict):
    """An entry as it is stored and hashed."""

    seq: Number
    prev_hash: Annotated[Hash, keywords("The hash of the entry before; 64 zeros before the first.")]
    hash: Annotated[Hash, keywords("SHA-256 of `prev_hash`, a line break and `text`.")]
    text: Annotated[str, keywords("The entry as JSON, to the byte.")]


class AuditExport(TypedDict):
    """A part of the chain, oldest entry first."""

    links: list[AuditLink]
    next_cursor: str | None


class AuditHead(TypedDict):
    """The head of the chain, to be kept outside the gateway."""

    origin: Annotated[str, keywords("Whose log it is.")]
    size: Annotated[int, keywords("How many entries there are, pruned ones with them.")]
    hash: Annotated[Hash, keywords("The hash of the last one.")]
    checkpoint: Annotated[str, keywords("The same in the three lines of a C2SP checkpoint.")]


class AuditBreak(TypedDict):
    """The first place at which the chain is broken."""

    kind: Annotated[str, keywords(enum=["edited", "missing", "duplicated", "reordered", "truncated"])]
    seq: Number
    detail: str


class AuditVerification(TypedDict):
    """What verifying the chain has shown."""

    entries: Annotated[int, keywords("How many entries were read.")]
    pruned: Annotated[
        int, keywords("The last entry that was removed because its retention was over; 0: none.")
    ]
    head: AuditHead | None
    first_break: Annotated[AuditBreak | None, keywords("Null: the chain is whole.")]


def audit_entry(told: Mapping[str, Any], tenant: str | None, entry_hash: str) -> AuditEntry:
    """Returns the document of an entry, from what its text says."""
    return {
        "seq": told["seq"],
        "at": iso(told["at_ms"]),
        "actor": {"kind": told["actor"]["kind"], "name": told["actor"]["name"]},
        "action": told["action"],
        "subject": {"kind": told["subject"]["kind"], "id": told["subject"]["id"]},
        "tenant": tenant,
        "before": told["before"],
        "after": told["after"],
        "reason": told["reason"],
        "trace_id": told["trace_id"],
        "hash": entry_hash,
    }
