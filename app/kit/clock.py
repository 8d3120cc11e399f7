"""The clock that components are given, so that tests control the time and never wait for it."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Protocol

_FIRST_S: Final = int(datetime(1, 1, 1, tzinfo=UTC).timestamp())
_LAST_S: Final = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())


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
    if isinstance(clock, SystemClock):  # a timer in place of two tasks: a thousand streams wait here
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


def iso(at_ms: int) -> str:
    """Returns a time as RFC 3339 in UTC with milliseconds: `2026-11-23T12:00:00.000Z`.

    The years are 1 to 9999: a time beyond them, which a caller can name in another zone, is in the nearest
    second of theirs.
    """
    seconds, rest_ms = divmod(at_ms, 1000)
    moment = datetime.fromtimestamp(min(max(seconds, _FIRST_S), _LAST_S), UTC).replace(microsecond=rest_ms * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
