"""Tasks that belong to the application, so that a caller who disconnects does not cancel them."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

R = TypeVar("R")


class Tasks:
    """The application's running tasks."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._cuttable: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(
        self, work: Coroutine[Any, Any, R], *, name: str, cancel_on_drain: bool = False
    ) -> asyncio.Task[R]:
        """Starts the coroutine as a task that outlives its caller, who awaits it through `asyncio.shield`.

        `cancel_on_drain` marks work with which nothing is lost: a drain cancels it instead of waiting for it.
        """
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        if cancel_on_drain:
            self._cuttable.add(task)
        task.add_done_callback(self._done)
        return task

    async def drain(self, timeout_s: float) -> int:
        """Cancels the tasks that may be cut, waits up to `timeout_s` for the others, and cancels those left.

        Returns the number of tasks that were not finished in time; those that may be cut do not count.
        """
        cut = set(self._cuttable)
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)
        if not self._running:
            return 0
        _, late = await asyncio.wait(set(self._running), timeout=timeout_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len(late)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        self._cuttable.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not warn: whoever awaited the task has it


async def has_ended(task: "asyncio.Task[Any]", *, within_s: float) -> bool:
    """Waits for a task, `within_s` seconds at most, and returns whether it has ended.

    The task goes on where it has not, and where who waits is cancelled.
    """
    loop = asyncio.get_running_loop()
    bell = loop.create_future()
    ring = partial(_ring, bell)
    timer = loop.call_later(within_s, ring)
    task.add_done_callback(ring)
    try:
        await bell
    finally:
        timer.cancel()
        task.remove_done_callback(ring)
    return task.done()


def _ring(bell: "asyncio.Future[None]", *_: object) -> None:
    if not bell.done():
        bell.set_result(None)


def retrieve_exception(future: "asyncio.Future[Any]") -> None:
    """Retrieves the future's exception, so that asyncio does not warn that nobody did.

    For a future whose waiters receive the exception themselves, or have given up waiting.
    """
    if not future.cancelled():
        future.exception()
