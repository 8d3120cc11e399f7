"""Events: changes of generations' states, crossed thresholds, ends of copies, disabled endpoints; numbered.

The numbers are per tenant and mode.

A change of state is also numbered per generation: by its version.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, Connection, Row, bindparam, insert, literal, select, tuple_, update

from app.auth.keys import Mode
from app.db.announcements import Announcement, announce
from app.db.schema.asset_states import AssetState
from app.db.schema.tables import asset_events, endpoint_events, generation_events, tenants, threshold_events
from app.db.statements.counts import count
from app.db.statements.deferral import kept, write_deferred, write_later
from app.db.statements.many import Many, inserting_many
from app.db.statements.prepared import Prepared, inserting
from app.db.tenant_locks import LockedTenant
from app.generations.lifecycle import State
from app.generations.store import Generation
from app.mirror.rows import Asset
from app.quotas.account import Owner
from app.quotas.limits import Limit, Scope
from app.quotas.metrics import Metric
from app.quotas.thresholds import Crossing
from app.webhooks.deliveries.records import Stopped


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


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointEvent:
    """A webhook endpoint that was disabled; `number` as of `Event`."""

    endpoint_id: str
    state: str
    reason: str
    at_ms: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetEvent:
    """The copy of an output's file that was stored, given up, or removed; `number` as of `Event`."""

    asset_id: str
    generation_id: str
    state: AssetState
    reason: str
    at_ms: int
    number: int


_EVENT_COLUMNS: Final = (
    "generation_id",
    "version",
    "state",
    "at_ms",
    "reason",
    "tenant_id",
    "mode",
    "number",
)
_INSERT_EVENT = inserting(generation_events, *_EVENT_COLUMNS)
_OF_MODE = {
    "live": (tenants.c.live_events, tenants.c.live_webhooks),
    "test": (tenants.c.test_events, tenants.c.test_webhooks),
}
_NEXT_NUMBER = {
    mode: Prepared(
        update(tenants)
        .where(tenants.c.id == bindparam("of_tenant"))
        .values({column: column + 1})
        .returning(column, webhooks)
    )
    for mode, (column, webhooks) in _OF_MODE.items()
}

_ADD_NUMBERS = Many(
    """
    WITH counted (id, live, test) AS (VALUES {rows})
    UPDATE tenants SET live_events = live_events + counted.live, test_events = test_events + counted.test
    FROM counted WHERE tenants.id = counted.id
    """,
    "id",
    "live",
    "test",
    whole=("live", "test"),
)


def _numbering(column: Column[int], webhooks: Column[int]) -> Prepared:
    """Returns the statement that draws a number and inserts its event: one trip, on PostgreSQL alone."""
    drawn = (
        update(tenants)
        .where(tenants.c.id == bindparam("of_tenant"))
        .values({column: column + 1})
        .returning(column.label("number"), webhooks.label("webhooks"))
        .cte("drawn")
    )
    names = [name for name in _EVENT_COLUMNS if name != "number"]
    given = (bindparam(name, type_=generation_events.c[name].type) for name in names)
    inserted = insert(generation_events).from_select([*names, "number"], select(*given, drawn.c.number))
    return Prepared(
        inserted.returning(generation_events.c.number, select(drawn.c.webhooks).scalar_subquery())
    )


_NUMBER_AND_INSERT = {mode: _numbering(*columns) for mode, columns in _OF_MODE.items()}
_ENDPOINTS_BETWEEN = Prepared(
    select(
        endpoint_events.c.endpoint_id,
        endpoint_events.c.state,
        endpoint_events.c.reason,
        endpoint_events.c.at_ms,
        endpoint_events.c.number,
    )
    .where(
        endpoint_events.c.tenant_id == bindparam("tenant"),
        endpoint_events.c.mode == bindparam("of_mode"),
        endpoint_events.c.number > bindparam("after"),
        endpoint_events.c.number < bindparam("before"),
    )
    .order_by(endpoint_events.c.number)
)
_OF_ASSETS = select(
    asset_events.c.asset_id,
    asset_events.c.generation_id,
    asset_events.c.state,
    asset_events.c.reason,
    asset_events.c.at_ms,
    asset_events.c.number,
)
_ASSETS_BETWEEN = Prepared(
    _OF_ASSETS.where(
        asset_events.c.tenant_id == bindparam("tenant"),
        asset_events.c.mode == bindparam("of_mode"),
        asset_events.c.number > bindparam("after"),
        asset_events.c.number < bindparam("before"),
    ).order_by(asset_events.c.number)
)
_INSERT_ASSET = inserting(asset_events, *asset_events.c.keys())
_EVENT = Prepared(
    select(
        generation_events.c.state,
        generation_events.c.at_ms,
        generation_events.c.reason,
        generation_events.c.number,
    ).where(
        generation_events.c.generation_id == bindparam("of_id"),
        generation_events.c.version == bindparam("of_version"),
    )
)
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


