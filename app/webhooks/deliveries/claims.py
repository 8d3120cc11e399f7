"""Leasing deliveries: whoever has the lease on one sends it, and nobody else does.

What is due is found by endpoint: the first row of each, whatever waits behind it. So neither the million rows
of one endpoint nor one that answers nobody slows down the search for another one, and an endpoint or tenant
that has as many deliveries under way as it may is left out of the claim itself.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import Connection, bindparam, case, func, insert, literal_column, select, update

from app.auth.keys import Mode
from app.db.schema.tables import webhook_attempts, webhook_deliveries, webhook_endpoints
from app.db.schema.webhook_states import (
    IS_DELIVERING,
    IS_PENDING,
    Cause,
    DeliveryState,
    EndpointState,
)
from app.db.statements.many import Many
from app.db.statements.prepared import Prepared
from app.db.work_turn import has_turn
from app.kit import traces
from app.kit.traces import Link
from app.webhooks.deliveries.schedule import MAX_ATTEMPTS
from app.webhooks.messages.fan_out import STOPPED, fan_out, waiting_since
from app.webhooks.registry.secrets import Scheme

_Leased = tuple["Head", "_Row"]
_TURN: Final = "webhooks"
INTERRUPTED: Final = "interrupted"
"""The error of an attempt whose server died or was stopped before it knew the outcome."""
_MAX_CANCELLED: Final = 500
_MAX_FREED: Final = 200
_SLOW_MS: Final = 2_000
_D, _E = webhook_deliveries.c, webhook_endpoints.c
_PENDING: Final[Any] = literal_column(IS_PENDING)
_DELIVERING: Final[Any] = literal_column(IS_DELIVERING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """How many deliveries may be under way to one endpoint and for one tenant, on all servers together.

    For a tenant, as many again may be slow: under way for two seconds and more. So its endpoints that hang
    do not take the room of its others, and it never has more than twice its number.
    """

    per_endpoint: int
    per_tenant: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A delivery with the lease on it, and everything that sending it takes.

    `attempt` is the number of the attempt that is to be made. `body` is None where the message has none.
    `submitted` is the span of the request that it tells of, where traces are on.
    """

    id: str
    message_id: str
    endpoint_id: str
    tenant_id: str
    mode: Mode
    kind: str
    cause: Cause
    attempt: int
    created_at_ms: int
    lease_until_ms: int
    url: str
    scheme: Scheme
    secrets: tuple[str, ...] = field(repr=False)
    body: str | None = field(repr=False)
    submitted: Link | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The deliveries that were leased, and when the next one is due of those that wait; None: none does.

    What is due already, and waits for room, does not count. `again` says whether there is more to make or to
    cancel.
    """

    deliveries: Sequence[Claimed] = ()
    next_at_ms: int | None = None
    again: bool = False


@dataclass(slots=True, kw_only=True)
class Head:
    """An endpoint for which deliveries wait, and when the first of them is due."""

    endpoint_id: str
    tenant_id: str
    due_ms: int
    row: "_Endpoint"
    room: int = 0
    wanted: int = 0


def claim(
    connection: Connection, caps: Caps, *, limit: int, now_ms: int, lease_until_ms: int
) -> Claim | None:
    """Leases at most `limit` deliveries that are due, and cancels some of those that are not to be sent.

    Before that it makes those of new messages, also where none is to be leased.

    Where several tenants have deliveries that are due, those with the fewest under way come first, and each
    of their endpoints in turn. None is returned where another server claims at this moment.
    """
    if not has_turn(connection, _TURN):
        return None
    is_behind = fan_out(connection)
    if limit <= 0:
        return Claim(again=is_behind)
    of_endpoint: Counter[str] = Counter()
    of_tenant: Counter[str] = Counter()
    slow: Counter[str] = Counter()
    under_way = _UNDER_WAY.all(connection, {"slow_ms": lease_until_ms - _SLOW_MS})
    for endpoint_id, tenant_id, number, of_these_slow in under_way:
        of_endpoint[endpoint_id] += number
        of_tenant[tenant_id] += number - of_these_slow
        slow[tenant_id] += of_these_slow
    for tenant_id, number in slow.items():
        of_tenant[tenant_id] += max(0, number - caps.per_tenant)
    waiting = heads(connection)
    cancelled = sum(
        _cancel(connection, head.endpoint_id, now_ms=now_ms) for head in waiting if _is_stopped(head.row)
    )
    due, next_at_ms = _due(waiting, now_ms)
    for head in due:
        # One that fails is tried one at a time: a tenant's endpoints that hang must not take all of its room.
        at_once = caps.per_endpoint if head.row.failing_since_ms is None else 1
        head.room = at_once - of_endpoint[head.endpoint_id]
    leased = _lease(connection, _in_turns(due, of_tenant, caps, limit), now_ms, lease_until_ms)
    # Made before the endpoint was enabled again: they, and those behind them, are not to be sent.
    for head, row in [one for one in leased if one[1].created_at_ms < one[0].row.active_from_ms]:
        _CANCEL_ONE.run(connection, {"of_id": row.id, "now": now_ms, "why": STOPPED})
        leased.remove((head, row))
        before_ms = head.row.active_from_ms
        cancelled += 1 + _cancel(connection, head.endpoint_id, now_ms=now_ms, before_ms=before_ms)
    return Claim(
        deliveries=_with_bodies(connection, leased, lease_until_ms=lease_until_ms, now_ms=now_ms),
        next_at_ms=next_at_ms,
        again=cancelled > 0 or is_behind,
    )


_UNDER_WAY: Final = Prepared(
    select(
        _D.endpoint_id,
        _D.tenant_id,
        func.count(),
        func.sum(case((_D.lease_until_ms <= bindparam("slow_ms", type_=_D.lease_until_ms.type), 1), else_=0)),
    )
    .where(_DELIVERING)
    .group_by(_D.endpoint_id, _D.tenant_id)
)


def _pending_in(alias: str) -> Any:
    return literal_column(f"{alias}.{IS_PENDING}")


def _all_heads() -> Any:
    """Returns the statement that finds the first pending delivery of each endpoint that has one.

    It goes from one endpoint to the next in the index, so it takes as many steps as there are endpoints with
    deliveries that wait, however many these are.
    """
    one, other = webhook_deliveries.alias("first"), webhook_deliveries.alias("other")
    walked = (
        select(func.min(one.c.endpoint_id).label("endpoint_id"))
        .where(_pending_in("first"))
        .cte("walked", recursive=True)
    )
    following = (
        select(func.min(other.c.endpoint_id))
        .where(_pending_in("other"), other.c.endpoint_id > walked.c.endpoint_id)
        .scalar_subquery()
    )
    walked = walked.union_all(select(following).where(walked.c.endpoint_id.is_not(None)))
    due = webhook_deliveries.alias("due")
    first_due = (
        select(func.min(due.c.next_at_ms))
        .where(_pending_in("due"), due.c.endpoint_id == walked.c.endpoint_id)
        .scalar_subquery()
    )
    return (
        select(
            walked.c.endpoint_id.label("id"),
            first_due.label("due_ms"),
            *(_E[name] for name in _Endpoint._fields),
        )
        .join_from(walked, webhook_endpoints, _E.id == walked.c.endpoint_id)
        .where(walked.c.endpoint_id.is_not(None))
    )


class _Endpoint(NamedTuple):
    """What a claim has to know of an endpoint, by the names of its columns."""

    tenant_id: str
    mode: str
    url: str
    vendor_links: bool
    state: str
    signature: str
    secret: str
    previous_secret: str | None
    previous_until_ms: int | None
    failing_since_ms: int | None
    held_until_ms: int
    active_from_ms: int
    deleted_at_ms: int | None


_HEADS: Final = Prepared(_all_heads())
_FIRST_LEASE: Final = Prepared(select(func.min(_D.lease_until_ms)).where(_DELIVERING))


def heads(connection: Connection) -> list[Head]:
    """Returns each endpoint for which deliveries wait, in as many steps however many these are."""
    return [
        Head(endpoint_id=endpoint_id, tenant_id=row[0], due_ms=due_ms, row=_Endpoint(*row))
        for endpoint_id, due_ms, *row in _HEADS.all(connection, {})
    ]


def next_due(connection: Connection) -> int | None:
    """Returns when the next claim may find something to make, send, cancel or free; None: nothing waits."""
    made_at_ms = waiting_since(connection)
    if made_at_ms is not None:
        return made_at_ms
    moments = [
        0 if _is_stopped(head.row) else max(head.due_ms, head.row.held_until_ms)
        for head in heads(connection)
        if head.row.state != EndpointState.PAUSED or head.row.deleted_at_ms is not None
    ]
    (lease,) = _FIRST_LEASE.one(connection, {})
    return min((one for one in (*moments, lease) if one is not None), default=None)


def _due(heads: Sequence[Head], now_ms: int) -> tuple[list[Head], int | None]:
    """Returns the endpoints to which something may be sent now, and when the next one follows."""
    due, later = [], []
    for head in heads:
        if _is_stopped(head.row) or head.row.state == EndpointState.PAUSED:
            continue
        at_ms = max(head.due_ms, head.row.held_until_ms)
        if at_ms <= now_ms:
            due.append(head)
        else:
            later.append(at_ms)
    return due, min(later, default=None)


def _is_stopped(row: _Endpoint) -> bool:
    return row.deleted_at_ms is not None or row.state in {EndpointState.DISABLED, EndpointState.GONE}


def _in_turns(due: list[Head], under_way: Counter[str], caps: Caps, limit: int) -> list[Head]:
    """Decides how many deliveries each endpoint gets; returns those that get any.

    One at a time: of the tenant with the fewest under way, the endpoint with the fewest of these, which has
    waited for the longest.
    """
    by_tenant: dict[str, list[Head]] = defaultdict(list)
    for head in due:
        if head.room > 0:
            by_tenant[head.tenant_id].append(head)
    left = limit
    while left > 0 and by_tenant:
        tenant_id = min(by_tenant, key=lambda one: (under_way[one], by_tenant[one][0].due_ms))
        if under_way[tenant_id] >= caps.per_tenant:
            del by_tenant[tenant_id]
            continue
        head = min(by_tenant[tenant_id], key=lambda one: (one.wanted, one.due_ms))
        head.wanted += 1
        under_way[tenant_id] += 1
        left -= 1
        if head.wanted >= head.room:
            by_tenant[tenant_id].remove(head)
            if not by_tenant[tenant_id]:
                del by_tenant[tenant_id]
    return [head for head in due if head.wanted]


class _Row(NamedTuple):
    """A delivery that was leased."""

    id: str
    message_id: str
    endpoint_id: str
    tenant_id: str
    mode: Mode
    kind: str
    cause: str
    attempts: int
    created_at_ms: int


# Two statements: of one with both, PostgreSQL may read all rows that wait, where it has no statistics yet.
_FIRST: Final = Many(
    "{rows}",
    each="SELECT id FROM (SELECT id FROM webhook_deliveries"  # noqa: S608 - our own constants
    f" WHERE endpoint_id = {{}} AND {IS_PENDING} AND next_at_ms <= {{}}"
    " ORDER BY next_at_ms LIMIT {}) AS due",
    between=" UNION ALL ",
)
_LEASE: Final = Many(
    f"UPDATE webhook_deliveries SET state = '{DeliveryState.DELIVERING}', attempts = attempts + 1,"  # noqa: S608 - as above
    f" lease_until_ms = {{first}} WHERE id IN ({{rows}}) AND {IS_PENDING}"
    " RETURNING id, message_id, endpoint_id, tenant_id, mode, type, cause, attempts, created_at_ms",
    "id",
)


def _lease(connection: Connection, heads: Sequence[Head], now_ms: int, lease_until_ms: int) -> list[_Leased]:
    """Leases as many of each endpoint's first deliveries as it was given."""
    first = _FIRST.run(connection, [(head.endpoint_id, now_ms, head.wanted) for head in heads])
    of_id = {head.endpoint_id: head for head in heads}
    rows = (_Row(*row) for row in _LEASE.match(connection, first, lease_until_ms))
    return [(of_id[row.endpoint_id], row) for row in rows]


