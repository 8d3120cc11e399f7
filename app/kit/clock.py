"""The clock that components are given, so that tests control the time and never wait for it."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from math import inf
from typing import Final, Protocol, Self

_FIRST_S: Final = int(datetime(1, 1, 1, tzinfo=UTC).timestamp())
_LAST_S: Final = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
_NEARLY_S: Final = 0.001  # timers of a loop may be early by this much


class Clock(Protocol):
    """A source of the current time and of delays."""

    def now_ms(self) -> int:
        """Returns the time in milliseconds since 1970-01-01T00:00:00Z."""

    async def sleep(self, delay_s: float) -> None:
        """Waits for `delay_s` seconds of this clock."""


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        """Returns the time in milliseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns() // 1_000_000

    async def sleep(self, delay_s: float) -> None:
        """Waits for `delay_s` seconds."""
        await asyncio.sleep(delay_s)


async def wait_for_event(event: asyncio.Event, clock: Clock, *, within_s: float) -> bool:
    """Waits at most `within_s` seconds for the event; returns whether it was set in that time."""
    if event.is_set():
        return True
    if isinstance(clock, SystemClock):  # a timer in place of two tasks
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await event.wait()
        return event.is_set()
    set_ = asyncio.ensure_future(event.wait())
    over = asyncio.ensure_future(clock.sleep(within_s))
    try:
        await asyncio.wait((set_, over), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (set_, over):
            task.cancel()
        await asyncio.gather(set_, over, return_exceptions=True)
    return event.is_set()


class Overdue:
    """Calls `act` when something that began has not ended `within_s` seconds later, with one timer for all.

    A timer of its own for each would cost more than most of what is timed: this one is set again only when
    it goes off.
    """

    def __init__(self, within_s: float, act: Callable[[], object]) -> None:
        self._within_s = within_s
        self._act = act
        self._loop = asyncio.get_running_loop()
        self._due = inf
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Begins: from now on, the time runs."""
        self._due = self._loop.time() + self._within_s
        if self._timer is None:
            self._timer = self._loop.call_at(self._due, self._on_timer)

    def end(self) -> None:
        """Ends what began; the timer may still go off, and then does nothing."""
        self._due = inf

    def close(self) -> None:
        """Cancels the timer."""
        self._due = inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        if self._due == inf:
            return
        if self._loop.time() < self._due - _NEARLY_S:
            self._timer = self._loop.call_at(self._due, self._on_timer)
        else:
            self._due = inf
            self._act()


class Waits:
    """Waits for an event again and again, each time for `within_s` seconds at most."""

    def __init__(self, event: asyncio.Event, clock: Clock, *, within_s: float) -> None:
        self._event = event
        self._clock = clock
        self._within_s = within_s
        self._overdue = Overdue(within_s, self._give_up)
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._overdue.close()

    async def wait(self) -> bool:
        """Returns whether the event was set in time.

        Afterwards it is set in both cases: clear it before looking for news.
        """
        if self._event.is_set():
            return True
        if not isinstance(self._clock, SystemClock):
            return await wait_for_event(self._event, self._clock, within_s=self._within_s)
        self._is_over = False
        self._overdue.begin()
        try:
            await self._event.wait()
        finally:
            self._overdue.end()
        return not self._is_over

    def _give_up(self) -> None:
        if not self._event.is_set():
            self._is_over = True
            self._event.set()


def iso(at_ms: int) -> str:
    """Returns a time as RFC 3339 in UTC with milliseconds: `2026-11-23T12:00:00.000Z`.

    The years are 1 to 9999: a time beyond them, which a caller can name in another zone, is in the nearest
    second of theirs.
    """
    seconds, rest_ms = divmod(at_ms, 1000)
    return f"{_iso_of_second(seconds)}.{rest_ms:03}Z"


@lru_cache(maxsize=1024)
def _iso_of_second(seconds: int) -> str:
    """Returns a second without its zone; most times that are told together lie in few seconds."""
    moment = datetime.fromtimestamp(min(max(seconds, _FIRST_S), _LAST_S), UTC)
    return moment.replace(tzinfo=None).isoformat()
