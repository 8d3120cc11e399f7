"""Handler of a tenant's ledger."""

from typing import Annotated, Literal

from fastapi import Query, Request
from starlette.responses import Response

from app.api.bodies import json_response
from app.api.cursors import decode_key, encode_key
from app.api.deps import CanReadUsage, Open
from app.api.query import moment_ms
from app.api.v1.usage import next_link
from app.documents.amounts import ledger as documents
from app.errors import INVALID_PARAMETER, FieldError, Problem
from app.quotas.account import Owner
from app.quotas.balances import entries
from app.quotas.balances.entries import Place, Span
from app.quotas.balances.ledger import Kind

KindName = Literal["hold", "settle", "refund", "top-up", "adjustment"]


async def list_ledger(
    request: Request,
    gateway: Open,
    principal: CanReadUsage,
    *,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    kind: Annotated[list[KindName] | None, Query(max_length=len(Kind))] = None,
    request_id: Annotated[str | None, Query(max_length=64, pattern="^[A-Za-z0-9-]*$")] = None,
    created_after: Annotated[str | None, Query(max_length=40)] = None,
    created_before: Annotated[str | None, Query(max_length=40)] = None,
) -> Response:
    """Every change of the tenant's balance, newest first."""
    owner = Owner(principal.tenant_id, principal.mode)
    span = Span(
        from_ms=moment_ms("created_after", created_after),
        until_ms=moment_ms("created_before", created_before),
    )
    kinds = frozenset(map(Kind, kind or Kind))
    if request_id is not None:
        found = await gateway.db.read(entries.of_request, owner, request_id)
        own = [one for one in reversed(found) if one.kind in kinds and _is_in(one.at_ms, span)]
        return json_response(documents.page(own, None))
    after = None if cursor is None else place_in(cursor)
    found = await gateway.db.read(
        entries.page, owner, span=span, kinds=kinds, after=after, newest_first=True, limit=limit + 1
    )
    shown = found[:limit]
    next_cursor = encode_key(shown[-1].place) if len(found) > limit else None
    headers = {} if next_cursor is None else {"Link": next_link(request, gateway.base_url, next_cursor)}
    return json_response(documents.page(shown, next_cursor), headers=headers)


def _is_in(at_ms: int, span: Span) -> bool:
    return (span.from_ms is None or at_ms >= span.from_ms) and (
        span.until_ms is None or at_ms < span.until_ms
    )


def place_in(cursor: str) -> Place:
    """Returns the place of an entry that is in a cursor.

    Raises:
        Problem: INVALID_PARAMETER.

    """
    values = decode_key(cursor)
    is_place = len(values) == 2  # noqa: PLR2004 - a time and a number
    if is_place and all(isinstance(one, int) and 0 <= one < 2**62 for one in values):
        return int(values[0]), int(values[1])
    error = FieldError("#/query/cursor", "cursor", "is not a `next_cursor` of this listing")
    raise Problem(INVALID_PARAMETER, "The cursor is not one of ours.", errors=[error])
