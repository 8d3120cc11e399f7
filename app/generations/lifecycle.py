"""The states of a generation, the moves between them, and the words in which callers see them. Pure.

```
accepted ◄─► dispatching ──► in_queue ──► in_progress ──► completed | failed
    │             │             └────────────────────────► cancelled | lost
    │             ├──► rejected      refused upstream with a complete answer, or never sent
    │             └──► unknown ──► in_queue … (late evidence) | lost (closed by policy)
    └──► cancelled | expired           while it waits here
```
"""

from enum import StrEnum


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


_FOLLOWED = frozenset({State.IN_PROGRESS, State.COMPLETED, State.FAILED, State.CANCELLED, State.LOST})

MOVES: dict[State, frozenset[State]] = {
    State.ACCEPTED: frozenset({State.DISPATCHING, State.CANCELLED, State.EXPIRED}),
    State.DISPATCHING: frozenset({State.ACCEPTED, State.IN_QUEUE, State.REJECTED, State.UNKNOWN}),
    State.IN_QUEUE: _FOLLOWED,
    # RunComfy cancels only queued jobs, but a cancel may win before our next look at the job.
    State.IN_PROGRESS: _FOLLOWED - {State.IN_PROGRESS},
    State.UNKNOWN: frozenset({State.IN_QUEUE, State.REJECTED, State.LOST}),
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.REJECTED: frozenset(),
    State.EXPIRED: frozenset(),
    State.LOST: frozenset(),
}

TERMINAL = frozenset(state for state, moves in MOVES.items() if not moves)
FOLLOWABLE = frozenset({State.IN_QUEUE, State.IN_PROGRESS})
"""Live, with an upstream id to ask about."""
IN_FLIGHT = (State.DISPATCHING, State.IN_QUEUE, State.IN_PROGRESS, State.UNKNOWN)
"""What takes one of the places at the upstream; the unknown do for a while. In the order of the index."""


def sources(to: State) -> frozenset[State]:
    """The states from which `to` may be reached."""
    return frozenset(state for state, moves in MOVES.items() if to in moves)


# RunComfy's own words: some clients abort on any other. An unknown job may be running, and cannot be
# cancelled, so it is shown as in progress; what ended without a video is finished, and its result failed.
STATUS_NAMES: dict[State, str] = {
    State.ACCEPTED: "in_queue",
    State.DISPATCHING: "in_queue",
    State.IN_QUEUE: "in_queue",
    State.IN_PROGRESS: "in_progress",
    State.UNKNOWN: "in_progress",
    State.COMPLETED: "completed",
    State.FAILED: "completed",
    State.REJECTED: "completed",
    State.LOST: "completed",
    State.CANCELLED: "cancelled",
    State.EXPIRED: "cancelled",
}
RESULT_NAMES: dict[State, str] = STATUS_NAMES | {
    State.COMPLETED: "succeeded",
    State.FAILED: "failed",
    State.REJECTED: "failed",
    State.LOST: "failed",
}
