"""The queue in front of the upstream: who waits in it, for how many others, and who leaves it next.

A generation waits in the state `accepted`; it has a ticket of its tenant's and no credential. First come,
first served within a tenant, except that a job which a limit of its own key or model keeps back lets others
pass; between tenants as in `fair`. Whoever changes a tenant's queue holds the tenant's row.
"""

from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    select,
    text,
    tuple_,
    update,
)

from app.auth.keys import Mode
from app.db.tables import credentials, generations, queues, tenants, turns
from app.errors import GATEWAY_QUEUE_FULL, QUEUE_FULL, Problem
from app.generations.lifecycle import IN_FLIGHT, State
from app.generations.queue.fair import Flow, ahead_of
from app.generations.store import Generation, generation_of, is_in

_RETRY_AFTER_S: Final = 5
_COUNTED: Final = 1_000  # jobs of its own tenant before one are counted up to this
_PAGE: Final = 200

# In one statement, so that a tenant's first job and its next ones do the same.
_TICKET = text(
    """
    INSERT INTO queues (tenant_id, mode, queued, tickets, served, tag)
    VALUES (:tenant, :mode, :more, 1, 0, 0)
    ON CONFLICT (tenant_id, mode) DO UPDATE SET
        queued = queues.queued + :more, tickets = queues.tickets + 1
    RETURNING tickets, queued
    """
)
_OF_QUEUE = (queues.c.tenant_id == bindparam("tenant"), queues.c.mode == bindparam("of_mode"))
_CHANGE = update(queues).where(*_OF_QUEUE).values(queued=queues.c.queued + bindparam("more"))
_SERVE = update(queues).where(*_OF_QUEUE).values(tag=bindparam("to_tag"), served=queues.c.served + 1)
_WAITS: ColumnElement[bool] = literal_column("state = 'accepted'")
_OF_TENANT = (
    generations.c.tenant_id == bindparam("tenant"),
    generations.c.mode == bindparam("of_mode"),
    _WAITS,
)
_LANE = (generations.c.root_kid, generations.c.model_id)
_HEAD = select(generations).where(*_OF_TENANT).order_by(generations.c.ticket).limit(1)
_HEAD_OF_LANE = _HEAD.where(
    generations.c.root_kid == bindparam("of_kid"), generations.c.model_id == bindparam("of_model_id")
)
# A row that somebody is cancelling is passed over: whoever waited for it here would hold what that one needs.
_HEAD_TO_TAKE = _HEAD.with_for_update(skip_locked=True)
_HEAD_OF_LANE_TO_TAKE = _HEAD_OF_LANE.with_for_update(skip_locked=True)
_FIRST_LANE = select(*_LANE).where(*_OF_TENANT).order_by(*_LANE).limit(1)
_NEXT_LANE = _FIRST_LANE.where(tuple_(*_LANE) > tuple_(bindparam("after_kid"), bindparam("after_model_id")))
_FIRST_TICKET = select(func.min(generations.c.ticket)).where(*_OF_TENANT)
_BEFORE = (
    select(literal_column("1"))
    .where(*_OF_TENANT, generations.c.ticket < bindparam("before"))
    .limit(bindparam("most"))
    .subquery()
)
_COUNT_WAITING = select(func.count()).select_from(generations).where(*_OF_TENANT)
_COUNT_BEFORE = select(func.count()).select_from(_BEFORE)
_MAY_GO = (tenants.c.disabled_at_ms.is_(None), tenants.c.dispatch_paused_at_ms.is_(None))
_FLOW: Select[Any] = select(queues.c.tenant_id, queues.c.tag, tenants.c.weight, queues.c.queued).join(
    tenants, tenants.c.id == queues.c.tenant_id
)
_FLOWS = _FLOW.where(queues.c.mode == bindparam("of_mode"), literal_column("queued > 0"), *_MAY_GO).order_by(
    queues.c.tag, queues.c.tenant_id
)
_PAGE_OF_FLOWS = _FLOWS.where(
    tuple_(queues.c.tag, queues.c.tenant_id) > tuple_(bindparam("after_tag"), bindparam("after_tenant"))
).limit(_PAGE)
# Of whom something may be sent: whoever is disabled or paused keeps nobody waiting.
_ANYBODY: Select[Any] = (
    select(literal_column("1"))
    .select_from(queues)
    .join(tenants, tenants.c.id == queues.c.tenant_id)
    .where(literal_column("queued > 0"), *_MAY_GO)
    .limit(1)
)
_ANYBODY_OF = _ANYBODY.where(queues.c.mode == bindparam("of_mode"))
_IS_OVERDUE: tuple[ColumnElement[bool], ...] = (
    literal_column("state = 'accepted' AND start_deadline_ms IS NOT NULL"),
    generations.c.start_deadline_ms <= bindparam("now_ms"),
)
_DUE = select(
    _ANYBODY.where(queues.c.mode == "live").scalar_subquery().label("live"),
    _ANYBODY.where(queues.c.mode == "test").scalar_subquery().label("test"),
    select(literal_column("1"))
    .select_from(generations)
    .where(*_IS_OVERDUE)
    .limit(1)
    .scalar_subquery()
    .label("overdue"),
)
_OVERDUE = (
    select(generations.c.id)
    .where(*_IS_OVERDUE)
    .order_by(generations.c.start_deadline_ms)
    .limit(bindparam("most"))
)
_GATE = (
    select(
        func.coalesce(turns.c.paused_at_ms, tenants.c.dispatch_paused_at_ms),
        _ANYBODY_OF.correlate(None).scalar_subquery(),
    )
    .select_from(tenants.join(turns, turns.c.mode == bindparam("of_mode")))
    .where(tenants.c.id == bindparam("tenant"))
)
_FLOW_OF_ANY = _FLOW.where(*_OF_QUEUE)
_FLOW_OF = _FLOW_OF_ANY.where(*_MAY_GO)
_VIRTUAL = select(turns.c.virtual, turns.c.paused_at_ms).where(turns.c.mode == bindparam("of_mode"))
_LOCK = _VIRTUAL.with_for_update()
_MOVE_ON = (
    update(turns)
    .where(turns.c.mode == bindparam("of_mode"), turns.c.virtual < bindparam("to_virtual"))
    .values(virtual=bindparam("to_virtual"))
)
_WAITING_OF = (
    select(
        queues.c.queued,
        tenants.c.max_queued,
        tenants.c.weight,
        func.coalesce(turns.c.paused_at_ms, tenants.c.dispatch_paused_at_ms).label("paused_at_ms"),
    )
    .select_from(
        tenants.join(turns, turns.c.mode == bindparam("of_mode")).outerjoin(
            queues, and_(queues.c.tenant_id == tenants.c.id, queues.c.mode == turns.c.mode)
        )
    )
    .where(tenants.c.id == bindparam("tenant"))
)
_WAITING_IN_ALL = select(func.coalesce(func.sum(queues.c.queued), 0)).where(
    queues.c.mode == bindparam("of_mode"), literal_column("queued > 0")
)
_AT_UPSTREAM = (
    select(
        func.count().filter(generations.c.state == State.IN_QUEUE),
        func.max(generations.c.queue_position),
        func.count(),
    )
    .select_from(generations)
    # By credential, though the kind of key says it all: that is what the index of what is live begins with.
    .where(
        generations.c.credential.in_(select(credentials.c.name)),
        generations.c.mode == bindparam("of_mode"),
        is_in(IN_FLIGHT),
    )
)


