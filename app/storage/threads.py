"""File work off the event loop, in a few threads of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Threads:
    """At most `size` threads for files. Each call is short: a chunk, a rename, a flush to disk."""

    def __init__(self, size: int) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="files")

    async def run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Returns what the function returns, from one of the threads.

        A cancelled caller waits for the end of the call all the same, so that nobody closes a file which a
        thread still writes to.
        """
        running = self._start(function, *args, **kwargs)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await _ended(running)
            raise

    async def make(self, function: Callable[[], R], undo: Callable[[R], object]) -> R:
        """Returns what the function makes, from one of the threads; a cancelled caller's is undone."""
        running = self._start(function)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await _ended(running)
            if not running.cancelled() and running.exception() is None:
                undo(running.result())
            raise

    def _start(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> "asyncio.Future[R]":
        work = partial(function, *args, **kwargs)
        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Lets the threads end; calls that wait are given up."""
        self._pool.shutdown(wait=False, cancel_futures=True)


async def _ended(running: "asyncio.Future[R]") -> None:
    """Waits for the end of a call, however often its caller is cancelled meanwhile."""
    while not running.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([running])
    if not running.cancelled():
        running.exception()  # retrieved, so that asyncio does not warn