_CANCEL_ONE: Final = Prepared(
    update(webhook_deliveries)
    .where(_D.id == bindparam("of_id"))
    .values(
        state=literal_column(f"'{DeliveryState.CANCELLED}'"),
        last_error=bindparam("why"),
        finished_at_ms=bindparam("now"),
        lease_until_ms=None,
    )
)


_BODIES: Final = Many(
    "SELECT id, body, linked_body, generation_id FROM webhook_messages WHERE id IN ({rows})", "id"
)
_TRACES: Final = Many("SELECT id, trace_id FROM generations WHERE id IN ({rows})", "id")


def _with_bodies(
    connection: Connection,
    leased: Sequence[_Leased],
    *,
    lease_until_ms: int,
    now_ms: int,
) -> list[Claimed]:
    messages = sorted({row.message_id for _, row in leased})
    rows = _BODIES.match(connection, [(one,) for one in messages])
    bodies = {row[0]: row[1:] for row in rows}
    links = _links(connection, {row[3] for row in rows if row[3] is not None})
    claimed = []
    for head, row in leased:
        of_endpoint = head.row
        rotating = (of_endpoint.previous_until_ms or 0) > now_ms and of_endpoint.previous_secret
        plain, linked, generation_id = bodies.get(row.message_id, (None, None, None))
        claimed.append(
            Claimed(
                id=row.id,
                message_id=row.message_id,
                endpoint_id=head.endpoint_id,
                tenant_id=row.tenant_id,
                mode=row.mode,
                kind=row.kind,
                cause=Cause(row.cause),
                attempt=row.attempts,
                created_at_ms=row.created_at_ms,
                lease_until_ms=lease_until_ms,
                url=of_endpoint.url,
                scheme=cast("Scheme", of_endpoint.signature),
                secrets=(of_endpoint.secret, rotating) if rotating else (of_endpoint.secret,),
                body=(linked or plain) if of_endpoint.vendor_links else plain,
                submitted=links.get(generation_id),
            )
        )
    return claimed


