"""One anatomy for everything that happens in the background.

A loop is a named `run_once` that returns how many things it did. The first tick comes at once; an error is
logged and met with a longer pause; a stop lets the tick under way finish.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

from app.kit.clock import Clock, happens
from app.kit.log import get_logger

_log = get_logger("loop")
_MAX_BACKOFF = 30  # times the interval


class Loop:
    """A background loop.

    `interval_s` is the pause between ticks, of which up to a tenth is jitter, so that replicas spread out;
    the event, if there is one, ends it at once.
    """

    def __init__(
        self,
        name: str,
        run_once: Callable[[], Awaitable[int]],
        *,
        interval_s: float,
        clock: Clock,
        woken: asyncio.Event | None = None,
    ) -> None:
        self.name = name
        self.run_once = run_once
        self.interval_s = interval_s
        self._clock = clock
        self._stopping = False
        self._woken = woken or asyncio.Event()

    async def run(self) -> None:
        """Tick until `stop`."""
        failures = 0
        while not self._stopping:
            try:
                count = await self.run_once()
            except Exception:  # noqa: BLE001 - a loop outlives whatever one tick met
                failures += 1
                _log.exception("A loop's tick failed.", loop=self.name, failures=failures)
            else:
                failures = 0
                if count:
                    _log.debug("A loop's tick did something.", loop=self.name, count=count)
            await self._pause(self.interval_s * min(2**failures, _MAX_BACKOFF))

    def stop(self) -> None:
        """Ask the loop to end after its present tick."""
        self._stopping = True
        self._woken.set()

    async def _pause(self, delay_s: float) -> None:
        jittered_s = delay_s * (1 - 0.1 * random.random())  # noqa: S311 - spreads load, guards nothing
        if not self._stopping:
            await happens(self._woken, self._clock, within_s=jittered_s)
