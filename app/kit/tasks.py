"""Tasks that belong to the application, so that neither a caller's disconnect nor a drain cuts them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


class Tasks:
    """The application's own running tasks."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._cuttable: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, work: Coroutine[Any, Any, R], *, name: str, may_be_cut: bool = False) -> asyncio.Task[R]:
        """Run the coroutine whatever happens to the caller; await it through `asyncio.shield`.

        `may_be_cut`: a drain does not wait for it, because nothing is lost with it.
        """
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        if may_be_cut:
            self._cuttable.add(task)
        task.add_done_callback(self._done)
        return task

    async def drain(self, timeout_s: float) -> int:
        """Wait for what is running, then cancel the rest. How many had to be cancelled."""
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
            task.exception()  # it was raised to whoever awaited; nobody else needs a warning


def mark_seen(future: "asyncio.Future[Any]") -> None:
    """Whoever waits for it has its error, or has given up; nobody else needs a warning."""
    if not future.cancelled():
        future.exception()
