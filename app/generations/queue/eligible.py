"""Which of a tenant's jobs may go: the first that no limit of its tenant, key or model keeps back."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from app.auth.keys import Mode
from app.generations import store
from app.generations.queue import rows as queue
from app.generations.store import Generation
from app.quotas import account
from app.quotas.account import Owner
from app.quotas.limits import Limit, Scope, scopes_of

_MAX_ASKED = 50  # tenants, for somebody who may not wait


def first_that_may_go(
    connection: Connection,
    tenant_id: str,
    mode: Mode,
    defaults: Sequence[Limit],
    *,
    unknown_since_ms: int,
    for_update: bool = False,
) -> Generation | None:
    """The first of a tenant's jobs that may go now; `to_take`: of those that nobody else works on."""
    first = queue.head(connection, tenant_id, mode, for_update=for_update)
    if first is None:
        return None
    owner = Owner(tenant_id, mode)
    limits = account.in_flight_limits(connection, owner, defaults)
    if not limits:
        return first
    full = _full(limits, store.in_flight(connection, owner, unknown_since_ms=unknown_since_ms))
    if Scope() in full:
        return None
    if _fits(first, full):
        return first
    heads = queue.heads(connection, tenant_id, mode, for_update=for_update)
    return next((one for one in heads if _fits(one, full)), None)


def anybody_may_go(
    connection: Connection, mode: Mode, defaults: Sequence[Limit], *, unknown_since_ms: int
) -> bool:
    """Whether a place that is free is somebody's who waits, as far as the first of them tell."""
    return any(
        first_that_may_go(connection, flow.tenant_id, mode, defaults, unknown_since_ms=unknown_since_ms)
        for flow in queue.flows_after(connection, mode)[:_MAX_ASKED]
    )


def _full(limits: Sequence[Limit], in_flight: Mapping[Scope, int]) -> set[Scope]:
    """The scopes in which one more would be too many."""
    return {
        one.scope for one in limits if one.amount is not None and in_flight.get(one.scope, 0) >= one.amount
    }


def _fits(generation: Generation, full: set[Scope]) -> bool:
    return full.isdisjoint(scopes_of(generation.root_kid or "", generation.model_id))
