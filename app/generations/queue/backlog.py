"""The backlog, for the operator: each queue's length, age and share of dispatch; pausing and resuming it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, literal_column, select, update

from app.auth.keys import Mode
from app.db.schema.states import state_is
from app.db.schema.tables import generations, queues, tenants, turns
from app.generations.lifecycle import IN_FLIGHT, State
from app.generations.store import is_in


@dataclass(frozen=True, slots=True)
class Backlog:
    """A tenant's queue in one mode.

    `oldest_at_ms` is when the generation at its head was made, None where it is empty. `in_flight` counts the
    tenant's generations in flight, `served` the generations ever dequeued. Nothing of it is sent
    while its dispatch is `paused` or its tenant is `disabled`.
    """

    tenant: str
    mode: Mode
    weight: int
    queued: int
    oldest_at_ms: int | None
    in_flight: int
    served: int
    paused: bool
    disabled: bool

    @property
    def stopped(self) -> bool:
        """Whether nothing of it is sent, whatever waits."""
        return self.paused or self.disabled


def backlogs(connection: Connection) -> list[Backlog]:
    """Returns every queue, ordered by mode and by the tenant's name."""
    of_queue = and_(generations.c.tenant_id == queues.c.tenant_id, generations.c.mode == queues.c.mode)
    oldest = (
        select(generations.c.created_at_ms)
        .where(of_queue, literal_column(state_is(State.ACCEPTED)))
        .order_by(generations.c.ticket)
        .limit(1)
        .correlate(queues)
        .scalar_subquery()
    )
    in_flight = (
        select(func.count())
        .select_from(generations)
        .where(of_queue, is_in(IN_FLIGHT))
        .correlate(queues)
        .scalar_subquery()
    )
    query = (
        select(
            tenants.c.name,
            queues.c.mode,
            tenants.c.weight,
            queues.c.queued,
            oldest,
            in_flight,
            queues.c.served,
            tenants.c.dispatch_paused_at_ms.is_not(None),
            tenants.c.disabled_at_ms.is_not(None),
        )
        .join(tenants, tenants.c.id == queues.c.tenant_id)
        .order_by(queues.c.mode, tenants.c.name)
    )
    return [Backlog(*row) for row in connection.execute(query)]


def share(one: Backlog, all_of_them: Sequence[Backlog]) -> float:
    """Returns a tenant's share of what is dispatched, from 0 to 1, while the present queues last."""
    weights = sum(
        other.weight for other in all_of_them if other.mode == one.mode and other.queued and not other.stopped
    )
    return one.weight / weights if one.queued and not one.stopped else 0.0


def paused(connection: Connection) -> dict[Mode, int]:
    """Returns the modes whose dispatch is paused, and since when."""
    rows = connection.execute(select(turns.c.mode, turns.c.paused_at_ms).where(turns.c.paused_at_ms > 0))
    return {row.mode: row.paused_at_ms for row in rows}


def pause(connection: Connection, modes: Sequence[Mode], at_ms: int | None) -> None:
    """Pauses the dispatch of these modes at `at_ms`, or resumes it (None).

    A mode that is paused already keeps the time of its first pause.
    """
    query = update(turns).where(turns.c.mode.in_(modes))
    if at_ms is not None:
        query = query.where(turns.c.paused_at_ms.is_(None))
    connection.execute(query.values(paused_at_ms=at_ms))
