"""Following every live job to its end, whether or not anybody asks: one loop for each credential."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from app.generations import leases
from app.generations.following.tracker import Tracker
from app.generations.lifecycle import State
from app.generations.store import Generation
from app.kit.log import get_logger
from app.upstream.credentials import Credential

_log = get_logger("poll")
TICK_S: Final = 0.25
"""How late a poll may be because it waits for a tick."""
_MAX_PAUSE_S: Final = 2.0  # a job of another server's, or whose announcement was lost, is seen then
_CLAIM_FRACTION = 4  # more polls are begun once a quarter of `at_once` is free
_MAX_WAIT_S = (
    1.0  # for which a claimed row waits for room: nobody else polls it meanwhile, not even for a reader
)
_MAX_ROUNDS_PER_TICK = 10  # times `at_once` polls begun in one tick: a loop is stopped only between ticks


@dataclass(slots=True)
class Poller:
    """Polls a credential's live generations when they are due, at most `at_once` at a time.

    `lag_ms` is how overdue the first due generation was when the last tick checked. `woken` is set where one
    may be due sooner than that tick saw.
    """

    tracker: Tracker
    credential: Credential
    at_once: int
    lag_ms: int = 0
    woken: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _next_ms: int | None = field(default=None, init=False)  # when the first is due, as the last tick saw it
    _is_slow: bool = field(default=False, init=False)  # the last wait for room was too long to claim ahead
    _under_way: set[asyncio.Task[Generation | None]] = field(default_factory=set, init=False)

    @property
    def under_way(self) -> int:
        """The number of polls that have begun and not ended."""
        return len(self._under_way)

    def listen(self) -> None:
        """Subscribes to announcements that a job was made, which is polled a moment later."""
        self.tracker.db.announcements.subscribe(State.IN_QUEUE, self._on_job)

    def _on_job(self, _: object) -> None:
        if self.pause_s() > TICK_S:
            self.woken.set()

    def pause_s(self) -> float:
        """Returns the seconds until the next tick: until something is due, within bounds."""
        if self._next_ms is None:
            return _MAX_PAUSE_S
        return min(max((self._next_ms - self.tracker.clock.now_ms()) / 1000, TICK_S), _MAX_PAUSE_S)

    async def run_once(self) -> int:
        """Begins to poll all generations that are due, in batches where there are many.

        Returns the number begun.

        Polls still under way at the end go on during the next ticks: one slow answer delays no other job.
        """
        polled = 0
        self.woken.clear()
        self._next_ms = 0
        while polled < self.at_once * _MAX_ROUNDS_PER_TICK and await self._anything_due():
            # Beyond what there is room for now, since a transaction costs as much as many polls.
            limit = (1 if self._is_slow else 2) * self.at_once - len(self._under_way)
            claimed = await self.tracker.db.write(
                leases.claim_due,
                self.credential.name,
                now_ms=self.tracker.clock.now_ms(),
                lease_until_ms=self.tracker.lease_until_ms(),
                limit=limit,
            )
            for place, generation in enumerate(claimed):
                if len(self._under_way) >= self.at_once and not await self._has_room_soon():
                    await self._give_back(claimed[place:])
                    return polled
                self._begin(generation)
                polled += 1
            if len(claimed) < limit:
                break
            await self._has_room_soon()
        return polled

    async def _has_room_soon(self) -> bool:
        """Waits until more polls may begin, and returns whether they may, for a moment at most."""
        enough = self.at_once - max(1, self.at_once // _CLAIM_FRACTION)
        if len(self._under_way) <= enough:
            self._is_slow = False
            return True
        timer = asyncio.ensure_future(self.tracker.clock.sleep(_MAX_WAIT_S))
        try:
            while len(self._under_way) > enough and not timer.done():
                await asyncio.wait({*self._under_way, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
        self._is_slow = len(self._under_way) > enough
        return not self._is_slow

    async def _give_back(self, claimed: Sequence[Generation]) -> None:
        ids = [one.id for one in claimed]
        await self.tracker.db.write(leases.release_all, ids, now_ms=self.tracker.clock.now_ms())

    async def _anything_due(self) -> bool:
        if not self.credential.health.may_poll or len(self._under_way) >= self.at_once:
            return False
        span = await self.tracker.db.read(leases.span_of_polls, self.credential.name)
        if span is None:
            self.lag_ms, self._next_ms = 0, None
            return False
        first_ms, last_ms = span
        self._next_ms = first_ms
        now_ms = self.tracker.clock.now_ms()
        if last_ms > (furthest_ms := self.tracker.furthest_poll_ms()):
            count = await self.tracker.db.write(
                leases.reset_far_polls, self.credential.name, now_ms=now_ms, furthest_ms=furthest_ms
            )
            _log.warning("The clock was set back; requests are polled again.", count=count)
            return True
        self.lag_ms = max(0, now_ms - first_ms)
        return first_ms <= now_ms

    def _begin(self, generation: Generation) -> None:
        task = self.tracker.poll(generation, self.credential)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
