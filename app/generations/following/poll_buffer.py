"""Recording polls that changed nothing, in batches: those that arrive during a transaction go into the next.

Most polls change nothing, and a transaction of its own would cost more than the poll did.
"""

import asyncio
from dataclasses import dataclass, field

from app.db.engines.engine import Database
from app.generations import leases
from app.generations.leases import PollRecord
from app.kit.log import get_logger
from app.kit.tasks import Tasks

_log = get_logger("poll_buffer")
_MAX_AT_ONCE = 200


@dataclass(slots=True)
class PollBuffer:
    """Writes poll records, many in one transaction."""

    db: Database
    tasks: Tasks
    _waiting: list[tuple[PollRecord, asyncio.Future[None]]] = field(default_factory=list, init=False)
    _writing: bool = field(default=False, init=False)

    async def add(self, record: PollRecord) -> None:
        """Writes one record; when this returns, it is committed, or it could not be written and is lost.

        A lost record costs one poll: the row is due again when its lease ends.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((record, done))
        if not self._writing:
            self._writing = True
            self.tasks.start(self._write(), name="poll-buffer")
        await done

    async def _write(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MAX_AT_ONCE], self._waiting[_MAX_AT_ONCE:]
                try:
                    await self.db.write(leases.record_polls, [record for record, _ in batch])
                except Exception:  # noqa: BLE001 - whatever it is, only polls are lost
                    _log.exception("Polls could not be recorded; they are repeated.", count=len(batch))
                finally:
                    for _, done in batch:
                        if not done.done():
                            done.set_result(None)
        finally:
            self._writing = False
