"""The one kind of background loop that all periodic work uses.

A loop has a name and a function `run_once`, which returns how many things it did. The first tick comes at
once; an error is logged and followed by a longer pause; a tick that is under way when the loop is stopped
finishes.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from app.kit.clock import Clock, wait_for_event
from app.kit.log import get_logger

_log = get_logger("loop")
_MAX_BACKOFF = 30  # times the interval
_BEAT_MS: Final = 1000
_PHASE_MS: Final = random.randrange(_BEAT_MS)  # noqa: S311 - spreads load, guards nothing


class Loop:
    """A background loop that calls `run_once` again and again.

    `interval_s` is the pause between ticks. The loops of a process tick together, as far as they can: then
    their reads share a trip to the database, and the process wakes up once for all of them. Each process has
    another beat, so that replicas do not tick together. Where there is a `pause_s`, it says after each tick
    that went well how long the pause before the next one is. Setting the event `woken`, if there is one, ends
    the pause at once; whoever passes an event must also clear it. `failures` counts the ticks that ended with
    an error, and `went_well_ms` is when the last other one ended.
    """

    def __init__(
        self,
        name: str,
        run_once: Callable[[], Awaitable[int]],
        *,
        interval_s: float,
        clock: Clock,
        woken: asyncio.Event | None = None,
        pause_s: Callable[[], float] | None = None,
    ) -> None:
        self.name = name
        self.run_once = run_once
        self.interval_s = interval_s
        self.failures = 0
        self.went_well_ms = clock.now_ms()
        self._clock = clock
        self._pause_s = pause_s or (lambda: interval_s)
        self._stopping = False
        self._woken = woken or asyncio.Event()

    async def run(self) -> None:
        """Ticks until `stop` is called."""
        failures = 0
        while not self._stopping:
            try:
                count = await self.run_once()
            except Exception:  # noqa: BLE001 - a loop goes on after any error of a tick
                failures += 1
                self.failures += 1
                _log.exception("A loop's tick failed.", loop=self.name, failures=failures)
            else:
                failures = 0
                self.went_well_ms = self._clock.now_ms()
                if count:
                    _log.debug("A loop's tick did some work.", loop=self.name, count=count)
            backoff_s = self.interval_s * min(2**failures, _MAX_BACKOFF)
            await self._pause(backoff_s if failures else self._pause_s())

    def stop(self) -> None:
        """Asks the loop to end after its present tick."""
        self._stopping = True
        self._woken.set()

    async def _pause(self, delay_s: float) -> None:
        if not self._stopping:
            await wait_for_event(self._woken, self._clock, within_s=_to_a_beat(delay_s, self._clock.now_ms()))


def _to_a_beat(delay_s: float, now_ms: int) -> float:
    """Returns a pause that ends on a beat of this process: a second less at most, or half a second more.

    One of less than a second is as it is.
    """
    delay_ms = delay_s * 1000
    if delay_ms < _BEAT_MS:
        return delay_s
    until_beat_ms = delay_ms - (now_ms + _PHASE_MS + delay_ms) % _BEAT_MS
    return (until_beat_ms if until_beat_ms >= _BEAT_MS / 2 else until_beat_ms + _BEAT_MS) / 1000
