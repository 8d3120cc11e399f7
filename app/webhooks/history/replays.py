"""Sending again: one delivery, or all of a range as a task of the background.

What is sent again is the same message: a new delivery of it, with the same id and the same bytes.

A replay is a row, and goes on where it was when a server ends: each step makes some deliveries and moves its
position in one transaction. It makes no more while many are pending for its endpoint, so that what happens
meanwhile does not wait behind a long replay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import Connection, Row, func, insert, select, text, update

from app.auth.keys import Mode
from app.db.engines.engine import Database
from app.db.schema.tables import webhook_deliveries, webhook_endpoints, webhook_replays
from app.db.schema.webhook_states import (
    IS_PENDING,
    IS_RUNNING,
    IS_UNDELIVERED,
    Cause,
    DeliveryState,
    EndpointState,
    ReplayState,
)
from app.db.statements.prepared import Prepared
from app.errors import REPLAY_RUNNING, WEBHOOK_REPLAY_NOT_FOUND, Problem
from app.kit.clock import Clock
from app.kit.ids import first_of, is_id, new_id
from app.kit.json import from_column, to_column
from app.quotas.account import Owner
from app.webhooks.history import log
from app.webhooks.history.log import Delivery
from app.webhooks.messages import fan_out, outbox
from app.webhooks.registry.endpoints import Endpoint

PREFIX: Final = "rpl_"
AT_ONCE: Final = 200
MAX_PENDING: Final = 500
_ROW: Final = webhook_replays.c
_STOPPED: Final = (EndpointState.DISABLED, EndpointState.GONE)
_NOT_SENT_AGAIN: Final = (DeliveryState.PENDING, DeliveryState.DELIVERING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What to send again: deliveries made from `since_ms` on, before `until_ms`, and of these types.

    `types` of None are all.
    """

    since_ms: int
    until_ms: int
    only_undelivered: bool = True
    types: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A replay, with how many deliveries it has looked at and how many it has made."""

    id: str
    endpoint_id: str
    tenant_id: str
    mode: Mode
    range: Range
    state: ReplayState
    seen: int
    made: int
    created_at_ms: int
    changed_at_ms: int
    finished_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Replayer:
    """The loop that makes replays proceed, on any number of servers."""

    db: Database
    clock: Clock

    async def run_once(self) -> int:
        """Takes running replays as far as they may go now; returns how many deliveries were looked at."""
        looked_at = 0
        if await self.db.read(is_any_running):
            while count := await self.db.write(step, now_ms=self.clock.now_ms()):
                looked_at += count
        return looked_at


_RUNNING = Prepared(select(_ROW.id).where(text(IS_RUNNING)).limit(1))


def is_any_running(connection: Connection) -> bool:
    """Returns whether there is a replay to be taken further."""
    return _RUNNING.one_or_none(connection, {}) is not None


def begin(connection: Connection, endpoint: Endpoint, wanted: Range, *, now_ms: int) -> Replay:
    """Begins a replay to an endpoint, whose row is locked. The background does the rest.

    Raises:
        Problem: WEBHOOK_ENDPOINT_STOPPED, REPLAY_RUNNING.

    """
    endpoint.refuse_if_stopped()
    query = select(_ROW.id).where(_ROW.endpoint_id == endpoint.id, text(IS_RUNNING))
    if (running := connection.execute(query).scalars().first()) is not None:
        raise Problem(REPLAY_RUNNING, f"{running} is under way.")
    replay_id = PREFIX + new_id(now_ms)
    connection.execute(
        insert(webhook_replays).values(
            id=replay_id,
            endpoint_id=endpoint.id,
            tenant_id=endpoint.tenant_id,
            mode=endpoint.mode,
            since_ms=wanted.since_ms,
            until_ms=wanted.until_ms,
            only_undelivered=wanted.only_undelivered,
            types=None if wanted.types is None else to_column(list(wanted.types)),
            state=ReplayState.RUNNING,
            created_at_ms=now_ms,
            changed_at_ms=now_ms,
        )
    )
    return find(connection, replay_id)


def is_replay_id(text: str) -> bool:
    """Returns whether a text has the form of a replay's id."""
    return text.startswith(PREFIX) and is_id(text.removeprefix(PREFIX))


