"""The rows of the queue in front of RunComfy: who is queued, with which position, and who is dequeued next.

A queued generation is in the state `accepted`. It has no credential, and a ticket: a number that orders its
tenant's queue. That queue is first in, first out, except that a generation which a limit of its own key or
model holds up lets others pass; between tenants the order is that of `fair`. Whoever changes a tenant's queue
must hold the lock on the tenant's row.
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
from app.db.engines.writer import commit_soon
from app.db.schema.states import QUEUED_WITH_DEADLINE, state_is
from app.db.schema.tables import credentials, generations, queues, tenants, turns
from app.db.statements.deferral import kept
from app.db.statements.prepared import Prepared
from app.errors import GATEWAY_QUEUE_FULL, QUEUE_FULL, Problem
from app.generations.lifecycle import IN_FLIGHT, State
from app.generations.queue.fair import Flow, ahead_of
from app.generations.store import Generation, generation_of, is_in

_RETRY_AFTER_S: Final = 5
_COUNTED: Final = 1_000  # jobs of its own tenant ahead of one are counted exactly up to this
_PAGE: Final = 200

# One statement for a tenant's first job in the queue and for all later ones.
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
_WAITS: ColumnElement[bool] = literal_column(state_is(State.ACCEPTED))
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
# A row that somebody is cancelling is skipped: the canceller needs the tenant's row, which is locked here, so
# waiting for it would be a deadlock.
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
# A tenant that is disabled or paused has nothing to send, and delays nobody.
_ANYBODY: Select[Any] = (
    select(literal_column("1"))
    .select_from(queues)
    .join(tenants, tenants.c.id == queues.c.tenant_id)
    .where(literal_column("queued > 0"), *_MAY_GO)
    .limit(1)
)
GATES: Final = "gates"
"""Under which functions that share what they know keep gates, which depend on whether anybody is queued."""
ANYBODY_OF = _ANYBODY.where(queues.c.mode == bindparam("of_mode"))
"""One row where anybody of a mode is queued who may be sent."""
_IS_OVERDUE: tuple[ColumnElement[bool], ...] = (
    literal_column(QUEUED_WITH_DEADLINE),
    generations.c.start_deadline_ms <= bindparam("now_ms"),
)
_DUE = Prepared(
    select(
        _ANYBODY.where(queues.c.mode == "live").scalar_subquery().label("live"),
        _ANYBODY.where(queues.c.mode == "test").scalar_subquery().label("test"),
        select(literal_column("1"))
        .select_from(generations)
        .where(*_IS_OVERDUE)
        .limit(1)
        .scalar_subquery()
        .label("overdue"),
    )
)
_OVERDUE = (
    select(generations.c.id)
    .where(*_IS_OVERDUE)
    .order_by(generations.c.start_deadline_ms)
    .limit(bindparam("most"))
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
    # The condition on the credential is redundant beside the mode, but it comes first in the index of
    # generations in flight.
    .where(
        generations.c.credential.in_(select(credentials.c.name)),
        generations.c.mode == bindparam("of_mode"),
        is_in(IN_FLIGHT),
    )
)


class QueueLimits(Protocol):
    """The maximum lengths of queues in one mode."""

    @property
    def max_queued_per_tenant(self) -> int:
        """The maximum for a tenant that has no number of its own."""

    @property
    def max_queued(self) -> int:
        """The maximum for all tenants together."""


@dataclass(frozen=True, slots=True)
class TenantQueue:
    """A tenant's queue in one mode.

    `queued` is its length, `max_queued` its maximum length, `weight` the tenant's weight. `paused` says
    whether dispatch is paused, of the mode or of the tenant.
    """

    queued: int
    max_queued: int
    weight: int
    paused: bool


def tenant_queue(connection: Connection, tenant_id: str, mode: Mode, limits: QueueLimits) -> TenantQueue:
    """Returns a tenant's queue as it stands. `room` gives the default maximum."""
    row = connection.execute(_WAITING_OF, {"tenant": tenant_id, "of_mode": mode}).one()
    max_queued = limits.max_queued_per_tenant if row.max_queued is None else row.max_queued
    return TenantQueue(row.queued or 0, max_queued, row.weight, row.paused_at_ms is not None)


