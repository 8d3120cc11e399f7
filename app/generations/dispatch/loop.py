"""The dispatch loop: jobs that wait are sent as places free, in fair turn, on however many servers run it.

Every server takes jobs for itself, one in a transaction, so that none is taken twice. What a server took and
did not live to send becomes unknown as any submit does.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, get_args

from sqlalchemy.exc import IntegrityError

from app.auth.keys import Mode
from app.db.engine import Database, NotBegunProblem
from app.generations.dispatch import dequeue
from app.generations.dispatch.dequeue import NotDequeued
from app.generations.dispatch.dispatcher import Dispatcher
from app.generations.lifecycle import TERMINAL, State
from app.generations.queue import rows as queue
from app.generations.queue.fair import Flow
from app.generations.store import Generation
from app.kit.json import dumps
from app.kit.log import get_logger
from app.kit.tasks import Tasks
from app.upstream.credentials import Choice

_log = get_logger("queue")
_KEPT_BACK_MS: Final = (
    5_000  # a tenant that may send nothing is asked again by then, or when a job of it ends
)
_MIN_REST_MS: Final = 500
_MAX_REST_MS: Final = 30_000
_BATCH: Final = 200
_MODES: Final[tuple[Mode, ...]] = get_args(Mode)
_FREES_A_PLACE: Final = frozenset(map(str, TERMINAL | {State.ACCEPTED}))  # or comes to wait for one
_Whose = tuple[str, str]  # tenant and kind of key


@dataclass(frozen=True, slots=True)
class Rest:
    """How long nothing of a tenant's is sent because a job of it came back: twice as long each time."""

    until_ms: int = 0
    length_ms: int = 0

    def lasts(self, now_ms: int) -> bool:
        """Whether it is not over; what ends later than any does is of a clock that was set back."""
        return now_ms < self.until_ms <= now_ms + _MAX_REST_MS

    def after(self, now_ms: int) -> "Rest":
        """The rest after one more came back."""
        if self.lasts(now_ms):  # it was sent with those that began this one
            return self
        length_ms = min(max(self.length_ms * 2, _MIN_REST_MS), _MAX_REST_MS)
        return Rest(now_ms + length_ms, length_ms)


_AWAKE: Final = Rest()


