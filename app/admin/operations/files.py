"""The operations on what is stored: comparing it with the database, and erasing."""

from typing import Any, Final

from app.admin.access import erasure
from app.admin.operation import Operation
from app.admin.session import AdminGateway
from app.admin.verifying import store_check
from app.admin.verifying.store_check import StoreReport
from app.documents.admin.files import Erased, VerifiedStore
from app.errors import INVALID_CHANGE, TENANT_NOT_FOUND


def _verified(_gateway: AdminGateway, one: StoreReport) -> VerifiedStore:
    return {
        "rows": one.rows,
        "stored_bytes": one.stored_bytes,
        "objects": one.objects,
        "sums": one.sums,
        "deep": one.is_deep,
        "fault_count": one.count,
        "faults": [
            {"rule": each.rule, "subject": each.subject, "detail": each.detail} for each in one.faults
        ],
    }


def _erased(_gateway: AdminGateway, one: erasure.Erased) -> Erased:
    return {
        "tenant": one.tenant,
        "end_user": one.end_user,
        "requests": one.requests,
        "assets": one.assets,
        "files": one.files,
        "requests_left": one.requests_left,
        "assets_left": one.assets_left,
        "files_left": one.files_left,
    }


VERIFY: Final = Operation(
    name="verify_files",
    command="files verify",
    method="GET",
    path="/admin/v1/files/verification",
    scope="read",
    tag="system",
    text="Every row's bytes are looked for in the store, and a row for all bytes in it; and what is counted"
    " in `stored-bytes` is compared with the rows. With `deep` all bytes are read, which takes as long as"
    " that takes.",
    function=store_check.verify,
    document=_verified,
    shape=VerifiedStore,
)
ERASE: Final = Operation(
    name="erase_tenant",
    command="erase",
    method="POST",
    path="/admin/v1/tenants/{name}/erase",
    scope="root",
    tag="tenants",
    text="Of an end user, or of a disabled tenant's every request. States, prices, times and the ledger stay,"
    " and so does the label of the end user on them. Archived requests are in files, and are not touched.",
    function=erasure.erase,
    document=_erased,
    shape=Erased,
    faults=(TENANT_NOT_FOUND, INVALID_CHANGE),
    in_steps=True,
)

OPERATIONS: Final[tuple[Operation[Any], ...]] = (VERIFY, ERASE)
