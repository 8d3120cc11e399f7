"""Recording what came of an attempt, and stopping an endpoint that failed for too long."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import Connection, bindparam, case, func, literal_column, update

from app.auth.keys import Mode
from app.db.prepared import Prepared, inserting
from app.db.tables import webhook_attempts, webhook_deliveries, webhook_endpoints
from app.db.webhook_states import IS_DELIVERING, Cause, DeliveryState, EndpointState
from app.kit.ids import new_id
from app.quotas.account import lock_tenant
from app.webhooks import bodies, outbox, schedule, subscriptions
from app.webhooks.claims import Claimed
from app.webhooks.kinds import OPERATOR, Kind
from app.webhooks.outbox import Bodies, Message
from app.webhooks.verdicts import Attempted

FAILING: Final = "failing"
GONE: Final = "gone"
UNREADABLE: Final = "secret_unreadable"
MISSING: Final = "message_missing"
_D, _E = webhook_deliveries.c, webhook_endpoints.c
_DELIVERING: Final[Any] = literal_column(IS_DELIVERING)
_HAS_STATE: Final = _E.state.in_([EndpointState.ENABLED, EndpointState.PAUSED])


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What an attempt changed: the delivery's state, and why its endpoint is to be stopped, if it is.

    The state is None where the lease had ended, and somebody else has the delivery.
    """

    state: DeliveryState | None
    stop: str | None = None


_CLOSE_LEASE: Final = Prepared(
    update(webhook_deliveries)
    .where(_D.id == bindparam("of_id"), _D.attempts == bindparam("attempt"), _DELIVERING)
    .values(
        {
            name: bindparam(name)
            for name in ("state", "next_at_ms", "last_at_ms", "last_status", "last_error", "finished_at_ms")
        }
        | {"lease_until_ms": None}
    )
)
_WELL: Final = Prepared(
    update(webhook_endpoints)
    .where(
        _E.id == bindparam("of_id"),
        func.coalesce(_E.failing_since_ms, _E.gone_since_ms).is_not(None),
    )
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


def record(
    connection: Connection, claimed: Claimed, attempted: Attempted, *, now_ms: int, spread: float
) -> Recorded:
    """Records an attempt, ends the lease, and says when the next attempt is.

    A test is attempted once, and says nothing of its endpoint. A delivery that cannot be sent at all, because
    its endpoint's secret cannot be read or its message is not there, is failed at once.
    """
    poisoned = attempted.error in {UNREADABLE, MISSING}
    is_over = poisoned or claimed.cause is Cause.TEST
    next_at_ms = (
        None
        if attempted.is_success or is_over
        else schedule.next_at_ms(
            claimed.attempt, now_ms=now_ms, retry_after_ms=attempted.wait_ms, spread=spread
        )
    )
    if attempted.is_success:
        state = DeliveryState.DELIVERED
    else:
        state = DeliveryState.FAILED if next_at_ms is None else DeliveryState.PENDING
    changed = _CLOSE_LEASE.run(
        connection,
        {
            "of_id": claimed.id,
            "attempt": claimed.attempt,
            "state": state,
            "next_at_ms": next_at_ms or now_ms,
            "last_at_ms": attempted.at_ms,
            "last_status": attempted.status,
            "last_error": attempted.error,
            "finished_at_ms": None if next_at_ms else now_ms,
        },
    )
    if not changed:
        return Recorded(state=None)
    attempt = {
        "delivery_id": claimed.id,
        "n": claimed.attempt,
        "at_ms": attempted.at_ms,
        "ms": attempted.ms,
        "status": attempted.status,
        "error": attempted.error,
        "answer": attempted.answer,
    }
    inserting(webhook_attempts, *attempt).run(connection, attempt)
    return Recorded(state=state, stop=_judge(connection, claimed, attempted, now_ms))


def record_all(
    connection: Connection, ended: Sequence[tuple[Claimed, Attempted]], *, now_ms: int
) -> list[Recorded]:
    """Records attempts that ended together, as `record` does each; returns what they changed, in their order.

    Endpoints are locked in the order of their ids, on every server.
    """
    order = sorted(range(len(ended)), key=lambda number: ended[number][0].endpoint_id)
    recorded = {
        number: record(connection, *ended[number], now_ms=now_ms, spread=random.random())  # noqa: S311 - spreads load, guards nothing
        for number in order
    }
    return [recorded[number] for number in range(len(ended))]


def _judge(connection: Connection, claimed: Claimed, attempted: Attempted, now_ms: int) -> str | None:
    """Updates what is known of the endpoint; returns why it is to be stopped, None where it is not."""
    if attempted.is_success:
        _WELL.run(connection, {"of_id": claimed.endpoint_id})
        return None
    if attempted.error == UNREADABLE:
        return UNREADABLE
    if claimed.cause is Cause.TEST or attempted.error == MISSING:
        return None
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