def next_ticket(connection: Connection, tenant_id: str, mode: Mode) -> int:
    """Returns a ticket for a generation that is sent at once: its place in the queue, should it come back."""
    row = connection.execute(_TICKET, {"tenant": tenant_id, "mode": mode, "more": 0}).one()
    return int(row.tickets)


def join(connection: Connection, tenant_id: str, mode: Mode, limits: QueueLimits) -> int:
    """Queues a generation, and returns its ticket. The caller must hold the lock on the tenant's row.

    Raises:
        Problem: QUEUE_FULL, GATEWAY_QUEUE_FULL.

    """
    commit_soon(connection)
    _forget_gates(connection)
    connection.execute(_LOCK, {"of_mode": mode})  # concurrent joins of a mode run one after another
    in_all = connection.execute(_WAITING_IN_ALL, {"of_mode": mode}).scalar_one()
    max_queued = tenant_queue(connection, tenant_id, mode, limits).max_queued
    row = connection.execute(_TICKET, {"tenant": tenant_id, "mode": mode, "more": 1}).one()
    if row.queued > max_queued:
        raise Problem(
            QUEUE_FULL,
            f"Your tenant has {row.queued - 1} queued requests, and may not have more.",
            retry_after_s=_RETRY_AFTER_S,
        )
    if in_all >= limits.max_queued:
        raise Problem(
            GATEWAY_QUEUE_FULL,
            f"The gateway has {in_all} queued requests of all tenants, and accepts no more.",
            retry_after_s=_RETRY_AFTER_S,
        )
    return int(row.tickets)


def count_return(connection: Connection, generation: Generation) -> None:
    """Counts a generation that came back to the queue unsent. Its flow is not refunded the turn."""
    _forget_gates(connection)
    connection.execute(_CHANGE, _of(generation) | {"more": 1})


def count_leaving(connection: Connection, generation: Generation) -> None:
    """Counts a generation that left the queue, for whatever reason."""
    _forget_gates(connection)
    connection.execute(_CHANGE, _of(generation) | {"more": -1})


def _forget_gates(connection: Connection) -> None:
    (kept(connection) or {}).pop(GATES, None)


def charge_flow(connection: Connection, mode: Mode, flow: Flow) -> None:
    """Charges a flow for the generation that was dequeued, and moves the virtual time on."""
    commit_soon(connection)
    virtual = connection.execute(_LOCK, {"of_mode": mode}).one().virtual
    starts_at = flow.starts_at(virtual)
    of_queue = {"tenant": flow.tenant_id, "of_mode": mode}
    connection.execute(_SERVE, of_queue | {"to_tag": starts_at + flow.step})
    connection.execute(_MOVE_ON, {"of_mode": mode, "to_virtual": starts_at})


def flows_after(connection: Connection, mode: Mode, last: Flow | None = None) -> list[Flow]:
    """Returns a page of the flows that may be sent, in order of their turns, from the one after `last`.

    It is empty while the mode's dispatch is paused.
    """
    if connection.execute(_VIRTUAL, {"of_mode": mode}).one().paused_at_ms is not None:
        return []
    after = {"after_tag": -1, "after_tenant": ""}
    if last is not None:
        after = {"after_tag": last.tag, "after_tenant": last.tenant_id}
    return [_flow(row) for row in connection.execute(_PAGE_OF_FLOWS, {"of_mode": mode, **after})]


def flow_of(connection: Connection, tenant_id: str, mode: Mode) -> Flow | None:
    """Returns a tenant's flow as it stands; None where its queue is empty, or it is paused or disabled."""
    row = connection.execute(_FLOW_OF, {"tenant": tenant_id, "of_mode": mode}).one_or_none()
    return None if row is None or not row.queued else _flow(row)


def head(connection: Connection, tenant_id: str, mode: Mode, *, for_update: bool) -> Generation | None:
    """Returns the first of a tenant's queued generations, or None.

    With `for_update` its row is locked, and rows that another transaction has locked are skipped.
    """
    query = _HEAD_TO_TAKE if for_update else _HEAD
    row = connection.execute(query, {"tenant": tenant_id, "of_mode": mode}).one_or_none()
    return None if row is None else generation_of(row)