def find(connection: Connection, replay_id: str, owner: Owner | None = None) -> Replay:
    """Returns a replay, of this owner alone where one is given.

    Raises:
        Problem: WEBHOOK_REPLAY_NOT_FOUND, in the same words for one that is somebody else's.

    """
    row = None
    if is_replay_id(replay_id):
        row = connection.execute(select(webhook_replays).where(_ROW.id == replay_id)).one_or_none()
    if row is None or (owner is not None and (row.tenant_id, row.mode) != (owner.tenant_id, owner.mode)):
        raise Problem(WEBHOOK_REPLAY_NOT_FOUND, "This tenant has no such replay.")
    return _replay(row)


def page(
    connection: Connection,
    *,
    owner: Owner | None = None,
    tenant_id: str | None = None,
    endpoint_id: str | None = None,
    before: str | None,
    limit: int,
) -> list[Replay]:
    """Returns replays, newest first, before the one with an id."""
    query = select(webhook_replays).order_by(_ROW.id.desc()).limit(limit)
    for column, value in (
        (_ROW.tenant_id, tenant_id if owner is None else owner.tenant_id),
        (_ROW.mode, None if owner is None else owner.mode),
        (_ROW.endpoint_id, endpoint_id),
    ):
        if value is not None:
            query = query.where(column == value)
    if before is not None:
        query = query.where(_ROW.id < before)
    return [_replay(row) for row in connection.execute(query)]


def cancel(connection: Connection, replay: Replay, *, now_ms: int) -> Replay:
    """Ends a replay where it is. What it has made is sent all the same. Repeating it is harmless."""
    connection.execute(
        update(webhook_replays)
        .where(_ROW.id == replay.id, text(IS_RUNNING))
        .values(state=ReplayState.CANCELLED, finished_at_ms=now_ms, changed_at_ms=now_ms)
    )
    return find(connection, replay.id)


def resend(connection: Connection, endpoint: Endpoint, delivery: Delivery, *, now_ms: int) -> Delivery:
    """Sends the message of a delivery to its endpoint again, whatever became of the delivery.

    Raises:
        Problem: WEBHOOK_ENDPOINT_STOPPED.

    """
    endpoint.refuse_if_stopped()
    delivery_id = log.PREFIX + new_id(now_ms)
    values = _again(delivery.message_id, endpoint, delivery.type, now_ms=now_ms)
    connection.execute(insert(webhook_deliveries).values(id=delivery_id, **values))
    outbox.wake(connection, endpoint.tenant_id, endpoint.mode)
    return log.find(connection, delivery_id).delivery


