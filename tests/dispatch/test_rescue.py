"""Submits whose server died, and evidence that comes late or does not add up."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from app.db.engines.engine import Database, open_database
from app.generations.dispatch import rescue
from app.generations.dispatch.dispatcher import Dispatcher
from app.generations.dispatch.references import ReferenceResolver
from app.generations.dispatch.rescue import Rescuer
from app.generations.dispatch.spool import Spool
from app.generations.lifecycle import TERMINAL, State
from app.generations.queue.decide import SubmitPolicy
from app.generations.store import Generation
from app.upstream.client import Upstream
from app.upstream.credentials import Pool
from app.upstream.outcomes import Exchange, Outcome, Sent, Verdict
from tests.harness import FakeClock
from tests.rows import NOW_MS, generation_in, generations_in, history_of, row_of

pytestmark = pytest.mark.anyio


class _NoFiles(ReferenceResolver):
    """Nothing is sent here."""

    def __init__(self) -> None:
        pass


NO_FILES = _NoFiles()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW_MS)


async def _record(db: Database, generation: Generation, outcome: Outcome) -> Generation:
    """Tx 2 as a submit does it."""
    exchange = Exchange(Sent.BODY, 200, {}, b"what it said", complete=True)
    clock = FakeClock(NOW_MS + 10)
    with TemporaryDirectory() as folder:
        dispatcher = Dispatcher(
            db=db,
            clock=clock,
            pool=Pool(clock, ()),
            policy=SubmitPolicy(),
            spool=Spool(Path(folder) / "spool.jsonl"),
            references=NO_FILES,
        )
        async with Upstream(base_url="http://x", token="a-token", read_deadline_s=1) as upstream:
            return await dispatcher.record(generation, upstream, outcome, exchange)


def accepted(upstream_request_id: str) -> Outcome:
    return Outcome(Verdict.ACCEPTED, "accepted", upstream_request_id=upstream_request_id)


async def test_only_submits_whose_lease_is_over_are_taken(db: Database, clock: FakeClock) -> None:
    leases = (None, NOW_MS - 1, NOW_MS, NOW_MS + 1)
    await generations_in(
        db, [{"state": state, "lease_until_ms": lease} for state in State for lease in leases]
    )
    over = await generation_in(db, State.DISPATCHING, lease_until_ms=NOW_MS - 60_000)
    assert await Rescuer(db, clock).run_once() == 2
    assert (await row_of(db, over.id)).state is State.UNKNOWN
    assert (await history_of(db, over.id))[-1] == (2, State.UNKNOWN, "lease_over")
    clock.advance(0.001)
    assert await Rescuer(db, clock).run_once() == 1
    clock.advance(0.001)
    assert await Rescuer(db, clock).run_once() == 1
    clock.advance(3600)
    assert await Rescuer(db, clock).run_once() == 0, "a row without a lease is nobody's to take"


async def test_two_rescuers_at_once_take_each_row_once(
    db: Database, database_url: str, clock: FakeClock
) -> None:
    made = await generations_in(db, [{"lease_until_ms": NOW_MS - number // 10} for number in range(30)])
    clock.advance(1)
    other = open_database(database_url)
    counts = await asyncio.gather(*(Rescuer(one, clock).run_once() for one in (db, other) * 2))
    await other.close()
    assert sum(counts) == 30
    for generation in made:
        assert [version for version, _, _ in await history_of(db, generation.id)] == [1, 2]


async def test_more_than_a_batch_is_taken_in_one_tick(
    db: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescue, "_BATCH", 4)
    await generations_in(db, [{"lease_until_ms": NOW_MS - 1}] * 10)
    assert await Rescuer(db, clock).run_once() == 10


async def _rescued(db: Database, clock: FakeClock) -> Generation:
    generation = await generation_in(db, State.DISPATCHING, lease_until_ms=NOW_MS - 1)
    assert await Rescuer(db, clock).run_once() == 1
    return generation


async def test_an_answer_that_comes_after_the_rescue_still_attaches(db: Database, clock: FakeClock) -> None:
    generation = await _rescued(db, clock)
    after = await _record(db, generation, accepted("u-late"))
    assert (after.state, after.upstream_request_id) == (State.IN_QUEUE, "u-late")
    states = [state for _, state, _ in await history_of(db, generation.id)]
    assert states == [State.DISPATCHING, State.UNKNOWN, State.IN_QUEUE]


async def test_a_refusal_that_comes_after_the_rescue_still_ends_the_job(
    db: Database, clock: FakeClock
) -> None:
    generation = await _rescued(db, clock)
    after = await _record(db, generation, Outcome(Verdict.REJECTED_INPUT, "http_422"))
    assert after.state is State.REJECTED
    assert after.error["code"] == "upstream_rejected"


async def test_an_unknown_after_the_rescue_stays_unknown_and_keeps_its_evidence(
    db: Database, clock: FakeClock
) -> None:
    """The operator has to resolve it, and the upstream's words are all there is to go by."""
    generation = await _rescued(db, clock)
    after = await _record(db, generation, Outcome(Verdict.UNKNOWN, "http_500"))
    assert after.state is State.UNKNOWN
    assert after.evidence_text is not None
    assert "what it said" in after.evidence_text


