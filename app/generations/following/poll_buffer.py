"""Noting looks that changed nothing: whatever comes while one transaction is under way goes into the next.

Most looks are such, and a transaction of its own costs more than the look.
"""

import asyncio
from dataclasses import dataclass, field

from app.db.engine import Database
from app.generations import leases
from app.generations.leases import PollRecord
from app.kit.log import get_logger
from app.kit.tasks import Tasks

_log = get_logger("records")
_MAX_AT_ONCE = 200


@dataclass(slots=True)
class PollBuffer:
    """Writes notes down, many in one transaction."""

    db: Database
    tasks: Tasks
    _waiting: list[tuple[PollRecord, asyncio.Future[None]]] = field(default_factory=list, init=False)
    _writing: bool = field(default=False, init=False)

    async def add(self, record: PollRecord) -> None:
        """Write the note down; it is committed when this returns. One that cannot be is lost.

        A lost note costs a look: its row is due again when the lease ends.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((record, done))
        if not self._writing:
            self._writing = True
            self.tasks.start(self._write(), name="records")
        await done

    async def _write(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MAX_AT_ONCE], self._waiting[_MAX_AT_ONCE:]
                try:
                    await self.db.write(leases.record_polls, [record for record, _ in batch])
                except Exception:  # noqa: BLE001 - whatever it is, they are only looks
                    _log.exception("Looks could not be noted; they are made again.", count=len(batch))
                finally:
                    for _, done in batch:
                        if not done.done():
                            done.set_result(None)
        finally:
            self._writing = False
