"""The operations on the audit log."""

from typing import Any, Final

from app.admin import audit_log as cases
from app.admin.audit_log import ListedEntry, Verified
from app.admin.chain import Entry, Head
from app.admin.operation import Operation
from app.admin.paging import Page
from app.admin.session import AdminGateway
from app.documents.admin import audit as documents
from app.documents.admin.audit import (
    AuditExport,
    AuditHead,
    AuditLink,
    AuditPage,
    AuditVerification,
)
from app.errors import INVALID_PARAMETER, TENANT_NOT_FOUND

_TAG: Final = "audit log"


def _page(_gateway: AdminGateway, page: Page[ListedEntry]) -> AuditPage:
    entries = [documents.audit_entry(one.document, one.tenant, one.link.hash) for one in page.entries]
    return {"entries": entries, "next_cursor": page.next_cursor}


def _export(_gateway: AdminGateway, page: Page[Entry]) -> AuditExport:
    links: list[AuditLink] = [
        {"seq": one.seq, "prev_hash": one.prev_hash, "hash": one.hash, "text": one.text}
        for one in page.entries
    ]
    return {"links": links, "next_cursor": page.next_cursor}


def _head(gateway: AdminGateway, head: Head) -> AuditHead:
    origin = cases.origin_of(gateway.settings)
    return {
        "origin": origin,
        "size": head.size,
        "hash": head.hash,
        "checkpoint": head.checkpoint(origin),
    }


def _verification(gateway: AdminGateway, found: Verified) -> AuditVerification:
    one = found.first_break
    return {
        "entries": found.entries,
        "pruned": found.pruned,
        "head": None if found.head is None else _head(gateway, found.head),
        "first_break": None if one is None else {"kind": one.kind, "seq": one.seq, "detail": one.detail},
    }


LIST: Final = Operation(
    name="list_audit_entries",
    command="audit list",
    method="GET",
    path="/admin/v1/audit",
    scope="read",
    tag=_TAG,
    text="Newest first, in pages. Every parameter narrows the search.",
    function=cases.listed,
    document=_page,
    shape=AuditPage,
    faults=(TENANT_NOT_FOUND, INVALID_PARAMETER),
)
EXPORT: Final = Operation(
    name="export_audit_log",
    command="audit export",
    method="GET",
    path="/admin/v1/audit/export",
    scope="read",
    tag=_TAG,
    text="Every entry as it is stored and hashed, oldest first, in pages. A `cursor` is the number of the"
    " last entry that is known: an export is continued with it at any time.",
    function=cases.exported,
    document=_export,
    shape=AuditExport,
    faults=(INVALID_PARAMETER,),
)
VERIFY: Final = Operation(
    name="verify_audit_log",
    command="audit verify",
    method="GET",
    path="/admin/v1/audit/verification",
    scope="read",
    tag=_TAG,
    text="Reads the whole chain, and names the first break. With a `head` that was kept, also whether the"
    " chain continues it.",
    function=cases.verified,
    document=_verification,
    shape=AuditVerification,
    faults=(INVALID_PARAMETER,),
)
HEAD: Final = Operation(
    name="get_audit_head",
    command="audit head",
    method="GET",
    path="/admin/v1/audit/head",
    scope="read",
    tag=_TAG,
    text="Keep it where nobody can change it and the database: it proves all entries up to it.",
    function=cases.head,
    document=_head,
    shape=AuditHead,
)
OPERATIONS: Final[tuple[Operation[Any], ...]] = (LIST, EXPORT, VERIFY, HEAD)