class QueueLimits(Protocol):
    """How many jobs of a tenant that has no own number, and of all with that kind of key, may wait."""

    @property
    def max_queued_per_tenant(self) -> int:
        """Of a tenant."""

    @property
    def max_queued(self) -> int:
        """Of all."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether anything of a tenant's is sent at the moment, and whether anybody waits for that."""

    paused: bool
    anybody_queued: bool

    @property
    def shut(self) -> bool:
        """Whether a job that may wait does."""
        return self.paused or self.anybody_queued


def gate(connection: Connection, tenant_id: str, mode: Mode) -> Gate:
    """What a job that comes now finds."""
    paused_at_ms, waits = connection.execute(_GATE, {"of_mode": mode, "tenant": tenant_id}).one()
    return Gate(paused_at_ms is not None, waits is not None)


@dataclass(frozen=True, slots=True)
class TenantQueue:
    """A tenant's queue: how many jobs wait in it and may, its weight, and whether nothing is sent."""

    jobs: int
    most: int
    weight: int
    paused: bool


def tenant_queue(connection: Connection, tenant_id: str, mode: Mode, room: QueueLimits) -> TenantQueue:
    """A tenant's queue, as it stands."""
    row = connection.execute(_WAITING_OF, {"tenant": tenant_id, "of_mode": mode}).one()
    most = room.max_queued_per_tenant if row.max_queued is None else row.max_queued
    return TenantQueue(row.queued or 0, most, row.weight, row.paused_at_ms is not None)


