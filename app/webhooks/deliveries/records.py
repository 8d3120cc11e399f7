"""Recording what came of an attempt, and stopping an endpoint that failed for too long."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, cast

from sqlalchemy import Connection, bindparam, case, func, update

from app.auth.keys import Mode
from app.db.schema.tables import webhook_attempts, webhook_endpoints
from app.db.schema.webhook_states import IS_DELIVERING, Cause, DeliveryState, EndpointState
from app.db.statements.many import Many, inserting_many
from app.db.statements.prepared import Prepared
from app.kit.ids import new_id
from app.quotas.account import lock_tenant
from app.webhooks.deliveries import schedule
from app.webhooks.deliveries.claims import Claimed
from app.webhooks.deliveries.verdicts import Attempted
from app.webhooks.kinds import OPERATOR, Kind
from app.webhooks.messages import bodies, outbox
from app.webhooks.messages.outbox import Bodies, Message
from app.webhooks.registry import subscriptions

FAILING: Final = "failing"
GONE: Final = "gone"
UNREADABLE: Final = "secret_unreadable"
STOPS: Final = (FAILING, GONE, UNREADABLE)
"""Why an endpoint is stopped."""
MISSING: Final = "message_missing"
_E: Final = webhook_endpoints.c
_HAS_STATE: Final = _E.state.in_([EndpointState.ENABLED, EndpointState.PAUSED])


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What an attempt changed: the delivery's state, and why its endpoint is to be stopped, if it is.

    The state is None where the lease had ended, and somebody else has the delivery.
    """

    state: DeliveryState | None
    stop: str | None = None


_CLOSE_LEASES: Final = Many(
    # The lease is known by the number of its attempt: where it had ended, somebody else has another one.
    "WITH ended(of_id, attempt, to_state, to_next_at, at, status, error, finished_at) AS (VALUES {rows})"  # noqa: S608 - our own constants
    " UPDATE webhook_deliveries SET state = to_state, next_at_ms = to_next_at, last_at_ms = at,"
    " last_status = status, last_error = error, finished_at_ms = finished_at, lease_until_ms = NULL"
    f" FROM ended WHERE id = of_id AND attempts = attempt AND {IS_DELIVERING} RETURNING id, attempts",
    *("of_id", "attempt", "to_state", "to_next_at", "at", "status", "error", "finished_at"),
    whole={"attempt", "to_next_at", "at", "status", "finished_at"},
)
_ATTEMPTS: Final = inserting_many(
    webhook_attempts, "delivery_id", "n", "at_ms", "ms", "status", "error", "answer"
)
_SICK: Final = Many(
    "SELECT id FROM webhook_endpoints WHERE id IN ({rows})"
    " AND coalesce(failing_since_ms, gone_since_ms) IS NOT NULL",
    "id",
)
_WELL: Final = Prepared(
    update(webhook_endpoints)
    .where(_E.id == bindparam("of_id"))
    .values(failing_since_ms=None, gone_since_ms=None)
)
_FAILED: Final = (
    update(webhook_endpoints)
    .where(_E.id == bindparam("of_id"))
    .values(
        failing_since_ms=func.coalesce(_E.failing_since_ms, bindparam("now")),
        gone_since_ms=case(
            (bindparam("gone") == 1, func.coalesce(_E.gone_since_ms, bindparam("now"))),
            (bindparam("answered") == 1, None),
            else_=_E.gone_since_ms,
        ),
        held_until_ms=case((_E.held_until_ms < bindparam("held"), bindparam("held")), else_=_E.held_until_ms),
    )
    .returning(_E.state, _E.failing_since_ms, _E.gone_since_ms)
)


def record(connection: Connection, claimed: Claimed, attempted: Attempted, *, now_ms: int) -> Recorded:
    """Records an attempt, ends the lease, and says when the next attempt is.

    A test is attempted once, and says nothing of its endpoint. A delivery that cannot be sent at all, because
    its endpoint's secret cannot be read or its message is not there, is failed at once.
    """
    return record_all(connection, [(claimed, attempted)], now_ms=now_ms)[0]


def record_all(
    connection: Connection, ended: Sequence[tuple[Claimed, Attempted]], *, now_ms: int
) -> list[Recorded]:
    """Records attempts that ended together, as `record` does each; returns what they changed, in their order.

    Endpoints are locked in the order of their ids, on every server.
    """
    if not ended:
        return []
    leases = [_lease_after(claimed, attempted, now_ms) for claimed, attempted in ended]
    closed = {*_CLOSE_LEASES.match(connection, leases)}
    recorded = [
        Recorded(state=lease.state if (lease.delivery_id, lease.attempt) in closed else None)
        for lease in leases
    ]
    ours = [number for number, one in enumerate(recorded) if one.state is not None]
    _ATTEMPTS.run(connection, [_attempt_of(*ended[number]) for number in ours])
    sick = _sick(connection, [ended[number][0] for number in ours if ended[number][1].is_success])
    for number in sorted(ours, key=lambda one: ended[one][0].endpoint_id):
        stop = _judge(connection, *ended[number], sick, now_ms)
        recorded[number] = replace(recorded[number], stop=stop)
    return recorded


class _Lease(NamedTuple):
    """What a delivery's row is to say once its lease is closed."""

    delivery_id: str
    attempt: int
    state: DeliveryState
    next_at_ms: int
    last_at_ms: int
    last_status: int | None
    last_error: str | None
    finished_at_ms: int | None