def heads(connection: Connection, tenant_id: str, mode: Mode, *, for_update: bool) -> list[Generation]:
    """Returns the first queued generation of each lane (key and model) of a tenant, ordered by ticket.

    It costs two statements per lane. With `for_update` the rows are locked, and rows that another transaction
    has locked are skipped.
    """
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
    """Sets the length of a tenant's queue to the number of its queued generations.

    A replica of a version without a queue may have cancelled some without counting them.
    """
    of_tenant = {"tenant": tenant_id, "of_mode": mode}
    tenant_queue = connection.execute(_COUNT_WAITING, of_tenant).scalar_one()
    connection.execute(update(queues).where(*_OF_QUEUE).values(queued=tenant_queue), of_tenant)


@dataclass(frozen=True, slots=True)
class Due:
    """The modes in which somebody is queued, and whether any queued generation is past its start deadline."""

    queued_modes: frozenset[Mode]
    overdue: bool


def due(connection: Connection, *, now_ms: int) -> Due:
    """Returns what there is for the dispatch loop to do."""
    live, test, overdue = (one is not None for one in _DUE.one(connection, {"now_ms": now_ms}))
    queued_modes: dict[Mode, bool] = {"live": live, "test": test}
    return Due(frozenset(mode for mode, anybody in queued_modes.items() if anybody), overdue)


def overdue(connection: Connection, *, now_ms: int, limit: int) -> list[str]:
    """Returns ids of queued generations past their start deadline, at most `limit`, the earliest first."""
    return list(connection.scalars(_OVERDUE, {"now_ms": now_ms, "most": limit}))


@dataclass(frozen=True, slots=True)
class QueueState:
    """Both queues of a mode at one moment.

    `flows` is the gateway's queue. `upstream` is how many of our jobs are in RunComfy's queue, `in_flight`
    how many are in flight altogether.
    """

    paused: bool
    virtual: int
    flows: tuple[Flow, ...]
    upstream: int
    in_flight: int


def queue_state(connection: Connection, mode: Mode) -> QueueState:
    """Returns the state of both queues of a mode."""
    virtual, paused_at_ms = connection.execute(_VIRTUAL, {"of_mode": mode}).one()
    found = tuple(_flow(row) for row in connection.execute(_FLOWS, {"of_mode": mode}))
    in_queue, furthest, in_flight = connection.execute(_AT_UPSTREAM, {"of_mode": mode}).one()
    upstream = max(in_queue, 0 if furthest is None else furthest + 1)
    return QueueState(paused_at_ms is not None, virtual, found, upstream, in_flight)


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """A generation's position in the gateway's queue.

    `before` counts the jobs of its own tenant that go first, `ahead` those of all tenants. `in_flight` and
    `limit` are its tenant's generations in flight and the limit on them, None where there is none.
    """

    before: int
    ahead: int
    in_flight: int
    limit: int | None


def position(
    connection: Connection, generation: Generation, state: QueueState, limit: int | None, live: int
) -> QueuePosition:
    """Returns a generation's position in the gateway's queue.

    `limit` is its tenant's limit on generations in flight, `live` how many there are.
    """
    row = connection.execute(_FLOW_OF_ANY, _of(generation)).one_or_none()
    if row is None or not row.queued:
        return QueuePosition(0, 0, live, limit)
    own = _flow(row)
    ticket = generation.ticket or 0
    before = connection.execute(
        _COUNT_BEFORE, _of(generation) | {"before": ticket, "most": _COUNTED}
    ).scalar_one()
    if before == _COUNTED:  # beyond the exact count: at most as many as tickets lie between
        first = connection.execute(_FIRST_TICKET, _of(generation)).scalar_one()
        before = max(before, min(ticket - first, own.queued - 1))
    others = [one for one in state.flows if one.tenant_id != own.tenant_id]
    return QueuePosition(before, ahead_of(own, before, others, state.virtual), live, limit)


def _of(generation: Generation) -> dict[str, Any]:
    return {"tenant": generation.tenant_id, "of_mode": generation.mode}


def _flow(row: Row[Any]) -> Flow:
    return Flow(row.tenant_id, row.tag, row.weight, row.queued)
