"""Outputs are kept after RunComfy forgets them, and erased when they have been kept for long enough.

So are client tokens that made nothing: what made a request is kept as long as that.
"""

from dataclasses import dataclass, field

from app.auth import client_tokens
from app.db.engine import Database
from app.generations import store
from app.kit.clock import Clock

_BATCH = 200


@dataclass(frozen=True, slots=True)
class Retention:
    """Erases outputs `keep_s` after the end of their job, tokens `keep_tokens_s` after theirs; 0 is never."""

    db: Database
    clock: Clock
    keep_s: float
    keep_tokens_s: float
    _looked_to: list[tuple[int, str]] = field(default_factory=lambda: [(0, "")], init=False)

    def expires_at_ms(self, finished_at_ms: int | None) -> int | None:
        """When an output is erased."""
        return None if not self.keep_s or finished_at_ms is None else finished_at_ms + int(self.keep_s * 1000)

    async def run_once(self) -> int:
        """Erase what has been kept for long enough. How many there were."""
        return await self._outputs() + await self._tokens()

    async def _outputs(self) -> int:
        erased, count = 0, _BATCH if self.keep_s else 0
        while count >= _BATCH:
            now_ms = self.clock.now_ms()
            before_ms = now_ms - int(self.keep_s * 1000)
            count = await self.db.write(
                store.erase, finished_before_ms=before_ms, now_ms=now_ms, limit=_BATCH
            )
            erased += count
        return erased

    async def _tokens(self) -> int:
        """Each token is looked at once by a server: one that made a request by its end stays for ever."""
        removed, found = 0, _BATCH if self.keep_tokens_s else 0
        while found >= _BATCH:
            before_ms = self.clock.now_ms() - int(self.keep_tokens_s * 1000)
            old = await self.db.read(
                client_tokens.ended, before_ms=before_ms, after=self._looked_to[0], limit=_BATCH
            )
            unused = [token_id for _, token_id, made in old if not made]
            if unused:
                await self.db.write(client_tokens.remove, unused)
            if old:
                self._looked_to[0] = old[-1][:2]
            removed, found = removed + len(unused), len(old)
        return removed
