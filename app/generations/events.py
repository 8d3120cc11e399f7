"""Events: changes of generations' states and crossed thresholds, numbered per tenant and mode.

A change of state is also numbered per generation: by its version.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Row, bindparam, insert, literal, select, tuple_, update

from app.auth.keys import Mode
from app.db.announcements import Announcement, announce
from app.db.prepared import Prepared, inserting
from app.db.tables import generation_events, tenants, threshold_events
from app.generations.lifecycle import State
from app.generations.store import Generation
from app.quotas.account import Owner
from app.quotas.limits import Limit, Scope
from app.quotas.metrics import Metric
from app.quotas.thresholds import Crossing


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdEvent:
    """A threshold of a budget or balance that a submit crossed; `number` as of `Event`."""

    crossing: Crossing
    at_ms: int
    number: int


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


def _numbering(column: Column[int]) -> Prepared:
    """Returns the statement that draws a number and inserts its event: one trip, on PostgreSQL alone."""
    drawn = (
        update(tenants)
        .where(tenants.c.id == bindparam("of_tenant"))
        .values({column: column + 1})
        .returning(column.label("number"))
        .cte("drawn")
    )
    names = [name for name in generation_events.c.keys() if name != "number"]  # noqa: SIM118 - no dict
    given = (bindparam(name, type_=generation_events.c[name].type) for name in names)
    return Prepared(insert(generation_events).from_select([*names, "number"], select(*given, drawn.c.number)))


_NUMBER_AND_INSERT = {"live": _numbering(tenants.c.live_events), "test": _numbering(tenants.c.test_events)}
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


_THRESHOLDS_BETWEEN = select(threshold_events).where(
    threshold_events.c.tenant_id == bindparam("tenant"),
    threshold_events.c.mode == bindparam("of_mode"),
    threshold_events.c.number > bindparam("after"),
    threshold_events.c.number < bindparam("before"),
)


def append(connection: Connection, generation: Generation, *, at_ms: int, reason: str) -> None:
    """Appends an event with the generation's present state, and announces it after the commit.

    It updates, and so locks, the tenant's row until the commit: nobody can read an event number while a lower
    one is still uncommitted.
    """
    of_tenant = {"of_tenant": generation.tenant_id}
    event = {
        "generation_id": generation.id,
        "version": generation.version,
        "state": generation.state,
        "at_ms": at_ms,
        "reason": reason,
        "tenant_id": generation.tenant_id,
        "mode": generation.mode,
    }
    if connection.dialect.name == "postgresql":
        _NUMBER_AND_INSERT[generation.mode].run(connection, event | of_tenant)
    else:
        (event["number"],) = _NEXT_NUMBER[generation.mode].one(connection, of_tenant)
        _INSERT_EVENT.run(connection, event)
    change = Announcement(generation.tenant_id, generation.mode, generation.id, generation.state)
    announce(connection, change)


def append_threshold(connection: Connection, owner: Owner, crossing: Crossing, *, at_ms: int) -> bool:
    """Appends the event of a threshold that a submit crosses, and returns whether it is new.

    It is appended once in each window. The caller holds the lock on the tenant's row, and appends the event
    of the submit after it, with which both are announced.
    """
    limit = crossing.limit
    key = {
        "tenant_id": owner.tenant_id,
        "mode": owner.mode,
        "kid": limit.scope.kid,
        "model_id": limit.scope.model_id,
        "end_user": limit.scope.end_user,
        "metric": limit.metric,
        "window": crossing.window,
        "percent": crossing.percent,
    }
    found = select(threshold_events.c.number).where(*(threshold_events.c[name] == key[name] for name in key))
    if connection.execute(found).one_or_none() is not None:
        return False
    (number,) = _NEXT_NUMBER[owner.mode].one(connection, {"of_tenant": owner.tenant_id})
    more = {"amount": crossing.amount, "used": crossing.used, "at_ms": at_ms, "number": number}
    connection.execute(threshold_events.insert(), key | more)
    return True


def of_generation(connection: Connection, generation_id: str) -> list[Event]:
    """Returns all events of a generation, in order."""
    query = (
        select(generation_events)
        .where(generation_events.c.generation_id == generation_id)
        .order_by(generation_events.c.version)
    )
    return [_event_of(row) for row in connection.execute(query)]


def after(
    connection: Connection, tenant_id: str, mode: Mode, number: int, *, limit: int
) -> list[Event | ThresholdEvent]:
    """Returns events of a tenant and mode whose number is greater than `number`, in order and without a gap.

    They are at most `limit`, and the thresholds between them: the event of the submit that crossed one has
    the next number.
    """
    rows = connection.execute(
        _EVENTS_AFTER, {"tenant": tenant_id, "of_mode": mode, "after": number, "most": limit}
    )
    found: list[Event | ThresholdEvent] = [_event_of(row) for row in rows]
    if not found or found[-1].number == number + len(found):
        return found
    between = connection.execute(
        _THRESHOLDS_BETWEEN,
        {"tenant": tenant_id, "of_mode": mode, "after": number, "before": found[-1].number},
    )
    return sorted((*found, *map(_threshold_of, between)), key=lambda one: one.number)


ThresholdPlace = tuple[int, int, str, str]
"""The place of a crossed threshold in the list of all: by its time and number, then by whose it is."""


def threshold_place(owner: Owner, one: ThresholdEvent) -> ThresholdPlace:
    """Returns a crossed threshold's place in the list of all."""
    return one.at_ms, one.number, owner.tenant_id, owner.mode


def thresholds(
    connection: Connection,
    *,
    tenant_id: str | None = None,
    before: ThresholdPlace | None = None,
    limit: int,
) -> list[tuple[Owner, ThresholdEvent]]:
    """Returns the newest crossed thresholds of one tenant, or of all (None), with whose they are.

    With `before`, they are those that were crossed before the one at that place.
    """
    table = threshold_events.c
    place = (table.at_ms, table.number, table.tenant_id, table.mode)
    query = select(threshold_events).order_by(*(column.desc() for column in place))
    if before is not None:
        query = query.where(
            table.at_ms <= before[0],  # by which an index is searched
            tuple_(*place) < tuple_(*map(literal, before)),
        )
    if tenant_id is not None:
        query = query.where(threshold_events.c.tenant_id == tenant_id)
    rows = connection.execute(query.limit(limit))
    return [(Owner(row.tenant_id, row.mode), _threshold_of(row)) for row in rows]


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


def _threshold_of(row: Row[Any]) -> ThresholdEvent:
    scope = Scope(row.kid, row.model_id, row.end_user)
    return ThresholdEvent(
        crossing=Crossing(
            limit=Limit(scope, Metric(row.metric), None),
            window=row.window,
            percent=row.percent,
            amount=row.amount,
            used=row.used,
        ),
        at_ms=row.at_ms,
        number=row.number,
    )
