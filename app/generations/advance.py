"""The one function that changes a generation's state, and what an observation changes."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, update

from app.db.tables import generations
from app.generations import store
from app.generations.lifecycle import TERMINAL, State, sources
from app.generations.store import Event, Generation
from app.kit.strict_json import to_column
from app.quotas import ledger
from app.upstream.outcomes import BLIND, Observation, Seen

_SWAP = (
    update(generations)
    .where(
        generations.c.id == bindparam("of_id"),
        generations.c.state.in_(bindparam("from_states", expanding=True)),
    )
    .values(version=generations.c.version + 1)
    .returning(generations)
)
_SET_CHARGE = update(generations).where(generations.c.id == bindparam("of_id"))
_JSON = frozenset({"output", "error", "evidence"})


def advance(
    connection: Connection,
    generation_id: str,
    to: State,
    /,
    *,
    reason: str,
    now_ms: int,
    only_from: Collection[State] | None = None,
    spent: bool | None = None,
    **changes: Any,
) -> Generation | None:
    """Move a generation to a state, if the lifecycle allows it from where it is now.

    A compare-and-swap: None means that somebody else was first, or that there is nothing to move from;
    both are legal answers. In the same transaction the version grows by one, the event is appended, and a
    hold that this state ends is settled or given back: as the generation's own terms say, or as `spent`
    does. `changes` are columns to set with it; `only_from` narrows the states to start from.
    """
    allowed = sources(to) if only_from is None else sources(to) & frozenset(only_from)
    values = {name: to_column(value) if name in _JSON else value for name, value in changes.items()}
    if to in TERMINAL:
        values |= {"finished_at_ms": now_ms, "queue_position": None}
    values |= {"state": to, "changed_at_ms": now_ms, "lease_until_ms": None, "stale_reason": None}
    row = connection.execute(
        _SWAP, {"of_id": generation_id, "from_states": sorted(allowed), **values}
    ).one_or_none()
    if row is None:
        return None
    generation = store.generation_of(row)
    store.add_event(connection, generation_id, Event(generation.version, to, now_ms, reason))
    return _end_hold(connection, generation, spent=spent, now_ms=now_ms)


def _end_hold(
    connection: Connection, generation: Generation, *, spent: bool | None, now_ms: int
) -> Generation:
    """Settle or refund what is held for a generation, if its new state ends that."""
    settles = generation.state in (generation.settles_in or "").split(",")
    hold = generation.hold
    if hold is None or not (settles or generation.terminal):
        return generation
    charge = ledger.end(connection, hold, spent=settles if spent is None else spent, now_ms=now_ms)
    connection.execute(_SET_CHARGE, {"of_id": generation.id, "charge": charge})
    return replace(generation, charge=charge)


def apply_observation(
    connection: Connection,
    generation_id: str,
    observation: Observation,
    *,
    now_ms: int,
    missing_grace_ms: int,
) -> Generation | None:
    """Record one look at a job: a step forward where there is one, else that we looked.

    Never a step back: what the row says after it is returned; None when there is no such row.
    """
    generation = store.find(connection, generation_id, None)
    if generation is None or not generation.followable:
        return generation
    move = _move(generation, observation, now_ms, missing_grace_ms)
    if move is None:
        _note(connection, generation, observation, now_ms)
        return store.find(connection, generation_id, None)
    to, changes = move
    changed = advance(
        connection,
        generation_id,
        to,
        reason=f"upstream_{observation.seen}",
        now_ms=now_ms,
        polled_at_ms=now_ms,
        **changes,
    )
    return changed or store.find(connection, generation_id, None)


def _move(
    generation: Generation, observation: Observation, now_ms: int, missing_grace_ms: int
) -> tuple[State, dict[str, Any]] | None:
    """The state that an observation leads to, with what to store; None when it stays where it is."""
    cost = {} if observation.cost_usd is None else {"upstream_cost_usd": str(observation.cost_usd)}
    match observation.seen:
        case Seen.IN_PROGRESS if generation.state is State.IN_QUEUE:
            return State.IN_PROGRESS, {
                "queue_position": None,
                "started_at_ms": now_ms,
                "missing_since_ms": None,
            }
        case Seen.SUCCEEDED:
            return State.COMPLETED, {"output": observation.output, **cost}
        case Seen.FAILED:
            return State.FAILED, {"error": observation.error, **cost}
        case Seen.CANCELLED:
            return State.CANCELLED, {}
        case Seen.GONE if now_ms - (generation.missing_since_ms or now_ms) >= missing_grace_ms:
            error = {
                "code": "lost",
                "message": "RunComfy no longer knows this request, so its result cannot be had.",
            }
            return State.LOST, {"error": error}
        case _:
            return None


def _note(connection: Connection, generation: Generation, observation: Observation, now_ms: int) -> None:
    gone = observation.seen is Seen.GONE
    if observation.seen is Seen.IN_QUEUE and generation.state is State.IN_QUEUE:
        queue_position = observation.queue_position
    else:
        queue_position = generation.queue_position
    seen_again = observation.seen in {Seen.IN_QUEUE, Seen.IN_PROGRESS, Seen.FINISHED}
    store.touch(
        connection,
        generation.id,
        now_ms=now_ms,
        queue_position=queue_position,
        missing_since_ms=(generation.missing_since_ms or now_ms)
        if gone
        else (None if seen_again else generation.missing_since_ms),
        stale_reason=f"upstream_{observation.seen}" if observation.seen in BLIND else None,
    )
