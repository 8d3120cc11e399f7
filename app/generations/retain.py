"""Outputs are kept after RunComfy forgets them, and erased when they have been kept for long enough."""

from dataclasses import dataclass

from app.db.engine import Database
from app.generations import store
from app.kit.clock import Clock

_BATCH = 200


@dataclass(frozen=True, slots=True)
class Retainer:
    """Erases outputs `keep_s` after the end of their job; 0 keeps them for ever."""

    db: Database
    clock: Clock
    keep_s: float

    def expires_at_ms(self, finished_at_ms: int | None) -> int | None:
        """When an output is erased."""
        return None if not self.keep_s or finished_at_ms is None else finished_at_ms + int(self.keep_s * 1000)

    async def run_once(self) -> int:
        """Erase what has been kept for long enough. How many there were."""
        if not self.keep_s:
            return 0
        erased = 0
        while True:
            now_ms = self.clock.now_ms()
            count = await self.db.write(
                store.erase, finished_before_ms=now_ms - int(self.keep_s * 1000), now_ms=now_ms, limit=_BATCH
            )
            erased += count
            if count < _BATCH:
                return erased
