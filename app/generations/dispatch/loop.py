"""The dispatch loop: sends queued generations as slots become free, in fair turn, on any number of replicas.

Every replica dequeues for itself, one generation per transaction, so that none is sent twice. One that a
replica dequeued and did not live to send becomes unknown, as any submit does.
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
from app.db.announcements import Announcement
from app.db.engines.engine import Database, NotBegunProblem
from app.generations.dispatch import dequeue
from app.generations.dispatch.dequeue import NotDequeued
from app.generations.dispatch.dispatcher import Dispatcher
from app.generations.lifecycle import TERMINAL, State
from app.generations.queue import rows as queue
from app.generations.queue.fair import Flow
from app.generations.store import Generation
from app.kit.log import Aside, get_logger
from app.kit.tasks import Tasks
from app.kit.traces import Link, Span
from app.upstream.credentials import Choice

_log = get_logger("queue")
_HELD_UP_MS: Final = 5_000  # a held-up tenant is tried again after this, or when one of its jobs ends
_MIN_BACKOFF_MS: Final = 500
_MAX_BACKOFF_MS: Final = 30_000
_BATCH: Final = 200
_MODES: Final[tuple[Mode, ...]] = get_args(Mode)
_FREES_A_SLOT: Final = TERMINAL | {State.ACCEPTED}  # or newly queues for one
_FlowKey = tuple[str, str]  # tenant and mode


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long nothing of a flow is sent after one of its generations came back to the queue.

    Each rest is twice as long as the one before.
    """

    until_ms: int = 0
    length_ms: int = 0

    def lasts(self, now_ms: int) -> bool:
        """Returns whether the rest is still on.

        One that ends later than any rest can was begun before the clock was set back, and is over.
        """
        return now_ms < self.until_ms <= now_ms + _MAX_BACKOFF_MS

    def after(self, now_ms: int) -> "Backoff":
        """Returns the rest that follows when one more generation came back."""
        if self.lasts(now_ms):  # it was sent before this rest began
            return self
        length_ms = min(max(self.length_ms * 2, _MIN_BACKOFF_MS), _MAX_BACKOFF_MS)
        return Backoff(now_ms + length_ms, length_ms)


_NO_BACKOFF: Final = Backoff()


