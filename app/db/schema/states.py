"""The states of a generation, and the conditions on them that SQL spells out. Pure.

Partial indexes and the statements that use them have to say a state as text: a planner cannot tell what a
parameter will be. That text is made here, so that both sides always say the same. What the states mean is
`generations.lifecycle`'s.
"""

from collections.abc import Collection
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a generation is."""

    ACCEPTED = "accepted"
    DISPATCHING = "dispatching"
    IN_QUEUE = "in_queue"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    LOST = "lost"


FOLLOWED: Final = (State.IN_QUEUE, State.IN_PROGRESS)
"""Live, with an upstream id to ask about."""
IN_FLIGHT: Final = (State.DISPATCHING, State.IN_QUEUE, State.IN_PROGRESS, State.UNKNOWN)
"""What takes one of the places at the upstream; the unknown do for a while."""
UNFINISHED: Final = (State.ACCEPTED, *IN_FLIGHT)
"""What has not ended."""


def state_is(state: State) -> str:
    """The SQL condition that the column `state` is this one."""
    return spelled_in("state", (state,))


def state_in(states: Collection[State]) -> str:
    """The SQL condition that the column `state` is one of these, in their order."""
    return spelled_in("state", states)


def spelled_in(column: str, values: Collection[StrEnum]) -> str:
    """The SQL condition that a column is one of these, in their order."""
    names = [f"'{value}'" for value in values]
    return f"{column} = {names[0]}" if len(names) == 1 else f"{column} IN ({', '.join(names)})"


QUEUED_WITH_DEADLINE: Final = f"{state_is(State.ACCEPTED)} AND start_deadline_ms IS NOT NULL"
"""The SQL condition of what waits here and is cancelled when it has waited for too long."""
