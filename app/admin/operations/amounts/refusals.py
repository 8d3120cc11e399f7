"""The operation on refused calls."""

from typing import Any, Final

from app.admin.amounts import refusals as cases
from app.admin.amounts.refusals import Counted
from app.admin.operation import Operation
from app.admin.session import AdminGateway
from app.documents.admin.amounts import refusals as documents
from app.documents.admin.amounts.refusals import RefusalCounts
from app.errors import TENANT_NOT_FOUND
from app.kit.clock import iso


def _counts(_gateway: AdminGateway, counted: Counted) -> RefusalCounts:
    return {
        "since": iso(counted.from_ms),
        "until": iso(counted.before_ms),
        "refusals": [
            documents.refused_calls(one, counted.tenants.get(one.tenant_id)) for one in counted.refusals
        ],
    }


LIST: Final = Operation(
    name="list_refusals",
    command="refusals list",
    method="GET",
    path="/admin/v1/refusals",
    scope="read",
    tag="refusals",
    text="Counted by the minute, and written within seconds. Without a valid key they are counted by the"
    " caller's network, as far as the settings allow.",
    function=cases.listed,
    document=_counts,
    shape=RefusalCounts,
    faults=(TENANT_NOT_FOUND,),
)
OPERATIONS: Final[tuple[Operation[Any], ...]] = (LIST,)