class Appended(NamedTuple):
    """The number of an event, and which webhook endpoints its tenant has in its mode: 0 stands for none."""

    number: int
    webhooks: int


def keep_numbers(connection: Connection, of: Iterable[LockedTenant]) -> None:
    """Keeps the numbers of the last events of tenants, for functions that share what they know."""
    known = kept(connection)
    if known is not None:
        for one in of:
            known["events", one.id, "live"] = Appended(one.live_events, one.live_webhooks)
            known["events", one.id, "test"] = Appended(one.test_events, one.test_webhooks)


def append(connection: Connection, generation: Generation, *, at_ms: int, reason: str) -> Appended:
    """Appends an event with the generation's present state, and announces it after the commit.

    It updates, and so locks, the tenant's row until the commit: nobody can read an event number while a lower
    one is still uncommitted. Where functions share what they know, the first draws its number from the row,
    and the others count on from it.
    """
    known, place = kept(connection), ("events", generation.tenant_id, generation.mode)
    last: Appended | None = None if known is None else known.get(place)
    event = {
        "generation_id": generation.id,
        "version": generation.version,
        "state": generation.state.value,
        "at_ms": at_ms,
        "reason": reason,
        "tenant_id": generation.tenant_id,
        "mode": generation.mode,
    }
    if known is None:
        appended = _append_now(connection, generation, event)
    else:
        if last is None:
            of_tenant = {"of_tenant": generation.tenant_id}
            appended = Appended(*_NEXT_NUMBER[generation.mode].one(connection, of_tenant))
        else:
            appended = Appended(last.number + 1, last.webhooks)
        is_counted_on = last is not None
        write_later(connection, _write_events, ((*event.values(), appended.number), is_counted_on))
        known[place] = appended
    change = Announcement(generation.tenant_id, generation.mode, generation.id, generation.state)
    count(connection, (generation.mode, generation.model_id, generation.state.value))
    announce(connection, change)
    return appended


def _append_now(connection: Connection, generation: Generation, event: dict[str, Any]) -> Appended:
    """Draws the next number from the tenant's row, and inserts the event with it."""
    of_tenant = {"of_tenant": generation.tenant_id}
    if connection.dialect.name == "postgresql":
        return Appended(*_NUMBER_AND_INSERT[generation.mode].one(connection, event | of_tenant))
    appended = Appended(*_NEXT_NUMBER[generation.mode].one(connection, of_tenant))
    _INSERT_EVENT.run(connection, event | {"number": appended.number})
    return appended


def _write_events(connection: Connection, events: Sequence[tuple[tuple[Any, ...], bool]]) -> None:
    """Inserts events, and stores in their tenants' rows how many of their numbers were counted on."""
    count = Counter(row[5:7] for row, is_counted_on in events if is_counted_on)
    ids = dict.fromkeys(tenant_id for tenant_id, _ in count)
    _ADD_NUMBERS.match(connection, [(one, count[one, "live"], count[one, "test"]) for one in ids])
    inserting_many(generation_events, *_EVENT_COLUMNS).run(connection, [row for row, _ in events])


def _draw(connection: Connection, tenant_id: str, mode: str) -> Appended:
    """Draws the number of an event of another kind from the tenant's row."""
    if (known := kept(connection)) is not None and known.pop(("events", tenant_id, mode), None) is not None:
        write_deferred(connection)
    return Appended(*_NEXT_NUMBER[mode].one(connection, {"of_tenant": tenant_id}))


def append_threshold(
    connection: Connection, owner: Owner, crossing: Crossing, *, at_ms: int
) -> Appended | None:
    """Appends the event of a threshold that a submit crosses; returns None where this window has it already.

    The caller holds the lock on the tenant's row, and then appends the submit's own event; one announcement
    tells of both.
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
        return None
    appended = _draw(connection, owner.tenant_id, owner.mode)
    more = {"amount": crossing.amount, "used": crossing.used, "at_ms": at_ms, "number": appended.number}
    connection.execute(threshold_events.insert(), key | more)
    return appended


def append_stopped(connection: Connection, stopped: Stopped) -> None:
    """Appends the event of a webhook endpoint that was disabled, and announces it after the commit."""
    appended = _draw(connection, stopped.tenant_id, stopped.mode)
    connection.execute(
        endpoint_events.insert(),
        {
            "tenant_id": stopped.tenant_id,
            "mode": stopped.mode,
            "number": appended.number,
            "endpoint_id": stopped.endpoint_id,
            "state": stopped.state,
            "reason": stopped.reason,
            "at_ms": stopped.at_ms,
        },
    )
    announce(connection, Announcement(stopped.tenant_id, stopped.mode, stopped.endpoint_id, stopped.state))


def append_asset(connection: Connection, asset: Asset, reason: str, *, at_ms: int) -> AssetEvent:
    """Appends the event of an asset's end, and announces it after the commit as a change of its request."""
    appended = _draw(connection, asset.tenant_id, asset.mode)
    event = AssetEvent(
        asset_id=asset.id,
        generation_id=asset.generation_id,
        state=asset.state,
        reason=reason,
        at_ms=at_ms,
        number=appended.number,
    )
    _INSERT_ASSET.run(
        connection,
        {
            "tenant_id": asset.tenant_id,
            "mode": asset.mode,
            "number": event.number,
            "asset_id": event.asset_id,
            "generation_id": event.generation_id,
            "state": event.state.value,
            "reason": event.reason,
            "at_ms": event.at_ms,
        },
    )
    change = Announcement(asset.tenant_id, asset.mode, asset.generation_id, f"asset_{asset.state}")
    announce(connection, change)
    return event


