"""Handler of refusals: which of a tenant's calls were refused."""

from typing import Annotated

from fastapi import Query
from pydantic import AwareDatetime
from starlette.responses import Response

from app.admin.amounts.refusals import DAY_MS
from app.api.bodies import json_response
from app.api.deps import CanReadAll, Open
from app.auth import refusals
from app.auth.refusals import Filters
from app.documents.amounts import refusals as documents


async def list_refusals(
    gateway: Open,
    principal: CanReadAll,
    *,
    kid: Annotated[str | None, Query(max_length=16)] = None,
    code: Annotated[str | None, Query(max_length=64)] = None,
    created_after: Annotated[AwareDatetime | None, Query()] = None,
    created_before: Annotated[AwareDatetime | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """How often the tenant's calls were refused, by key and error; by default during the last day."""
    now_ms = gateway.clock.now_ms()
    before_ms = now_ms + 1 if created_before is None else int(created_before.timestamp() * 1000)
    wanted = Filters(
        tenant_id=principal.tenant_id,
        mode=principal.mode,
        kid=kid,
        code=code,
        from_ms=before_ms - DAY_MS if created_after is None else int(created_after.timestamp() * 1000),
        before_ms=before_ms,
    )
    found = await gateway.db.read(refusals.ranked, wanted, limit=limit)
    return json_response(documents.refusal_counts(found, wanted))
