"""The operations on statements."""

from collections.abc import AsyncIterator
from typing import Any, Final

from app.admin.amounts import statements as cases
from app.admin.amounts.statements import OfTenant, Shown, Verified
from app.admin.operation import Form, Operation
from app.admin.paging import Page
from app.admin.session import AdminGateway
from app.documents.admin.amounts.statements import (
    ClosedStatements,
    TenantStatementInFull,
    TenantStatementPage,
    VerifiedStatements,
    tenant_statement,
)
from app.documents.amounts.ledger import entry
from app.errors import REQUEST_ARCHIVED, STATEMENT_NOT_FOUND, TENANT_NOT_FOUND


def _page(_gateway: AdminGateway, page: Page[OfTenant]) -> TenantStatementPage:
    return {
        "statements": [tenant_statement(one.tenant, one.statement) for one in page.entries],
        "next_cursor": page.next_cursor,
    }


def _in_full(_gateway: AdminGateway, one: Shown) -> TenantStatementInFull:
    return {
        **tenant_statement(one.tenant, one.statement),
        "entries": [entry(line) for line in one.entries.entries],
        "next_cursor": one.entries.next_cursor,
    }


def _closed(_gateway: AdminGateway, number: int) -> ClosedStatements:
    return {"closed": number}


def _verified(_gateway: AdminGateway, found: Verified) -> VerifiedStatements:
    return {
        "statements": found.statements,
        "differences": [
            {
                "tenant": found.tenants[one.tenant_id],
                "mode": "live" if one.mode == "live" else "test",
                "month": one.month,
                "detail": one.detail,
            }
            for one in found.differences
        ],
    }


def _csv(gateway: AdminGateway, one: Shown) -> AsyncIterator[bytes]:
    return cases.csv_of(gateway, one.statement)


def _pdf(gateway: AdminGateway, one: Shown) -> AsyncIterator[bytes]:
    return cases.pdf_of(gateway, one.statement)


LIST: Final = Operation(
    name="list_statements",
    command="statements list",
    method="GET",
    path="/admin/v1/statements",
    scope="read",
    tag="statements",
    text="A month closes once its end has passed in the tenant's time zone; asking for them closes it.",
    function=cases.of_account,
    document=_page,
    shape=TenantStatementPage,
    faults=(TENANT_NOT_FOUND,),
)
VERIFY: Final = Operation(
    name="verify_statements",
    command="statements verify",
    method="GET",
    path="/admin/v1/statements/verification",
    scope="read",
    tag="statements",
    text="Every sum, balance and hash is computed anew from the ledger's rows.",
    function=cases.verify,
    document=_verified,
    shape=VerifiedStatements,
    faults=(TENANT_NOT_FOUND,),
)
SHOW: Final = Operation(
    name="get_statement",
    command="statements show",
    method="GET",
    path="/admin/v1/statements/{month}",
    scope="read",
    tag="statements",
    text="A closed month never changes. As CSV it has all of its entries, and `csv_sha256` is its hash; as"
    " PDF it has the first 5,000.",
    function=cases.show,
    document=_in_full,
    shape=TenantStatementInFull,
    faults=(TENANT_NOT_FOUND, STATEMENT_NOT_FOUND, REQUEST_ARCHIVED),
    forms={"csv": Form("text/csv; charset=utf-8", _csv), "pdf": Form("application/pdf", _pdf)},
)
CLOSE: Final = Operation(
    name="close_statements",
    command="statements close",
    method="POST",
    path="/admin/v1/statements/close",
    scope="money",
    tag="statements",
    text="A server that runs the loops does so each hour, and so does whoever asks for statements.",
    function=cases.close,
    document=_closed,
    shape=ClosedStatements,
    faults=(TENANT_NOT_FOUND,),
)

OPERATIONS: Final[tuple[Operation[Any], ...]] = (LIST, VERIFY, SHOW, CLOSE)
