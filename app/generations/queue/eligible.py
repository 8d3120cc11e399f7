"""Eligibility: the first of a tenant's queued generations that no limit of tenant, key or model holds up."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from app.auth.keys import Mode
from app.generations import store
from app.generations.queue import rows as queue
from app.generations.store import Generation
from app.quotas import account
from app.quotas.account import Owner
from app.quotas.limits import Limit, Scope, scopes_of

_MAX_ASKED = 50  # tenants asked, for a submit that is not queueable


def first_eligible(
    connection: Connection,
    tenant_id: str,
    mode: Mode,
    defaults: Sequence[Limit],
    *,
    now_ms: int,
    unknown_since_ms: int,
    for_update: bool = False,
) -> Generation | None:
    """Returns the first of a tenant's queued generations that may be sent now, or None.

    With `for_update` its row is locked, and rows that another transaction has locked are passed over.
    """
    first = queue.head(connection, tenant_id, mode, for_update=for_update)
    if first is None:
        return None
    owner = Owner(tenant_id, mode)
    limits = account.in_flight_limits(connection, owner, defaults, now_ms=now_ms)
    if not limits:
        return first
    full = _full(limits, store.in_flight(connection, owner, unknown_since_ms=unknown_since_ms))
    if Scope() in full:
        return None
    if _fits(first, full):
        return first
    heads = queue.heads(connection, tenant_id, mode, for_update=for_update)
    return next((one for one in heads if _fits(one, full)), None)


def any_eligible(
    connection: Connection, mode: Mode, defaults: Sequence[Limit], *, now_ms: int, unknown_since_ms: int
) -> bool:
    """Returns whether any tenant has a queued generation that may be sent now.

    Only the first tenants in turn are asked.
    """
    return any(
        first_eligible(
            connection, flow.tenant_id, mode, defaults, now_ms=now_ms, unknown_since_ms=unknown_since_ms
        )
        for flow in queue.flows_after(connection, mode)[:_MAX_ASKED]
    )


def _full(limits: Sequence[Limit], in_flight: Mapping[Scope, int]) -> set[Scope]:
    """Returns the scopes in which one more generation would exceed a limit."""
    return {
        one.scope for one in limits if one.amount is not None and in_flight.get(one.scope, 0) >= one.amount
    }


def _fits(generation: Generation, full: set[Scope]) -> bool:
    return full.isdisjoint(scopes_of(generation.root_kid or "", generation.model_id))
