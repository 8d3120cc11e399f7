"""Refused calls, for the operator: whose they were, with which error, and how many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import AwareDatetime

from app.admin import accounts
from app.admin.paging import MAX_PAGE, PageSize
from app.admin.session import AdminGateway
from app.auth import refusals
from app.auth.keys import Mode
from app.auth.refusals import Filters, Refused

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Counted:
    """What was refused most often from `from_ms` on and before `before_ms`, and the names of the tenants."""

    refusals: Sequence[Refused]
    tenants: Mapping[str, str]
    from_ms: int
    before_ms: int


async def listed(
    gateway: AdminGateway,
    *,
    tenant: str | None = None,
    kid: str | None = None,
    mode: Mode | None = None,
    code: str | None = None,
    created_after: AwareDatetime | None = None,
    created_before: AwareDatetime | None = None,
    limit: PageSize = MAX_PAGE,
) -> Counted:
    """Returns which keys were refused most often, with which error; by default of the last day.

    Raises:
        Problem: TENANT_NOT_FOUND.

    """
    tenant_id = await accounts.tenant_id_of(gateway, tenant)
    before_ms = _ms(created_before, gateway.clock.now_ms() + 1)
    wanted = Filters(
        tenant_id=tenant_id,
        kid=kid,
        mode=mode,
        code=code,
        from_ms=_ms(created_after, before_ms - DAY_MS),
        before_ms=before_ms,
    )
    found = await gateway.db.read(refusals.ranked, wanted, limit=limit)
    return Counted(found, await accounts.tenant_names(gateway), wanted.from_ms, wanted.before_ms)


def _ms(moment: datetime | None, otherwise: int) -> int:
    return otherwise if moment is None else int(moment.timestamp() * 1000)
