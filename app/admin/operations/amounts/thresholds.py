"""The operation on crossed thresholds."""

from typing import Any, Final

from app.admin.amounts import thresholds as cases
from app.admin.amounts.thresholds import ListedThreshold
from app.admin.operation import Operation
from app.admin.paging import Page
from app.admin.session import AdminGateway
from app.documents.admin.amounts.thresholds import CrossedThresholdPage, crossed_threshold
from app.errors import TENANT_NOT_FOUND


def _page(_gateway: AdminGateway, page: Page[ListedThreshold]) -> CrossedThresholdPage:
    return {
        "thresholds": [crossed_threshold(one.tenant, one.owner, one.event) for one in page.entries],
        "next_cursor": page.next_cursor,
    }


LIST: Final = Operation(
    name="list_thresholds",
    command="thresholds list",
    method="GET",
    path="/admin/v1/thresholds",
    scope="read",
    tag="usage",
    text="Each is also an event of the tenant, once in each day or month and for each amount.",
    function=cases.listed,
    document=_page,
    shape=CrossedThresholdPage,
    faults=(TENANT_NOT_FOUND,),
)

OPERATIONS: Final[tuple[Operation[Any], ...]] = (LIST,)
