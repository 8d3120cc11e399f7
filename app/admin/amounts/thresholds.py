"""Crossed thresholds of budgets and balances, for the operator."""

from dataclasses import dataclass

from app.admin import accounts
from app.admin.paging import MAX_PAGE, Page, PageSize, cursor_of, page_of, place_in
from app.admin.session import AdminGateway
from app.generations import events
from app.generations.events import ThresholdEvent
from app.quotas.account import Owner


@dataclass(frozen=True, slots=True)
class ListedThreshold:
    """A crossed threshold: the name of its tenant, whose account it was, and its event."""

    tenant: str
    owner: Owner
    event: ThresholdEvent


async def listed(
    gateway: AdminGateway,
    *,
    tenant: str | None = None,
    limit: PageSize = MAX_PAGE,
    cursor: str | None = None,
) -> Page[ListedThreshold]:
    """Returns the crossed thresholds of one tenant, or of all, the newest first, in pages.

    Raises:
        Problem: TENANT_NOT_FOUND, INVALID_PARAMETER.

    """
    before = None if cursor is None else place_in(cursor, int, int, str, str)
    tenant_id = await accounts.tenant_id_of(gateway, tenant)
    found = await gateway.db.read(events.thresholds, tenant_id=tenant_id, before=before, limit=limit + 1)
    names = await accounts.tenant_names(gateway)
    listing = [ListedThreshold(names[owner.tenant_id], owner, one) for owner, one in found]
    return page_of(listing, limit, lambda one: cursor_of(*events.threshold_place(one.owner, one.event)))
