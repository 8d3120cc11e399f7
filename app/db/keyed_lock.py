"""Keyed locks: waiting in this process for one's turn, before a database connection is taken.

On PostgreSQL, writers that want the same row would each occupy a connection while they wait for one another.
Here they wait without one: one at a time for each key, and all of them together never use the whole pool.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from app.db.outage import DatabaseBusyError


@dataclass(slots=True)
class _Entry:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: int = 0


class KeyedLocks:
    """A lock for each key, first come, first served. At most `most` keys are locked at a time.

    Whoever has waited for `patience_s` seconds gives up.
    """

    def __init__(self, max_held: int, *, patience_s: float) -> None:
        self._slots = asyncio.Semaphore(max_held)
        self._patience_s = patience_s
        self._locks: dict[str, _Entry] = {}

    @asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[None]:
        """Holds the key's lock for the block.

        Raises:
            DatabaseBusyError: the lock was not free in time; the block was not entered.

        """
        entry = self._locks.setdefault(key, _Entry())
        entry.wanted += 1
        try:
            await self._wait_for(entry)
            try:
                yield
            finally:
                self._slots.release()
                entry.lock.release()
        finally:
            entry.wanted -= 1
            if not entry.wanted:
                del self._locks[key]

    async def _wait_for(self, entry: _Entry) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                await entry.lock.acquire()
                try:
                    await self._slots.acquire()
                except BaseException:
                    entry.lock.release()
                    raise
        except TimeoutError as error:
            raise DatabaseBusyError(f"no turn within {self._patience_s:g} s") from error
