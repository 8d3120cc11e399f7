"""The rejection log: requests that client tokens were refused, so that who minted a token sees its errors."""

from collections import Counter
from dataclasses import dataclass, field

from app.auth import client_tokens
from app.auth.client_tokens import Refusal
from app.db.engines.engine import Database
from app.errors import Problem
from app.kit.clock import Clock
from app.kit.log import get_logger

_log = get_logger("auth")
_MAX_A_MINUTE = 60  # kept per token; a page that repeats itself must not cause more writes
_MAX_REMEMBERED = 10_000
_MINUTE_MS = 60_000


@dataclass(slots=True)
class _Window:
    began_ms: int
    written: int = 0


@dataclass(frozen=True, slots=True)
class RejectionLog:
    """Stores refusals of client tokens.

    Those beyond the maximum per minute and token are only counted; a loop writes the counts.
    """

    db: Database
    clock: Clock
    _windows: dict[str, _Window] = field(default_factory=dict, init=False)
    _uncounted: Counter[str] = field(default_factory=Counter, init=False)

    async def note(self, token_id: str, refusal: Refusal) -> None:
        """Stores one refusal. It raises nothing: a refusal that cannot be stored is counted instead."""
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
            await self.db.write(client_tokens.record_refusal, token_id, refusal)
        except Exception as error:  # noqa: BLE001 - the caller must get its answer all the same
            self._uncounted[token_id] += 1
            _log.warning(
                "The refusal of a client token could not be recorded.",
                token=token_id,
                code=refusal.code,
                error=type(error).__name__,
            )

    async def run_once(self) -> int:
        """Writes the counts of refusals that were not stored. Returns the number of refusals counted."""
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
        """Writes the counts for the last time."""
        try:
            await self.run_once()
        except Problem:
            _log.warning("Refusals of client tokens could not be counted.", count=self._uncounted.total())
