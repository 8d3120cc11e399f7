"""The operations on the ledger."""

from typing import Any, Final

from app.admin.amounts import ledger as cases
from app.admin.amounts import reprice
from app.admin.amounts.ledger import Entered
from app.admin.amounts.reprice import Repriced
from app.admin.operation import Operation, Upload
from app.admin.paging import Page
from app.admin.session import AdminGateway
from app.admin.verifying import reconcile, verify
from app.admin.verifying.verify import Report
from app.documents.admin.amounts import limits
from app.documents.admin.amounts.ledger import (
    EnteredEntry,
    EntryPage,
    Reconciliation,
    Repricing,
    VerifiedLedger,
    listed_entry,
)
from app.documents.amounts.limits import limit
from app.errors import (
    API_KEY_NOT_FOUND,
    INVALID_ACCOUNT,
    INVALID_BILL,
    INVALID_LEDGER_ENTRY,
    INVALID_REPRICING,
    MODEL_NOT_FOUND,
    REFERENCE_CONFLICT,
    REQUEST_NOT_FOUND,
    TENANT_NOT_FOUND,
)

_REFUSALS: Final = (
    INVALID_LEDGER_ENTRY,
    INVALID_ACCOUNT,
    TENANT_NOT_FOUND,
    API_KEY_NOT_FOUND,
    REFERENCE_CONFLICT,
)


def _page(_gateway: AdminGateway, page: Page[cases.ListedEntry]) -> EntryPage:
    return {
        "entries": [listed_entry(one.tenant, one.entry) for one in page.entries],
        "next_cursor": page.next_cursor,
    }


def _entered(_gateway: AdminGateway, one: Entered) -> EnteredEntry:
    account = limits.account(one.tenant, one.account.owner, one.account.scope)
    return {
        "tenant": account["tenant"],
        "mode": account["mode"],
        "kid": account["kid"],
        "model_id": account["model_id"],
        "is_new": one.is_new,
        "microcredits": one.microcredits,
        "reference": one.reference,
        "standings": [limit(each) for each in one.standings],
    }


def _verified(_gateway: AdminGateway, report: Report) -> VerifiedLedger:
    return {
        "generations": report.generations,
        "entries": report.entries,
        "in_flight": report.in_flight,
        "held_microcredits": report.held_microcredits,
        "spent_microcredits": report.spent_microcredits,
        "added_microcredits": report.added_microcredits,
        "findings": [
            {"rule": one.rule, "subject": one.subject, "detail": one.detail} for one in report.findings
        ],
    }


def _repriced(_gateway: AdminGateway, found: Repriced) -> Repricing:
    return {
        "dry_run": found.dry_run,
        "corrections": [
            {
                "request_id": one.request_id,
                "tenant": one.tenant,
                "from_microcredits": one.from_microcredits,
                "to_microcredits": one.to_microcredits,
            }
            for one in found.corrections
        ],
        "change_microcredits": found.change_microcredits,
        "has_more": found.has_more,
    }


def _reconciled(_gateway: AdminGateway, found: reconcile.Reconciliation) -> Reconciliation:
    return {
        "lines": found.lines,
        "billed_usd": str(found.billed_usd),
        "matched": found.matched,
        "charged_microcredits": found.charged_microcredits,
        "refunded_microcredits": found.refunded_microcredits,
        "held_microcredits": found.held_microcredits,
        "rules": [
            {"rule": rule, "count": count, "meaning": reconcile.RULES[rule]}
            for rule, count in sorted(found.counts.items())
        ],
        "differences": [
            {"rule": one.rule, "subject": one.subject, "detail": one.detail} for one in found.differences
        ],
    }


LIST: Final = Operation(
    name="list_ledger_entries",
    command="ledger list",
    method="GET",
    path="/admin/v1/ledger",
    scope="read",
    tag="ledger",
    text="In pages, of all tenants, in both modes.",
    function=cases.listed,
    document=_page,
    shape=EntryPage,
    faults=(TENANT_NOT_FOUND, REQUEST_NOT_FOUND),
)
TOP_UP: Final = Operation(
    name="enter_top_up",
    command="ledger top-up",
    method="POST",
    path="/admin/v1/ledger/top-ups",
    scope="money",
    tag="ledger",
    text="A top-up with a `reference` is entered once for each account, whatever its Idempotency-Key.",
    function=cases.top_up,
    document=_entered,
    shape=EnteredEntry,
    faults=(*_REFUSALS, MODEL_NOT_FOUND),
)
ADJUST: Final = Operation(
    name="enter_adjustment",
    command="ledger adjust",
    method="POST",
    path="/admin/v1/ledger/adjustments",
    scope="money",
    tag="ledger",
    text="The tenant sees the note; the reason stands in the audit log alone.",
    function=cases.adjust,
    document=_entered,
    shape=EnteredEntry,
    faults=_REFUSALS,
)
VERIFY: Final = Operation(
    name="verify_ledger",
    command="ledger verify",
    method="GET",
    path="/admin/v1/ledger/verification",
    scope="read",
    tag="ledger",
    text="Every sum is computed anew from the rows, on one unchanging view of the database; with millions of"
    " requests that takes minutes.",
    function=verify.report,
    document=_verified,
    shape=VerifiedLedger,
)
REPRICE: Final = Operation(
    name="reprice_requests",
    command="ledger reprice",
    method="POST",
    path="/admin/v1/ledger/reprice",
    scope="money",
    tag="ledger",
    text="At most 5,000 in one call: a further one goes on where it ended. Without a `price` each is what the"
    " model's present prices say of its input.",
    function=reprice.reprice,
    document=_repriced,
    shape=Repricing,
    faults=(INVALID_REPRICING, MODEL_NOT_FOUND),
)
RECONCILE: Final = Operation(
    name="reconcile_bill",
    command="ledger reconcile",
    method="POST",
    path="/admin/v1/ledger/reconciliation",
    scope="read",
    tag="ledger",
    text="The body is the bill: a CSV file with a header. Nothing is changed, and the bill is not kept. A"
    " larger bill can be compared in parts, with the days of each.",
    function=reconcile.compare,
    document=_reconciled,
    shape=Reconciliation,
    faults=(INVALID_BILL,),
    upload=Upload("text/csv", reconcile.MAX_BILL_BYTES),
)

OPERATIONS: Final[tuple[Operation[Any], ...]] = (LIST, TOP_UP, ADJUST, VERIFY, REPRICE, RECONCILE)
