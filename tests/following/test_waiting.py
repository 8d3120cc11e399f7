"""`?wait=N`, `Prefer: wait=N` and entity tags: an answer that is held, and one that need not be sent."""

import asyncio
import hashlib
import re
from typing import Any

import httpx2
import pytest

from tests.contract.published import problem_of
from tests.harness import SUBMIT, World, until
from tests.streams import moving

pytestmark = pytest.mark.anyio

CAP_S = 30
READS = ("/status", "/result")
TAGGED = ("", "/status", "/result", "/result?include_cost=true")
Held = asyncio.Task[httpx2.Response]


def _start(world: World) -> None:
    """Let every job's least time in the sandbox's queue pass."""
    world.sandbox.clock.now += world.sandbox.options.queue_s


async def _get(world: World, request_id: str, path: str, **headers: str) -> httpx2.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await world.client.get(f"/v1/requests/{request_id}{path}", headers=sent)


async def _held(world: World, call: Any, *, for_s: float) -> Held:
    """The call under way, once it waits, and for exactly this long."""
    until_ms = world.clock.now_ms() + int(for_s * 1000)
    task = asyncio.create_task(call)
    await until(lambda: task.done() or until_ms in _wakings_ms(world))
    assert not task.done(), task.result().text
    return task


def _wakings_ms(world: World) -> list[int]:
    return [at_ms for at_ms, future in world.clock._sleepers if not future.done()]


async def _answer(task: Held) -> httpx2.Response:
    """What it is answered with, no time being left to wait for."""
    await until(task.done)
    return task.result()


async def _assert_waits(world: World, task: Held) -> None:
    """Nothing that is under way ends it."""
    await until(lambda: all(one.get_name() != "look" for one in asyncio.all_tasks()))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()


# --- held until the time is over


@pytest.mark.parametrize("path", READS)
async def test_an_answer_is_held_for_the_time_and_no_longer(world: World, path: str) -> None:
    request_id = await world.submitted("queued")
    await _get(world, request_id, path)
    task = await _held(world, _get(world, request_id, f"{path}?wait=7"), for_s=7)
    world.clock.advance(6.999)
    await _assert_waits(world, task)
    world.clock.advance(0.001)
    answer = await _answer(task)
    assert (answer.status_code, answer.json()["status"]) == (200, "in_queue")
    assert "preference-applied" not in answer.headers, "the query is no preference"
    assert world.gateway.following.watch.watchers == 0


@pytest.mark.parametrize("path", READS)
async def test_more_than_the_cap_is_the_cap_and_the_answer_says_so(world: World, path: str) -> None:
    request_id = await world.submitted("queued")
    for ask in (
        _get(world, request_id, f"{path}?wait=999999999"),
        _get(world, request_id, path, prefer="wait=31"),
    ):
        task = await _held(world, ask, for_s=CAP_S)
        world.clock.advance(CAP_S)
        answer = await _answer(task)
        assert answer.status_code == 200
    assert answer.headers["preference-applied"] == f"wait={CAP_S}"


@pytest.mark.parametrize("world_settings", [{"max_wait_s": 0}])
async def test_a_gateway_that_holds_nothing_says_so(world: World) -> None:
    request_id = await world.submitted("queued")
    answer = await _get(world, request_id, "/status", prefer="wait=10")
    assert answer.headers["preference-applied"] == "wait=0"
    assert (await _get(world, request_id, "/status?wait=10")).status_code == 200


async def test_a_preference_is_read_however_it_is_written(world: World) -> None:
    request_id = await world.submitted("queued")
    for written in (
        "wait=5",
        "WAIT=5",
        'wait="5"',
        "wait = 5",
        "respond-async, wait=5; foo=bar",
        "wait=5, wait=9",
        "return=minimal,wait=5,handling=lenient",
    ):
        task = await _held(world, _get(world, request_id, "/status", prefer=written), for_s=5)
        world.clock.advance(5)
        assert (await _answer(task)).headers["preference-applied"] == "wait=5", written


