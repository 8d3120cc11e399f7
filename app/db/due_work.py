"""When a loop that leases rows looks for what is due: what the loops of webhooks and of the mirror share.

A tick begins, frees what was leased by servers that died, leases what is due, and says how long to rest.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from app.db.announcements import Announcement
from app.db.engines.engine import Database

SOON_S: Final = 0.05
"""The rest before a tick that finds more to do: another server was leasing, or not all was leased."""
_FREE_MS: Final = 5_000


@dataclass(slots=True, kw_only=True)
class DueWork:
    """The rows of one kind that wait to be leased, as one process looks at them.

    `next_due` returns when the first of them is due, in ms, or None where none waits; `free(connection,
    now_ms=…)` makes rows due again whose lease has ended. `announced` names what wakes the loop.
    """

    db: Database
    announced: str
    tick_s: float
    next_due: Callable[[Connection], int | None]
    free: Callable[..., int]
    woken: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _pause_s: float = field(default=0.0, init=False)
    _was_woken: bool = field(default=False, init=False)
    _freed_at_ms: int = field(default=0, init=False)

    def listen(self) -> None:
        """Starts to be woken by what this process or another one announces."""
        self.db.announcements.subscribe(self.announced, self._on_announcement)

    def pause_s(self) -> float:
        """Returns how long the next tick is away, unless it is woken."""
        return self._pause_s

    def begin(self) -> None:
        """Begins a tick; what wakes the loop from now on is for the next one."""
        self._was_woken, self._pause_s = self.woken.is_set(), self.tick_s
        self.woken.clear()

    async def is_due(self, now_ms: int) -> bool:
        """Returns whether a row may be due, having freed what was leased for too long.

        Raises:
            Problem: DATABASE_UNAVAILABLE.

        """
        if not self._was_woken:  # reading is cheaper than leasing, where nothing is due
            due_ms = await self.db.read(self.next_due)
            if due_ms is None or due_ms > now_ms:
                self.rest_until(due_ms, now_ms)
                return False
        if not 0 <= now_ms - self._freed_at_ms < _FREE_MS:
            self._freed_at_ms = now_ms
            await self.db.write(self.free, now_ms=now_ms)
        return True

    def rest_until(self, due_ms: int | None, now_ms: int) -> None:
        """Has the loop rest until the next row is due, and no longer than a tick."""
        if due_ms is not None:
            self._pause_s = min(self.tick_s, max(due_ms - now_ms, 0) / 1000)

    def come_back(self) -> None:
        """Has the next tick come soon."""
        self._pause_s = SOON_S

    @property
    def is_soon(self) -> bool:
        """Whether the next tick comes soon, since there is more to do."""
        return self._pause_s <= SOON_S

    def _on_announcement(self, _: Announcement | None) -> None:
        self.woken.set()
