"""A queued generation's position, and when it is likely to start, over the gateway's queue and RunComfy's."""

from dataclasses import dataclass, field, replace
from typing import Final

from sqlalchemy import Connection

from app.db.engines.engine import Database
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

_CACHE_MS: Final = 1_000  # how long one reading of the whole queue serves all callers


@dataclass(frozen=True, slots=True)
class Positions:
    """Finds the positions of queued generations."""

    db: Database
    clock: Clock
    durations: Durations
    policy: SubmitPolicy
    _states: dict[str, tuple[int, QueueState]] = field(default_factory=dict, init=False)

    async def with_position(self, generation: Generation) -> Generation:
        """Returns the generation; one that is queued, with its position and its likely start.

        The position is the number of jobs ahead as of now: those in the gateway's queue, and our own in
        RunComfy's.
        """
        if generation.state is not State.ACCEPTED:
            return generation
        now_ms = self.clock.now_ms()
        read_ms, state = self._states.get(generation.mode, (None, None))
        if read_ms is None or state is None or not 0 <= now_ms - read_ms < _CACHE_MS:
            state = await self.db.read(queue.queue_state, generation.mode)
            self._states[generation.mode] = now_ms, state
        position = await self.db.read(position_of, generation, state, self.policy, now_ms=now_ms)
        wait_ms = estimated_wait_ms(position, state, self.durations.usual_ms(generation.model_id))
        return replace(
            generation,
            queue_position=position.ahead + state.upstream,
            starts_at_ms=None if wait_ms is None else now_ms + wait_ms,
        )


def position_of(
    connection: Connection, generation: Generation, state: QueueState, policy: SubmitPolicy, *, now_ms: int
) -> QueuePosition:
    """Returns a queued generation's position in the gateway's queue."""
    owner = Owner(generation.tenant_id, generation.mode)
    limits = account.in_flight_limits(connection, owner, policy.default_limits, now_ms=now_ms)
    limit = next((one.amount for one in limits if one.scope == Scope()), None)
    since_ms = now_ms - policy.unknown_slot_ms
    live = store.in_flight(connection, owner, unknown_since_ms=since_ms).get(Scope(), 0)
    return queue.position(connection, generation, state, limit, live)


def estimated_wait_ms(position: QueuePosition, state: QueueState, usual_ms: float | None) -> int | None:
    """Returns the milliseconds until a generation is likely to start; None where they cannot be estimated.

    That is where the usual duration is not known, dispatch is paused or nothing is in flight. Jobs in flight,
    each of which takes `usual_ms`, end at a rate of `in_flight / usual_ms`, and each that ends frees a slot.
    The same is worked out for the tenant's own limit, if it has one, and the longer wait counts.
    """
    if usual_ms is None or state.paused or not state.in_flight:
        return None
    wait_ms = usual_ms * (position.ahead + 1) / state.in_flight
    if position.limit is not None and position.in_flight:
        wait_ms = max(wait_ms, usual_ms * (position.before + 1) / position.in_flight)
    return int(wait_ms)
