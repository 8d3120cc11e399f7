"""POST /v1/requests/{request_id}/cancel against what happens at the same moment: one truth in the end."""

import asyncio
import threading
from typing import Any

import httpx2
import pytest
from sqlalchemy import Connection

from app.generations.advance import advance
from app.generations.lifecycle import State
from app.sandbox import faults
from tests.contract.published import problem_of
from tests.harness import World, until
from tests.rows import add_generation

pytestmark = pytest.mark.anyio

DAY_S = 86_400
STRICT = {"Prefer": "handling=strict"}


async def _cancel(world: World, request_id: str, **headers: str) -> httpx2.Response:
    return await world.client.post(f"/v1/requests/{request_id}/cancel", headers=headers)


async def _outcome(world: World, request_id: str) -> tuple[str, str]:
    answer = await _cancel(world, request_id)
    assert answer.status_code == 202, answer.text
    document = answer.json()
    assert document["request_id"] == request_id
    return document["status"], document["outcome"]


async def _in_flight(world: World, directive: str) -> tuple[str, "asyncio.Task[httpx2.Response]"]:
    """A submit whose row there is, and whose answer is still to come."""
    submit = asyncio.create_task(world.submit(directive))
    found: list[dict[str, Any]] = []
    while not found:
        found = (await world.get("/v1/requests?state=dispatching"))["requests"]
        assert not submit.done(), "the sandbox was to be slow"
    return found[0]["request_id"], submit


def _upstream_word(world: World) -> Any:
    return world.sandbox.status(world.received()[0]["request_id"])["status"]


async def _states(world: World, request_id: str) -> list[str]:
    return [one["state"] for one in (await world.record(request_id))["events"]]


async def _charge(world: World, request_id: str) -> Any:
    return (await world.record(request_id))["charge"]


# --- a submit under way


async def test_a_cancel_while_the_submit_is_in_flight_waits_for_its_id_and_cancels_upstream(
    world: World,
) -> None:
    request_id, submit = await _in_flight(world, "queued,slow=0.5")
    outcome, submitted = await asyncio.gather(_outcome(world, request_id), submit)
    assert outcome == ("cancelled", "cancelled")
    assert (submitted.status_code, submitted.json()["request_id"]) == (200, request_id)
    assert _upstream_word(world) == "cancelled"
    assert await _states(world, request_id) == ["dispatching", "in_queue", "cancelled"]
    assert await _charge(world, request_id) == "refunded"
    assert len(world.received()) == 1


async def test_many_cancels_while_the_submit_is_in_flight_agree(world: World) -> None:
    request_id, submit = await _in_flight(world, "queued,slow=0.5")
    outcomes = await asyncio.gather(*(_outcome(world, request_id) for _ in range(10)))
    assert set(outcomes) == {("cancelled", "cancelled")}
    assert (await submit).status_code == 200
    assert (await _states(world, request_id)).count("cancelled") == 1


async def test_a_cancel_waits_for_a_submit_no_longer_than_a_submit_may_take_and_says_what_is_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_released = threading.Event()

    async def held(_request: Any, _seconds: float) -> bool:
        while not is_released.is_set():  # noqa: ASYNC110 - the sandbox has a loop of its own
            await asyncio.sleep(0.005)
        return False

    monkeypatch.setattr(faults, "left_within", held)
    request_id, submit = await _in_flight(world, "queued,slow=5")
    cancels = [asyncio.create_task(_cancel(world, request_id, **headers)) for headers in ({}, STRICT)]
    until_ms = world.clock.now_ms() + int(world.gateway.settings.submit_deadline_s * 1000)
    sleepers = world.clock._sleepers  # one that was woken before its time stays in the list
    await until(lambda: [at_ms for at_ms, one in sleepers if not one.done()].count(until_ms) >= 2)
    world.clock.advance(world.gateway.settings.submit_deadline_s)
    lenient, strict = await asyncio.gather(*cancels)
    assert not submit.done()
    assert (lenient.status_code, lenient.json()["outcome"]) == (202, "not_cancellable")
    assert lenient.json()["status"] == "in_queue"
    problem_of(strict, 409, "not_cancellable")
    is_released.set()
    assert (await submit).status_code == 200
    assert await _outcome(world, request_id) == ("cancelled", "cancelled"), "it can be repeated"