def draw(connection: Connection, tenant_id: str, mode: Mode) -> int:
    """A ticket for a job that goes at once, in case that it comes back."""
    row = connection.execute(_TICKET, {"tenant": tenant_id, "mode": mode, "more": 0}).one()
    return int(row.tickets)


def join(connection: Connection, tenant_id: str, mode: Mode, room: QueueLimits) -> int:
    """A ticket for a job that waits from now on. The tenant must be held.

    Raises:
        Problem: QUEUE_FULL, GATEWAY_QUEUE_FULL.

    """
    connection.execute(_LOCK, {"of_mode": mode})  # others who join are counted before or after, not beside
    in_all = connection.execute(_WAITING_IN_ALL, {"of_mode": mode}).scalar_one()
    most = tenant_queue(connection, tenant_id, mode, room).most
    row = connection.execute(_TICKET, {"tenant": tenant_id, "mode": mode, "more": 1}).one()
    if row.queued > most:
        raise Problem(
            QUEUE_FULL,
            f"Your tenant has {row.queued - 1} requests that wait to be sent, and may not have more.",
            retry_after_s=_RETRY_AFTER_S,
        )
    if in_all >= room.max_queued:
        raise Problem(
            GATEWAY_QUEUE_FULL,
            f"{in_all} requests of all tenants wait to be sent, and there is room for no more.",
            retry_after_s=_RETRY_AFTER_S,
        )
    return int(row.tickets)


def entered(connection: Connection, generation: Generation) -> None:
    """Count a generation that came back unsent. Its tenant had its turn all the same."""
    connection.execute(_CHANGE, _of(generation) | {"more": 1})


def left(connection: Connection, generation: Generation) -> None:
    """Count a generation that waits no more, for whatever reason."""
    connection.execute(_CHANGE, _of(generation) | {"more": -1})


def serve(connection: Connection, mode: Mode, flow: Flow) -> None:
    """Charge a tenant for the job that was taken from its queue."""
    virtual = connection.execute(_LOCK, {"of_mode": mode}).one().virtual
    starts_at = flow.starts_at(virtual)
    of_queue = {"tenant": flow.tenant_id, "of_mode": mode}
    connection.execute(_SERVE, of_queue | {"to_tag": starts_at + flow.step})
    connection.execute(_MOVE_ON, {"of_mode": mode, "to_virtual": starts_at})


def flows_after(connection: Connection, mode: Mode, last: Flow | None = None) -> list[Flow]:
    """Some of the tenants whose jobs wait and may be sent, in turn, from the one after `last`."""
    if connection.execute(_VIRTUAL, {"of_mode": mode}).one().paused_at_ms is not None:
        return []
    after = {"after_tag": -1, "after_tenant": ""}
    if last is not None:
        after = {"after_tag": last.tag, "after_tenant": last.tenant_id}
    return [_flow(row) for row in connection.execute(_PAGE_OF_FLOWS, {"of_mode": mode, **after})]


def flow_of(connection: Connection, tenant_id: str, mode: Mode) -> Flow | None:
    """A tenant's turn as it stands; None where none of its jobs may be sent."""
    row = connection.execute(_FLOW_OF, {"tenant": tenant_id, "of_mode": mode}).one_or_none()
    return None if row is None or not row.queued else _flow(row)


def head(connection: Connection, tenant_id: str, mode: Mode, *, for_update: bool) -> Generation | None:
    """Which of a tenant's jobs came first; `to_take`, of those that nobody else works on."""
    query = _HEAD_TO_TAKE if for_update else _HEAD
    row = connection.execute(query, {"tenant": tenant_id, "of_mode": mode}).one_or_none()
    return None if row is None else generation_of(row)


