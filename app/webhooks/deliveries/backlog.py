"""What waits to be sent, and how endpoints are, for metrics and the doctor. Bounded, however much waits."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, literal_column, select

from app.db.schema.tables import webhook_deliveries, webhook_endpoints
from app.db.schema.webhook_states import IS_PENDING, EndpointState
from app.webhooks.deliveries import claims
from app.webhooks.deliveries.claims import Head
from app.webhooks.kinds import OPERATOR
from app.webhooks.messages import fan_out
from app.webhooks.registry import secrets

MAX_COUNTED: Final = 10_000
_D: Final = webhook_deliveries.c
_E: Final = webhook_endpoints.c
_OF_TENANTS: Final = (_E.tenant_id != OPERATOR, _E.deleted_at_ms.is_(None))
_PENDING: Final[Any] = literal_column(IS_PENDING)
_FAILS: Final = (_E.state == EndpointState.ENABLED) & _E.failing_since_ms.is_not(None)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for endpoints in one state: how many, and since when the first has been due (None: none)."""

    deliveries: int
    due_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How many endpoints there are by state, how many of them fail, and whose secret nobody can open."""

    endpoints: dict[EndpointState, int]
    failing: int
    unreadable: Sequence[str]


FAILING: Final = "failing"
"""What an enabled endpoint is that failed last: what waits for it is late by its own fault."""
STATES: Final = (*EndpointState, FAILING)


def waiting(connection: Connection) -> dict[str, Waiting]:
    """Returns what waits, by the state of its endpoint, or `FAILING`; at most `MAX_COUNTED` are counted.

    Deliveries that are still to be made count as those of endpoints that are enabled: nobody's endpoint makes
    them late.
    """
    heads = [one for one in claims.heads(connection) if one.row.deleted_at_ms is None]
    states = {one.endpoint_id: _state_of(one) for one in heads}
    due_ms: dict[str, int] = {}
    for one in heads:
        state = states[one.endpoint_id]
        due_ms[state] = min(one.due_ms, due_ms.get(state, one.due_ms))
    some = select(_D.endpoint_id).where(_PENDING).limit(MAX_COUNTED).subquery("step")
    counts: Counter[str] = Counter()
    for endpoint_id, number in connection.execute(
        select(some.c.endpoint_id, func.count()).group_by(some.c.endpoint_id)
    ):
        if endpoint_id in states:
            counts[states[endpoint_id]] += number
    for unmade in fan_out.unmade(connection, limit=MAX_COUNTED):
        counts[EndpointState.ENABLED] += unmade.deliveries
        first_ms = due_ms.get(EndpointState.ENABLED, unmade.due_ms)
        due_ms[EndpointState.ENABLED] = min(unmade.due_ms, first_ms)
    return {str(state): Waiting(counts[state], due_ms.get(state)) for state in STATES}


def _state_of(one: Head) -> str:
    fails = one.row.failing_since_ms is not None and one.row.state == EndpointState.ENABLED
    return FAILING if fails else one.row.state


@dataclass(frozen=True, slots=True)
class Failing:
    """Endpoints of one tenant that do not take what is sent: how many, and since when the first has not."""

    tenant_id: str
    endpoints: int
    since_ms: int


def of_mode(connection: Connection, mode: str) -> Waiting:
    """Returns what waits in one mode for endpoints that are enabled; at most `MAX_COUNTED` are counted.

    The moment is that of endpoints that do not fail: what is sent to the others again is in no hurry. What is
    still to be made counts too.
    """
    whose = (_E.mode == mode, _E.state == EndpointState.ENABLED, *_OF_TENANTS)
    first = select(func.min(_D.next_at_ms)).where(_PENDING, _D.endpoint_id == _E.id).scalar_subquery()
    some = select(_D.endpoint_id).where(_PENDING).limit(MAX_COUNTED).subquery()
    counted = select(func.count()).select_from(webhook_endpoints.join(some, some.c.endpoint_id == _E.id))
    unmade = [one for one in fan_out.unmade(connection, limit=MAX_COUNTED) if one.mode == mode]
    due_ms = connection.execute(select(func.min(first)).where(*whose, ~_FAILS)).scalar_one()
    return Waiting(
        connection.execute(counted.where(*whose)).scalar_one() + sum(one.deliveries for one in unmade),
        min((one for one in (due_ms, *(one.due_ms for one in unmade)) if one is not None), default=None),
    )


def failing(connection: Connection, mode: str, *, ended_since_ms: int, limit: int) -> list[Failing]:
    """Returns whose endpoints fail in one mode, or were given up since a moment, the longest first."""
    since = func.min(func.coalesce(_E.failing_since_ms, _E.state_since_ms))
    is_given_up = _E.state.in_((EndpointState.DISABLED, EndpointState.GONE))
    query = (
        select(_E.tenant_id, func.count(), since)
        .where(
            _E.mode == mode,
            *_OF_TENANTS,
            _FAILS | (is_given_up & (_E.state_since_ms >= ended_since_ms)),
        )
        .group_by(_E.tenant_id)
        .order_by(since, _E.tenant_id)
        .limit(limit)
    )
    return [Failing(*row) for row in connection.execute(query)]


def states(connection: Connection) -> dict[EndpointState, int]:
    """Returns how many endpoints there are in each state."""
    query = select(_E.state, func.count()).where(*_OF_TENANTS).group_by(_E.state)
    counted = {EndpointState(state): number for state, number in connection.execute(query)}
    return {state: counted.get(state, 0) for state in EndpointState}


def health(connection: Connection, keys: Sequence[str], *, limit: int) -> Health:
    """Returns how endpoints are. Of the newest `limit`, it tries whether their secrets can be opened."""
    failing = select(func.count()).where(_E.failing_since_ms.is_not(None), *_OF_TENANTS)
    newest = select(_E.id, _E.secret).where(*_OF_TENANTS).order_by(_E.id.desc()).limit(limit)
    return Health(
        endpoints=states(connection),
        failing=connection.execute(failing).scalar_one(),
        unreadable=[one.id for one in connection.execute(newest) if not _opens(one.secret, keys, one.id)],
    )


def _opens(sealed: str, keys: Sequence[str], endpoint_id: str) -> bool:
    try:
        secrets.open(sealed, keys, bound_to=endpoint_id)
    except secrets.Unreadable:
        return False
    return True