def step(connection: Connection, *, now_ms: int) -> int:
    """Takes a running replay, of which another server has not just taken it, a step further.

    Returns how many deliveries it has looked at; 0 where there is nothing to do now.
    """
    running = (
        select(webhook_replays)
        .where(text(IS_RUNNING))
        .order_by(_ROW.changed_at_ms, _ROW.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(running).one_or_none()
    if row is None:
        return 0
    endpoint = connection.execute(
        select(webhook_endpoints.c.state, webhook_endpoints.c.deleted_at_ms).where(
            webhook_endpoints.c.id == row.endpoint_id
        )
    ).one_or_none()
    if endpoint is None or endpoint.deleted_at_ms is not None or endpoint.state in _STOPPED:
        cancel(connection, _replay(row), now_ms=now_ms)
        return 0
    if _is_early(connection, row) or _pending(connection, row.endpoint_id) >= MAX_PENDING:
        connection.execute(update(webhook_replays).where(_ROW.id == row.id).values(changed_at_ms=now_ms))
        return 0
    found = _next(connection, row)
    made = [
        {"id": log.PREFIX + new_id(now_ms), **_again(one.message_id, row, one.type, now_ms=now_ms)}
        | {"replay_id": row.id}
        for one in found
        if not one.is_settled
    ]
    if made:
        connection.execute(insert(webhook_deliveries), made)
        outbox.wake(connection, row.tenant_id, row.mode)
    is_over = len(found) < AT_ONCE
    connection.execute(
        update(webhook_replays)
        .where(_ROW.id == row.id)
        .values(
            position=found[-1].id if found else row.position,
            seen=_ROW.seen + len(found),
            made=_ROW.made + len(made),
            changed_at_ms=now_ms,
            **({"state": ReplayState.FINISHED, "finished_at_ms": now_ms} if is_over else {}),
        )
    )
    return len(found)


def _is_early(connection: Connection, replay: Row[Any]) -> bool:
    """Returns whether deliveries of a replay's range may still have to be made."""
    since_ms = fan_out.waiting_since(connection)
    return since_ms is not None and since_ms < replay.until_ms


def _pending(connection: Connection, endpoint_id: str) -> int:
    """Returns how many deliveries are pending for an endpoint, of `MAX_PENDING` at most."""
    some = (
        select(webhook_deliveries.c.id)
        .where(webhook_deliveries.c.endpoint_id == endpoint_id, text(IS_PENDING))
        .limit(MAX_PENDING)
    )
    return connection.execute(select(func.count()).select_from(some.subquery())).scalar_one()


def _next(connection: Connection, replay: Row[Any]) -> Sequence[Row[Any]]:
    """Returns the next deliveries of a replay's range, in the order of their ids.

    `is_settled` says of each whether its message need not be sent again: another delivery of it is under way
    or, where only what was not delivered is wanted, has succeeded; or a later one in the range stands for it.
    """
    one, other = webhook_deliveries.c, webhook_deliveries.alias("other").c
    until = log.PREFIX + first_of(replay.until_ms)
    ended_well = (*_NOT_SENT_AGAIN, DeliveryState.DELIVERED) if replay.only_undelivered else _NOT_SENT_AGAIN
    settled = (
        select(other.id)
        .where(
            other.message_id == one.message_id,
            other.endpoint_id == one.endpoint_id,
            other.state.in_(ended_well) | ((other.id > one.id) & (other.id < until)),
        )
        .exists()
        .label("is_settled")
    )
    query = (
        select(one.id, one.message_id, one.type, settled)
        .where(
            one.endpoint_id == replay.endpoint_id,
            one.id > max(replay.position, log.PREFIX + first_of(replay.since_ms)),
            one.id < until,
            one.cause != Cause.TEST,
        )
        .order_by(one.id)
        .limit(AT_ONCE)
    )
    if replay.only_undelivered:
        query = query.where(text(IS_UNDELIVERED))
    if replay.types is not None:
        query = query.where(one.type.in_(from_column(replay.types)))
    return connection.execute(query).all()


def _again(message_id: str, owner: Endpoint | Row[Any], kind: str, *, now_ms: int) -> dict[str, Any]:
    """Returns the columns of another delivery of a message, but for its id."""
    return {
        "message_id": message_id,
        "endpoint_id": owner.id if isinstance(owner, Endpoint) else owner.endpoint_id,
        "tenant_id": owner.tenant_id,
        "mode": owner.mode,
        "type": kind,
        "cause": Cause.REPLAY,
        "state": DeliveryState.PENDING,
        "next_at_ms": now_ms,
        "created_at_ms": now_ms,
    }


def _replay(row: Row[Any]) -> Replay:
    return Replay(
        id=row.id,
        endpoint_id=row.endpoint_id,
        tenant_id=row.tenant_id,
        mode=cast("Mode", row.mode),
        range=Range(
            since_ms=row.since_ms,
            until_ms=row.until_ms,
            only_undelivered=bool(row.only_undelivered),
            types=None if row.types is None else from_column(row.types),
        ),
        state=ReplayState(row.state),
        seen=row.seen,
        made=row.made,
        created_at_ms=row.created_at_ms,
        changed_at_ms=row.changed_at_ms,
        finished_at_ms=row.finished_at_ms,
    )
