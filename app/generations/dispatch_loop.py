"""The dispatch loop: jobs that wait are sent as places free, in fair turn, on however many servers run it.

Every server takes jobs for itself, one in a transaction, so that none is taken twice. What a server took and
did not live to send becomes unknown as any submit does.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, get_args

from app.auth.keys import Mode
from app.db.engine import Database
from app.generations import queue, take
from app.generations.dispatch import Dispatcher, choice_of
from app.generations.fair import Turn
from app.generations.lifecycle import TERMINAL, State
from app.generations.store import Choice, Generation
from app.generations.take import Nothing
from app.kit.strict_json import dumps
from app.kit.tasks import Tasks

_KEPT_BACK_MS: Final = (
    5_000  # a tenant that may send nothing is asked again by then, or when a job of it ends
)
_SHORTEST_REST_MS: Final = 500
_LONGEST_REST_MS: Final = 30_000
_BATCH: Final = 200
_MODES: Final[tuple[Mode, ...]] = get_args(Mode)
_FREES_A_PLACE: Final = frozenset(str(state) for state in TERMINAL)


@dataclass(frozen=True, slots=True)
class Rest:
    """How long nothing is sent with a credential because a job came back: twice as long each time."""

    until_ms: int = 0
    length_ms: int = 0

    def lasts(self, now_ms: int) -> bool:
        """Whether it is not over; what ends later than any does is of a clock that was set back."""
        return now_ms < self.until_ms <= now_ms + _LONGEST_REST_MS

    def after(self, now_ms: int) -> "Rest":
        """The rest after one more came back."""
        if self.lasts(now_ms):  # it was sent with those that began this one
            return self
        length_ms = min(max(self.length_ms * 2, _SHORTEST_REST_MS), _LONGEST_REST_MS)
        return Rest(now_ms + length_ms, length_ms)


_AWAKE: Final = Rest()


@dataclass(slots=True)
class DispatchLoop:
    """Sends what waits, at most `at_once` jobs at a time, each within `deadline_s` and under a lease.

    `woken` is set by whatever may let one go, and cleared by a tick.
    """

    db: Database
    dispatcher: Dispatcher
    tasks: Tasks
    at_once: int
    lease_s: float
    deadline_s: float
    woken: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _under_way: set["asyncio.Task[Generation]"] = field(default_factory=set, init=False)
    _sending: "Counter[str]" = field(default_factory=Counter, init=False)
    _rests: dict[str, Rest] = field(default_factory=dict, init=False)
    _kept_back: dict[tuple[str, str], int] = field(default_factory=dict, init=False)
    _waits: frozenset[Mode] = field(default=frozenset(_MODES), init=False)

    def listen(self) -> None:
        """Take what is announced for a sign that one may go."""
        self.db.announcements.subscribe(self._hear)

    @property
    def under_way(self) -> int:
        """How many are being sent."""
        return len(self._under_way)

    async def run_once(self) -> int:
        """Send what may go now, and end what should have gone before. How many there were."""
        self.woken.clear()
        due = await self.db.read(queue.due, now_ms=self.dispatcher.clock.now_ms())
        self._waits = due.waits
        count = await self._expire() if due.overdue else 0
        for mode in due.waits:
            while len(self._under_way) < self.at_once:
                taken = await self._take(mode)
                if taken is None:
                    break
                count += 1
                if taken.state is State.DISPATCHING:
                    self._send(taken)
        return count

    async def _take(self, mode: Mode) -> Generation | None:
        """The next job of this kind of key; None where none may go."""
        now_ms, terms = self.dispatcher.clock.now_ms(), self.dispatcher.terms
        choices = self._choices(mode, now_ms)
        last: Turn | None = None
        while choices:
            page = await self.db.read(take.turns, mode, choices, terms, now_ms=now_ms, last=last)
            if not page:
                break
            for turn in page:
                last = turn
                if self._is_kept_back(turn, mode, now_ms):
                    continue
                taken = await self.db.write(
                    take.take,
                    mode,
                    turn,
                    choices,
                    terms,
                    now_ms=now_ms,
                    lease_until_ms=now_ms + int(self.lease_s * 1000),
                )
                if isinstance(taken, Generation):
                    return taken
                if taken is Nothing.NO_ROOM:
                    return None
                if taken is Nothing.MOVED:
                    last = None
                    break
                self._kept_back[turn.tenant_id, mode] = now_ms + _KEPT_BACK_MS
        return None

    def _choices(self, mode: Mode, now_ms: int) -> Sequence[Choice]:
        """What may be sent with now. One that is new after a pause is tried with one job at a time."""
        return [
            choice_of(one, now_ms)
            for one in self.dispatcher.pool.for_submit(mode)
            if not self._rests.get(one.name, _AWAKE).lasts(now_ms)
            and not (one.health.on_trial and self._sending[one.name])
        ]

    def _is_kept_back(self, turn: Turn, mode: Mode, now_ms: int) -> bool:
        until_ms = self._kept_back.get((turn.tenant_id, mode), 0)
        if now_ms < until_ms <= now_ms + _KEPT_BACK_MS:
            return True
        self._kept_back.pop((turn.tenant_id, mode), None)
        return False

    def _send(self, taken: Generation) -> None:
        deadline = asyncio.get_running_loop().time() + self.deadline_s
        work = self.dispatcher.dispatch(taken, dumps(taken.input), deadline=deadline)
        task = self.tasks.start(work, name="dispatch")
        self._under_way.add(task)
        self._sending[taken.credential] += 1
        task.add_done_callback(partial(self._sent, taken.credential))

    def _sent(self, credential: str, task: "asyncio.Task[Generation]") -> None:
        self._under_way.discard(task)
        self._sending[credential] -= 1
        if not task.cancelled() and task.exception() is None:
            came_back = task.result().state is State.ACCEPTED
            rest = self._rests.get(credential, _AWAKE)
            now_ms = self.dispatcher.clock.now_ms()
            self._rests[credential] = rest.after(now_ms) if came_back else _AWAKE
        self.woken.set()

    async def _expire(self) -> int:
        clock, count = self.dispatcher.clock, 0
        while overdue := await self.db.read(queue.overdue, now_ms=clock.now_ms(), limit=_BATCH):
            for generation_id in overdue:
                if await self.db.write(take.expire, generation_id, now_ms=clock.now_ms()) is not None:
                    count += 1
        return count

    def _hear(self, message: str | None) -> None:
        if message is None:
            self._kept_back.clear()
            self.woken.set()
            return
        tenant_id, mode, _, state = message.split(" ")
        if state in _FREES_A_PLACE:
            self._kept_back.pop((tenant_id, mode), None)
        if state == State.ACCEPTED or (state in _FREES_A_PLACE and mode in self._waits):
            self.woken.set()
