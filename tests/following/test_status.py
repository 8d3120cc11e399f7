"""GET /v1/requests/{request_id}/status: RunComfy's documented words, no step back, few calls upstream."""

import asyncio
from typing import Any

import pytest

from app.generations.following import tracker
from tests.contract.published import problem_of
from tests.harness import World

pytestmark = pytest.mark.anyio

DAY_S = 86_400


def _calls(world: World) -> dict[str, int]:
    """How often the sandbox was asked about the last submitted job, by route."""
    upstream_request_id = world.received()[0]["request_id"]
    calls: dict[str, int] = world.sandbox.ledger()["requests"].get(upstream_request_id, {})
    return calls


def _start(world: World) -> None:
    """Let every job's least time in the sandbox's queue pass."""
    world.sandbox.clock.now += world.sandbox.options.queue_s


# --- 200: the words


async def test_a_queued_job_has_its_place_in_the_queue(world: World) -> None:
    request_id = await world.submitted("queued")
    document = await world.status(request_id)
    base = f"http://gateway.test/v1/requests/{request_id}"
    assert isinstance(document.pop("queue_position"), int)
    assert document == {
        "request_id": request_id,
        "status": "in_queue",
        "status_url": f"{base}/status",
        "result_url": f"{base}/result",
    }


async def test_a_job_goes_through_the_documented_words_and_has_a_place_only_in_the_queue(
    world: World,
) -> None:
    request_id = await world.submitted("canned")
    seen = [await world.status(request_id)]
    _start(world)
    seen.append(await world.status(request_id))
    await world.finish(request_id)
    seen.append(await world.status(request_id))
    assert [one["status"] for one in seen] == ["in_queue", "in_progress", "completed"]
    assert ["queue_position" in one for one in seen] == [True, False, False]


async def test_completed_is_not_succeeded(world: World) -> None:
    for directive in ("fail", "alt-words,fail"):
        request_id = await world.submitted(directive)
        assert (await world.finish(request_id))["status"] == "failed"
        assert (await world.status(request_id))["status"] == "completed"
        assert (await world.record(request_id))["state"] == "failed"


async def test_other_spellings_of_the_upstream_become_the_documented_words(world: World) -> None:
    succeeded = await world.submitted("canned,alt-words")
    assert (await world.finish(succeeded))["status"] == "succeeded"
    assert (await world.status(succeeded))["status"] == "completed"
    cancelled = await world.submitted("queued,alt-words")
    world.sandbox.cancel(world.received()[0]["request_id"])  # by somebody else, so only the status tells
    assert (await world.status(cancelled))["status"] == "cancelled"


async def test_a_word_that_nobody_documented_means_still_running(world: World) -> None:
    request_id = await world.submitted("canned,unknown-status")
    _start(world)
    assert (await world.status(request_id))["status"] == "in_progress"
    assert (await world.result(request_id))["status"] == "in_progress"
    assert (await world.finish(request_id))["status"] == "succeeded"


async def test_a_status_never_goes_back(world: World) -> None:
    request_id = await world.submitted(f"canned,backwards,run={DAY_S}")
    _start(world)
    seen = [await world.status(request_id) for _ in range(4)]
    assert [one["status"] for one in seen] == ["in_progress"] * 4
    assert not any("queue_position" in one for one in seen)
    assert _calls(world)["status"] == 4  # one of them said in_queue


# --- 200: a job that the upstream no longer knows


@pytest.mark.parametrize("world_settings", [{"missing_grace_s": 60.0}])
async def test_a_vanished_job_is_lost_only_after_the_grace(world: World) -> None:
    request_id = await world.submitted("canned,vanish")
    assert (await world.status(request_id))["status"] == "in_queue"
    for _ in range(30):  # two seconds each, the first of which only begins the grace
        assert (await world.status(request_id))["status"] == "in_queue"
    assert (await world.record(request_id))["state"] == "lost"
    assert (await world.status(request_id))["status"] == "completed"
    result = await world.result(request_id)
    assert (result["status"], result["error"]["code"]) == ("failed", "lost")


@pytest.mark.parametrize("world_settings", [{"missing_grace_s": 60.0}])
async def test_a_single_404_is_harmless_and_its_grace_ends_with_it(world: World) -> None:
    request_id = await world.submitted("canned,vanish-once")
    for _ in range(3):
        assert (await world.status(request_id))["status"] == "in_queue"
    world.clock.advance(3600)  # long after the grace that began with the 404
    assert (await world.status(request_id))["status"] == "in_queue"
    assert (await world.finish(request_id))["status"] == "succeeded"


# --- 200 with Reelgate-Stale: the upstream cannot tell


INCONCLUSIVE = {
    "status-500=2": "upstream_unusable",
    "status-malformed=2": "upstream_unusable",
    "status-429=2": "upstream_unusable",
    "status-hang=2": "upstream_timed_out",
}


