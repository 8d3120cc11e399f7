"""POST /v1/models/{model_id} when the upstream does not simply accept: what caller and record are told."""

import asyncio
import re
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import pytest

from app.errors import DATABASE_UNAVAILABLE, Problem
from app.generations import store
from app.generations.dispatch import dispatcher as dispatching
from app.upstream.client import Upstream
from tests.contract.published import problem_of
from tests.harness import SUBMIT, World
from tests.loops import skipped
from tests.pictures import data_uri, png
from tests.sandbox.harness import Running

pytestmark = pytest.mark.anyio


async def _recorded(world: World, problem: dict[str, Any]) -> dict[str, Any]:
    """The record of the request that the problem names: there is one, also of what was refused."""
    return await world.record(problem["request_id"])


async def _refused(world: World, directive: str, status: int, code: str) -> dict[str, Any]:
    """The problem of a submit that the upstream refused, with all that holds for each of them."""
    problem = problem_of(await world.submit(directive), status, code)
    record = await _recorded(world, problem)
    assert (record["state"], record["status"]) == ("rejected", "completed"), directive
    assert record["error"]["code"] == code
    assert (await world.result(record["request_id"]))["status"] == "failed"
    (submission,) = world.received()
    assert submission["recorded"] is False
    return problem


# --- 422 upstream_rejected


async def test_the_upstreams_own_words_are_relayed(world: World) -> None:
    for code in (409, 413, 415):
        problem = await _refused(world, f"reject={code}", 422, "upstream_rejected")
        assert problem["upstream"] == {"error_code": code * 1000, "error_message": "refused by the sandbox"}
    problem = await _refused(world, "error-code=400123", 422, "upstream_rejected")
    assert problem["upstream"] == {"error_code": 400123, "error_message": "refused by the sandbox"}


async def test_a_page_in_place_of_words_is_not_relayed(world: World) -> None:
    problem = await _refused(world, "status=400", 422, "upstream_rejected")
    assert problem["upstream"] == {"error_code": None, "error_message": ""}
    assert "<" not in str(problem)


async def test_the_fields_that_the_upstream_complains_of_become_pointers(world: World) -> None:
    problem = await _refused(world, "reject=422", 422, "upstream_rejected")
    assert problem["errors"] == [
        {"pointer": "#/prompt", "code": "upstream", "detail": "refused by the sandbox"}
    ]


# --- 502 upstream_unserved


async def test_a_model_that_the_upstream_does_not_serve_is_not_the_callers_fault(world: World) -> None:
    for directive in ("reject=404", "reject=405", "reject=400", "error-code=404001", "redirect"):
        await _refused(world, directive, 502, "upstream_unserved")


# --- 503


async def test_our_refused_credential_is_never_the_callers_401(world: World) -> None:
    for directive in (
        "unauthorized",
        "no-balance",
        "credential",
        "reject=403",
        "status=401",
        "error-code=400004",
    ):
        problem = await _refused(world, directive, 503, "upstream_credential_refused")
        assert problem["retry_after_s"] >= 1


async def test_a_busy_upstream_says_when_to_come_again(world: World) -> None:
    for directive in ("rate-limit=30", "503-retry-after=30", "rate-limit=86400"):
        problem = await _refused(world, directive, 503, "upstream_busy")
        assert problem["retry_after_s"] == (30 if "30" in directive else 86_400)
        assert problem["retryable"] is True


async def test_a_busy_upstream_without_a_time_still_gets_one_from_us(world: World) -> None:
    problem = await _refused(world, "status=429", 503, "upstream_busy")
    assert problem["retry_after_s"] >= 1


async def test_a_short_refusal_is_waited_out_and_sent_again_within_bounds(world: World) -> None:
    async with world.clock.flowing():
        answer = await world.submit("rate-limit=1")
    problem_of(answer, 503, "upstream_busy")
    received = world.received()
    assert 2 <= len(received) <= 3
    assert not any(one["recorded"] for one in received)


async def test_a_live_key_without_a_credential_is_told_so_and_nothing_is_stored(world: World) -> None:
    live = await world.another_key(mode="live")
    answer = await world.client.post(SUBMIT, json=world.body(), headers=world.with_key(live))
    problem_of(answer, 503, "upstream_not_configured")
    assert world.received() == []
    assert (await world.get("/v1/requests"))["requests"] == []


class TestUnreachable:
    @pytest.fixture
    def sandbox(self, sandbox: Running, closed_url: str) -> Running:
        return replace(sandbox, options=replace(sandbox.options, public_url=closed_url))

    async def test_what_never_left_may_be_sent_again(self, world: World) -> None:
        async with world.clock.flowing():
            answer = await world.submit(image_urls=[data_uri(png())])
        problem = problem_of(answer, 503, "upstream_unreachable")
        assert problem["retryable"] is True
        assert problem["retry_after_s"] >= 1
        assert (await _recorded(world, problem))["state"] == "rejected"


async def test_a_database_that_is_away_means_no_submit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OSError("disk gone")

    monkeypatch.setattr(store, "insert", away)
    answer = await world.submit()
    problem = problem_of(answer, 503, "database_unavailable")
    assert "disk" not in answer.text
    assert problem["retry_after_s"] >= 1
    assert world.received() == []


# --- 504 outcome_unknown

