"""POST /v1/requests/{request_id}/cancel: `cancelled` is said exactly when it is so."""

import asyncio

import httpx2
import pytest

from tests.contract.published import problem_of
from tests.harness import World

pytestmark = pytest.mark.anyio

DAY_S = 86_400


async def _cancel(world: World, request_id: str) -> httpx2.Response:
    return await world.client.post(f"/v1/requests/{request_id}/cancel")


async def _outcome(world: World, request_id: str) -> tuple[str, str]:
    answer = await _cancel(world, request_id)
    assert answer.status_code == 202, answer.text
    document = answer.json()
    assert document["request_id"] == request_id
    return document["status"], document["outcome"]


# --- 202


async def test_a_queued_job_is_cancelled_here_and_upstream(world: World) -> None:
    request_id = await world.submitted("queued")
    assert await _outcome(world, request_id) == ("cancelled", "cancelled")
    assert world.sandbox.status(world.received()[0]["request_id"])["status"] == "cancelled"
    record = await world.record(request_id)
    assert (record["state"], record["queue_position"]) == ("cancelled", None)
    assert record["finished_at"] is not None


async def test_a_running_job_cannot_be_cancelled_and_goes_on(world: World) -> None:
    request_id = await world.submitted(f"canned,run={DAY_S}")
    world.sandbox.clock.now += world.sandbox.options.queue_s
    assert await _outcome(world, request_id) == ("in_progress", "not_cancellable")
    assert (await world.status(request_id))["status"] == "in_progress"


async def test_the_upstreams_refusal_is_believed_also_of_a_queued_job(world: World) -> None:
    request_id = await world.submitted("queued,not-cancellable")
    assert await _outcome(world, request_id) == ("in_queue", "not_cancellable")
    assert (await world.status(request_id))["status"] == "in_queue"


async def test_repeating_a_cancel_repeats_its_answer(world: World) -> None:
    request_id = await world.submitted("queued")
    assert {await _outcome(world, request_id) for _ in range(3)} == {("cancelled", "cancelled")}
    assert (
        len([one for one in (await world.record(request_id))["events"] if one["state"] == "cancelled"]) == 1
    )


async def test_cancels_at_once_agree(world: World) -> None:
    request_id = await world.submitted("queued")
    outcomes = await asyncio.gather(*(_outcome(world, request_id) for _ in range(10)))
    assert ("cancelled", "cancelled") in outcomes
    # The upstream tells the second one that it is too late; the row knows that it is cancelled all the same.
    assert set(outcomes) == {("cancelled", "cancelled")}


async def test_a_finished_job_stays_what_it_became(world: World) -> None:
    for directive, state in (("canned", "completed"), ("fail", "failed")):
        request_id = await world.submitted(directive)
        await world.finish(request_id)
        assert await _outcome(world, request_id) == ("completed", "not_cancellable")
        assert (await world.record(request_id))["state"] == state


async def test_a_job_that_was_cancelled_by_somebody_else_is_cancelled(world: World) -> None:
    request_id = await world.submitted("queued")
    world.sandbox.cancel(world.received()[0]["request_id"])
    assert await _outcome(world, request_id) == ("cancelled", "cancelled")


async def test_a_rejected_job_is_not_cancellable(world: World) -> None:
    problem = problem_of(await world.submit("reject=422"), 422, "upstream_rejected")
    assert await _outcome(world, problem["request_id"]) == ("completed", "not_cancellable")


async def test_a_job_that_the_upstream_does_not_know_now_is_not_called_cancelled(world: World) -> None:
    request_id = await world.submitted("queued,vanish")
    await world.status(request_id)
    outcome = (await _outcome(world, request_id))[1]
    upstream = world.sandbox.client.post(f"/v1/requests/{world.received()[0]['request_id']}/cancel").json()
    assert outcome == ("cancelled" if upstream["outcome"] == "not_cancellable" else "not_cancellable")


# --- 403


async def test_a_key_that_only_reads_cancels_nothing(world: World) -> None:
    reader = await world.another_key(scopes=["read"])
    request_id = await world.submitted("queued")
    answer = await world.client.post(f"/v1/requests/{request_id}/cancel", headers=world.with_key(reader))
    problem_of(answer, 403, "insufficient_scope")
    assert (await world.status(request_id))["status"] == "in_queue"


# --- 502 and 504


async def test_a_cancel_without_a_usable_answer_is_502_and_changes_nothing(world: World) -> None:
    request_id = await world.submitted("queued,cancel-500")
    for _ in range(2):
        problem = problem_of(await _cancel(world, request_id), 502, "upstream_unusable")
        assert problem["retryable"] is True
        assert (await world.record(request_id))["state"] == "in_queue"


async def test_a_cancel_without_an_answer_is_504_and_the_next_look_tells_the_truth(world: World) -> None:
    request_id = await world.submitted("queued,cancel-hang")
    problem_of(await world.hung(_cancel(world, request_id)), 504, "upstream_timeout")
    listed = (await world.get("/v1/requests"))["requests"][0]
    assert listed["state"] == "in_queue"  # nothing is claimed that was not seen
    assert (await world.status(request_id))["status"] == "cancelled"
    assert await _outcome(world, request_id) == ("cancelled", "cancelled")
