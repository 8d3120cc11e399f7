"""A revocation ends quiet streams and held answers within five seconds, whatever their number."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection, text

from app.auth import client_tokens, keys, permits
from app.errors import DATABASE_UNAVAILABLE, Problem
from tests.client_tokens.pages import Page, page
from tests.contract.published import problem_of
from tests.harness import SUBMIT, World, until
from tests.streams import Stream, begin, finish, moving, streaming

pytestmark = pytest.mark.anyio

PROMISED_S = 5


async def _time_for_a_sweep(world: World, *calls: Stream) -> None:
    """Less time passes than was promised, and ends all these calls."""
    assert permits._SWEEP_S < PROMISED_S
    world.clock.advance(permits._SWEEP_S)
    await until(lambda: all(one.over for one in calls))


async def _quiet(world: World, made: Page) -> list[Stream]:
    """One of everything that a token can hold, of a request to which nothing happens."""
    request_id = await made.submitted("queued")
    await world.status(request_id)
    paths = [
        f"/v1/requests/{request_id}/events",
        f"/v1/requests/events?ids={request_id}",
        f"/v1/requests/{request_id}/status?wait=30",
        f"/v1/requests/{request_id}/result?wait=30",
    ]
    opened = [begin(world, path, authorization=f"Bearer {made.token}") for path in paths]
    await until(lambda: world.gateway.following.watch.watchers == len(opened))
    for stream in opened[:2]:
        await stream.has(2) if stream is opened[0] else await until(lambda: len(opened[1].messages) >= 3)
    return opened


def _last(stream: Stream) -> tuple[str | None, Any]:
    message = stream.messages[-1]
    return message.event, message.data


async def _end(world: World, made: Page, key: str, how: str) -> None:
    now_ms = world.clock.now_ms()
    write = world.gateway.db.write
    match how:
        case "token":
            await world.client.post(f"/v1/client-tokens/{made.token_id}/revoke")
        case "key":
            await write(keys.revoke, key.split("_")[2], now_ms=now_ms)
        case "tenant":
            await write(_disable, world.tenant_id, now_ms)


def _disable(connection: Connection, tenant_id: str, now_ms: int) -> None:
    wanted = {"now": now_ms, "id": tenant_id}
    connection.execute(text("UPDATE tenants SET disabled_at_ms = :now WHERE id = :id"), wanted)


@pytest.mark.parametrize("how", ["token", "key", "tenant"])
async def test_what_waits_quietly_ends_with_its_right_and_says_why(world: World, how: str) -> None:
    key = await world.another_key(scopes=keys.SCOPES)
    made = await page(world, key, lifetime_s=3600)
    opened = await _quiet(world, made)
    await _end(world, made, key, how)
    await _time_for_a_sweep(world, *opened)
    for stream in opened[:2]:
        event, document = _last(stream)
        assert (event, document["code"], document["status"]) == ("problem", "invalid_client_token", 401)
        assert (stream.status, stream.ended) == (200, True)
    for held in opened[2:]:
        assert held.answer.json()["code"] == "invalid_client_token"
    assert len(world.gateway.access.permits) == 0


async def _swept(world: World) -> None:
    """The sweep that was due is over, and the next one is due."""
    next_ms = world.clock.now_ms() + int(permits._SWEEP_S * 1000)
    await until(lambda: next_ms in [at_ms for at_ms, future in world.clock._sleepers if not future.done()])


async def test_a_token_that_expires_ends_what_it_holds(world: World) -> None:
    made = await page(world, lifetime_s=10)
    opened = await _quiet(world, made)
    world.clock.advance(8 - permits._SWEEP_S)
    await _swept(world)
    assert not any(one.over for one in opened)
    await _time_for_a_sweep(world, *opened)
    assert _last(opened[0])[1]["code"] == "expired_client_token"


async def test_a_revocation_ends_the_stream_of_all_events_of_its_key_and_no_other(world: World) -> None:
    key = await world.another_key()
    async with (
        streaming(world, "/v1/events", authorization=f"Bearer {key}") as mine,
        streaming(world, "/v1/events") as other,
    ):
        await world.gateway.db.write(keys.revoke, key.split("_")[2], now_ms=world.clock.now_ms())
        await _time_for_a_sweep(world, mine)
        assert _last(mine)[1]["code"] == "invalid_api_key"
        assert not other.over


async def test_a_thousand_streams_cost_two_queries_in_two_seconds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [await page(world, lifetime_s=3600) for _ in range(4)]
    one = await made[0].submitted("queued")
    read: list[int] = []
    for noun in (keys, client_tokens):
        find_all: Any = noun.find_all

        def counted(connection: Connection, names: list[str], find_all: Any = find_all) -> Any:
            read.append(len(names))
            return find_all(connection, names)

        monkeypatch.setattr(noun, "find_all", counted)
    opened = [begin(world, f"/v1/requests/{one}/events") for _ in range(30)]
    for each in made:
        mine = await each.submitted("queued")
        path = f"/v1/requests/{mine}/events"
        opened += [begin(world, path, authorization=f"Bearer {each.token}") for _ in range(8)]
    await until(lambda: all(stream.status for stream in opened))
    read.clear()
    await moving(world, lambda: len(read) >= 4, step_s=0.5)
    assert sorted(read[:4]) == [1, 1, 4, 4], "one key and four tokens, each once in a sweep"
    await finish(*opened)


async def test_a_database_that_does_not_answer_ends_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0

    def away(*_: Any) -> Any:
        nonlocal tried
        tried += 1
        raise Problem(DATABASE_UNAVAILABLE, "It is away.")

    monkeypatch.setattr(keys, "find_all", away)
    async with streaming(world, "/v1/events") as stream:
        await moving(world, lambda: tried >= 3)
        assert not stream.over
        monkeypatch.undo()
        await world.gateway.db.write(_disable, world.tenant_id, world.clock.now_ms())
        await moving(world, lambda: stream.over)
        assert _last(stream)[1]["code"] == "invalid_api_key"


async def test_a_held_submit_of_a_revoked_key_is_refused_though_its_job_goes_on(world: World) -> None:
    key = await world.another_key()
    task = asyncio.create_task(
        world.client.post(f"{SUBMIT}?wait=30", json=world.body("queued"), headers=world.with_key(key))
    )
    await until(lambda: world.gateway.following.watch.watchers == 1)
    await world.gateway.db.write(keys.revoke, key.split("_")[2], now_ms=world.clock.now_ms())
    world.clock.advance(permits._SWEEP_S)
    await until(task.done)
    problem = problem_of(task.result(), 401, "invalid_api_key")
    assert [one["request_id"] for one in (await world.get("/v1/requests"))["requests"]] == [
        problem["request_id"]
    ]