RECORDED = (
    "hang",
    "slow=60",
    "drip=60",
    "malformed",
    "html",
    "empty-object",
    "no-id",
    "null-id",
    "numeric-id",
    "long-id",
    "unsafe-id",
    "oversize",
    "truncated",
    "status=500,recorded",
    "status=502,recorded",
    "status=504,recorded",
)
UNRECORDED = (
    "hang-before",
    *(f"status={code}" for code in (408, 425, 500, 501, 502, 503, 504, 507, 520, 599)),
    "reject=500",
    "reject=502",
    "reject=418",
)
"""To us these look no different: a job may exist, so all must be treated as if one did."""
HANGING = {"hang", "hang-before", "slow=60", "drip=60"}


@dataclass(frozen=True)
class Ambiguous:
    directive: str
    mark: str
    answer: httpx2.Response


async def _all(world: World) -> list[Ambiguous]:
    async def one(directive: str) -> Ambiguous:
        body = world.body(directive)
        (mark,) = re.findall(r"[0-9a-f]{32}", body["prompt"])
        return Ambiguous(directive, mark, await world.client.post(SUBMIT, json=body))

    hanging = [one for one in (*RECORDED, *UNRECORDED) if one in HANGING]
    answering = [one for one in (*RECORDED, *UNRECORDED) if one not in HANGING]

    async def at_once() -> list[Ambiguous]:
        return await asyncio.gather(*map(one, hanging))

    hung = await skipped(
        at_once(),
        world.gateway.settings.submit_deadline_s,
        once=lambda: len(world.sandbox.ledger()["submissions"]) == len(hanging),
    )
    return [*hung, *[await one(directive) for directive in answering]]


async def test_an_ambiguous_answer_is_visibly_unknown_and_never_sent_again(world: World) -> None:
    cases = await _all(world)
    for case in cases:
        assert case.answer.status_code == 504, (case.directive, case.answer.text)
        problem = problem_of(case.answer, 504, "outcome_unknown")
        assert problem["retryable"] is False
        assert "retry_after_s" not in problem
        assert problem["request_id"] in problem["detail"]
        record = await world.get(f"/v1/requests/{problem['request_id']}")
        assert (record["state"], record["status"]) == ("unknown", "in_progress"), case.directive
        assert [event["state"] for event in record["events"]] == ["dispatching", "unknown"]
        assert record["error"] is record["output"] is record["finished_at"] is None
    # Time passes, loops run, callers look and cancel: still nothing is sent, and nothing pretended.
    for _ in range(3):
        world.clock.advance(3600)
        await world.gateway.upkeep.rescuer.run_once()
    for case in cases:
        request_id = case.answer.json()["request_id"]
        assert (await world.status(request_id))["status"] == "in_progress"
        assert (await world.result(request_id))["status"] == "in_progress"
        cancelled = await world.client.post(f"/v1/requests/{request_id}/cancel")
        assert cancelled.json() == {
            "request_id": request_id,
            "status": "in_progress",
            "outcome": "not_cancellable",
        }
        (submission,) = world.received(case.mark)
        assert submission["recorded"] is (case.directive in RECORDED), case.directive


async def test_an_outcome_that_could_not_be_committed_is_written_later_and_only_then_answered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is the only copy of the upstream's id: it is kept until it can be written."""

    record, failures = dispatching.record_outcome, 0

    def sometimes(*args: Any, **kwargs: Any) -> Any:
        nonlocal failures
        failures += 1
        if failures <= 2:
            raise Problem(DATABASE_UNAVAILABLE, "away")
        return record(*args, **kwargs)

    monkeypatch.setattr(dispatching, "record_outcome", sometimes)
    async with world.clock.flowing():
        answer = await world.submit()
    assert answer.status_code == 200
    assert (await world.record(answer.json()["request_id"]))["state"] == "in_queue"
    assert len(world.received()) == 1


async def test_an_id_that_another_job_has_already_is_unknown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of our requests must never follow one upstream job: whose it is cannot be told."""

    first = await world.submitted()
    taken = world.received()[0]["request_id"]
    send = Upstream.submit

    async def repeat(self: Upstream, *args: Any, **kwargs: Any) -> Any:
        exchange = await send(self, *args, **kwargs)
        own = world.received()[0]["request_id"].encode()
        return type(exchange)(
            exchange.sent, exchange.status, exchange.headers, exchange.body.replace(own, taken.encode()), True
        )

    monkeypatch.setattr(Upstream, "submit", repeat)
    problem = problem_of(await world.submit(), 504, "outcome_unknown")
    assert (await _recorded(world, problem))["state"] == "unknown"
    assert (await world.record(first))["state"] == "in_queue"


# --- the caller leaves


async def test_a_caller_who_leaves_does_not_stop_the_submit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:

    send, sending, go = Upstream.submit, asyncio.Event(), asyncio.Event()

    async def held(self: Upstream, *args: Any, **kwargs: Any) -> Any:
        sending.set()
        await go.wait()
        return await send(self, *args, **kwargs)

    monkeypatch.setattr(Upstream, "submit", held)
    caller = asyncio.create_task(world.submit())
    await sending.wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    go.set()
    await world.gateway.tasks.drain(10)
    (record,) = (await world.get("/v1/requests"))["requests"]
    assert record["state"] == "in_queue"
    assert len(world.received()) == 1
