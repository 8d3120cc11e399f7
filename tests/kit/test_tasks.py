"""Waiting for a task of the application: for a bounded time, and without a say in what becomes of it."""

import asyncio

import pytest

from app.kit.tasks import has_ended

pytestmark = pytest.mark.anyio


async def test_a_task_that_ends_in_time_has_ended_whatever_came_of_it() -> None:
    loop = asyncio.get_running_loop()
    done, failing = loop.create_task(asyncio.sleep(0, "done")), loop.create_task(_fail())
    assert await has_ended(done, within_s=60)
    assert await has_ended(done, within_s=60), "it had ended before"
    assert await has_ended(failing, within_s=60)
    assert done.result() == "done"
    assert isinstance(failing.exception(), ZeroDivisionError)


async def test_a_task_goes_on_when_the_time_is_over_or_whoever_waits_has_gone() -> None:
    gate = asyncio.Event()
    task = asyncio.create_task(gate.wait())
    assert not await has_ended(task, within_s=0)
    waiting = asyncio.create_task(has_ended(task, within_s=60))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    gate.set()
    assert await task


async def _fail() -> None:
    raise ZeroDivisionError