async def test_a_late_answer_never_reopens_what_has_ended(db: Database) -> None:
    made = await generations_in(db, [{"state": state} for state in sorted(TERMINAL)])
    for number, generation in enumerate(made):
        for outcome in (accepted(f"u-{number}"), Outcome(Verdict.UNKNOWN, "x"), Outcome(Verdict.BUSY, "x")):
            after = await _record(db, generation, outcome)
            assert (after.state, after.version, after.upstream_request_id) == (
                generation.state,
                1,
                None,
            )


async def test_the_same_answer_recorded_twice_counts_once(db: Database) -> None:
    """Tx 2 is tried again when its commit was not heard of."""
    generation = await generation_in(db)
    first = await _record(db, generation, accepted("u-1"))
    second = await _record(db, generation, accepted("u-1"))
    assert first == second
    assert len(await history_of(db, generation.id)) == 2


async def test_an_id_that_belongs_to_another_job_leaves_the_second_unknown(db: Database) -> None:
    first, second = await generations_in(db, [{}, {}])
    assert (await _record(db, first, accepted("u-1"))).state is State.IN_QUEUE
    after = await _record(db, second, accepted("u-1"))
    assert (after.state, after.upstream_request_id) == (State.UNKNOWN, None)
    assert (await history_of(db, second.id))[-1] == (2, State.UNKNOWN, "id_of_another_job")
    assert (await row_of(db, first.id)).upstream_request_id == "u-1"


async def test_of_racers_with_one_id_exactly_one_gets_it(db: Database) -> None:
    made = await generations_in(db, [{}] * 10)
    after = await asyncio.gather(*(_record(db, one, accepted("u-1")) for one in made))
    assert sorted(one.state for one in after) == [State.IN_QUEUE] + [State.UNKNOWN] * 9
    assert [one.upstream_request_id for one in after].count("u-1") == 1


@pytest.mark.parametrize("verdict", [one for one in Verdict if one is not Verdict.ACCEPTED])
async def test_every_other_verdict_ends_or_holds_the_row_and_keeps_its_evidence(
    db: Database, verdict: Verdict
) -> None:
    generation = await generation_in(db)
    after = await _record(db, generation, Outcome(verdict, "why"))
    assert after.state is (State.UNKNOWN if verdict is Verdict.UNKNOWN else State.REJECTED)
    assert after.evidence_text is not None
    assert "why" in after.evidence_text
    assert (after.error is None) == (verdict is Verdict.UNKNOWN)
    assert after.upstream_request_id is None