@pytest.mark.parametrize(
    ("directive", "status", "states"),
    [
        ("reject=422,slow=0.5", "completed", ["dispatching", "rejected"]),
        ("html,slow=0.5", "in_progress", ["dispatching", "unknown"]),
    ],
)
async def test_a_cancel_during_a_submit_that_makes_no_known_job_cancels_nothing(
    world: World, directive: str, status: str, states: list[str]
) -> None:
    request_id, submit = await _in_flight(world, directive)
    outcome, submitted = await asyncio.gather(_outcome(world, request_id), submit)
    assert outcome == (status, "not_cancellable")
    assert submitted.status_code >= 400
    assert await _states(world, request_id) == states
    assert world.sandbox.ledger()["requests"].get(world.received()[0]["request_id"]) is None


async def test_a_cancel_during_a_submit_of_a_job_that_starts_meanwhile_is_the_upstreams_to_decide(
    world: World,
) -> None:
    request_id, submit = await _in_flight(world, f"canned,queue=0,run={DAY_S},slow=0.5")
    outcome, _ = await asyncio.gather(_outcome(world, request_id), submit)
    assert outcome == ("in_progress", "not_cancellable")
    assert (await world.status(request_id))["status"] == "in_progress"
    assert await _charge(world, request_id) == "held"


# --- held here


async def test_what_is_held_here_is_cancelled_at_once_and_nothing_is_sent(world: World) -> None:
    kid = world.key.split("_")[2]

    def hold(connection: Connection) -> str:
        owner = (world.tenant_id, kid)
        return add_generation(connection, State.ACCEPTED, owner=owner, now_ms=world.clock.now_ms()).id

    request_id = await world.gateway.db.write(hold)
    calls = world.sandbox.ledger()["calls"]
    outcomes = await asyncio.gather(*(_outcome(world, request_id) for _ in range(5)))
    assert set(outcomes) == {("cancelled", "cancelled")}
    assert world.sandbox.ledger()["calls"] == calls
    assert await _states(world, request_id) == ["accepted", "cancelled"]
    assert await _charge(world, request_id) == "refunded"


async def test_what_is_sent_while_it_was_to_be_cancelled_here_is_cancelled_upstream(world: World) -> None:
    """The dispatcher took it between the canceller's read and its write."""
    kid = world.key.split("_")[2]
    upstream_request_id = world.sandbox.submit("x [sandbox:queued]")

    def hold(connection: Connection) -> str:
        owner = (world.tenant_id, kid)
        return add_generation(connection, State.ACCEPTED, owner=owner, now_ms=world.clock.now_ms()).id

    request_id = await world.gateway.db.write(hold)
    read_before = await world.gateway.following.tracker.find(request_id, world.tenant_id)
    assert read_before is not None
    steps: list[tuple[State, dict[str, Any]]] = [
        (State.DISPATCHING, {"credential": "sandbox"}),
        (State.IN_QUEUE, {"upstream_request_id": upstream_request_id}),
    ]
    for to, changes in steps:
        await world.gateway.db.write(
            advance, request_id, to, reason="test", now_ms=world.clock.now_ms(), **changes
        )
    after = await world.gateway.following.canceller.cancel(read_before)
    assert after.state is State.CANCELLED
    assert world.sandbox.status(upstream_request_id)["status"] == "cancelled"


# --- unknown


async def test_a_job_of_unknown_fate_cannot_be_cancelled_however_often_it_is_asked(world: World) -> None:
    request_id = problem_of(await world.submit("html"), 504, "outcome_unknown")["request_id"]
    outcomes = [await _outcome(world, request_id) for _ in range(3)]
    assert set(outcomes) == {("in_progress", "not_cancellable")}
    problem_of(await _cancel(world, request_id, **STRICT), 409, "not_cancellable")
    assert await _states(world, request_id) == ["dispatching", "unknown"]
    assert await _charge(world, request_id) == "held"


# --- strictness


async def test_who_asks_for_strictness_is_told_with_a_409_that_nothing_was_cancelled(world: World) -> None:
    over = await world.submitted("fail")
    await world.finish(over)
    running = await world.submitted(f"canned,run={DAY_S}")
    world.sandbox.clock.now += world.sandbox.options.queue_s
    refused = await world.submitted("queued,not-cancellable")
    for request_id, state in ((over, "failed"), (running, "in_progress"), (refused, "in_queue")):
        answer = await _cancel(world, request_id, **STRICT)
        problem = problem_of(answer, 409, "not_cancellable")
        assert problem["request_id"] == request_id
        assert state in problem["detail"]
        assert answer.headers["preference-applied"] == "handling=strict"
        lenient = await _cancel(world, request_id)
        assert (lenient.status_code, "preference-applied" in lenient.headers) == (202, False)
        assert lenient.json()["outcome"] == "not_cancellable"


