"""What is kept of pictures by value: all while a request is queued, and afterwards how long they were."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select

from app.db.schema.tables import generations, unsent_inputs
from app.generations import store
from app.generations.lifecycle import State
from app.kit.json import to_column
from app.media.data_uri import abridged, is_abridged
from tests.harness import SUBMIT, World, until
from tests.pictures import data_uri, png
from tests.profiles import examples
from tests.quotas.accounts import limited

pytestmark = pytest.mark.anyio

URI = data_uri(png(size_bytes=300_000))
SHOWN = f"data:image/png;base64,({len(URI)} characters)"


def unsent(connection: Connection) -> list[str]:
    return list(connection.execute(select(unsent_inputs.c.generation_id)).scalars())


def longest(connection: Connection) -> int:
    return int(connection.execute(select(func.max(func.length(generations.c.input)))).scalar_one())


async def test_a_picture_is_not_kept_once_it_was_sent(world: World) -> None:
    request_id = await world.submitted(image_urls=[URI])
    assert (await world.get(f"/v1/requests/{request_id}"))["input"]["image_urls"] == [SHOWN]
    assert await world.gateway.db.read(longest) < 500
    assert await world.gateway.db.read(unsent) == []


async def test_the_same_picture_with_the_same_key_is_the_same_submit(world: World) -> None:
    body, headers = world.body(image_urls=[URI]), {"Idempotency-Key": "one"}
    first = await world.client.post(SUBMIT, json=body, headers=headers)
    again = await world.client.post(SUBMIT, json=body, headers=headers)
    assert (first.status_code, again.json()) == (200, first.json())
    other = {**body, "image_urls": [data_uri(png(size_bytes=300_001))]}
    answer = await world.client.post(SUBMIT, json=other, headers=headers)
    assert answer.json()["code"] == "idempotency_mismatch"


def test_short_and_odd_texts_stay_as_they_are() -> None:
    for value in (
        {"a": "data:image/png;base64,AAAA"},
        {"a": "data:image/png," + "x" * 5_000},
        {"a": "https://a.test/" + "x" * 5_000},
        {"data:image/png;base64,x": 1},
        {"a": 'he said "data:" and "data:image/png;base64,'},
        {},
    ):
        text = to_column(value) or ""
        assert abridged(text) is text or abridged(text) == text
        assert not is_abridged(text)


@settings(max_examples=examples(60), derandomize=True, database=None)
@given(
    st.recursive(
        st.text(st.sampled_from('ab"\\,:\n;('), max_size=9)
        | st.sampled_from(
            [URI[:2_000], 'x"' + URI[:2_000], URI[:2_000] + '"', "data:", '"data:image/png;base64,']
        ),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    )
)
def test_whatever_else_is_in_a_document_it_stays_a_document(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    shorter = abridged(text)
    read = json.loads(shorter)
    assert type(read) is type(value)
    if text.count(URI[:2_000]) == 0:
        assert shorter == text


class TestQueued:
    @pytest.fixture
    def world_settings(self) -> dict[str, Any]:
        return {"queueing": True}

    async def _tick(self, world: World) -> None:
        await world.gateway.dispatch_loop.run_once()
        await until(lambda: not world.gateway.dispatch_loop.under_way)

    async def _queued(self, world: World) -> tuple[str, str]:
        """Two requests of a picture by value, the first at RunComfy, the second queued."""
        await limited(world, "in-flight=1")
        first = await world.submitted("queued", image_urls=[URI])
        return first, await world.submitted("canned", image_urls=[URI])

    async def test_it_is_kept_whole_until_it_is_sent(self, world: World) -> None:
        db = world.gateway.db
        first, second = await self._queued(world)
        assert await db.read(unsent) == [second]
        assert await db.read(longest) < 500
        assert (await world.get(f"/v1/requests/{second}"))["input"]["image_urls"] == [SHOWN]
        await world.client.post(f"/v1/requests/{first}/cancel")
        await self._tick(world)
        (received,) = world.received()
        # So the sandbox's ledger shows a long text; ours would have no dots.
        assert received["input"]["image_urls"][0].endswith(f"… ({len(URI)} characters)")
        assert (await world.finish(second))["status"] == "succeeded"
        assert await db.read(unsent) == []

    async def test_one_that_is_cancelled_or_expires_is_not_kept(self, world: World) -> None:
        db = world.gateway.db
        _, second = await self._queued(world)
        await world.client.post(f"/v1/requests/{second}/cancel")
        assert await db.read(unsent) == []

    async def test_one_that_goes_back_to_the_queue_is_kept(self, world: World) -> None:
        db = world.gateway.db
        third = await world.submitted("rate-limit=30", image_urls=[URI])
        row = await db.read(store.find, third, None)
        assert row is not None
        assert row.state is State.ACCEPTED
        assert await db.read(unsent) == [third]
        whole = await db.read(store.with_unsent_input, row)
        assert whole.input["image_urls"] == [URI]
