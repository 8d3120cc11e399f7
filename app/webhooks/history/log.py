"""Reading deliveries and their attempts: the log of webhooks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import Connection, Row, Select, select

from app.auth.keys import Mode
from app.db.schema.tables import generation_events, webhook_attempts, webhook_deliveries, webhook_messages
from app.db.schema.webhook_states import Cause, DeliveryState
from app.errors import WEBHOOK_DELIVERY_NOT_FOUND, Problem
from app.kit.ids import first_of, is_id
from app.quotas.account import Owner

PREFIX: Final = "dlv_"
STEP: Final = 5_000
_ROW: Final = webhook_deliveries.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A delivery of a message to an endpoint, without the message's body.

    `attempts` counts those that have begun; `last_…` is of the last one that has ended.
    """

    id: str
    message_id: str
    endpoint_id: str
    tenant_id: str
    mode: Mode
    type: str
    cause: Cause
    replay_id: str | None
    state: DeliveryState
    attempts: int
    next_at_ms: int
    last_at_ms: int | None
    last_status: int | None
    last_error: str | None
    created_at_ms: int
    finished_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a delivery: when, how long it took, and the answer or the class of the error."""

    n: int
    at_ms: int
    ms: int
    status: int | None
    error: str | None
    answer: str | None


@dataclass(frozen=True, slots=True)
class DeliveryInFull:
    """A delivery with its attempts, the oldest first, and the body of its message (None: not made yet)."""

    delivery: Delivery
    attempts: Sequence[Attempt]
    body: str | None
    generation_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which deliveries to list: all that is given must match.

    They were made from `from_ms` on, and before `to_ms`.
    """

    owner: Owner | None = None
    tenant_id: str | None = None
    mode: Mode | None = None
    endpoint_id: str | None = None
    message_id: str | None = None
    replay_id: str | None = None
    request_id: str | None = None
    types: Sequence[str] = ()
    states: Sequence[DeliveryState] = ()
    causes: Sequence[Cause] = ()
    from_ms: int | None = None
    to_ms: int | None = None


def is_delivery_id(text: str) -> bool:
    """Returns whether a text has the form of a delivery's id."""
    return text.startswith(PREFIX) and is_id(text.removeprefix(PREFIX))


def page(
    connection: Connection, wanted: Filters, *, before: str | None, limit: int
) -> tuple[list[Delivery], str | None]:
    """Returns deliveries before the one with an id, newest first, and the id before which the search goes on.

    That is None where there are no more. A page looks at `STEP` deliveries at most, so it may have fewer than
    asked for, even none, while more follow.
    """
    query, is_narrow = _indexed(select(webhook_deliveries), wanted)
    if before is not None:
        query = query.where(_ROW.id < before)
    query = query.order_by(_ROW.id.desc())
    last = None
    if not is_narrow:
        ids = query.with_only_columns(_ROW.id).offset(STEP - 1).limit(1)
        last = connection.execute(ids).scalar_one_or_none()
    if last is not None:
        query = query.where(_ROW.id >= last)
    if wanted.request_id is not None:
        query = query.where(_ROW.message_id.in_(_messages_of(connection, wanted.request_id)))
    found = [_delivery(row) for row in connection.execute(_matching(query, wanted).limit(limit + 1))]
    if len(found) > limit:
        return found[:limit], found[limit - 1].id
    return found, last


def _messages_of(connection: Connection, request_id: str) -> list[str]:
    """Returns the ids that messages of a request can have: they are made of its versions."""
    query = select(generation_events.c.version).where(generation_events.c.generation_id == request_id)
    versions = connection.execute(query).scalars().all()
    return [f"msg_{request_id}_{version}{ending}" for version in versions for ending in ("", "r")]


def _indexed(query: Select[Any], wanted: Filters) -> tuple[Select[Any], bool]:
    """Returns the query with what an index finds in the order of ids; and whether that are few deliveries."""
    if wanted.from_ms is not None:
        query = query.where(_ROW.id >= PREFIX + first_of(wanted.from_ms))
    if wanted.to_ms is not None:
        query = query.where(_ROW.id < PREFIX + first_of(wanted.to_ms))
    if wanted.message_id is not None or wanted.request_id is not None:
        return query, True
    if wanted.endpoint_id is not None:
        return query.where(_ROW.endpoint_id == wanted.endpoint_id), False
    if wanted.owner is not None:
        of_owner = (_ROW.tenant_id == wanted.owner.tenant_id, _ROW.mode == wanted.owner.mode)
        return query.where(*of_owner), False
    return query, False


def _matching(query: Select[Any], wanted: Filters) -> Select[Any]:
    owner = wanted.owner
    for column, value in (
        (_ROW.tenant_id, wanted.tenant_id if owner is None else owner.tenant_id),
        (_ROW.mode, wanted.mode if owner is None else owner.mode),
        (_ROW.message_id, wanted.message_id),
        (_ROW.replay_id, wanted.replay_id),
        (_ROW.endpoint_id, wanted.endpoint_id),
    ):
        if value is not None:
            query = query.where(column == value)
    for several, values in (
        (_ROW.type, wanted.types),
        (_ROW.state, wanted.states),
        (_ROW.cause, wanted.causes),
    ):
        if values:
            query = query.where(several.in_(values))
    return query


def find(connection: Connection, delivery_id: str, owner: Owner | None = None) -> DeliveryInFull:
    """Returns a delivery, of this owner alone where one is given.

    Raises:
        Problem: WEBHOOK_DELIVERY_NOT_FOUND, in the same words for one that is somebody else's.

    """
    row = None
    if is_delivery_id(delivery_id):
        query = select(webhook_deliveries).where(_ROW.id == delivery_id)
        row = connection.execute(query).one_or_none()
    if row is None or (owner is not None and (row.tenant_id, row.mode) != (owner.tenant_id, owner.mode)):
        raise Problem(WEBHOOK_DELIVERY_NOT_FOUND, "This tenant has no such webhook delivery.")
    attempts = connection.execute(
        select(webhook_attempts)
        .where(webhook_attempts.c.delivery_id == delivery_id)
        .order_by(webhook_attempts.c.n)
    )
    message = connection.execute(
        select(webhook_messages.c.body, webhook_messages.c.generation_id).where(
            webhook_messages.c.id == row.message_id
        )
    ).one_or_none()
    return DeliveryInFull(
        _delivery(row),
        [Attempt(one.n, one.at_ms, one.ms, one.status, one.error, one.answer) for one in attempts],
        None if message is None else message.body,
        None if message is None else message.generation_id,
    )


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        message_id=row.message_id,
        endpoint_id=row.endpoint_id,
        tenant_id=row.tenant_id,
        mode=cast("Mode", row.mode),
        type=row.type,
        cause=Cause(row.cause),
        replay_id=row.replay_id,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        next_at_ms=row.next_at_ms,
        last_at_ms=row.last_at_ms,
        last_status=row.last_status,
        last_error=row.last_error,
        created_at_ms=row.created_at_ms,
        finished_at_ms=row.finished_at_ms,
    )