async def test_who_asks_for_strictness_and_is_obeyed_gets_the_vendors_answer(world: World) -> None:
    request_id = await world.submitted("queued")
    for _ in range(2):
        answer = await _cancel(world, request_id, Prefer="respond-async, handling=strict")
        assert (answer.status_code, answer.json()["outcome"]) == (202, "cancelled")
        assert answer.headers["preference-applied"] == "handling=strict"


async def test_an_unusable_answer_is_no_409(world: World) -> None:
    request_id = await world.submitted("queued,cancel-500")
    problem_of(await _cancel(world, request_id, **STRICT), 502, "upstream_unusable")


# --- an end at the same moment


async def _assert_one_truth(world: World, request_id: str, mark: str, answers: list[httpx2.Response]) -> str:
    """Whoever was told `cancelled` was told the truth, and so was everybody else; the money went with it."""
    record = await world.record(request_id)
    [submission] = world.received(mark)
    upstream: str = world.sandbox.result(submission["request_id"])["status"]
    words = {"cancelled": "cancelled", "completed": "succeeded", "failed": "failed"}
    assert words[record["state"]] == upstream
    for answer in answers:
        said = answer.json()["outcome"] == "cancelled"
        assert said == (record["state"] == "cancelled"), answer.text
    states = [one["state"] for one in record["events"]]
    assert [one["version"] for one in record["events"]] == list(range(1, len(states) + 1))
    assert sum(one in words for one in states) == 1
    assert record["charge"] == ("settled" if record["state"] == "completed" else "refunded")
    return upstream


@pytest.mark.parametrize("directive", ["canned", "fail"])
async def test_a_completion_that_races_a_cancel_and_many_readers_leaves_one_truth(
    world: World, directive: str
) -> None:
    made = [(await world.submitted(directive), world.marks[-1]) for _ in range(12)]
    world.clock.advance(2)

    async def race(at: int, request_id: str) -> list[httpx2.Response]:
        if at == len(made) // 2:  # from here on the upstream says that it is too late
            world.sandbox.clock.now += world.sandbox.options.queue_s + world.sandbox.options.run_s
        calls = [_cancel(world, request_id) for _ in range(3)]
        reads = [world.get(f"/v1/requests/{request_id}/{what}") for what in ("status", "result") * 3]
        answers: list[httpx2.Response] = (await asyncio.gather(asyncio.gather(*calls), *reads))[0]
        return answers

    told = [await race(at, request_id) for at, (request_id, _) in enumerate(made)]
    for request_id, _ in made:
        await world.finish(request_id)
    ends = [
        await _assert_one_truth(world, request_id, mark, answers)
        for (request_id, mark), answers in zip(made, told, strict=True)
    ]
    assert set(ends) == {"cancelled", "succeeded" if directive == "canned" else "failed"}


async def test_a_cancel_that_races_the_loop_leaves_one_truth(world: World) -> None:
    made = [(await world.submitted("queued"), world.marks[-1]) for _ in range(10)]
    [poller] = world.gateway.following.pollers
    world.clock.advance(2)
    answers, _ = await asyncio.gather(
        asyncio.gather(*(_cancel(world, request_id) for request_id, _ in made)), poller.run_once()
    )
    await until(lambda: not poller.under_way)
    for (request_id, mark), answer in zip(made, answers, strict=True):
        assert await _assert_one_truth(world, request_id, mark, [answer]) == "cancelled"
        assert answer.json()["outcome"] == "cancelled"


async def test_a_job_that_is_over_upstream_and_not_here_is_not_cancelled_and_its_end_is_seen(
    world: World,
) -> None:
    """The row says that it waits in the queue; the cancel's answer is the first to know better."""
    request_id = await world.submitted("fail")
    world.sandbox.clock.now += world.sandbox.options.queue_s + world.sandbox.options.run_s
    assert (await world.get("/v1/requests"))["requests"][0]["state"] == "in_queue"
    assert await _outcome(world, request_id) == ("completed", "not_cancellable")
    assert (await world.get("/v1/requests"))["requests"][0]["state"] == "failed"