async def test_the_query_goes_before_the_preference_which_is_not_called_applied_then(world: World) -> None:
    request_id = await world.submitted("queued")
    task = await _held(world, _get(world, request_id, "/status?wait=5", prefer="wait=9"), for_s=5)
    world.clock.advance(5)
    assert "preference-applied" not in (await _answer(task)).headers
    answer = await _get(world, request_id, "/status?wait=0", prefer="wait=9")
    assert "preference-applied" not in answer.headers


# --- held until a change


@pytest.mark.parametrize("path", READS)
async def test_a_change_ends_the_wait(world: World, path: str) -> None:
    request_id = await world.submitted("canned")
    before = await _get(world, request_id, path)
    task = await _held(world, _get(world, request_id, f"{path}?wait=30"), for_s=30)
    for _ in range(5):
        world.clock.advance(1)
        await _assert_waits(world, task)
    _start(world)
    started_ms = world.clock.now_ms()
    await moving(world, task.done, step_s=0.02)
    answer = await _answer(task)
    assert (before.json()["status"], answer.json()["status"]) == ("in_queue", "in_progress")
    assert answer.headers["etag"] != before.headers["etag"]
    assert world.clock.now_ms() - started_ms < 25_000, "not the time was over"


async def test_a_change_that_another_caller_causes_ends_the_wait_without_any_time(world: World) -> None:
    request_id = await world.submitted("queued")
    await _get(world, request_id, "/status")
    held = [await _held(world, _get(world, request_id, f"{path}?wait=30"), for_s=30) for path in READS]
    await world.client.post(f"/v1/requests/{request_id}/cancel")
    assert {(await _answer(one)).json()["status"] for one in held} == {"cancelled"}


async def test_a_place_in_the_queue_is_a_change_of_the_status_and_not_of_the_result(world: World) -> None:
    before, request_id = await world.submitted("queued"), await world.submitted("queued")
    place = (await world.status(request_id))["queue_position"]
    status = await _held(world, _get(world, request_id, "/status?wait=20"), for_s=20)
    result = await _held(world, _get(world, request_id, "/result?wait=20"), for_s=20)
    await world.client.post(f"/v1/requests/{before}/cancel")
    # Whoever looks for it may not sleep yet, and see the change a second later.
    await moving(world, status.done, step_s=0.02)
    assert (await _answer(status)).json()["queue_position"] == place - 1
    await _assert_waits(world, result)
    world.clock.advance(20)
    assert (await _answer(result)).json()["status"] == "in_queue"


# --- not held


@pytest.mark.parametrize("directive", ["canned", "fail"])
async def test_what_is_over_is_answered_at_once(world: World, directive: str) -> None:
    request_id = await world.submitted(directive)
    await world.finish(request_id)
    for path in READS:
        answer = await _get(world, request_id, path, prefer="wait=30")
        assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=30")
        answer = await _get(world, request_id, f"{path}?wait=30", if_none_match=answer.headers["etag"])
        assert answer.status_code == 304


async def test_who_knows_an_older_answer_is_given_the_present_one_at_once(world: World) -> None:
    request_id = await world.submitted("canned")
    older = {path: (await _get(world, request_id, path)).headers["etag"] for path in READS}
    _start(world)
    await world.status(request_id)
    for path, tag in older.items():
        for known in (tag, f"W/{tag}", f'"x", {tag}', '"nothing of ours"'):
            answer = await _get(world, request_id, f"{path}?wait=30", if_none_match=known)
            assert (answer.status_code, answer.json()["status"]) == (200, "in_progress")


@pytest.mark.parametrize("path", READS)
async def test_who_knows_the_present_answer_is_held_and_told_that_it_still_is(
    world: World, path: str
) -> None:
    request_id = await world.submitted("queued")
    tag = (await _get(world, request_id, path)).headers["etag"]
    for known in (tag, f"W/{tag}", f'"x", {tag}'):
        call = _get(world, request_id, path, prefer="wait=10", if_none_match=known)
        task = await _held(world, call, for_s=10)
        world.clock.advance(10)
        answer = await _answer(task)
        assert (answer.status_code, answer.content) == (304, b"")
        assert (answer.headers["etag"], answer.headers["preference-applied"]) == (tag, "wait=10")


