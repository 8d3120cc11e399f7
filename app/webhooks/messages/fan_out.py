"""Making the deliveries of messages, one for each endpoint that hears a message.

A message names these endpoints, and is all that the transaction of what it tells writes, however many they
are. Its deliveries are made by whoever leases what is due, right before that, also where there is no room to
send more. A message is marked in the transaction that makes its deliveries, so none is made twice.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, func, literal_column, select

from app.db.schema.tables import webhook_deliveries, webhook_messages
from app.db.schema.webhook_states import IS_HEARD, Cause, DeliveryState
from app.db.statements.many import Many, inserting_many
from app.db.statements.prepared import Prepared, Row
from app.kit.ids import new_id

DELIVERY: Final = "dlv_"
STOPPED: Final = "endpoint_stopped"
"""The error of a delivery that is cancelled because its endpoint is disabled, gone or deleted."""
_OLDEST: Final = 288  # messages
_NEWEST: Final = 96
_OLDEST_MADE: Final = 1_920  # deliveries, about: SQLite's other writers wait meanwhile
_NEWEST_MADE: Final = 640
_NOT_SENT: Final = "-"
_M: Final = webhook_messages.c
_HEARD: Final[Any] = literal_column(IS_HEARD)
_DELIVERY: Final = (
    "id",
    "message_id",
    "endpoint_id",
    "tenant_id",
    "mode",
    "type",
    "cause",
    "state",
    "next_at_ms",
    "last_error",
    "created_at_ms",
    "finished_at_ms",
)
# SQLite takes members of an enumeration a microsecond later than text, each.
_EVENT: Final = Cause.EVENT.value
_PENDING: Final = DeliveryState.PENDING.value
_CANCELLED: Final = DeliveryState.CANCELLED.value

_WAITING: Final = select(_M.id, _M.tenant_id, _M.mode, _M.type, _M.created_at_ms, _M.heard_by).where(_HEARD)
_FIRST: Final = Prepared(_WAITING.order_by(_M.created_at_ms).limit(literal_column(str(_OLDEST))))
_LAST: Final = Prepared(_WAITING.order_by(_M.created_at_ms.desc()).limit(literal_column(str(_NEWEST))))
_MARK: Final = Many(
    f"UPDATE webhook_messages SET heard_by = NULL WHERE id IN ({{rows}}) AND {IS_HEARD} RETURNING id",  # noqa: S608 - our own constants
    "id",
)
_SINCE: Final = Prepared(select(func.min(_M.created_at_ms)).where(_HEARD))


def named(endpoints: Sequence[tuple[str, bool]]) -> str:
    """Returns how a message names endpoints, of each the id and whether it is sent to.

    One to which nothing is sent is given a delivery that is cancelled, for a replay.
    """
    return " ".join(one if sent_to else _NOT_SENT + one for one, sent_to in endpoints)


def fan_out(connection: Connection) -> bool:
    """Makes the deliveries of the messages that have waited for the longest; returns whether others wait.

    Where many wait, the newest have theirs too: what happens now must not wait until all of them have.
    """
    oldest = _FIRST.all(connection, {})
    messages = _few(oldest, _OLDEST_MADE)
    is_behind = len(oldest) == _OLDEST or len(messages) < len(oldest)
    if is_behind:
        messages += _few(_LAST.all(connection, {}), _NEWEST_MADE)
    if messages:
        of_id = {one[0]: one for one in messages}
        marked = _MARK.match(connection, [(one,) for one in of_id])
        rows = [row for (message_id,) in marked for row in _deliveries_of(of_id[message_id])]
        inserting_many(webhook_deliveries, *_DELIVERY).run(connection, rows)
    return is_behind


def _few(messages: Sequence[Row], deliveries: int) -> list[Row]:
    """Returns the first messages, until they have so many deliveries."""
    few: list[Row] = []
    for message in messages:
        if deliveries <= 0:
            break
        few.append(message)
        deliveries -= len(message[-1].split())
    return few


def _deliveries_of(message: Row) -> list[tuple[Any, ...]]:
    message_id, tenant_id, mode, kind, at_ms, heard_by = message
    rows = []
    for name in heard_by.split():
        sent_to = not name.startswith(_NOT_SENT)
        rows.append(
            (
                DELIVERY + new_id(at_ms),
                message_id,
                name.removeprefix(_NOT_SENT),
                tenant_id,
                mode,
                kind,
                _EVENT,
                _PENDING if sent_to else _CANCELLED,
                at_ms,
                None if sent_to else STOPPED,
                at_ms,
                None if sent_to else at_ms,
            )
        )
    return rows


def waiting_since(connection: Connection) -> int | None:
    """Returns since when messages wait for their deliveries; None where none does."""
    since_ms: int | None = _SINCE.one(connection, {})[0]
    return since_ms


class Unmade(NamedTuple):
    """The deliveries that are still to be made of messages of one mode, and since when the first is due."""

    mode: str
    deliveries: int
    due_ms: int


def unmade(connection: Connection, *, limit: int) -> list[Unmade]:
    """Returns what is still to be made, in each mode with any, of the oldest `limit` messages."""
    number = func.length(_M.heard_by) - func.length(func.replace(_M.heard_by, " ", "")) + 1
    some = select(_M.mode, _M.created_at_ms.label("due_ms"), number.label("number")).where(_HEARD)
    oldest = some.order_by(_M.created_at_ms).limit(limit).subquery("step")
    query = select(oldest.c.mode, func.sum(oldest.c.number), func.min(oldest.c.due_ms))
    return [Unmade(row[0], int(row[1]), row[2]) for row in connection.execute(query.group_by(oldest.c.mode))]
