"""An event loop whose time a test can move, so that no test has to wait for a real deadline."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

_TURNS_TO_REST: Final = 200  # of the loop: both ends of a connection are in it, and the kernel is at once


class SkippingLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop; `skip` moves its time."""

    def __init__(self) -> None:
        super().__init__()
        self._skipped_s = 0.0

    def time(self) -> float:
        """Seconds of the machine's monotonic clock, and what was skipped."""
        return super().time() + self._skipped_s

    def skip(self, seconds: float) -> None:
        """Let every timer that is due within these seconds be due now."""
        self._skipped_s += seconds


def skip(seconds: float) -> None:
    """Let every deadline of the running loop pass that lies within these seconds.

    The test first waits for what has to happen before the deadline, so that a slow machine changes nothing.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SkippingLoop)
    loop.skip(seconds)


async def skipped(work: Coroutine[Any, Any, T], seconds: float, *, once: Callable[[], object]) -> T:
    """The result of work that a deadline ends, without waiting for that.

    Its seconds are skipped when `once` has come true, and whatever goes on in this loop has come to rest.
    """
    task = asyncio.ensure_future(work)
    while not (task.done() or once()):  # noqa: ASYNC110 - whatever it waits for tells nobody
        await asyncio.sleep(0.002)
    for _ in range(_TURNS_TO_REST):
        await asyncio.sleep(0)
    skip(seconds)
    return await task
