"""Pictures by value: taken by default as large as the model's own rule allows, and nothing else is."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.contract.published import problem_of
from tests.harness import MORE_MODELS, SUBMIT, World, until
from tests.loops import skipped
from tests.pictures import data_uri, png
from tests.sandbox.harness import DREAMINA

pytestmark = pytest.mark.anyio

CAP, BY_VALUE = 262_144, 8_388_608
LIMIT = 4_700_000
QUOTE = f"/v1/quotes/{DREAMINA}"
HEADERS = {"Content-Type": "application/json"}


def picture(size: int) -> str:
    return data_uri(png(size_bytes=size))


async def post(world: World, content: bytes | AsyncIterator[bytes], path: str = SUBMIT) -> httpx2.Response:
    return await world.client.post(path, content=content, headers=HEADERS)


@pytest.mark.parametrize("size", [300_000, LIMIT - 1])
async def test_a_picture_that_the_model_takes_is_taken_by_value_and_sent_on(world: World, size: int) -> None:
    uri = picture(size)
    answer = await world.submit(image_urls=[uri])
    assert answer.status_code == 200, answer.text
    assert world.received()[-1]["input"]["image_urls"][0].endswith(f"({len(uri)} characters)")
    record = await world.get(f"/v1/requests/{answer.json()['request_id']}")
    (file,) = record["media"]
    assert (file["type"], file["size_bytes"], file["errors"]) == ("image/png", size, [])


async def test_one_byte_beyond_the_models_rule_is_refused_by_that_rule(world: World) -> None:
    (error,) = problem_of(await world.submit(image_urls=[picture(LIMIT)]), 422, "invalid_input")["errors"]
    assert error["detail"] == "File size must be less than 4.7 MB."


@pytest.mark.parametrize("path", [SUBMIT, QUOTE])
async def test_everything_beside_pictures_stays_within_the_strict_limit(world: World, path: str) -> None:
    uri = picture(300_000)
    for fields in (
        {"image_urls": [uri], "prompt": "x" * CAP},
        {"image_urls": ["https://pictures.example/" + "x" * CAP], "prompt": "x"},
        {"image_urls": [uri], "prompt": uri},
        {"image_urls": [uri], "prompt": "x", "seed": uri},
        {"image_urls": [uri], "prompt": "x", "data:": "x" * CAP},
    ):
        content = json.dumps(fields).encode()
        assert CAP < len(content) < BY_VALUE
        detail = problem_of(await post(world, content, path), 413, "body_too_large")["detail"]
        assert detail == (
            "A body may have at most 262,144 bytes, and data: URIs of at most 8,388,608 bytes beside them."
        )


async def test_the_strict_limit_counts_to_the_byte_and_escapes_are_the_pictures_own(world: World) -> None:
    uri = picture(300_000).replace("A", "/")  # no picture any more, but as much to escape as there can be
    head, tail = b'{"image_urls": ["', b'"], "prompt": "x"}'
    for escaped in (uri.encode(), uri.replace("/", "\\/").encode()):
        body = head + escaped + tail
        rest = CAP - len(head + tail)
        problem_of(await post(world, body + b" " * rest), 422, "invalid_input")
        problem_of(await post(world, body + b" " * (rest + 1)), 413, "body_too_large")


async def test_pictures_together_have_a_limit_of_their_own(world: World) -> None:
    problem_of(await world.submit(image_urls=["data:," + "x" * (BY_VALUE - 6)]), 422, "invalid_input")
    problem_of(await world.submit(image_urls=["data:," + "x" * (BY_VALUE - 5)]), 413, "body_too_large")


@pytest.mark.parametrize("world_settings", [{"data_uris": False}, {"max_data_uri_bytes": 0}])
async def test_where_pictures_by_value_are_switched_off_no_body_is_larger(world: World) -> None:
    problem = problem_of(await world.submit(image_urls=[picture(300_000)]), 413, "body_too_large")
    assert problem["detail"] == "A body may have at most 262,144 bytes."


@pytest.mark.parametrize("world_settings", [{"catalog_dir": MORE_MODELS}])
async def test_a_model_without_pictures_and_an_unknown_one_take_no_larger_body(world: World) -> None:
    models = world.gateway.catalog.models
    without = next((name for name, model in models.items() if not model.compiled.media), None)
    for model_id in filter(None, (without, "no/such-model")):
        content = json.dumps({"prompt": picture(300_000)}).encode()
        answer = await post(world, content, f"/v1/models/{model_id}")
        assert problem_of(answer, 413, "body_too_large")["detail"] == "A body may have at most 262,144 bytes."


class TestRoom:
    """Memory for large bodies is shared."""

    @pytest.fixture
    def world_settings(self) -> dict[str, Any]:
        return {"large_bodies_bytes": 18_000_000}

    async def test_many_at_once_never_hold_more_than_there_is_room_for(self, world: World) -> None:
        room, most = world.gateway.large_bodies, 0
        uris = [picture(1_000_000 + number) for number in range(12)]

        async def watched() -> None:
            nonlocal most
            while True:
                most = max(most, room.held)
                await asyncio.sleep(0)

        watch = asyncio.ensure_future(watched())
        answers = await asyncio.gather(*(world.submit(image_urls=[uri]) for uri in uris))
        watch.cancel()
        assert {one.status_code for one in answers} == {200}
        assert 2_000_000 < most <= 9_000_000
        assert room.held == 0

    async def test_who_finds_no_room_in_time_is_told_when_to_come_back(self, world: World) -> None:
        room = world.gateway.large_bodies
        given = asyncio.Event()

        async def stuck() -> AsyncIterator[bytes]:
            yield b" " * (CAP + 1)
            await given.wait()

        slow = [asyncio.ensure_future(post(world, stuck())) for _ in range(2)]
        await until(lambda: room.held)
        submit = world.submit(image_urls=[picture(300_000)])
        answer = await skipped(submit, 2, once=lambda: True)
        problem = problem_of(answer, 503, "large_bodies_busy")
        assert (problem["retryable"], answer.headers["Retry-After"]) == (True, "3")
        assert (await world.submit()).status_code == 200  # ordinary bodies need no such room
        other = world.with_key(await world.another_key(tenant="another"))
        body = world.body(image_urls=[picture(300_000)])
        assert (await world.client.post(SUBMIT, json=body, headers=other)).status_code == 200
        for one in slow:
            one.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        await until(lambda: not room.held)
        assert (await world.submit(image_urls=[picture(300_000)])).status_code == 200
