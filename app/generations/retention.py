"""Retention: outputs outlive RunComfy's own copies, and are erased when their retention period is over.

Client tokens that made no generation are removed as well; a token that made one is kept for ever, as the
generation is. What is kept of who submitted a generation, and how many calls were refused, have retention
periods of their own, and so has usage by the hour. Finished days of usage are summed here too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from app.auth import client_tokens, refusals, sessions
from app.db.engines.engine import Database
from app.generations import store
from app.kit.clock import Clock
from app.kit.log import get_logger
from app.quotas.sums import rollups, usage_sums

_log = get_logger("retention")

_BATCH = 200
_STEP = 1000  # rows that one transaction looks at for callers, most of which have one


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Erases old outputs and callers, and removes old client tokens and counts of refusals.

    An output is erased `keep_s` seconds after its generation finished, a caller `keep_callers_s` seconds
    after the submit, an unused token removed `keep_tokens_s` seconds after it expired; 0 means never. Counts
    of refusals are removed after `keep_refusals_s` seconds. `on_erased` is called after outputs were erased.
    """

    db: Database
    clock: Clock
    keep_s: float
    keep_tokens_s: float
    keep_hours_s: float
    keep_callers_s: float
    keep_refusals_s: float
    on_erased: Callable[[], None] = lambda: None
    _cursor: list[tuple[int, str]] = field(default_factory=lambda: [(0, "")], init=False)

    def expires_at_ms(self, finished_at_ms: int | None) -> int | None:
        """Returns when the output of a generation that finished at that time is erased; None means never."""
        return None if not self.keep_s or finished_at_ms is None else finished_at_ms + int(self.keep_s * 1000)

    async def run_once(self) -> int:
        """Erases the outputs and callers that are due.

        Removes the tokens, the counts of refusals, the hours of usage and the sessions that are due, and sums
        days of usage. Returns the number of what is gone.
        """
        gone = await self._outputs() + await self._callers() + await self._tokens()
        gone += await self._refusals() + await self._hours() + await self._sessions()
        await self._sum_days()  # last: a day that is too large to be summed holds up nothing else
        return gone

    async def _sessions(self) -> int:
        """Removes sessions and links of which nobody signed out or made use."""
        removed, count = 0, _BATCH
        while count >= _BATCH:
            count = await self.db.write(sessions.forget, now_ms=self.clock.now_ms(), limit=_BATCH)
            removed += count
        return removed

    async def _refusals(self) -> int:
        removed, count = 0, 1
        while count:
            before_ms = self.clock.now_ms() - int(self.keep_refusals_s * 1000)
            count = await self.db.write(refusals.expire, before_ms=before_ms)
            removed += count
        return removed

    async def _outputs(self) -> int:
        erased, count = 0, _BATCH if self.keep_s else 0
        while count >= _BATCH:
            now_ms = self.clock.now_ms()
            before_ms = now_ms - int(self.keep_s * 1000)
            count = await self.db.write(
                store.erase, finished_before_ms=before_ms, now_ms=now_ms, limit=_BATCH
            )
            erased += count
        if erased:
            self.on_erased()
        return erased

    async def _callers(self) -> int:
        erased, seen = 0, _STEP if self.keep_callers_s else 0
        while seen >= _STEP:
            before_ms = self.clock.now_ms() - int(self.keep_callers_s * 1000)
            count, seen = await self.db.write(store.erase_callers, before_ms=before_ms, limit=_STEP)
            erased += count
        return erased

    async def _hours(self) -> int:
        removed, count = 0, _BATCH
        while count >= _BATCH:
            before_ms = self.clock.now_ms() - int(self.keep_hours_s * 1000)
            count = await self.db.write(rollups.forget_hours, before_ms=before_ms, limit=_BATCH)
            removed += count
        return removed

    async def _sum_days(self) -> None:
        """Sums the finished days that are due: hours are removed, and days summed up.

        Then it looks whether the last months are right. One that is not is summed anew by the next run.
        """
        summed = 0
        while await self.db.write(usage_sums.sum_next, now_ms=self.clock.now_ms()):
            summed += 1
        if summed and (month := await self.db.snapshot(usage_sums.first_wrong_month)) is not None:
            _log.warning("A month of usage is not the sum of its days, and is summed anew.", month=month)
            await self.db.write(usage_sums.take_out, month)

    async def _tokens(self) -> int:
        """Removes old client tokens that made no generation, and returns their number.

        A replica examines each token once: a token that has ended makes no further generation, so one that is
        in use by then stays for ever.
        """
        removed, found = 0, _BATCH if self.keep_tokens_s else 0
        while found >= _BATCH:
            before_ms = self.clock.now_ms() - int(self.keep_tokens_s * 1000)
            old = await self.db.read(
                client_tokens.ended, before_ms=before_ms, after=self._cursor[0], limit=_BATCH
            )
            unused = [token_id for _, token_id, made in old if not made]
            if unused:
                await self.db.write(client_tokens.remove, unused)
            if old:
                self._cursor[0] = old[-1][:2]
            removed, found = removed + len(unused), len(old)
        return removed
