"""Group commit: the threads through which every write of this process goes, on either database.

Each thread is a lane with a connection of its own: one on SQLite, several on PostgreSQL. Work goes to the
lane where others with its key (a tenant) wait, else to the first that has not enough. Functions that wait in
a lane at the same time share one transaction, and every caller is answered only after the COMMIT. What they
have deferred (`app.db.statements.deferral`) is written right before it, once for all of them.

An error is its own function's alone. Most functions that raise have changed nothing before, such as a submit
that is refused: the others go on. After any other error everything is rolled back, and the functions run
again, each in a SAVEPOINT of its own.

Where rows are locked, all transactions of all servers lock them in one order: keys sorted, each with what is
its own, then what keys share. So a function that locks anything shared (`commit_soon`), or is run without a
key and so may lock anything, is the last of its transaction. Where functions are read ahead, all keys are
locked before the first of them, and nobody waits for a lock who has one.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from itertools import chain, count, repeat
from queue import SimpleQueue
from typing import Any, Final, Protocol

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from app.db.outage import LOCKED, SLOW, TRY_AGAIN, DatabaseBusyError, NotBegunError, outage_of, words_of
from app.db.statements.deferral import Ahead, Deferral
from app.db.statements.prepared import changes_of, execute
from app.db.tenant_locks import lock

_MAX_TRIES: Final = 5
_AVOID_S: Final = 10.0
_STUCK_S: Final = 0.25
_MAX_PASSED_OVER: Final = 2
_LAST: Final = "reelgate.last"


class Place(Protocol):
    """Where a lane writes. `max_group` functions share a transaction at most."""

    max_group: int
    locks_rows: bool
    """Whether other transactions write at the same time, so that the order of locks matters."""
    next_savepoint: tuple[str, ...]
    """The commands that replace the savepoint `one` by a new one; a trip each."""

    def transaction(self) -> AbstractContextManager[Connection]:
        """Begins a transaction; commits it at the end of the block, or rolls it back where that raises."""

    def is_lost(self, error: BaseException) -> bool:
        """Returns whether nothing more can be done in a transaction in which a statement failed so."""

    def has_failed(self, connection: Connection) -> bool:
        """Returns whether a statement has failed, and the transaction takes no more of them for that."""

    def cut(self) -> None:
        """Ends what goes on here, which has not been answered for too long. It is called from any thread."""

    def close(self) -> None:
        """Closes the connection."""


def commit_soon(connection: Connection) -> None:
    """Lets nobody else join this transaction: it has locked rows that transactions of other keys want too."""
    connection.info[_LAST] = True


class _ChangedError(Exception):
    """A function raised when it had changed something."""


class _NotAheadError(Exception):
    """What the functions need could not be read for all of them at once."""


@dataclass(slots=True, eq=False)
class _Work:
    function: Callable[[Connection], Any]
    future: "asyncio.Future[Any]"
    key: str | None
    shares: bool = False
    ahead: Ahead | None = None
    result: Any = None
    error: BaseException | None = None
    begun: bool = False
    passed_over: int = 0
    _turns: "count[int]" = field(default_factory=count)

    def claim(self) -> bool:
        """Returns True once: to the lane that begins, or to the caller who gives up before."""
        return next(self._turns) == 0

    def may_run(self) -> bool:
        """Claims the work for its lane, at the first try."""
        self.begun = self.begun or self.claim()
        return self.begun


_Run = Callable[[Connection, Deferral, _Work], None]


class Writer:
    """Writes through lanes, each to one place of `to`.

    A caller waits for `answer_s` seconds at most, where that is not None.
    """

    def __init__(self, to: list[Place], *, answer_s: float | None = None) -> None:
        avoided: dict[str, float] = {}
        self._lanes = [_Lane(place, f"writer-{number}", avoided) for number, place in enumerate(to)]
        self._where: dict[str, tuple[_Lane, int]] = {}  # of each key: its lane, and how much is not answered
        self._gate = threading.Lock()
        self._answer_s = answer_s

    async def run(
        self,
        function: Callable[[Connection], Any],
        key: str | None = None,
        *,
        shares: bool = False,
        ahead: Ahead | None = None,
    ) -> Any:
        """Returns the function's result, once it is committed.

        With `shares` it shares what it knows with others like it, as `app.db.statements.deferral` has it, and
        `ahead` is what it needs.

        Raises:
            NotBegunError: the database cannot serve, and the function has not run.
            Exception: what the function raised; or why its transaction failed.

        """
        work = _Work(function, asyncio.get_running_loop().create_future(), key, shares, ahead)
        lane = self._come(key)
        bound: asyncio.Timeout | None = None
        try:
            lane.put(work)
            if self._answer_s is None:
                return await work.future
            async with asyncio.timeout(self._answer_s) as bound:
                return await work.future
        except TimeoutError:
            if bound is None or not bound.expired():
                raise
            if work.future.done() and not work.future.cancelled():
                return work.future.result()  # it came when the time was over, as after a pause of the machine
            if work.claim():
                raise NotBegunError("no turn in time") from None
            if self._answer_s is not None:
                lane.cut_if_it_lasts(work, self._answer_s)
            raise DatabaseBusyError("no answer in time") from None
        except asyncio.CancelledError:
            work.claim()  # what has not begun need not begin
            raise
        except Exception as error:
            outage = outage_of(error)
            if work.begun or outage is None:
                raise
            raise NotBegunError(words_of(error), outage) from error
        finally:
            self._go(key)

    async def close(self) -> None:
        """Finishes what waits, then closes."""
        for lane in self._lanes:
            lane.close()
        await asyncio.gather(*(asyncio.to_thread(lane.thread.join, self._answer_s) for lane in self._lanes))

    def _come(self, key: str | None) -> "_Lane":
        """Returns the lane for one more function of a key.

        It is where others of that key are, so that they need not wait for one another's locks; else the first
        that has a turn soon, since the more share a transaction the less each of them costs.
        """
        if len(self._lanes) == 1:
            return self._lanes[0]
        if key is None:
            return min(self._lanes, key=_Lane.load)
        with self._gate:
            lane, others = self._where.get(key, (None, 0))
            if lane is None:
                lane = next(filter(_Lane.is_open, self._lanes), None) or min(self._lanes, key=_Lane.load)
            self._where[key] = lane, others + 1
        return lane

    def _go(self, key: str | None) -> None:
        if key is not None and len(self._lanes) > 1:
            with self._gate:
                lane, there = self._where.pop(key)
                if there > 1:
                    self._where[key] = lane, there - 1


class _Lane:
    """One thread, and what waits for it."""

    def __init__(self, place: Place, name: str, avoided: dict[str, float]) -> None:
        self.place = place
        self.waiting: deque[_Work] = deque()
        self._under_way: list[_Work] = []
        self._began_s = 0.0
        self._avoided = avoided  # until when; by all lanes
        self._begins: Iterator[tuple[str, ...]] = iter(())  # the commands that begin each savepoint
        self._bell: SimpleQueue[None] = SimpleQueue()  # an event takes ten times as long to set
        self._rung = False
        self._gate = threading.Lock()
        self._closed = False
        self.thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self.thread.start()

    def load(self) -> int:
        """Returns how much has no answer yet."""
        return len(self.waiting) + len(self._under_way)

    def is_open(self) -> bool:
        """Returns whether work that comes now has its turn soon."""
        is_stuck = bool(self._under_way) and time.monotonic() - self._began_s > _STUCK_S
        return not is_stuck and len(self.waiting) < self.place.max_group

    def put(self, work: _Work) -> None:
        with self._gate:  # nothing may be put here after the end
            if self._closed:
                raise NotBegunError("the writer is closed")
            self.waiting.append(work)
        if not self._rung:  # who takes that back looks for work afterwards
            self._ring()

    def close(self) -> None:
        with self._gate:
            self._closed = True
        self._ring()

    def _ring(self) -> None:
        self._rung = True
        self._bell.put(None)

    def cut_if_it_lasts(self, work: _Work, answer_s: float) -> None:
        """Ends the transaction that this work is in once that lasts for `answer_s` seconds.

        The work itself may have waited for most of its time, and others share its transaction.
        """
        group, left_s = self._under_way, self._began_s + answer_s - time.monotonic()
        if work in group:
            asyncio.get_running_loop().call_later(max(0.0, left_s), self._cut, group)

    def _cut(self, group: list[_Work]) -> None:
        if self._under_way is group:
            self.place.cut()

    def _serve(self) -> None:
        rest: list[_Work] = []
        while not self._closed or self.waiting:
            self._bell.get()
            self._rung = False
            while self.waiting:
                self._began_s = time.monotonic()
                self._under_way = group = self._gather()
                # Where the last transaction ended early this one may too, and much would be read in vain.
                reads_ahead = not rest and len({work.key for work in group if work.ahead}) > 1
                rest = self._commit_together(group, reads_ahead=reads_ahead)
                self._under_way = []
                self.waiting.extendleft(reversed(rest))
                _answer(group[: len(group) - len(rest)])
            if self._closed:
                self._ring()
        self.place.close()

    def _gather(self) -> list[_Work]:
        group: list[_Work] = []
        while self.waiting and len(group) < self.place.max_group:
            group.append(self.waiting.popleft())
            if self.place.locks_rows and group[-1].key is None:
                break
        return group

    def _commit_together(
        self,
        group: list[_Work],
        tries: int = 1,
        *,
        reads_ahead: bool = False,
        in_savepoints: bool = False,
    ) -> list[_Work]:
        """Runs the functions and commits; returns those whose turn has not come, which are the last.

        Those whose locks are not free when they are read ahead are taken out of the group, and wait again.
        """
        # Where it is read ahead, everything is locked before the first: then those go first that share.
        group.sort(key=lambda work: (work.key is None, reads_ahead and not work.shares, work.key or ""))
        left = deque(group)
        run = _run_alone if len(group) == 1 else self._run_beside_others
        if in_savepoints:
            self._begins = chain([("SAVEPOINT one",)], repeat(self.place.next_savepoint))
            run = self._run_in_savepoint
        deferral: Deferral | None = None
        try:
            with self.place.transaction() as connection:
                deferral = Deferral(connection)
                if reads_ahead:
                    self._read_ahead(connection, deferral, group)
                    left = deque(group)
                self._run_until_last(connection, deferral, left, run)
                deferral.finish(connection)
        except _NotAheadError:
            return self._commit_together(group, tries, in_savepoints=in_savepoints)
        except _ChangedError:
            for work in group:
                _forget(work)
            return self._commit_together(group, tries, reads_ahead=reads_ahead, in_savepoints=True)
        except BaseException as error:  # noqa: BLE001 - it belongs to the callers, not to this thread
            began = [work for work in group if work not in left]
            # What could not be written together may be the fault of one alone, or of how it was written.
            is_shared = deferral is not None and deferral.is_writing and (len(began) > 1 or deferral.shares)
            repeats = _is_worth_repeating(error) or (is_shared and outage_of(error) is None)
            if repeats and tries < _MAX_TRIES:
                for work in began:  # one by one, so that they hold up nobody else
                    _forget(work)
                    self._commit_together([work], tries + 1)
                return list(left)
            for work in group:
                self._failed(work, error)
            return []
        return list(left)

    def _read_ahead(self, connection: Connection, deferral: Deferral, group: list[_Work]) -> None:
        """Locks the rows of the group's tenants, and reads what its functions need for all of them.

        It waits for a lock only while it has none, so that no order matters: for that of whoever was passed
        over before, or where none is free. Whose lock is not free is passed over.
        """
        some = [work for work in group if work.key is not None and not self._is_avoided(work)]
        keys = dict.fromkeys(work.key or "" for work in some)
        awaited = next((work.key for work in some if work.passed_over >= _MAX_PASSED_OVER), None)
        try:
            locked = [] if awaited is None else lock(connection, [awaited], waits=True)
            locked += lock(connection, [key for key in keys if key != awaited], waits=False)
            if not locked and keys:
                locked = lock(connection, [awaited := next(iter(keys))], waits=True)
            rows = {one.id: one for one in locked}
            needs = [work.ahead for work in some if work.ahead is not None and work.key in rows]
            deferral.read_ahead(connection, rows, needs)
            passed_over = [one for one in some if one.key not in rows and one.key != awaited]
            for work in passed_over:
                work.passed_over += 1
                group.remove(work)
            self.waiting.extendleft(reversed(passed_over))
        except BaseException as error:
            if self.place.is_lost(error) or outage_of(error) is SLOW:
                raise
            for work in group:
                if work.key == awaited and outage_of(error) is LOCKED:
                    self._failed(work, error)
            raise _NotAheadError from error

    def _run_until_last(
        self, connection: Connection, deferral: Deferral, left: deque[_Work], run: _Run
    ) -> None:
        """Runs what is left, as far as the transaction goes."""
        while left:
            work = left.popleft()
            if _has_waited_in_vain(work) or self._is_avoided(work) or not work.may_run():
                continue
            deferral.begin(connection, shares=work.shares and run is not _run_alone)
            run(connection, deferral, work)
            if connection.info.pop(_LAST, False) and self.place.locks_rows:
                break

    def _run_beside_others(self, connection: Connection, deferral: Deferral, work: _Work) -> None:
        mark, changes = deferral.mark(), changes_of(connection) - deferral.of_others
        try:
            work.result = work.function(connection)
        except BaseException as error:
            if self.place.is_lost(error) or deferral.is_writing:
                raise
            self._failed(work, error)
            if changes_of(connection) - deferral.of_others != changes or self.place.has_failed(connection):
                raise _ChangedError from error
            deferral.drop(mark)

    def _run_in_savepoint(self, connection: Connection, deferral: Deferral, work: _Work) -> None:
        # Never one inside another: what a change costs grows with their depth, on both databases.
        for command in next(self._begins):
            execute(connection, command)
        mark = deferral.mark()
        try:
            work.result = work.function(connection)
        except BaseException as error:
            if self.place.is_lost(error) or deferral.is_writing:
                raise
            execute(connection, "ROLLBACK TO SAVEPOINT one")
            deferral.go_back(mark)
            self._failed(work, error)

    def _failed(self, work: _Work, error: BaseException) -> None:
        work.result, work.error = None, error
        if work.key is not None and self.place.locks_rows and outage_of(error) is LOCKED:
            self._avoided[work.key] = time.monotonic() + _AVOID_S

    def _is_avoided(self, work: _Work) -> bool:
        """Refuses work whose key waited in vain for a lock a moment ago: it would hold up others again.

        What has begun has met no such lock, or else waited for it itself.
        """
        until_s = None if work.begun or work.key is None else self._avoided.get(work.key)
        if until_s is None or work.key is None:
            return False
        if time.monotonic() > until_s:
            self._avoided.pop(work.key, None)
            return False
        work.error = DatabaseBusyError("somebody keeps a lock that is needed", LOCKED)
        return True


def _run_alone(connection: Connection, _deferral: Deferral, work: _Work) -> None:
    work.result = work.function(connection)


def _forget(work: _Work) -> None:
    """Forgets what came of a run that was rolled back, but that the work waited in vain: once is enough."""
    if not _has_waited_in_vain(work):
        work.result = work.error = None


def _has_waited_in_vain(work: _Work) -> bool:
    """Returns whether it has waited for a lock, or an answer, for most of the time that its group has."""
    return work.error is not None and outage_of(work.error) in {LOCKED, SLOW}


def _is_worth_repeating(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in TRY_AGAIN


def _answer(works: list[_Work]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Work]] = {}
    for work in works:
        by_loop.setdefault(work.future.get_loop(), []).append(work)
    for loop, own in by_loop.items():
        with suppress(RuntimeError):  # that loop is closed: nobody awaits the result
            loop.call_soon_threadsafe(_resolve, own)


def _resolve(works: list[_Work]) -> None:
    for work in works:
        if work.future.done():
            continue
        if work.error is None:
            work.future.set_result(work.result)
        elif isinstance(work.error, StopIteration):  # a future accepts any exception but this one
            work.future.set_exception(RuntimeError(repr(work.error)))
        else:
            work.future.set_exception(work.error)
