"""One function owns every change of state, and a race for it has one winner."""

import asyncio
from itertools import pairwise, product

import pytest

from app.db.engines.engine import Database
from app.generations.advance import Patience, advance, apply_observation
from app.generations.lifecycle import MOVES, TERMINAL, State
from app.generations.store import Generation
from app.upstream.outcomes import Observation, Seen
from tests.rows import NOW_MS, add_generation, generation_in, generations_in, history_of, row_of

pytestmark = pytest.mark.anyio


async def test_advance_makes_every_documented_move_and_refuses_every_other(db: Database) -> None:
    pairs = list(product(State, State))
    made = await generations_in(
        db, [{"state": start, "lease_until_ms": NOW_MS + 1, "queueable": True} for start, _ in pairs]
    )
    for (start, to), generation in zip(pairs, made, strict=True):
        moved = await db.write(advance, generation.id, to, reason="test", now_ms=NOW_MS + 5)
        row = await row_of(db, generation.id)
        if to in MOVES[start]:
            assert moved == row, (start, to)
            assert (row.state, row.version, row.changed_at_ms) == (to, 2, NOW_MS + 5)
            assert row.lease_until_ms is None
            assert row.finished_at_ms == (NOW_MS + 5 if to in TERMINAL else None)
            assert (await history_of(db, row.id))[1:] == [(2, to, "test")]
        else:
            assert moved is None, (start, to)
            assert row == generation
            assert len(await history_of(db, row.id)) == 1


async def test_of_a_hundred_racers_one_wins(db: Database) -> None:
    generation = await generation_in(db, State.IN_QUEUE, upstream_request_id="u-1")
    wanted = [State.IN_PROGRESS, State.COMPLETED, State.FAILED, State.CANCELLED, State.LOST]
    outcomes = await asyncio.gather(
        *(
            db.write(
                advance,
                generation.id,
                wanted[racer % 5],
                reason=f"racer_{racer}",
                now_ms=NOW_MS + racer,
                only_from={State.IN_QUEUE},
            )
            for racer in range(100)
        )
    )
    winners = [one for one in outcomes if one is not None]
    assert len(winners) == 1
    row = await row_of(db, generation.id)
    assert winners == [row]
    history = await history_of(db, generation.id)
    assert [version for version, _, _ in history] == [1, 2]
    assert history[1][1] is row.state


async def test_any_number_of_racers_leave_a_history_without_gaps(db: Database) -> None:
    """Two steps are won at most; each version has exactly its one event, and the row is at the last."""
    made = await generations_in(
        db, [{"state": State.IN_QUEUE, "upstream_request_id": f"u-{number}"} for number in range(5)]
    )
    steps = [State.IN_PROGRESS, State.COMPLETED, State.CANCELLED, State.FAILED] * 5
    await asyncio.gather(
        *(db.write(advance, one.id, to, reason="race", now_ms=NOW_MS + 1) for to in steps for one in made)
    )
    for one in made:
        row = await row_of(db, one.id)
        history = await history_of(db, one.id)
        assert [version for version, _, _ in history] == list(range(1, row.version + 1))
        assert history[-1][1] is row.state
        assert row.state in TERMINAL
        for (_, before, _), (_, after, _) in pairwise(history):
            assert after in MOVES[before]


async def test_a_move_and_its_event_are_one_transaction(db: Database) -> None:
    generation = await generation_in(db, State.IN_QUEUE, upstream_request_id="u-1")

    def advance_then_fail(connection: object) -> None:
        assert advance(connection, generation.id, State.COMPLETED, reason="x", now_ms=NOW_MS)  # type: ignore[arg-type]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await db.write(advance_then_fail)
    assert (await row_of(db, generation.id)).state is State.IN_QUEUE
    assert len(await history_of(db, generation.id)) == 1


async def test_advance_of_nothing_is_nothing(db: Database) -> None:
    assert await db.write(advance, "no-such-id", State.LOST, reason="x", now_ms=NOW_MS) is None


OUTPUT = {"video": "https://x.runcomfy.net/y.mp4"}
LOOKS = {
    "in_queue": Observation(Seen.IN_QUEUE, queue_position=3),
    "in_progress": Observation(Seen.IN_PROGRESS),
    "finished": Observation(Seen.FINISHED),
    "succeeded": Observation(Seen.SUCCEEDED, output=OUTPUT, cost_usd=0.25),
    "failed": Observation(Seen.FAILED, error={"code": 7}),
    "cancelled": Observation(Seen.CANCELLED),
    "gone": Observation(Seen.GONE),
    "unusable": Observation(Seen.UNUSABLE),
    "timed_out": Observation(Seen.TIMED_OUT),
    "credential": Observation(Seen.CREDENTIAL_REFUSED),
}


