"""The states of a generation, the legal moves between them, and their names in the API. Pure.

```
accepted ◄─► dispatching ──► in_queue ──► in_progress ──► completed | failed
    │             │             └────────────────────────► cancelled | lost
    │             ├──► rejected      refused by RunComfy with a complete answer, or never sent
    │             └──► unknown ──► in_queue … (late evidence) | lost (closed by policy)
    └──► cancelled | expired           while it is in the gateway's own queue
```
"""

from app.db.schema import states
from app.db.schema.states import State as State  # noqa: PLC0414 - the word is this module's, its text the table's

_FOLLOWED = frozenset({State.IN_PROGRESS, State.COMPLETED, State.FAILED, State.CANCELLED, State.LOST})

MOVES: dict[State, frozenset[State]] = {
    State.ACCEPTED: frozenset({State.DISPATCHING, State.CANCELLED, State.EXPIRED}),
    State.DISPATCHING: frozenset({State.ACCEPTED, State.IN_QUEUE, State.REJECTED, State.UNKNOWN}),
    State.IN_QUEUE: _FOLLOWED,
    # RunComfy cancels only queued jobs, but a cancel may still succeed of a job that our last poll saw
    # running.
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
FOLLOWABLE = frozenset(states.FOLLOWED)
"""States in which the job is live at RunComfy and has an upstream id to poll with."""
IN_FLIGHT = states.IN_FLIGHT
"""States that count against limits on generations in flight, in the order used by the partial index.

An `unknown` generation counts only for a limited time.
"""


SOURCES: dict[State, frozenset[State]] = {
    to: frozenset(state for state, moves in MOVES.items() if to in moves) for to in State
}
"""The states from which each state may be reached."""


# RunComfy's own status names, because some clients abort on any other. The job of an `unknown` generation may
# be running and cannot be cancelled, so it is shown as in progress. A generation that ended without a video
# has the status `completed`, and its result says that it failed.
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
