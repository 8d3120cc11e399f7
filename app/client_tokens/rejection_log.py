"""What client tokens are refused is kept with them: whoever minted one sees what its page ran into."""

from collections import Counter
from dataclasses import dataclass, field

from app.auth import client_tokens
from app.auth.client_tokens import Refusal
from app.db.engine import Database
from app.errors import Problem
from app.kit.clock import Clock
from app.kit.log import get_logger

_log = get_logger("auth")
_MAX_A_MINUTE = 60  # that are kept of a token; a page that repeats itself must not cost more writes
_MAX_REMEMBERED = 10_000
_MINUTE_MS = 60_000


@dataclass(slots=True)
class _Window:
    began_ms: int
    written: int = 0


@dataclass(frozen=True, slots=True)
class RejectionLog:
    """Writes refusals down; those beyond so many a minute and token are only counted, by a loop."""

    db: Database
    clock: Clock
    _windows: dict[str, _Window] = field(default_factory=dict, init=False)
    _uncounted: Counter[str] = field(default_factory=Counter, init=False)

    async def note(self, token_id: str, refusal: Refusal) -> None:
        """Keep one. It never fails: a refusal that cannot be kept is one all the same."""
        now_ms = self.clock.now_ms()
        window = self._windows.get(token_id)
        if window is None or not 0 <= now_ms - window.began_ms < _MINUTE_MS:
            if len(self._windows) >= _MAX_REMEMBERED:
                self._windows.clear()
            window = self._windows[token_id] = _Window(now_ms)
        if window.written >= _MAX_A_MINUTE:
            self._uncounted[token_id] += 1
            return
        window.written += 1
        try:
            await self.db.write(client_tokens.note_refusal, token_id, refusal)
        except Exception as error:  # noqa: BLE001 - the answer goes out all the same
            self._uncounted[token_id] += 1
            _log.warning(
                "A client token's refusal could not be kept.",
                token=token_id,
                code=refusal.code,
                error=type(error).__name__,
            )

    async def run_once(self) -> int:
        """Write down how many were not kept. How many there were."""
        counts = dict(self._uncounted)
        if not counts:
            return 0
        self._uncounted.clear()
        try:
            await self.db.write(client_tokens.count_refusals, counts)
        except Problem:
            self._uncounted.update(counts)
            raise
        return sum(counts.values())

    async def close(self) -> None:
        """The same for the last time."""
        try:
            await self.run_once()
        except Problem:
            _log.warning("Refusals of client tokens could not be counted.", count=self._uncounted.total())