async def _look(
    db: Database, generation_id: str, look: str, *, now_ms: int, grace_ms: int = 1000
) -> Generation:
    after = await db.write(
        apply_observation,
        generation_id,
        LOOKS[look],
        now_ms=now_ms,
        next_poll_at_ms=now_ms + 5000,
        patience=Patience(grace_ms, 10**9),
    )
    assert after is not None
    assert after == await row_of(db, generation_id)
    return after


async def test_a_look_moves_forward_or_not_at_all(db: Database) -> None:
    expected = {
        "in_progress": State.IN_PROGRESS,
        "succeeded": State.COMPLETED,
        "failed": State.FAILED,
        "cancelled": State.CANCELLED,
    }
    cases = list(product((State.IN_QUEUE, State.IN_PROGRESS), LOOKS))
    made = await generations_in(
        db,
        [{"state": start, "upstream_request_id": f"u-{number}"} for number, (start, _) in enumerate(cases)],
    )
    for (start, look), generation in zip(cases, made, strict=True):
        after = await _look(db, generation.id, look, now_ms=NOW_MS + 9)
        wanted = expected.get(look, start)
        assert after.state is wanted, (start, look)
        assert after.version == (1 if wanted is start else 2)
        assert after.polled_at_ms == NOW_MS + 9
        assert len(await history_of(db, generation.id)) == after.version


async def test_a_look_at_a_job_that_ended_changes_nothing(db: Database) -> None:
    cases = list(product(sorted(TERMINAL), LOOKS))
    made = await generations_in(
        db,
        [{"state": state, "upstream_request_id": f"u-{number}"} for number, (state, _) in enumerate(cases)],
    )
    for (_, look), generation in zip(cases, made, strict=True):
        before = await row_of(db, generation.id)
        assert await _look(db, generation.id, look, now_ms=NOW_MS + 9) == before


async def test_the_output_the_error_and_the_cost_are_kept(db: Database) -> None:
    good, bad = await generations_in(
        db, [{"state": State.IN_QUEUE, "upstream_request_id": one} for one in ("u-1", "u-2")]
    )
    after = await _look(db, good.id, "succeeded", now_ms=NOW_MS)
    assert (after.output, after.upstream_cost_usd) == (OUTPUT, "0.25")
    assert (await _look(db, bad.id, "failed", now_ms=NOW_MS)).error == {"code": 7}


async def test_a_job_is_lost_only_after_a_whole_grace_of_404s_and_one_sight_forgives(db: Database) -> None:
    generation = await generation_in(db, State.IN_QUEUE, upstream_request_id="u-1")
    assert (await _look(db, generation.id, "gone", now_ms=NOW_MS)).missing_since_ms == NOW_MS
    assert (await _look(db, generation.id, "gone", now_ms=NOW_MS + 999)).state is State.IN_QUEUE
    assert (await _look(db, generation.id, "in_queue", now_ms=NOW_MS + 1000)).missing_since_ms is None
    assert (await _look(db, generation.id, "gone", now_ms=NOW_MS + 5000)).state is State.IN_QUEUE
    for blind in ("timed_out", "unusable"):  # these tell nothing, in neither direction
        after = await _look(db, generation.id, blind, now_ms=NOW_MS + 5500)
        assert after.missing_since_ms == NOW_MS + 5000
    after = await _look(db, generation.id, "gone", now_ms=NOW_MS + 6000)
    assert (after.state, after.error["code"]) == (State.LOST, "lost")


async def test_fifty_observers_of_one_job_end_it_once(db: Database) -> None:
    generation = await generation_in(db, State.IN_QUEUE, upstream_request_id="u-1")
    looks = ["succeeded", "in_progress", "in_queue", "gone", "timed_out"] * 10
    await asyncio.gather(*(_look_quietly(db, generation.id, look) for look in looks))
    row = await row_of(db, generation.id)
    assert row.state is State.COMPLETED
    assert row.output == OUTPUT
    history = await history_of(db, generation.id)
    assert [version for version, _, _ in history] == list(range(1, row.version + 1))
    assert [state for _, state, _ in history].count(State.COMPLETED) == 1


async def _look_quietly(db: Database, generation_id: str, look: str) -> None:
    await db.write(
        apply_observation,
        generation_id,
        LOOKS[look],
        now_ms=NOW_MS,
        next_poll_at_ms=NOW_MS,
        patience=Patience(1_000_000, 10**9),
    )


async def test_the_first_event_is_written_with_the_row(db: Database) -> None:
    generation = await db.write(add_generation, State.DISPATCHING)
    assert await history_of(db, generation.id) == [(1, State.DISPATCHING, "submitted")]
