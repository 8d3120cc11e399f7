"""The sweeper: deletes files that expired, and what whoever died while storing or deleting left behind."""

from dataclasses import dataclass

from app.db.engine import Database
from app.files import rows
from app.files.uploads import Uploads
from app.kit.clock import Clock

_AT_ONCE = 100
_MAX_ROUNDS = 20
_AGAIN_MS = 600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """Deletes bytes before rows, some files at a time. Any number of servers may do it at once."""

    db: Database
    clock: Clock
    uploads: Uploads

    async def run_once(self) -> int:
        """Deletes all files that are due, a few thousand at most; returns their number."""
        deleted = 0
        for _ in range(_MAX_ROUNDS):
            due = await self.db.read(rows.due, now_ms=self.clock.now_ms(), limit=_AT_ONCE)
            for file in due:
                now_ms = self.clock.now_ms()
                if not await self.db.write_for(file.tenant_id, rows.give_up_due, file, now_ms=now_ms):
                    continue
                if not await self.uploads.remove(file):
                    # The next time; if it is this file alone, the others are not kept from it for long.
                    later_ms = now_ms + _AGAIN_MS
                    await self.db.write_for(file.tenant_id, rows.postpone, file, until_ms=later_ms)
                    return deleted
                deleted += 1
            if len(due) < _AT_ONCE:
                break
        return deleted
