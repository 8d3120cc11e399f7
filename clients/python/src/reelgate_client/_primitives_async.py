"""What the asynchronous client needs of its loop; `_primitives_sync` has the same for threads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")


async def sleep(delay_s: float) -> None:
    """Waits."""
    await anyio.sleep(delay_s)


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Returns what a function returns that would keep the loop from its other tasks."""
    return await anyio.to_thread.run_sync(lambda: work(*arguments))


async def despite_cancellation(work: Callable[[], Awaitable[Any]], within_s: float) -> None:
    """Does a last thing for a task that is being cancelled."""
    with anyio.move_on_after(within_s, shield=True):
        await work()
