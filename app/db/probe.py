"""Whether the database takes writes, found out by a write: what `/readyz`, `reelgate doctor` and a start ask.

The write is a row of its own table, about as large as what a submit writes, so that a disk with room for less
is not called good. Its result is remembered for a moment, and callers share the one under way: however often
a load balancer asks, there is one write in two seconds, or in one while they fail. It joins a group commit
like any other.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sqlalchemy import Connection, insert, update

from app.db.outage import DAMAGED, SLOW, Outage
from app.db.schema.tables import write_probes
from app.errors import DATABASE_UNAVAILABLE, Problem

RETRY_AFTER_S: Final = 2
SIZE: Final = 65_536
_GOOD_FOR_S: Final = 2.0
_BAD_FOR_S: Final = 1.0
_PATIENCE_S: Final = 3.0
_DAMAGED_FOR_S: Final = 30.0


class WriteProbe:
    """Tries writes for one `Database`, whose `write` it is given."""

    def __init__(self, write: Callable[[Callable[[Connection], None]], Awaitable[None]]) -> None:
        self._write = write
        self._under_way: asyncio.Task[None] | None = None
        self._problem: Problem | None = None
        self._known_until_s = float("-inf")
        self._damaged_until_s = float("-inf")
        self._committed_s = float("-inf")

    def committed(self) -> None:
        """Notes that a transaction was committed."""
        self._committed_s = _now_s()

    def failed(self, outage: Outage) -> None:
        """Notes that the database could not serve somebody, so that the next question is asked anew.

        Damage is remembered for half a minute, whatever can be written meanwhile: it may be in a part of the
        file that the row of a probe is not in.
        """
        self._known_until_s = float("-inf")
        if outage is DAMAGED:
            self._damaged_until_s = _now_s() + _DAMAGED_FOR_S

    async def check(self) -> None:
        """Returns where the database takes writes.

        A write that still waits after three seconds is an outage, unless others were committed meanwhile.

        Raises:
            Problem: DATABASE_UNAVAILABLE; its detail says why.

        """
        began_s = _now_s()
        if began_s < self._damaged_until_s:
            raise problem_of(DAMAGED)
        if began_s >= self._known_until_s:
            if self._under_way is None or self._under_way.done():
                self._under_way = asyncio.get_running_loop().create_task(self._try())
            done, _ = await asyncio.wait({self._under_way}, timeout=_PATIENCE_S)
            if not done and self._committed_s < began_s:
                raise problem_of(SLOW)
            if not done:
                return
            self._under_way.result()
        if (known := self._problem) is not None:
            raise Problem(known.fault, known.detail, retry_after_s=RETRY_AFTER_S) from known.__cause__

    async def close(self) -> None:
        """Waits for the write that is under way."""
        if self._under_way is not None:
            await asyncio.gather(self._under_way, return_exceptions=True)

    async def _try(self) -> None:
        try:
            await self._write(_mark)
        except Problem as problem:
            self._problem, known_s = problem, _BAD_FOR_S
        else:
            self._problem, known_s = None, _GOOD_FOR_S
        self._known_until_s = _now_s() + known_s


def problem_of(outage: Outage, kind: type[Problem] = Problem) -> Problem:
    """Returns the problem by which callers are told of an outage."""
    return kind(DATABASE_UNAVAILABLE, outage.sentence, retry_after_s=RETRY_AFTER_S)


def _mark(connection: Connection) -> None:
    """Changes every page of the probe's row: SQLite does not write a page that stays as it is."""
    content: dict[str, Any] = {"content": secrets.token_hex(16) * (SIZE // 32)}
    if not connection.execute(update(write_probes).values(content)).rowcount:
        connection.execute(insert(write_probes).values(content))


def _now_s() -> float:
    return asyncio.get_running_loop().time()
