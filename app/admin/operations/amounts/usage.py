"""The operation on usage."""

from collections.abc import AsyncIterator
from typing import Any, Final

from app.admin.amounts import usage as cases
from app.admin.amounts.usage import Reported
from app.admin.operation import Form, Operation
from app.admin.session import AdminGateway
from app.documents.amounts.usage import OperatorUsage, usage_csv, usage_of_operators
from app.errors import TENANT_NOT_FOUND


def _page(_gateway: AdminGateway, one: Reported) -> OperatorUsage:
    return usage_of_operators(one.answer, one.next_cursor, one.tenants)


async def _csv(gateway: AdminGateway, first: Reported) -> AsyncIterator[bytes]:
    """Yields all rows as CSV, with one line of names."""
    async for one in cases.pages_from(gateway, first):
        text = usage_csv(one.answer, tenants=one.tenants)
        yield (text if one is first else text.partition("\r\n")[2]).encode()


REPORT: Final = Operation(
    name="get_usage",
    command="usage",
    method="GET",
    path="/admin/v1/usage",
    scope="read",
    tag="usage",
    text="By hour, day or month, of one tenant in its time zone or of all, each in its own; by default of"
    " this month until today. The sums of any periods and groups are those of the ledger's entries. CSV has"
    " the rows of this page and of all that follow.",
    function=cases.of_tenants,
    document=_page,
    shape=OperatorUsage,
    faults=(TENANT_NOT_FOUND,),
    forms={"csv": Form("text/csv; charset=utf-8", _csv)},
)

OPERATIONS: Final[tuple[Operation[Any], ...]] = (REPORT,)