def of_generation(connection: Connection, generation_id: str) -> list[Event]:
    """Returns all events of a generation, in order."""
    query = (
        select(generation_events)
        .where(generation_events.c.generation_id == generation_id)
        .order_by(generation_events.c.version)
    )
    return [_event_of(row) for row in connection.execute(query)]


AnyEvent = Event | ThresholdEvent | EndpointEvent | AssetEvent
"""An event of whatever kind: each kind has a table, and all share the numbers of a tenant and mode."""


def after(connection: Connection, tenant_id: str, mode: Mode, number: int, *, limit: int) -> list[AnyEvent]:
    """Returns events of a tenant and mode whose number is greater than `number`, in order and without a gap.

    Those of requests are at most `limit`; the others are what lies between them, and right behind the last
    one: the event of the submit that crossed a threshold has the next number.
    """
    rows = connection.execute(
        _EVENTS_AFTER, {"tenant": tenant_id, "of_mode": mode, "after": number, "most": limit}
    )
    found: list[AnyEvent] = [_event_of(row) for row in rows]
    last = found[-1].number if found else number
    if last != number + len(found):
        place = {"tenant": tenant_id, "of_mode": mode, "after": number, "before": last}
        found += map(_threshold_of, connection.execute(_THRESHOLDS_BETWEEN, place))
        found += _by_themselves(connection, place)
        found.sort(key=lambda one: one.number)
    behind = {"tenant": tenant_id, "of_mode": mode, "after": last, "before": last + limit}
    for one in _by_themselves(connection, behind):
        if one.number != last + 1:  # what lies between was committed after the first statement
            break
        found.append(one)
        last = one.number
    return found


def _by_themselves(connection: Connection, place: dict[str, Any]) -> "list[EndpointEvent | AssetEvent]":
    """Returns the events between two numbers that no event of a request follows, in order."""
    found: list[EndpointEvent | AssetEvent] = [
        *map(_endpoint_event_of, _ENDPOINTS_BETWEEN.all(connection, place)),
        *map(_asset_event_of, _ASSETS_BETWEEN.all(connection, place)),
    ]
    return sorted(found, key=lambda one: one.number)


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


def of_version(connection: Connection, generation_id: str, version: int) -> Event | None:
    """Returns the event that made this version of a generation; None where there is none."""
    write_deferred(connection)
    row = _EVENT.one_or_none(connection, {"of_id": generation_id, "of_version": version})
    if row is None:
        return None
    state, at_ms, reason, number = row
    return Event(
        generation_id=generation_id,
        version=version,
        state=State(state),
        at_ms=at_ms,
        reason=reason,
        number=number,
    )


def asset_at(connection: Connection, owner: Owner, number: int) -> AssetEvent | None:
    """Returns the end of a copy with this number; None where that event is another one."""
    place = {"tenant": owner.tenant_id, "of_mode": owner.mode, "after": number - 1, "before": number + 1}
    row = _ASSETS_BETWEEN.one_or_none(connection, place)
    return None if row is None else _asset_event_of(row)


def threshold_at(connection: Connection, owner: Owner, number: int) -> ThresholdEvent | None:
    """Returns the crossed threshold with this number; None where that event is another one."""
    place = {"tenant": owner.tenant_id, "of_mode": owner.mode, "after": number - 1, "before": number + 1}
    row = connection.execute(_THRESHOLDS_BETWEEN, place).one_or_none()
    return None if row is None else _threshold_of(row)


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


def _endpoint_event_of(row: Sequence[Any]) -> EndpointEvent:
    endpoint_id, state, reason, at_ms, number = row
    return EndpointEvent(endpoint_id=endpoint_id, state=state, reason=reason, at_ms=at_ms, number=number)


def _asset_event_of(row: Sequence[Any]) -> AssetEvent:
    asset_id, generation_id, state, reason, at_ms, number = row
    return AssetEvent(
        asset_id=asset_id,
        generation_id=generation_id,
        state=AssetState(state),
        reason=reason,
        at_ms=at_ms,
        number=number,
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