async def test_what_the_upstream_cannot_tell_leaves_the_last_known_row(world: World) -> None:
    for directive, reason in INCONCLUSIVE.items():
        request_id = await world.submitted(f"canned,{directive}")
        for route in ("status", "result"):
            world.clock.advance(2)
            look = world.client.get(f"/v1/requests/{request_id}/{route}")
            answer = await (world.hung(look) if "hang" in directive else look)
            assert answer.status_code == 200
            assert (answer.json()["status"], answer.headers["reelgate-stale"]) == ("in_queue", reason)
        world.clock.advance(2)
        answer = await world.client.get(f"/v1/requests/{request_id}/status")
        assert (answer.json()["status"], "reelgate-stale" in answer.headers) == ("in_queue", False)
        assert (await world.finish(request_id))["status"] == "succeeded"


async def test_a_fresh_answer_is_not_called_stale(world: World) -> None:
    request_id = await world.submitted("canned")
    for delay_s in (0, 2, 0):
        world.clock.advance(delay_s)
        for path in ("", "/status", "/result"):
            answer = await world.client.get(f"/v1/requests/{request_id}{path}")
            assert "reelgate-stale" not in answer.headers


# --- 200: how many calls that costs upstream


async def test_the_first_reader_is_told_the_place_in_the_queue_and_the_next_ones_ask_nobody(
    world: World,
) -> None:
    request_id = await world.submitted("queued")
    for _ in range(5):
        assert "queue_position" in await world.get(f"/v1/requests/{request_id}/status")
    assert _calls(world) == {"status": 1}


async def test_reads_inside_the_freshness_limit_make_one_call(world: World) -> None:
    request_id = await world.submitted("queued")
    for inspections in (1, 2):
        world.clock.advance(1)
        for path in ("/status", "/status", "/result", ""):
            await world.get(f"/v1/requests/{request_id}{path}")
        world.clock.advance(0.999)
        await world.get(f"/v1/requests/{request_id}/status")
        assert _calls(world) == {"status": inspections}


async def test_any_number_of_readers_at_once_make_one_call(world: World) -> None:
    request_id = await world.submitted("queued")
    for inspections in range(1, 4):
        world.clock.advance(2)
        paths = [f"/v1/requests/{request_id}{path}" for path in ("/status", "/result", "") for _ in range(17)]
        answers = await asyncio.gather(*(world.get(path) for path in paths))
        assert {one["status"] for one in answers} == {"in_queue"}
        assert _calls(world) == {"status": inspections}


async def test_a_row_read_before_another_readers_look_does_not_cause_a_second(world: World) -> None:
    """Two readers a moment apart: the later one has the old row in its hand when the look is over."""
    request_id = await world.submitted("queued")
    world.clock.advance(2)
    tracker = world.gateway.following.tracker
    row = await tracker.find(request_id, world.tenant_id)
    assert row is not None
    await tracker.refresh(row)
    await tracker.refresh(row)
    assert _calls(world) == {"status": 1}


async def test_a_reader_who_leaves_does_not_take_the_look_with_them(world: World) -> None:
    request_id = await world.submitted("queued")
    world.clock.advance(2)
    readers = [asyncio.create_task(world.get(f"/v1/requests/{request_id}/status")) for _ in range(5)]
    while not len(world.gateway.tasks):  # noqa: ASYNC110 - until the look is under way: nothing tells
        await asyncio.sleep(0)
    readers[0].cancel()
    answers: list[Any] = await asyncio.gather(*readers, return_exceptions=True)
    assert [one["status"] for one in answers[1:]] == ["in_queue"] * 4
    assert _calls(world) == {"status": 1}


async def test_a_finished_job_is_never_asked_about_again(world: World) -> None:
    for directive in ("canned", "fail"):
        request_id = await world.submitted(directive)
        await world.finish(request_id)
        calls = _calls(world)
        assert calls["result"] == 1
        for _ in range(3):
            world.clock.advance(3600)
            for path in ("/status", "/result", ""):
                await world.get(f"/v1/requests/{request_id}{path}")
        await world.client.post(f"/v1/requests/{request_id}/cancel")
        assert _calls(world) == calls


# --- 405


async def test_another_method_is_refused(world: World) -> None:
    request_id = await world.submitted()
    get, post = "GET, HEAD, OPTIONS", "OPTIONS, POST"
    for path, allowed in (("/status", get), ("/result", get), ("", get), ("/cancel", post)):
        for method in ("PUT", "DELETE", "PATCH", "POST" if allowed == get else "GET"):
            answer = await world.client.request(method, f"/v1/requests/{request_id}{path}")
            problem_of(answer, 405, "method_not_allowed")
            assert answer.headers["allow"] == allowed


async def test_with_too_many_looks_under_way_the_row_is_answered_as_it_stands(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = await world.submitted("queued")
    monkeypatch.setattr(tracker, "_MAX_AT_ONCE", 0)
    assert (await world.status(request_id))["status"] == "in_queue"
    assert _calls(world) == {}
    monkeypatch.undo()
    await world.status(request_id)
    assert _calls(world) == {"status": 1}