async def test_an_odd_preference_is_ignored(world: World) -> None:
    request_id = await world.submitted("queued")
    for odd in (
        "wait",
        "wait=",
        "wait=x",
        "wait=-1",
        "wait=1.5",
        "wait=1e3",
        "wait=1234567890",
        'wait=""',
        "respond-async",
        "handling=lenient",
        ",,;=;,",
        "wait;wait=5",
    ):
        answer = await _get(world, request_id, "/status", prefer=odd)
        assert answer.status_code == 200, odd
        assert "preference-applied" not in answer.headers, odd


async def test_an_odd_wait_in_the_query_is_refused_and_submits_nothing(world: World) -> None:
    request_id = await world.submitted("queued")
    for odd in ("", "x", "-1", "1.5", "1e3", "%C2%B2", "1234567890", "+5"):
        for answer in (
            await _get(world, request_id, f"/status?wait={odd}"),
            await _get(world, request_id, f"/result?wait={odd}"),
            await world.client.post(f"{SUBMIT}?wait={odd}", json=world.body("queued")),
        ):
            problem = problem_of(answer, 400, "invalid_parameter")
            assert [one["pointer"] for one in problem["errors"]] == ["#/query/wait"], odd
    assert world.received() == []
    assert len((await world.get("/v1/requests"))["requests"]) == 1


async def test_no_wait_is_no_wait(world: World) -> None:
    request_id = await world.submitted("queued")
    for path in READS:
        assert (await _get(world, request_id, f"{path}?wait=0")).status_code == 200
        assert (await _get(world, request_id, path, prefer="wait=0")).headers[
            "preference-applied"
        ] == "wait=0"


# --- a submit


async def _submit(world: World, directive: str, query: str = "", **headers: str) -> httpx2.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await world.client.post(SUBMIT + query, json=world.body(directive), headers=sent)


async def test_a_submit_can_be_held_until_its_job_is_over(world: World) -> None:
    for end in ("canned", "fail"):
        task = await _held(world, _submit(world, end, prefer="wait=30"), for_s=30)
        _start(world)
        world.clock.advance(1)
        await _assert_waits(world, task)
        world.sandbox.clock.now += world.sandbox.options.run_s
        await moving(world, task.done, step_s=0.25)
        answer = await _answer(task)
        assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=30")
        assert set(answer.json()) == {"request_id", "status_url", "result_url", "cancel_url"}
        listed = (await world.get("/v1/requests"))["requests"][0]
        assert (listed["request_id"], listed["status"]) == (answer.json()["request_id"], "completed")
        assert len(world.received()) == 1


async def test_a_submit_is_answered_when_the_time_is_over_and_its_job_goes_on(world: World) -> None:
    task = await _held(world, _submit(world, "queued", "?wait=5"), for_s=5)
    assert len(world.received()) == 1
    world.clock.advance(5)
    answer = await _answer(task)
    assert answer.status_code == 200
    assert (await world.status(answer.json()["request_id"]))["status"] == "in_queue"


async def test_a_submit_that_is_refused_is_not_held(world: World) -> None:
    problem_of(await _submit(world, "reject=422", "?wait=30"), 422, "upstream_rejected")
    problem_of(await _submit(world, "html", "?wait=30"), 504, "outcome_unknown")
    assert (await world.client.post(f"{SUBMIT}?wait=30", json={})).status_code == 422