@dataclass(slots=True)
class DispatchLoop:
    """Sends what waits, of each kind of key at most `at_once` jobs at a time.

    Each is sent within `deadline_s` and under a lease. `woken` is set by whatever may let one go, and cleared
    by a tick.
    """

    db: Database
    dispatcher: Dispatcher
    tasks: Tasks
    at_once: int
    lease_s: float
    deadline_s: float
    woken: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _closing: bool = field(default=False, init=False)
    _under_way: dict[Mode, set["asyncio.Task[Generation]"]] = field(
        default_factory=lambda: {mode: set() for mode in _MODES}, init=False
    )
    _sending: "Counter[str]" = field(default_factory=Counter, init=False)
    _rests: dict[_Whose, Rest] = field(default_factory=dict, init=False)
    _kept_back: dict[_Whose, int] = field(default_factory=dict, init=False)
    _freed: "Counter[_Whose]" = field(default_factory=Counter, init=False)
    _waits: frozenset[Mode] = field(default=frozenset(_MODES), init=False)

    def listen(self) -> None:
        """Take what is announced for a sign that one may go."""
        self.db.announcements.subscribe(self._hear)

    def close(self) -> None:
        """Take no more: the server stops."""
        self._closing = True

    @property
    def under_way(self) -> int:
        """How many are being sent."""
        return sum(map(len, self._under_way.values()))

    async def run_once(self) -> int:
        """Send what may go now, and end what should have gone before. How many there were.

        One of each kind of key at a time: neither waits for the other. What is left when as many were taken
        as may be under way is the next tick's, which comes at once.
        """
        self.woken.clear()
        self._freed.clear()
        due = await self.db.read(queue.due, now_ms=self.dispatcher.clock.now_ms())
        self._waits = due.waits
        count = await self._expire() if due.overdue else 0
        for _ in range(self.at_once):
            taken = [one for mode in _MODES if mode in due.waits and (one := await self._take(mode))]
            if not taken:
                return count
            count += len(taken)
            for one in taken:
                if one.state is State.DISPATCHING:
                    self._send(one)
        self.woken.set()
        return count

    async def _take(self, mode: Mode) -> Generation | None:
        """The next job of this kind of key; None where none may go."""
        now_ms, policy = self.dispatcher.clock.now_ms(), self.dispatcher.policy
        choices = self._choices(mode, now_ms)
        last: Flow | None = None
        while choices and not self._closing and len(self._under_way[mode]) < self.at_once:
            page = await self.db.read(dequeue.flows, mode, choices, policy, now_ms=now_ms, last=last)
            if not page:
                break
            for flow in page:
                last, whose = flow, (flow.tenant_id, mode)
                if self._is_kept_back(whose, now_ms):
                    continue
                freed = self._freed[whose]
                taken = await self._try_to_take(mode, flow, choices, now_ms)
                if isinstance(taken, Generation):
                    self.dispatcher.pool.spend_turn(mode, taken.credential)
                    return taken
                if taken is NotDequeued.NO_ROOM:
                    return None
                if taken is NotDequeued.MOVED:
                    last = None
                    break
                if freed == self._freed[whose]:  # nothing of it ended meanwhile
                    self._kept_back[whose] = now_ms + _KEPT_BACK_MS
        return None

    async def _try_to_take(
        self, mode: Mode, flow: Flow, choices: Sequence[Choice], now_ms: int
    ) -> Generation | NotDequeued:
        attempt = secrets.token_hex(16)
        try:
            return await self.db.write(
                dequeue.dequeue,
                mode,
                flow,
                choices,
                self.dispatcher.policy,
                attempt=attempt,
                now_ms=now_ms,
                lease_until_ms=now_ms + int(self.lease_s * 1000),
            )
        except NotBegunProblem:
            raise
        except IntegrityError:
            _log.exception("A job could not be taken: its books are wrong.", tenant=flow.tenant_id)
            return NotDequeued.KEPT_BACK
        except Exception:
            # It may have been carried out though we never heard of it: nobody would send it.
            back = self.dispatcher.until_done(partial(dequeue.undo, attempt))
            self.tasks.start(back, name="give-back")
            raise

    def _choices(self, mode: Mode, now_ms: int) -> Sequence[Choice]:
        """What may be sent with now. One that is new after a pause is tried with one job at a time."""
        return [
            one.choice(now_ms, queueable=True)
            for one in self.dispatcher.pool.in_turn(mode)
            if not (one.health.on_trial and self._sending[one.name])
        ]

    def _is_kept_back(self, whose: _Whose, now_ms: int) -> bool:
        if self._rests.get(whose, _AWAKE).lasts(now_ms):
            return True
        until_ms = self._kept_back.get(whose, 0)
        if now_ms < until_ms <= now_ms + _KEPT_BACK_MS:
            return True
        self._kept_back.pop(whose, None)
        return False

    def _send(self, taken: Generation) -> None:
        deadline = asyncio.get_running_loop().time() + self.deadline_s
        work = self.dispatcher.dispatch(taken, dumps(taken.input), deadline=deadline)
        task = self.tasks.start(work, name="dispatch")
        self._under_way[taken.mode].add(task)
        self._sending[taken.credential] += 1
        task.add_done_callback(partial(self._sent, taken))

    def _sent(self, taken: Generation, task: "asyncio.Task[Generation]") -> None:
        self._under_way[taken.mode].discard(task)
        self._sending[taken.credential] -= 1
        if not task.cancelled() and task.exception() is None:
            whose = (taken.tenant_id, taken.mode)
            if task.result().state is State.ACCEPTED:
                rest = self._rests.get(whose, _AWAKE)
                self._rests[whose] = rest.after(self.dispatcher.clock.now_ms())
            else:
                self._rests.pop(whose, None)
        self.woken.set()

    async def _expire(self) -> int:
        """End those that wait and should have started."""
        clock = self.dispatcher.clock
        failed: set[str] = set()
        count = 0
        while True:
            now_ms = clock.now_ms()
            found = await self.db.read(queue.overdue, now_ms=now_ms, limit=_BATCH + len(failed))
            left = [one for one in found if one not in failed]
            if not left:
                return count
            for generation_id in left:
                try:
                    expired = await self.db.write(dequeue.expire, generation_id, now_ms=now_ms)
                except IntegrityError:
                    failed.add(generation_id)
                    _log.exception("A job could not be ended: its books are wrong.", generation=generation_id)
                else:
                    count += expired is not None

    def _hear(self, message: str | None) -> None:
        if message is None:
            self._kept_back.clear()
            self.woken.set()
            return
        tenant_id, mode, _, state = message.split(" ")
        if state in _FREES_A_PLACE:
            self._freed[tenant_id, mode] += 1
            self._kept_back.pop((tenant_id, mode), None)
            if state == State.ACCEPTED or mode in self._waits:
                self.woken.set()
