"""Outputs are kept after RunComfy forgets them, and erased when they have been kept for long enough.

So are client tokens that made nothing: what made a request is kept as long as that.
"""

from dataclasses import dataclass

from app.auth import tokens
from app.db.engine import Database
from app.generations import store
from app.kit.clock import Clock

_BATCH = 200


@dataclass(frozen=True, slots=True)
class Retainer:
    """Erases outputs `keep_s` after the end of their job, tokens `keep_tokens_s` after theirs; 0 is never."""

    db: Database
    clock: Clock
    keep_s: float
    keep_tokens_s: float

    def expires_at_ms(self, finished_at_ms: int | None) -> int | None:
        """When an output is erased."""
        return None if not self.keep_s or finished_at_ms is None else finished_at_ms + int(self.keep_s * 1000)

    async def run_once(self) -> int:
        """Erase what has been kept for long enough. How many there were."""
        erased = 0
        for keep_s, erase in ((self.keep_s, self._outputs), (self.keep_tokens_s, self._tokens)):
            count = _BATCH if keep_s else 0
            while count >= _BATCH:
                now_ms = self.clock.now_ms()
                count = await erase(now_ms - int(keep_s * 1000), now_ms)
                erased += count
        return erased

    async def _outputs(self, before_ms: int, now_ms: int) -> int:
        return await self.db.write(store.erase, finished_before_ms=before_ms, now_ms=now_ms, limit=_BATCH)

    async def _tokens(self, before_ms: int, _now_ms: int) -> int:
        return await self.db.write(tokens.remove_unused, ended_before_ms=before_ms, limit=_BATCH)
