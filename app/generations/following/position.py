"""Where a job that waits stands, and when it is likely to start: what callers are told of both queues."""

from dataclasses import dataclass, field, replace
from typing import Final

from sqlalchemy import Connection

from app.db.engine import Database
from app.generations import store
from app.generations.following.schedule import Durations
from app.generations.lifecycle import State
from app.generations.queue import rows as queue
from app.generations.queue.decide import SubmitPolicy
from app.generations.queue.rows import QueuePosition, QueueState
from app.generations.store import Generation
from app.kit.clock import Clock
from app.quotas import account
from app.quotas.account import Owner
from app.quotas.limits import Scope

_BELIEVED_MS: Final = 1_000  # what is read of all who wait serves everybody who asks meanwhile


@dataclass(frozen=True, slots=True)
class Positions:
    """Finds the places of those who wait."""

    db: Database
    clock: Clock
    durations: Durations
    policy: SubmitPolicy
    _states: dict[str, tuple[int, QueueState]] = field(default_factory=dict, init=False)

    async def placed(self, generation: Generation) -> Generation:
        """The generation with its place, where it waits.

        Its position is how many jobs go before it, as it stands now: those of this queue, and those of ours
        in RunComfy's.
        """
        if generation.state is not State.ACCEPTED:
            return generation
        now_ms = self.clock.now_ms()
        read_ms, state = self._states.get(generation.mode, (None, None))
        if read_ms is None or state is None or not 0 <= now_ms - read_ms < _BELIEVED_MS:
            state = await self.db.read(queue.queue_state, generation.mode)
            self._states[generation.mode] = now_ms, state
        position = await self.db.read(position_of, generation, state, self.policy, now_ms=now_ms)
        wait_ms = wait_of(position, state, self.durations.usual_ms(generation.model_id))
        return replace(
            generation,
            queue_position=position.ahead + state.upstream,
            starts_at_ms=None if wait_ms is None else now_ms + wait_ms,
        )


def position_of(
    connection: Connection, generation: Generation, state: QueueState, policy: SubmitPolicy, *, now_ms: int
) -> QueuePosition:
    """Where a generation waits in a line."""
    owner = Owner(generation.tenant_id, generation.mode)
    limits = account.in_flight_limits(connection, owner, policy.default_limits)
    limit = next((one.amount for one in limits if one.scope == Scope()), None)
    since_ms = now_ms - policy.unknown_slot_ms
    live = store.in_flight(connection, owner, unknown_since_ms=since_ms).get(Scope(), 0)
    return queue.position(connection, generation, state, limit, live)


def wait_of(position: QueuePosition, state: QueueState, usual_ms: float | None) -> int | None:
    """Milliseconds until a job is likely to start; None where nothing tells.

    A place is freed as often as the jobs in flight end: the usual time of one, shared by all that run. The
    tenant's own limit may be what keeps it longest.
    """
    if usual_ms is None or state.paused or not state.in_flight:
        return None
    wait_ms = usual_ms * (position.ahead + 1) / state.in_flight
    if position.limit is not None and position.in_flight:
        wait_ms = max(wait_ms, usual_ms * (position.before + 1) / position.in_flight)
    return int(wait_ms)
