"""What client tokens are refused is kept with them: whoever minted one sees what its page ran into."""

from dataclasses import dataclass, field

from app.auth import tokens
from app.auth.tokens import Refusal
from app.db.engine import Database
from app.errors import Problem
from app.kit.clock import Clock
from app.kit.telemetry import get_logger

_log = get_logger("auth")
_MOST_A_MINUTE = 60  # that are kept of a token; a page that repeats itself must not cost more writes
_MOST_REMEMBERED = 10_000


@dataclass(slots=True)
class _Window:
    began_ms: int
    written: int = 0
    unwritten: int = 0


@dataclass(frozen=True, slots=True)
class Refusals:
    """Writes refusals down; those beyond so many a minute and token are only counted, with the next one."""

    db: Database
    clock: Clock
    _windows: dict[str, _Window] = field(default_factory=dict, init=False)

    async def note(self, token_id: str, refusal: Refusal) -> None:
        """Keep one. A database that is away keeps nobody from the answer."""
        now_ms = self.clock.now_ms()
        window = self._windows.get(token_id)
        if window is None:
            if len(self._windows) >= _MOST_REMEMBERED:
                self._windows.clear()
            window = self._windows[token_id] = _Window(now_ms)
        if not 0 <= now_ms - window.began_ms < 60_000:  # noqa: PLR2004 - a minute in milliseconds
            window.began_ms, window.written = now_ms, 0
        if window.written >= _MOST_A_MINUTE:
            window.unwritten += 1
            return
        window.written += 1
        count, window.unwritten = 1 + window.unwritten, 0
        try:
            await self.db.write(tokens.note_refusal, token_id, refusal, count=count)
        except Problem:
            window.unwritten += count
            _log.warning("A client token's refusal could not be noted.", token=token_id, code=refusal.code)