@dataclass(slots=True, kw_only=True)
class DispatchLoop:
    """Sends queued generations, at most `at_once` at a time in each mode.

    Each is sent within `deadline_s` seconds, under a lease of `lease_s`. `woken` is set by whatever may let a
    generation be sent, and cleared by a tick.
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
    _backoffs: dict[_FlowKey, Backoff] = field(default_factory=dict, init=False)
    _held_up_until_ms: dict[_FlowKey, int] = field(default_factory=dict, init=False)
    _slots_freed: "Counter[_FlowKey]" = field(default_factory=Counter, init=False)
    _queued_modes: frozenset[Mode] = field(default=frozenset(_MODES), init=False)

    def listen(self) -> None:
        """Subscribes to announcements that a generation may be sent."""
        for state in _FREES_A_SLOT:
            self.db.announcements.subscribe(state, self._on_announcement)

    def close(self) -> None:
        """Dequeues no more: the server is stopping."""
        self._closing = True

    @property
    def under_way(self) -> int:
        """The number of generations being sent."""
        return sum(map(len, self._under_way.values()))

    async def run_once(self) -> int:
        """Starts to send what may be sent now, and expires what is past its start deadline.

        Returns their number.

        The modes take turns, one generation each, so that neither waits for the other. After `at_once` rounds
        the tick ends, and the next one comes at once.
        """
        self.woken.clear()
        self._slots_freed.clear()
        due = await self.db.read(queue.due, now_ms=self.dispatcher.clock.now_ms())
        self._queued_modes = due.queued_modes
        count = await self._expire() if due.overdue else 0
        for _ in range(self.at_once):
            before = count
            for mode in _MODES:
                if mode in due.queued_modes and (one := await self._dequeue(mode)):
                    count += 1
                    if one.state is State.DISPATCHING:  # sent before anything else can fail
                        self._send(one)
            if count == before:
                return count
        self.woken.set()
        return count

    async def _dequeue(self, mode: Mode) -> Generation | None:
        """Dequeues the next generation of this mode; returns None where none may be sent."""
        now_ms, policy = self.dispatcher.clock.now_ms(), self.dispatcher.policy
        choices = self._choices(mode, now_ms)
        last: Flow | None = None
        while choices and not self._closing and len(self._under_way[mode]) < self.at_once:
            page = await self.db.read(dequeue.flows, mode, choices, policy, now_ms=now_ms, last=last)
            if not page:
                break
            for flow in page:
                last, whose = flow, (flow.tenant_id, mode)
                if self._is_held_up(whose, now_ms):
                    continue
                freed = self._slots_freed[whose]
                dequeued = await self._try_to_dequeue(mode, flow, choices, now_ms)
                if isinstance(dequeued, Generation):
                    with Aside("whose turn it is among the credentials"):
                        self.dispatcher.pool.record_use(mode, dequeued.credential)
                    return dequeued
                if dequeued is NotDequeued.NO_ROOM:
                    return None
                if dequeued is NotDequeued.MOVED:
                    last = None
                    break
                if freed == self._slots_freed[whose]:  # none of its generations ended meanwhile
                    self._held_up_until_ms[whose] = now_ms + _HELD_UP_MS
        return None

    async def _try_to_dequeue(
        self, mode: Mode, flow: Flow, choices: Sequence[Choice], now_ms: int
    ) -> Generation | NotDequeued:
        attempt = secrets.token_hex(16)
        try:
            return await self.db.write_for(
                flow.tenant_id,
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
            _log.exception(
                "A request could not be dequeued: its ledger is inconsistent.", tenant=flow.tenant_id
            )
            return NotDequeued.HELD_UP
        except (Exception, asyncio.CancelledError):
            # The dequeue may have been committed without our being told: then nobody would send the
            # generation.
            back = self.dispatcher.until_done(partial(dequeue.undo, flow.tenant_id, attempt))
            self.tasks.start(back, name="give-back")
            raise

    def _choices(self, mode: Mode, now_ms: int) -> Sequence[Choice]:
        """Returns the credentials to send with now.

        One that is new after a pause is tried with one job at a time.
        """
        return [
            one.choice(now_ms, queueable=True)
            for one in self.dispatcher.pool.by_weight(mode)
            if not (one.health.on_trial and self._sending[one.name])
        ]

    def _is_held_up(self, whose: _FlowKey, now_ms: int) -> bool:
        if self._backoffs.get(whose, _NO_BACKOFF).lasts(now_ms):
            return True
        until_ms = self._held_up_until_ms.get(whose, 0)
        if now_ms < until_ms <= now_ms + _HELD_UP_MS:
            return True
        self._held_up_until_ms.pop(whose, None)
        return False

    def _send(self, dequeued: Generation) -> None:
        deadline = asyncio.get_running_loop().time() + self.deadline_s
        task = self.tasks.start(self._dispatch(dequeued, deadline), name="dispatch")
        self._under_way[dequeued.mode].add(task)
        self._sending[dequeued.credential] += 1
        task.add_done_callback(partial(self._sent, dequeued))

    async def _dispatch(self, dequeued: Generation, deadline: float) -> Generation:
        with Span("dispatch", link=Link(dequeued.trace_id, dequeued.id), request=dequeued.id):
            return await self.dispatcher.dispatch(dequeued, dequeued.input_text.encode(), deadline=deadline)

    def _sent(self, dequeued: Generation, task: "asyncio.Task[Generation]") -> None:
        self._under_way[dequeued.mode].discard(task)
        self._sending[dequeued.credential] -= 1
        if not task.cancelled() and task.exception() is None:
            whose = (dequeued.tenant_id, dequeued.mode)
            if task.result().state is State.ACCEPTED:
                rest = self._backoffs.get(whose, _NO_BACKOFF)
                self._backoffs[whose] = rest.after(self.dispatcher.clock.now_ms())
            else:
                self._backoffs.pop(whose, None)
        self.woken.set()

    async def _expire(self) -> int:
        """Expires queued generations past their start deadline, and returns their number."""
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
                    _log.exception(
                        "A request could not be expired: its ledger is inconsistent.",
                        generation=generation_id,
                    )
                else:
                    count += expired is not None

    def _on_announcement(self, freed: Announcement | None) -> None:
        if freed is None:
            self._held_up_until_ms.clear()
            self.woken.set()
            return
        self._slots_freed[freed.tenant_id, freed.mode] += 1
        self._held_up_until_ms.pop((freed.tenant_id, freed.mode), None)
        if freed.state == State.ACCEPTED or freed.mode in self._queued_modes:
            self.woken.set()
