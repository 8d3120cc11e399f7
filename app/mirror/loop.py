"""The loop that mirrors outputs: it leases assets that are due, copies each by itself, and records the end.

Any number of servers may run it over one database. What was under way on one that dies becomes due again when
its lease ends.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from app.db.announcements import ASSETS
from app.db.due_work import DueWork
from app.db.engines.engine import Database
from app.db.schema.asset_states import AssetState
from app.errors import Problem
from app.kit.clock import Clock
from app.kit.log import get_logger
from app.kit.tasks import Tasks
from app.mirror import claims, records
from app.mirror.claims import RENEW_S, Claimed
from app.mirror.records import Failed, Tell, Terms
from app.mirror.rows import Asset, Copied

_log = get_logger("mirror")
TICK_S: Final = 5.0
"""How often it looks for what is due, and renews leases; completions wake it, here and on other servers."""
_TRY_AGAIN_S: Final = 0.5


class Copies(Protocol):
    """What makes one attempt, as `app.mirror.copier` does."""

    async def attempt(self, claimed: Claimed) -> Copied | Failed:
        """Copies a file into the store; raises nothing but a cancellation."""

    async def discard(self, claimed: Claimed) -> None:
        """Deletes what this attempt put into the store, as far as that can be done."""


@dataclass(slots=True, kw_only=True)
class Mirror:
    """Copies outputs, `at_once` of them at a time, of one tenant `per_tenant` on all servers together."""

    db: Database
    clock: Clock
    tasks: Tasks
    copier: Copies
    terms: Terms
    tell: Tell
    at_once: int
    per_tenant: int
    due: DueWork = field(init=False)
    attempts: Counter[str] = field(default_factory=Counter, init=False)
    """How many attempts this process made, by their outcome: `stored`, or the class of an error."""
    copied_bytes: int = field(default=0, init=False)
    _under_way: dict[str, "_Copy"] = field(default_factory=dict, init=False)
    _closing: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.due = DueWork(
            db=self.db, announced=ASSETS, tick_s=TICK_S, next_due=claims.next_due, free=claims.free
        )

    def close(self) -> None:
        """Leases nothing more and breaks off what is under way, which is due again at once."""
        self._closing = True
        for copy in self._under_way.values():
            if not copy.is_recording:
                copy.task.cancel()

    @property
    def under_way(self) -> int:
        """The number of files that are being copied."""
        return len(self._under_way)

    async def run_once(self) -> int:
        """Renews leases, leases what is due and starts to copy it; returns how many."""
        self.due.begin()
        now_ms = self.clock.now_ms()
        await self._renew(now_ms)
        room = self.at_once - len(self._under_way)
        if room <= 0 or self._closing or not await self.due.is_due(now_ms):
            return 0
        claim = await self.db.write(claims.claim, per_tenant=self.per_tenant, limit=room, now_ms=now_ms)
        if claim is None:
            self.due.come_back()
            return 0
        for one in claim.assets:
            task = self.tasks.start(self._copy(one), name="mirror")
            self._under_way[one.id] = _Copy(one, task, now_ms)
            task.add_done_callback(partial(self._end, one.id))
        self.due.rest_until(claim.next_at_ms, now_ms)
        return len(claim.assets)

    async def _renew(self, now_ms: int) -> None:
        """Renews leases; a copy whose lease has ended meanwhile is broken off, since somebody else has it."""
        old = [one for one in self._under_way.values() if now_ms - one.renewed_at_ms >= RENEW_S * 1000]
        if not old:
            return
        held = [(one.claimed.id, one.claimed.attempt) for one in old]
        renewed = await self.db.write(claims.renew, held, now_ms=now_ms)
        for one in old:
            if one.claimed.id in renewed:
                one.renewed_at_ms = now_ms
            elif not one.is_recording:
                _log.warning("A copy's lease ended before the copy did.", asset=one.claimed.id)
                one.task.cancel()

    def _end(self, asset_id: str, _: "asyncio.Task[None]") -> None:
        del self._under_way[asset_id]
        self.due.woken.set()  # there is room again

    async def _copy(self, claimed: Claimed) -> None:
        try:
            outcome = await self.copier.attempt(claimed)
        except asyncio.CancelledError:
            if self._closing:
                await self._give_back(claimed)
            raise
        self._under_way[claimed.id].is_recording = True
        recorded = await self._record(claimed, outcome)
        has_bytes = isinstance(outcome, Copied)
        if has_bytes and (recorded is None or recorded.state is not AssetState.STORED):
            await self.copier.discard(claimed)
        if recorded is None:
            _log.warning("A copy's lease ended before it was recorded.", asset=claimed.id)
        elif recorded.state is AssetState.STORED:
            self.attempts["stored"] += 1
            self.copied_bytes += recorded.size_bytes or 0
        else:
            self.attempts[recorded.last_error or ""] += 1
            _log.info(
                "An output could not be copied.",
                asset=claimed.id,
                tenant=claimed.asset.tenant_id,
                request=claimed.asset.generation_id,
                attempt=claimed.attempt,
                error=recorded.last_error,
                state=recorded.state,
            )

    async def _give_back(self, claimed: Claimed) -> None:
        """Makes an asset due that this server stops to copy; what cannot be written waits for the lease."""
        await self.copier.discard(claimed)
        await self.db.write(claims.give_back, claimed.id, claimed.attempt, now_ms=self.clock.now_ms())

    async def _record(self, claimed: Claimed, outcome: Copied | Failed) -> Asset | None:
        """Records an attempt, again and again until the database takes it.

        The bytes are in the store by then, and belong to the row as soon as it says so: so this does not give
        up while the process lives. Where the lease has ended meanwhile, the record says that too.
        """
        while True:
            try:
                return await self.db.write_for(
                    claimed.asset.tenant_id,
                    records.record,
                    claimed,
                    outcome,
                    terms=self.terms,
                    tell=self.tell,
                    now_ms=self.clock.now_ms(),
                    spread=random.random(),  # noqa: S311 - spreads load, guards nothing
                )
            except Problem as problem:
                _log.warning(
                    "A copy could not be recorded; trying again.", asset=claimed.id, reason=problem.detail
                )
            await self.clock.sleep(_TRY_AGAIN_S)


@dataclass(slots=True, eq=False)
class _Copy:
    """A copy that is under way, and when the lease on its asset was renewed last."""

    claimed: Claimed
    task: asyncio.Task[None]
    renewed_at_ms: int
    is_recording: bool = False
