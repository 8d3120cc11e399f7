"""Handlers of a tenant's statements, as JSON, CSV and PDF."""

from typing import Annotated, Final, Literal

from fastapi import Query, Request
from starlette.responses import Response, StreamingResponse

from app.admin.amounts import statements
from app.api.bodies import json_response
from app.api.cursors import encode_key
from app.api.deps import CanReadUsage, Open
from app.api.v1.ledger import place_in
from app.api.v1.usage import CSV, next_link
from app.documents.amounts import statements as documents
from app.errors import INVALID_PARAMETER, FieldError, Problem
from app.quotas.account import Owner
from app.quotas.balances import entries

PDF: Final = "application/pdf"
_MONTH: Final = "^[0-9]{4}-[0-9]{2}$"
Format = Literal["json", "csv", "pdf"]


async def list_statements(
    request: Request,
    gateway: Open,
    principal: CanReadUsage,
    *,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(pattern=_MONTH)] = None,
) -> Response:
    """The tenant's closed months, the newest first."""
    owner = Owner(principal.tenant_id, principal.mode)
    found = await statements.listed(gateway, owner, before=cursor or "9999-99", limit=limit + 1)
    shown = found[:limit]
    next_cursor = shown[-1].month if len(found) > limit else None
    headers = {} if next_cursor is None else {"Link": next_link(request, gateway.base_url, next_cursor)}
    return json_response(documents.page(shown, next_cursor), headers=headers)


async def get_statement(
    request: Request,
    gateway: Open,
    principal: CanReadUsage,
    month: str,
    *,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    form: Annotated[Format | None, Query(alias="format")] = None,
) -> Response:
    """A closed month: its balances, sums and entries. As CSV or PDF it has all of its entries."""
    owner = Owner(principal.tenant_id, principal.mode)
    month, _, ending = month.partition(".")
    wanted = _format(request, form, ending)
    one = await statements.find(gateway, owner, month)
    await statements.check_entries(gateway, one)
    headers = {"Content-Disposition": f'attachment; filename="statement-{one.month}.{wanted}"'}
    if wanted == "csv":
        return StreamingResponse(statements.csv_of(gateway, one), headers=headers, media_type=CSV)
    if wanted == "pdf":
        body = b"".join([part async for part in statements.pdf_of(gateway, one)])
        return Response(body, headers=headers, media_type=PDF)
    after = None if cursor is None else place_in(cursor)
    found = await gateway.db.read(entries.page, owner, span=one.span, after=after, limit=limit + 1)
    shown = found[:limit]
    next_cursor = encode_key(shown[-1].place) if len(found) > limit else None
    headers = {} if next_cursor is None else {"Link": next_link(request, gateway.base_url, next_cursor)}
    return json_response(documents.in_full(one, shown, next_cursor), headers=headers)


def _format(request: Request, form: str | None, ending: str) -> str:
    """Returns the format that is wanted: by the ending of the address, the parameter or `Accept`."""
    if ending and ending not in {"csv", "pdf"}:
        detail = "ends in .csv, .pdf or nothing"
        raise Problem(
            INVALID_PARAMETER, f"The address {detail}.", errors=[FieldError("#/path/month", "format", detail)]
        )
    accepted = request.headers.get("accept", "").lower()
    by_accept = next((one for one, type_ in (("csv", "text/csv"), ("pdf", PDF)) if type_ in accepted), "json")
    return ending or form or by_accept