async def test_a_repeated_submit_is_held_like_the_first(world: World) -> None:
    body, headers = world.body("queued"), {"Idempotency-Key": "k", "Prefer": "wait=20"}

    async def submit() -> httpx2.Response:
        return await world.client.post(SUBMIT, json=body, headers=headers)

    first = await _held(world, submit(), for_s=20)
    again = await _held(world, submit(), for_s=20)
    request_id = (await world.get("/v1/requests"))["requests"][0]["request_id"]
    await world.client.post(f"/v1/requests/{request_id}/cancel")
    answers = [await _answer(first), await _answer(again), await submit()]
    assert [one.json()["request_id"] for one in answers] == [request_id] * 3
    assert [one.headers.get("idempotent-replayed") for one in answers] == [None, "true", "true"]
    assert len(world.received()) == 1


# --- a stop


async def test_a_stopping_server_lets_held_answers_go_and_holds_no_more(world: World) -> None:
    request_id = await world.submitted("queued")
    await _get(world, request_id, "/status")
    held = [
        await _held(world, call, for_s=for_s)
        for call, for_s in (
            (_get(world, request_id, "/status?wait=30"), 30),
            (_get(world, request_id, "/result?wait=29"), 29),
            (_submit(world, "queued", "?wait=28"), 28),
        )
    ]
    world.gateway.following.watch.close()
    for task in held:
        assert (await _answer(task)).status_code == 200
    for path in READS:
        assert (await _get(world, request_id, f"{path}?wait=30")).status_code == 200
    assert (await _submit(world, "queued", "?wait=30")).status_code == 200
    assert world.gateway.following.watch.watchers == 0


# --- entity tags


async def test_a_tag_is_strong_and_the_same_exactly_for_the_same_bytes(world: World) -> None:
    tags: dict[str, bytes] = {}
    bodies: dict[bytes, str] = {}
    request_id = await world.submitted("canned")
    for step in range(4):
        for path in TAGGED * 2:
            answer = await _get(world, request_id, path)
            tag = answer.headers["etag"]
            assert re.fullmatch(r'"[0-9a-f]{32}"', tag)
            assert tag.strip('"') == hashlib.sha256(answer.content).hexdigest()[:32]
            assert tags.setdefault(tag, answer.content) == answer.content
            assert bodies.setdefault(answer.content, tag) == tag
        if step == 1:
            _start(world)
        if step == 2:
            await world.finish(request_id)
        world.clock.advance(2)
    assert len(tags) >= 3 * 3


async def test_who_has_the_answer_is_told_so_without_a_body(world: World) -> None:
    request_id = await world.submitted("canned")
    for _ in range(2):
        for path in TAGGED:
            tag = (await _get(world, request_id, path)).headers["etag"]
            for known in (tag, f"W/{tag}", f'"a", {tag}, "b"', f'W/"a",{tag}', "*"):
                answer = await _get(world, request_id, path, if_none_match=known)
                assert (answer.status_code, answer.content) == (304, b""), (path, known)
                assert answer.headers["etag"] == tag
            for unknown in ('"a"', tag.strip('"'), tag[:-2] + '"', ""):
                answer = await _get(world, request_id, path, if_none_match=unknown)
                assert answer.status_code == 200, (path, unknown)
        await world.finish(request_id)


async def test_a_tag_of_one_document_says_nothing_of_another(world: World) -> None:
    request_id, other = await world.submitted("queued"), await world.submitted("queued")
    tags = [
        (await _get(world, one, path)).headers["etag"]
        for one in (request_id, other)
        for path in ("", "/status", "/result")
    ]
    assert len(set(tags)) == 6
    problem_of(await _get(world, "x", "/status", if_none_match="*"), 404, "request_not_found")


async def test_an_upstream_that_cannot_tell_does_not_change_the_tag(world: World) -> None:
    request_id = await world.submitted("queued,status-500=1")
    stale = await _get(world, request_id, "/status")
    assert stale.headers["reelgate-stale"] == "upstream_unusable"
    answer = await _get(world, request_id, "/status", if_none_match=stale.headers["etag"])
    assert (answer.status_code, answer.headers["reelgate-stale"]) == (304, "upstream_unusable")
