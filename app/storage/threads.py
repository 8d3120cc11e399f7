"""File work off the event loop, in a few threads of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
        work = partial(function, *args, **kwargs)
        running = asyncio.get_running_loop().run_in_executor(self._pool, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            while not running.done():
                try:
                    await asyncio.wait([running])
                except asyncio.CancelledError:
                    continue
            if not running.cancelled():
                running.exception()  # retrieved, so that asyncio does not warn
            raise

    def close(self) -> None:
        """Lets the threads end; calls that wait are given up."""
        self._pool.shutdown(wait=False, cancel_futures=True)