def _lease_after(claimed: Claimed, attempted: Attempted, now_ms: int) -> _Lease:
    poisoned = attempted.error in {UNREADABLE, MISSING}
    is_over = poisoned or claimed.cause is Cause.TEST
    next_at_ms = (
        None
        if attempted.is_success or is_over
        else schedule.next_at_ms(
            claimed.attempt,
            now_ms=now_ms,
            retry_after_ms=attempted.wait_ms,
            spread=random.random(),  # noqa: S311 - spreads load, guards nothing
        )
    )
    if attempted.is_success:
        state = DeliveryState.DELIVERED
    else:
        state = DeliveryState.FAILED if next_at_ms is None else DeliveryState.PENDING
    return _Lease(
        claimed.id,
        claimed.attempt,
        state,
        next_at_ms or now_ms,
        attempted.at_ms,
        attempted.status,
        attempted.error,
        None if next_at_ms else now_ms,
    )


def _attempt_of(claimed: Claimed, attempted: Attempted) -> tuple[object, ...]:
    return (
        claimed.id,
        claimed.attempt,
        attempted.at_ms,
        attempted.ms,
        attempted.status,
        attempted.error,
        attempted.answer,
    )


def _sick(connection: Connection, well: Sequence[Claimed]) -> set[str]:
    """Returns which endpoints of these have failed last, as far as their rows say."""
    ids = sorted({one.endpoint_id for one in well})
    return {endpoint_id for (endpoint_id,) in _SICK.match(connection, [(one,) for one in ids])}


def _judge(
    connection: Connection, claimed: Claimed, attempted: Attempted, sick: set[str], now_ms: int
) -> str | None:
    """Updates what is known of the endpoint; returns why it is to be stopped, None where it is not."""
    if attempted.is_success:
        if claimed.endpoint_id in sick:
            _WELL.run(connection, {"of_id": claimed.endpoint_id})
            sick.discard(claimed.endpoint_id)
        return None
    if attempted.error == UNREADABLE:
        return UNREADABLE
    if claimed.cause is Cause.TEST or attempted.error == MISSING:
        return None
    sick.add(claimed.endpoint_id)
    row = connection.execute(
        _FAILED,
        {
            "of_id": claimed.endpoint_id,
            "now": now_ms,
            "gone": int(attempted.is_gone),
            "answered": int(attempted.status is not None),
            "held": now_ms + attempted.hold_ms if attempted.hold_ms else 0,
        },
    ).one_or_none()
    if row is None or row.state not in {EndpointState.ENABLED, EndpointState.PAUSED}:
        return None
    if attempted.is_gone and now_ms - row.gone_since_ms >= schedule.GONE_AFTER_MS:
        return GONE
    return FAILING if now_ms - row.failing_since_ms >= schedule.DISABLED_AFTER_MS else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """An endpoint to which nothing is sent any more."""

    endpoint_id: str
    tenant_id: str
    mode: Mode
    url: str
    state: EndpointState
    reason: str
    at_ms: int


Append = Callable[[Connection, Stopped], object]
"""A function that appends the event of a stopped endpoint to its tenant's events."""


def stop(
    connection: Connection,
    endpoint_id: str,
    tenant_id: str,
    reason: str,
    *,
    append: Append,
    tells_operator: bool,
    now_ms: int,
) -> Stopped | None:
    """Disables an endpoint, and tells the tenant's other endpoints, its event stream and the operator.

    None is returned where it was stopped, mended or deleted meanwhile.
    """
    if tenant_id != OPERATOR:
        lock_tenant(connection, tenant_id)
    state = EndpointState.GONE if reason == GONE else EndpointState.DISABLED
    still = {FAILING: _E.failing_since_ms.is_not(None), GONE: _E.gone_since_ms.is_not(None)}
    row = connection.execute(
        update(webhook_endpoints)
        .where(
            _E.id == endpoint_id,
            _HAS_STATE,
            _E.deleted_at_ms.is_(None),
            *([still[reason]] if reason in still else []),
        )
        .values(
            state=state,
            state_reason=reason,
            state_since_ms=now_ms,
            changed_at_ms=now_ms,
            version=_E.version + 1,
        )
        .returning(_E.mode, _E.url, _E.version)
    ).one_or_none()
    if row is None:
        return None
    stopped = Stopped(
        endpoint_id=endpoint_id,
        tenant_id=tenant_id,
        mode=cast("Mode", row.mode),
        url=row.url,
        state=state,
        reason=reason,
        at_ms=now_ms,
    )
    if tenant_id != OPERATOR:
        subscriptions.changed(connection, tenant_id, stopped.mode)
        append(connection, stopped)
        _tell(connection, stopped, f"msg_{endpoint_id}_{row.version}", tells_operator=tells_operator)
    return stopped


def _tell(connection: Connection, stopped: Stopped, message_id: str, *, tells_operator: bool) -> None:
    data = bodies.endpoint_disabled(
        endpoint_id=stopped.endpoint_id,
        mode=stopped.mode,
        url=stopped.url,
        state=stopped.state,
        reason=stopped.reason,
    )
    body = bodies.body(Kind.ENDPOINT_DISABLED, data, at_ms=stopped.at_ms)
    message = Message(
        id=message_id,
        tenant_id=stopped.tenant_id,
        mode=stopped.mode,
        kind=Kind.ENDPOINT_DISABLED,
        at_ms=stopped.at_ms,
    )
    outbox.tell(connection, message, lambda _: Bodies(body), but=stopped.endpoint_id)
    if tells_operator:
        of_operator = Message(
            id=f"msg_{new_id(stopped.at_ms)}",
            tenant_id=OPERATOR,
            mode=stopped.mode,
            kind=Kind.ENDPOINT_DISABLED,
            at_ms=stopped.at_ms,
        )
        of_whom = {**data, "tenant_id": stopped.tenant_id}  # which tenants themselves are never told
        whole = bodies.body(Kind.ENDPOINT_DISABLED, of_whom, at_ms=stopped.at_ms)
        outbox.tell_operator(connection, of_operator, whole)
