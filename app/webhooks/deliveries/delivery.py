"""The loop that sends messages: it leases what is due, sends each by itself, and records what came of it.

What ended is recorded in the transaction that leases what takes its place: one commit to wait for, however
many attempts ended since the last one.

Any number of servers may run it over one database. What was under way on one that dies becomes due again when
its lease ends, so a receiver gets every message at least once, under one id.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from app.db.announcements import WEBHOOKS, sent_announcement
from app.db.due_work import DueWork
from app.db.engines.engine import Database
from app.db.schema.webhook_states import DeliveryState
from app.errors import Problem
from app.kit.clock import Clock
from app.kit.log import get_logger
from app.kit.tasks import Tasks
from app.kit.traces import Span
from app.webhooks.deliveries import claims, records
from app.webhooks.deliveries.claims import Caps, Claim, Claimed
from app.webhooks.deliveries.records import Append, Recorded
from app.webhooks.deliveries.sender import TIMEOUT_S, Sender
from app.webhooks.deliveries.verdicts import Attempted

_log = get_logger("webhooks")
LEASE_S: Final = TIMEOUT_S + 15.0
"""How long a lease lasts: an attempt, and the time for its record."""
TICK_S: Final = 1.0
_TRY_AGAIN_S: Final = 0.5
_GATHER_S: Final = 0.01
_GATHERED: Final = 8
_TELL_S: Final = 1.0


@dataclass(slots=True, eq=False)
class _Ended:
    """An attempt that ended. `recorded` is None where it could not be recorded with others."""

    claimed: Claimed
    attempted: Attempted
    recorded: "asyncio.Future[Recorded | None]"

    def tell(self, recorded: Recorded | None) -> None:
        if not self.recorded.done():
            self.recorded.set_result(recorded)


@dataclass(slots=True, kw_only=True)
class Deliverer:
    """Sends messages, `at_once` of them at a time."""

    db: Database
    clock: Clock
    tasks: Tasks
    sender: Sender
    caps: Caps
    at_once: int
    append: Append
    due: DueWork = field(init=False)
    attempts: Counter[str] = field(default_factory=Counter, init=False)
    """How many attempts this process made, by their outcome: `delivered`, a status, or an error."""
    stopped: Counter[str] = field(default_factory=Counter, init=False)
    """How many endpoints this process stopped, by the reason."""
    _under_way: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _ended: list[_Ended] = field(default_factory=list, init=False)
    _settling: asyncio.Task[None] | None = field(default=None, init=False)
    _telling: asyncio.Task[None] | None = field(default=None, init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _closing: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.due = DueWork(
            db=self.db, announced=WEBHOOKS, tick_s=TICK_S, next_due=claims.next_due, free=claims.free
        )

    def close(self) -> None:
        """Leases nothing more: the server is stopping. What is under way ends, or its lease does."""
        self._closing = True

    @property
    def under_way(self) -> int:
        """The number of messages that are being sent."""
        return len(self._under_way)

    async def run_once(self) -> int:
        """Leases what is due, as far as there is room, and starts to send it; returns how many."""
        self.due.begin()
        if self._closing or not await self.due.is_due(self.clock.now_ms()):
            return 0
        return await self._step()

    async def _step(self) -> int:
        """Records what has ended, leases what is due and starts to send it; returns how many.

        There is one step at a time: what ends meanwhile is recorded by the next one.
        """
        async with self._turn:
            ended, self._ended = self._ended, []
            now_ms = self.clock.now_ms()
            room = 0 if self._closing else self.at_once - len(self._under_way) + len(ended)
            try:
                recorded, claim = await self.db.write(
                    _record_and_claim,
                    [(one.claimed, one.attempted) for one in ended],
                    self.caps,
                    limit=room,
                    now_ms=now_ms,
                )
            except BaseException:
                for one in ended:
                    one.tell(None)
                raise
            for one, its in zip(ended, recorded, strict=True):
                one.tell(its)
            if claim is None:
                self.due.come_back()
                return 0
            for each in claim.deliveries:
                task = self.tasks.start(self._send(each), name="webhook")
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            self.due.rest_until(claim.next_at_ms, now_ms)
            if claim.again:
                self.due.come_back()
            if ended and (self._telling is None or self._telling.done()):
                self._telling = self.tasks.start(self._tell(), name="webhooks", cancel_on_drain=True)
            return len(claim.deliveries)

    async def _tell(self) -> None:
        """Announces, at most once a second, that attempts were recorded, with those that end meanwhile."""
        await self.clock.sleep(_TELL_S)
        self.db.announcements.publish([sent_announcement()])

    async def _settle(self) -> None:
        """Records what has ended, until nothing has that is not recorded."""
        while self._ended:
            # Of many that are under way more end in a moment: what a transaction costs is shared by all.
            if len(self._ended) < min(_GATHERED, len(self._under_way) // 2):
                await asyncio.sleep(_GATHER_S)
            try:
                await self._step()
            except Exception as error:  # noqa: BLE001 - each is recorded by itself then
                _log.warning("Attempts to deliver webhooks could not be recorded together.", exc_info=error)
        if self.due.is_soon:  # there is more to do that this step could not
            self.due.woken.set()

    async def _send(self, claimed: Claimed) -> None:
        with Span(
            "deliver",
            link=claimed.submitted,
            delivery=claimed.id,
            endpoint=claimed.endpoint_id,
            message=claimed.message_id,
            attempt=claimed.attempt,
        ) as span:
            attempted = await self.sender.attempt(claimed)
            outcome = "delivered" if attempted.is_success else attempted.error or str(attempted.status)
            span.note(outcome=outcome)
        self.attempts[outcome] += 1
        recorded = await self._recorded(claimed, attempted)
        if recorded is None:
            return
        if recorded.state is None:
            _log.warning("A webhook's lease ended before its attempt did.", delivery=claimed.id)
        elif recorded.state is not DeliveryState.DELIVERED:
            _log.info(
                "An attempt to deliver a webhook failed.",
                delivery=claimed.id,
                endpoint=claimed.endpoint_id,
                tenant=claimed.tenant_id,
                attempt=claimed.attempt,
                outcome=outcome,
                state=recorded.state,
            )
        if recorded.stop is not None:
            await self._stop(claimed, recorded.stop)

    async def _recorded(self, claimed: Claimed, attempted: Attempted) -> Recorded | None:
        """Has an attempt recorded, together with what else has ended, or else by itself."""
        ended = _Ended(claimed, attempted, asyncio.get_running_loop().create_future())
        self._ended.append(ended)
        if self._settling is None or self._settling.done():
            self._settling = self.tasks.start(self._settle(), name="webhooks")
        recorded = await ended.recorded
        if recorded is None:
            recorded = await self._record(claimed, attempted)
            self.due.woken.set()  # there is room again
        return recorded

    async def _record(self, claimed: Claimed, attempted: Attempted) -> Recorded | None:
        """Records an attempt, again and again while the lease lasts; then somebody else has the delivery."""
        while True:
            now_ms = self.clock.now_ms()
            try:
                return await self.db.write_for(
                    claimed.tenant_id,
                    records.record,
                    claimed,
                    attempted,
                    now_ms=now_ms,
                )
            except Problem as problem:
                if now_ms >= claimed.lease_until_ms:
                    _log.error(
                        "An attempt to deliver a webhook could not be recorded; it will be made again.",
                        delivery=claimed.id,
                        reason=problem.detail,
                    )
                    return None
            await self.clock.sleep(_TRY_AGAIN_S)

    async def _stop(self, claimed: Claimed, reason: str) -> None:
        stopped = await self.db.write_for(
            claimed.tenant_id,
            records.stop,
            claimed.endpoint_id,
            claimed.tenant_id,
            reason,
            append=self.append,
            tells_operator=self.sender.own is not None,
            now_ms=self.clock.now_ms(),
        )
        if stopped is not None:
            self.stopped[reason] += 1
            _log.error(
                "A webhook endpoint was disabled.",
                endpoint=stopped.endpoint_id,
                tenant=stopped.tenant_id,
                mode=stopped.mode,
                reason=reason,
            )


def _record_and_claim(
    connection: Connection,
    ended: Sequence[tuple[Claimed, Attempted]],
    caps: Caps,
    *,
    limit: int,
    now_ms: int,
) -> tuple[list[Recorded], Claim | None]:
    recorded = records.record_all(connection, ended, now_ms=now_ms)
    lease_until_ms = now_ms + int(LEASE_S * 1000)
    return recorded, claims.claim(connection, caps, limit=limit, now_ms=now_ms, lease_until_ms=lease_until_ms)