def _links(connection: Connection, requests: Collection[str]) -> dict[str, Link]:
    """Returns the spans in which these requests were submitted, where traces are on."""
    if not traces.is_on():
        return {}
    found = _TRACES.match(connection, [(one,) for one in sorted(requests)])
    return {request_id: Link(trace_id, request_id) for request_id, trace_id in found}


def _cancel(connection: Connection, endpoint_id: str, *, now_ms: int, before_ms: int | None = None) -> int:
    """Cancels some of the deliveries that wait for an endpoint, and were made before; returns how many."""
    some = select(_D.id).where(_D.endpoint_id == endpoint_id, _PENDING).limit(_MAX_CANCELLED)
    if before_ms is not None:
        some = some.where(_D.created_at_ms < before_ms)
    cancelled = (
        update(webhook_deliveries)
        .where(_D.id.in_(some), _PENDING)
        .values(state=DeliveryState.CANCELLED, last_error=STOPPED, finished_at_ms=now_ms)
    )
    return connection.execute(cancelled).rowcount


def free(connection: Connection, *, now_ms: int) -> int:
    """Makes deliveries due whose lease has ended, as their server died; returns how many.

    The attempt counts: a delivery that ends its server would else be attempted for ever.
    """
    ended = select(_D.id, _D.attempts).where(_DELIVERING, _D.lease_until_ms < now_ms).limit(_MAX_FREED)
    freed = 0
    for row in connection.execute(ended).all():
        is_over = row.attempts >= MAX_ATTEMPTS
        changed = connection.execute(
            update(webhook_deliveries)
            .where(_D.id == row.id, _DELIVERING, _D.attempts == row.attempts)
            .values(
                state=DeliveryState.FAILED if is_over else DeliveryState.PENDING,
                next_at_ms=now_ms,
                lease_until_ms=None,
                last_at_ms=now_ms,
                last_status=None,
                last_error=INTERRUPTED,
                finished_at_ms=now_ms if is_over else None,
            )
        )
        if changed.rowcount:
            attempt = {"delivery_id": row.id, "n": row.attempts, "at_ms": now_ms, "ms": 0}
            connection.execute(insert(webhook_attempts).values(**attempt, error=INTERRUPTED))
            freed += 1
    return freed
