"""Handlers of a tenant's usage, as JSON and as CSV."""

from datetime import date
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import Query, Request
from starlette.responses import Response

from app.admin.amounts import usage
from app.admin.amounts.usage import Asked
from app.api.bodies import json_response
from app.api.cursors import decode_key, encode_key
from app.api.deps import CanReadUsage, Open
from app.auth.client_tokens import END_USER
from app.documents.amounts import usage as documents
from app.quotas.sums.usage import Group, Step

Format = Literal["json", "csv"]
TenantGroup = Literal["model", "key", "end_user", "token", "outcome"]
CSV = "text/csv; charset=utf-8"


async def get_usage(
    request: Request,
    gateway: Open,
    principal: CanReadUsage,
    *,
    first: Annotated[date | None, Query(alias="from")] = None,
    last: Annotated[date | None, Query(alias="to")] = None,
    by: Annotated[Step, Query()] = Step.DAY,
    group_by: Annotated[list[TenantGroup] | None, Query(max_length=len(Group))] = None,
    model_id: Annotated[str | None, Query(max_length=200, pattern="^[A-Za-z0-9._/-]*$")] = None,
    kid: Annotated[str | None, Query(pattern="^[A-Za-z0-9]{12}$")] = None,
    token_id: Annotated[str | None, Query(pattern="^[A-Za-z0-9]{12}$")] = None,
    end_user: Annotated[str | None, Query(pattern=f"^{END_USER}$")] = None,
    outcome: Annotated[str | None, Query(pattern="^[a-z_]{1,16}$")] = None,
    limit: Annotated[int, Query(ge=1, le=usage.MAX_ROWS)] = usage.MAX_ROWS,
    cursor: Annotated[str | None, Query(max_length=600)] = None,
    form: Annotated[Format | None, Query(alias="format")] = None,
) -> Response:
    """What the tenant's requests held, spent and gave back, by hour, day or month."""
    only = {
        group: value
        for group, value in (
            (Group.MODEL, model_id),
            (Group.KEY, kid),
            (Group.TOKEN, token_id),
            (Group.END_USER, end_user),
            (Group.OUTCOME, outcome),
        )
        if value is not None
    }
    asked = Asked(
        mode=principal.mode, by=by, first=first, last=last, groups=[*map(Group, group_by or ())], only=only
    )
    after = None if cursor is None else decode_key(cursor)
    answer = await usage.report(gateway, principal.tenant_id, asked, after=after, limit=limit)
    next_cursor = encode_key(answer.rows[-1].key) if answer.has_more else None
    headers = {} if next_cursor is None else {"Link": next_link(request, gateway.base_url, next_cursor)}
    if wants_csv(request, form):
        return Response(documents.usage_csv(answer), headers=headers, media_type=CSV)
    return json_response(documents.usage(answer, next_cursor), headers=headers)


def wants_csv(request: Request, form: str | None) -> bool:
    """Returns whether the caller wants CSV: by the parameter `format` or, without it, by `Accept`."""
    return "text/csv" in request.headers.get("accept", "").lower() if form is None else form == "csv"


def next_link(request: Request, base_url: str, cursor: str) -> str:
    """Returns the header that leads to the next page, with the parameters of this one."""
    others = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    query = urlencode([*others, ("cursor", cursor)])
    return f'<{base_url}{request.url.path}?{query}>; rel="next"'
