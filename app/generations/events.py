"""Events: every change of a generation's state, numbered per generation and per tenant and mode."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from app.auth.keys import Mode
from app.db.announcements import Announcement, announce
from app.db.prepared import Prepared, inserting
from app.db.tables import generation_events, tenants
from app.generations.lifecycle import State
from app.generations.store import Generation


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change of a generation's state.

    `version` numbers the events of one generation, `number` those of its tenant and mode; `number` is 0 until
    the event is stored.
    """

    version: int
    state: State
    at_ms: int
    reason: str
    generation_id: str = ""
    number: int = 0


_INSERT_EVENT = inserting(generation_events, *generation_events.c.keys())
_NEXT_NUMBER = {
    column.name.removesuffix("_events"): Prepared(
        update(tenants)
        .where(tenants.c.id == bindparam("of_tenant"))
        .values({column: column + 1})
        .returning(column)
    )
    for column in (tenants.c.live_events, tenants.c.test_events)
}
_EVENTS_AFTER = (
    select(generation_events)
    .where(
        generation_events.c.tenant_id == bindparam("tenant"),
        generation_events.c.mode == bindparam("of_mode"),
        generation_events.c.number > bindparam("after"),
    )
    .order_by(generation_events.c.number)
    .limit(bindparam("most"))
)


def append(connection: Connection, generation: Generation, *, at_ms: int, reason: str) -> None:
    """Appends an event with the generation's present state, and announces it after the commit.

    It updates, and so locks, the tenant's row until the commit: nobody can read an event number while a lower
    one is still uncommitted.
    """
    (number,) = _NEXT_NUMBER[generation.mode].one(connection, {"of_tenant": generation.tenant_id})
    _INSERT_EVENT.run(
        connection,
        {
            "generation_id": generation.id,
            "version": generation.version,
            "state": generation.state,
            "at_ms": at_ms,
            "reason": reason,
            "tenant_id": generation.tenant_id,
            "mode": generation.mode,
            "number": number,
        },
    )
    change = Announcement(generation.tenant_id, generation.mode, generation.id, generation.state)
    announce(connection, change)


def of_generation(connection: Connection, generation_id: str) -> list[Event]:
    """Returns all events of a generation, in order."""
    query = (
        select(generation_events)
        .where(generation_events.c.generation_id == generation_id)
        .order_by(generation_events.c.version)
    )
    return [_event_of(row) for row in connection.execute(query)]


def after(connection: Connection, tenant_id: str, mode: Mode, number: int, *, limit: int) -> list[Event]:
    """Returns at most `limit` events of a tenant and mode whose number is greater than `number`, in order."""
    rows = connection.execute(
        _EVENTS_AFTER, {"tenant": tenant_id, "of_mode": mode, "after": number, "most": limit}
    )
    return [_event_of(row) for row in rows]


def last_number(connection: Connection, tenant_id: str, mode: Mode) -> int:
    """Returns the number of the last event of a tenant and mode, which is also the count of its events."""
    column = tenants.c.live_events if mode == "live" else tenants.c.test_events
    return int(connection.execute(select(column).where(tenants.c.id == tenant_id)).scalar_one())


def _event_of(row: Row[Any]) -> Event:
    return Event(
        version=row.version,
        state=State(row.state),
        at_ms=row.at_ms,
        reason=row.reason,
        generation_id=row.generation_id,
        number=row.number,
    )