def heads(connection: Connection, tenant_id: str, mode: Mode, *, for_update: bool) -> list[Generation]:
    """Which came first of each of a tenant's keys and models, in order: as many look-ups as these."""
    of_tenant = {"tenant": tenant_id, "of_mode": mode}
    query = _HEAD_OF_LANE_TO_TAKE if for_update else _HEAD_OF_LANE
    found = []
    lane = connection.execute(_FIRST_LANE, of_tenant).one_or_none()
    while lane is not None:
        of_lane = {"of_kid": lane.root_kid, "of_model_id": lane.model_id}
        row = connection.execute(query, of_tenant | of_lane).one_or_none()
        if row is not None:
            found.append(generation_of(row))
        after = {"after_kid": lane.root_kid, "after_model_id": lane.model_id}
        lane = connection.execute(_NEXT_LANE, of_tenant | after).one_or_none()
    return sorted(found, key=lambda one: one.ticket or 0)


def recount(connection: Connection, tenant_id: str, mode: Mode) -> None:
    """Count a tenant's jobs that wait anew: a server of a version without a queue may have cancelled some."""
    of_tenant = {"tenant": tenant_id, "of_mode": mode}
    tenant_queue = connection.execute(_COUNT_WAITING, of_tenant).scalar_one()
    connection.execute(update(queues).where(*_OF_QUEUE).values(queued=tenant_queue), of_tenant)


@dataclass(frozen=True, slots=True)
class Due:
    """With what kinds of key somebody waits, and whether somebody should have started by now."""

    waits: frozenset[Mode]
    overdue: bool


def due(connection: Connection, *, now_ms: int) -> Due:
    """Whether there is anything to do."""
    row = connection.execute(_DUE, {"now_ms": now_ms}).one()
    waits: dict[Mode, bool] = {"live": row.live is not None, "test": row.test is not None}
    return Due(frozenset(mode for mode, anybody in waits.items() if anybody), row.overdue is not None)


def overdue(connection: Connection, *, now_ms: int, limit: int) -> list[str]:
    """Ids of those that wait and should have started before now."""
    return list(connection.scalars(_OVERDUE, {"now_ms": now_ms, "most": limit}))


@dataclass(frozen=True, slots=True)
class QueueState:
    """Both queues of a kind of key at a moment: who waits here, and how many of our jobs wait at RunComfy.

    `in_flight` is how many it has altogether.
    """

    paused: bool
    virtual: int
    flows: tuple[Flow, ...]
    upstream: int
    in_flight: int


def queue_state(connection: Connection, mode: Mode) -> QueueState:
    """Both queues of a kind of key, as they stand."""
    virtual, paused_at_ms = connection.execute(_VIRTUAL, {"of_mode": mode}).one()
    found = tuple(_flow(row) for row in connection.execute(_FLOWS, {"of_mode": mode}))
    in_queue, furthest, in_flight = connection.execute(_AT_UPSTREAM, {"of_mode": mode}).one()
    upstream = max(in_queue, 0 if furthest is None else furthest + 1)
    return QueueState(paused_at_ms is not None, virtual, found, upstream, in_flight)


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """Where a generation waits: how many go before it, of its own tenant's and in all.

    `in_flight` and `limit` are its tenant's; None is no limit.
    """

    before: int
    ahead: int
    in_flight: int
    limit: int | None


def position(
    connection: Connection, generation: Generation, state: QueueState, limit: int | None, live: int
) -> QueuePosition:
    """Where a generation waits in a line. `limit` is of its tenant's in flight, `live` how many are."""
    row = connection.execute(_FLOW_OF_ANY, _of(generation)).one_or_none()
    if row is None or not row.queued:
        return QueuePosition(0, 0, live, limit)
    own = _flow(row)
    ticket = generation.ticket or 0
    before = connection.execute(
        _COUNT_BEFORE, _of(generation) | {"before": ticket, "most": _COUNTED}
    ).scalar_one()
    if before == _COUNTED:  # there may be many: at most as many as tickets lie between
        first = connection.execute(_FIRST_TICKET, _of(generation)).scalar_one()
        before = max(before, min(ticket - first, own.queued - 1))
    others = [one for one in state.flows if one.tenant_id != own.tenant_id]
    return QueuePosition(before, ahead_of(own, before, others, state.virtual), live, limit)


def _of(generation: Generation) -> dict[str, Any]:
    return {"tenant": generation.tenant_id, "of_mode": generation.mode}


def _flow(row: Row[Any]) -> Flow:
    return Flow(row.tenant_id, row.tag, row.weight, row.queued)
