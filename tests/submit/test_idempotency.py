"""A retry with the same key never makes a second job."""

import asyncio
from typing import Any

import httpx2
import pytest

from tests.harness import SUBMIT, World

pytestmark = pytest.mark.anyio


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"submit_deadline_s": 4}


async def post(world: World, body: dict[str, Any], key: str, **headers: str) -> httpx2.Response:
    return await world.client.post(SUBMIT, json=body, headers={"Idempotency-Key": key, **headers})


class Test200:
    async def test_a_repetition_is_answered_with_the_first_job(self, world: World) -> None:
        body = world.body("canned")
        first, second = await post(world, body, "key-1"), await post(world, body, "key-1")
        assert (first.status_code, second.status_code) == (200, 200)
        assert first.json() == second.json()
        assert "idempotent-replayed" not in first.headers
        assert second.headers["idempotent-replayed"] == "true"
        assert len(world.received()) == 1

    async def test_quoted_and_bare_are_one_key(self, world: World) -> None:
        body = world.body("canned")
        first, second = await post(world, body, r'"a \"b\\ c"'), await post(world, body, r'a "b\ c')
        assert first.json() == second.json()

    async def test_the_order_of_members_does_not_matter(self, world: World) -> None:
        body = world.body("canned")
        first = await post(world, body, "key-2")
        second = await post(world, dict(reversed(body.items())), "key-2")
        assert first.json() == second.json()

    async def test_a_hundred_at_once_make_one_job(self, world: World) -> None:
        body = world.body("canned")
        answers = await asyncio.gather(*(post(world, body, "key-3") for _ in range(100)))
        assert {answer.status_code for answer in answers} <= {200, 409}
        ids = {answer.json()["request_id"] for answer in answers}
        assert len(ids) == 1
        assert len(world.received()) == 1
        assert (await post(world, body, "key-3")).json()["request_id"] in ids
        listed = await world.get("/v1/requests?limit=100")
        assert len(listed["requests"]) == 1

    async def test_a_rotated_api_key_repeats_the_same_job(self, world: World) -> None:
        body = world.body("canned")
        first = await post(world, body, "key-4")
        other = await world.another_key()
        second = await post(world, body, "key-4", **world.with_key(other))
        assert first.json() == second.json()

    async def test_another_tenants_key_is_another_key(self, world: World) -> None:
        body = world.body("canned")
        first = await post(world, body, "key-5")
        other = await world.another_key(tenant="a neighbour")
        second = await post(world, body, "key-5", **world.with_key(other))
        assert second.status_code == 200
        assert first.json()["request_id"] != second.json()["request_id"]

    async def test_a_finished_job_is_still_the_answer(self, world: World) -> None:
        body = world.body("canned")
        request_id = (await post(world, body, "key-6")).json()["request_id"]
        assert (await world.finish(request_id))["status"] == "succeeded"
        assert (await post(world, body, "key-6")).json()["request_id"] == request_id

    async def test_without_a_key_every_submit_is_a_job(self, world: World) -> None:
        body = world.body("canned")
        ids = {(await world.client.post(SUBMIT, json=body)).json()["request_id"] for _ in range(3)}
        assert len(ids) == 3


class Test400:
    @pytest.mark.parametrize(
        "key", ["", " ", '"', '"open', 'a"' * 200, '"a"b"', '"a\\x"', '"end\\"', "tab\tbed", "x" * 256, '""']
    )
    async def test_a_bad_key_is_refused_and_nothing_is_sent(self, world: World, key: str) -> None:
        answer = await post(world, world.body("canned"), key)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_idempotency_key")
        assert world.received() == []

    async def test_two_keys_are_refused(self, world: World) -> None:
        headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
        answer = await world.client.post(SUBMIT, json=world.body("canned"), headers=headers)
        assert answer.json()["code"] == "invalid_idempotency_key"


class Test409:
    async def test_while_the_first_is_under_way_the_second_is_told_to_wait(self, world: World) -> None:
        body = world.body("slow=0.8,canned")
        first = asyncio.create_task(post(world, body, "key-7"))
        for _ in range(200):
            await asyncio.sleep(0.005)
            if (await world.get("/v1/requests"))["requests"]:
                break
        second = await post(world, body, "key-7")
        assert (second.status_code, second.json()["code"]) == (409, "idempotency_in_progress")
        assert int(second.headers["retry-after"]) >= 1
        assert second.json()["retryable"] is True
        assert second.json()["request_id"] == (await first).json()["request_id"]
        assert len(world.received()) == 1


class Test422:
    async def test_another_body_with_the_same_key_is_refused(self, world: World) -> None:
        await post(world, world.body("canned"), "key-8")
        answer = await post(world, world.body("canned"), "key-8")
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")
        assert world.received() == []

    async def test_a_refused_input_does_not_consume_the_key(self, world: World) -> None:
        bad = await post(world, world.body("canned", seed="x"), "key-9")
        assert bad.status_code == 422
        assert (await post(world, world.body("canned"), "key-9")).status_code == 200

    async def test_a_body_of_any_json_can_be_compared(self, world: World) -> None:
        for seed in (10**300, 2**64, -(2**70), 1e300, [[1]], {"b": 1, "a": None}):
            answer = await post(world, world.body("canned", seed=seed), "key-13")
            assert answer.status_code in {200, 422}, answer.text

    async def test_what_runcomfy_refused_is_refused_again_in_the_same_words(self, world: World) -> None:
        body = world.body("reject=422")
        first, second = await post(world, body, "key-10"), await post(world, body, "key-10")
        assert first.status_code == second.status_code == 422
        assert second.headers["idempotent-replayed"] == "true"
        assert _without_trace(first) == _without_trace(second)
        assert len(world.received()) == 1


class Test503:
    async def test_what_may_be_sent_again_leaves_the_key_free(self, world: World) -> None:
        body = world.body("unauthorized")
        first, second = await post(world, body, "key-11"), await post(world, body, "key-11")
        assert first.json()["retryable"] is second.json()["retryable"] is True
        assert first.json()["request_id"] != second.json()["request_id"]


class Test504:
    async def test_an_unknown_job_is_never_sent_again(self, world: World) -> None:
        body = world.body("html")
        first, second = await post(world, body, "key-12"), await post(world, body, "key-12")
        assert first.status_code == second.status_code == 504
        assert first.json()["request_id"] == second.json()["request_id"]
        assert second.headers["idempotent-replayed"] == "true"
        assert len(world.received()) == 1


def _without_trace(answer: httpx2.Response) -> dict[str, Any]:
    return {name: value for name, value in answer.json().items() if name != "trace_id"}
