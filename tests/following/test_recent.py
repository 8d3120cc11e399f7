"""Rows that were read a moment ago: shared, bounded, and gone as soon as a change of them is announced."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.generations import store
from app.generations.following.recent import _ROW_BYTES, RecentRows
from app.kit.ids import new_id
from tests.harness import World
from tests.shared import PATIENT_S

pytestmark = pytest.mark.anyio


def recent_of(world: World, **more: Any) -> RecentRows:
    gateway = world.gateway
    return RecentRows(gateway.db, gateway.clock, gateway.tasks, **more)


async def test_those_who_wait_at_the_same_time_share_a_statement(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await world.submitted() for _ in range(3)]
    calls = []
    read = world.gateway.db.read

    async def counted(function: Callable[..., Any], *args: Any) -> Any:
        calls.append(args)
        return await read(function, *args)

    monkeypatch.setattr(world.gateway.db, "read", counted)
    rows = recent_of(world)
    unknown = new_id(world.clock.now_ms())
    found = await asyncio.gather(*map(rows.fetch, [*ids, *ids, unknown]))
    assert [one.generation.id if one else None for one in found] == [*ids, *ids, None]
    assert len(calls) == 1
    assert [rows.get(one) for one in ids] == list(found[:3])


async def test_a_row_is_kept_for_a_second(world: World) -> None:
    request_id = await world.submitted()
    rows = recent_of(world)
    kept = await rows.fetch(request_id)
    world.clock.advance(0.999)
    assert rows.get(request_id) is kept
    world.clock.advance(0.001)
    assert rows.get(request_id) is None
    world.clock.advance(-2)  # the clock was set back
    assert rows.get(request_id) is None


async def test_what_was_read_before_a_change_was_announced_is_not_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = await world.submitted("queued")
    rows = recent_of(world)
    read, may_end = world.gateway.db.read, asyncio.Event()

    async def slow(function: Callable[..., Any], *args: Any) -> Any:
        found = await read(function, *args)
        if args == ([request_id],):
            await may_end.wait()
        return found

    monkeypatch.setattr(world.gateway.db, "read", slow)
    early = rows.fetch(request_id)
    await asyncio.sleep(0.01)
    await world.client.post(f"/v1/requests/{request_id}/cancel")
    late = rows.fetch(request_id)
    may_end.set()
    before, after = await early, await late
    assert before is not None
    assert after is not None
    assert after.generation.version > before.generation.version
    assert rows.get(request_id) is after


async def test_the_memory_of_rows_is_bounded_and_the_oldest_go_first(world: World) -> None:
    ids = [await world.submitted() for _ in range(4)]
    rows = recent_of(world, max_bytes=3 * _ROW_BYTES)
    for one in ids:
        await rows.fetch(one)
    kept = [one for one in ids if rows.get(one)]
    assert kept == ids[-len(kept) :]
    assert 0 < rows.bytes <= 3 * _ROW_BYTES


async def test_a_read_that_fails_keeps_nobody_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    request_id = await world.submitted()

    def broken(*_: Any) -> Any:
        raise ValueError

    with monkeypatch.context() as patched:
        patched.setattr(store, "find", broken)
        assert await recent_of(world).fetch(request_id) is None
    assert await recent_of(world).fetch(request_id) is not None


async def test_announcements_that_were_lost_drop_every_row(world: World) -> None:
    request_id = await world.submitted()
    rows = recent_of(world)
    await rows.fetch(request_id)
    world.gateway.db.announcements._tell_of_losses()
    assert rows.get(request_id) is None
    assert rows.bytes == 0


async def test_a_change_before_a_row_is_read_leaves_nobody_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, late = [await world.submitted("queued") for _ in range(3)]
    rows = recent_of(world)
    read, may_end = world.gateway.db.read, asyncio.Event()

    async def slow(function: Callable[..., Any], *args: Any) -> Any:
        if args in (([first],), ([second],)):
            await may_end.wait()
        return await read(function, *args)

    monkeypatch.setattr(world.gateway.db, "read", slow)
    busy = [rows.fetch(first)]
    await asyncio.sleep(0)
    busy.append(rows.fetch(second))
    await asyncio.sleep(0)
    waiting = [rows.fetch(late)]  # every lane is busy
    await world.client.post(f"/v1/requests/{late}/cancel")
    waiting.append(rows.fetch(late))
    world.gateway.db.announcements._tell_of_losses()
    waiting.append(rows.fetch(late))
    may_end.set()
    async with asyncio.timeout(PATIENT_S):
        await asyncio.gather(*busy)
        found = await asyncio.gather(*waiting)
    assert {one and one.generation.state for one in found} == {"cancelled"}
