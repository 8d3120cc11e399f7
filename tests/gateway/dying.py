"""A server that dies at the Nth event of what its loop does: from there on nothing of it happens any more."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from sqlalchemy.exc import OperationalError

from app.db.due_work import DueWork
from tests.gateway.events import Events, no_fault, postgres_error, sqlite_error
from tests.harness import until


class Dying(Events):
    """From the event at `at` on, nothing of what a server does to its database happens any more."""

    def __init__(self, database_url: str) -> None:
        super().__init__(no_fault)
        self.is_dead = False
        self._error = postgres_error if database_url.startswith("postgresql") else sqlite_error

    def dies_at(self, number: int) -> None:
        """Lives again, and dies at this event of the next block that counts."""
        self.at, self.is_dead, self.met = number, False, []

    def meet(self, kind: str, name: str) -> None:
        if name.startswith("ROLLBACK"):  # which the database does by itself when a server is gone
            return
        if self.on and not self.is_dead:
            super().meet(kind, name)
            self.is_dead = self.reached
        if self.on and self.is_dead:
            error = self._error()
            raise OperationalError(name, None, error) if kind == "statement" else error


class Leases(Protocol):
    """What leases work and starts it, as the loops of webhooks and of the mirror do."""

    due: DueWork

    @property
    def under_way(self) -> int: ...

    async def run_once(self) -> int: ...


async def tick(loop: Leases, events: Dying, tasks: Callable[[], Iterable["asyncio.Task[None]"]]) -> None:
    """One tick of a loop and all that it started, until that is over or the server dies in the middle."""
    with events.counted():
        loop.due.woken.set()
        try:
            await loop.run_once()
        except Exception:  # noqa: BLE001 - as its loop does
            assert events.is_dead
        await until(lambda: events.is_dead or not loop.under_way)
        for task in tuple(tasks()):
            task.cancel()
        await until(lambda: not loop.under_way)
