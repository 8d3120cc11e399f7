"""Readers: the threads in which every function of a read runs, on either database.

Functions that wait share a trip to a thread: a reader runs what waits, one function after another, until
nothing does. Another reader is woken where something has waited for a moment, so that no slow read holds up
the others.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import Connection

from app.db.outage import DatabaseBusyError

_PATIENCE_S: Final = 0.002  # how long nothing ends before another reader is woken
_MAX_PATIENCE_S: Final = (
    0.02  # how long a function waits, whatever ends meanwhile, before another reader is woken
)
_SWEEP_S: Final = 0.1  # how often deadlines are looked at where no other reader can be woken


class Reader(Protocol):
    """A connection to read from, with a thread of its own; `open` was awaited before anything else."""

    async def open(self) -> None:
        """Opens the connection."""

    def start(self, work: Callable[[], None]) -> "asyncio.Future[None]":
        """Runs the work in the thread. The future must not be cancelled."""

    def call(self, function: Callable[[Connection], Any]) -> Any:
        """Runs a function on the connection; called in the thread."""

    def cut(self) -> None:
        """Ends what goes on here, which has not been answered for too long."""

    async def close(self) -> None:
        """Closes the connection and ends the thread."""


@dataclass(slots=True, eq=False)
class _Read:
    function: Callable[[Connection], Any]
    future: "asyncio.Future[Any]"
    came_s: float
    bounded: bool
    reader: Reader | None = None
    result: Any = None
    error: BaseException | None = None


class Readers:
    """At most `limit` readers, each opened when it is needed.

    `wait_s` is how long a function waits for one. It may then run for `answer_s` seconds; where that is None,
    for as long as it takes.
    """

    def __init__(
        self, make: Callable[[], Reader], *, limit: int, wait_s: float, answer_s: float | None = None
    ) -> None:
        self._make = make
        self._limit = limit
        self._wait_s = wait_s
        self._answer_s = answer_s
        self._waiting: deque[_Read] = deque()
        self._asked: deque[_Read] = deque()  # waiting or running, in the order in which they came
        self._finished: deque[_Read] = deque()
        self._told = False  # the loop will look at what is finished
        self._ended = self._ended_before = 0
        self._idle: list[Reader] = []
        self._awake: dict[asyncio.Future[None], Reader] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._watching = False
        self._closed = False

    async def run(self, function: Callable[[Connection], Any], *, bounded: bool = True) -> Any:
        """Returns the function's result. A function that has begun ends, also where its caller is cancelled.

        Raises:
            DatabaseBusyError: no reader was free in time, none answered in time, or all are closed.

        """
        if self._closed:
            raise DatabaseBusyError("the readers are closed")
        loop = asyncio.get_running_loop()
        read = _Read(function, loop.create_future(), loop.time(), bounded)
        self._waiting.append(read)
        self._asked.append(read)
        if not self._awake and not self._opening:
            self._wake_another()
        if not self._watching:
            self._watching = True
            loop.call_later(_PATIENCE_S, self._watch, loop)
        return await read.future

    async def close(self) -> None:
        """Waits for the functions that run or wait, and closes the connections."""
        self._closed = True
        while self._waiting or self._awake or self._opening:
            _, late = await asyncio.wait({*self._awake, *self._opening}, timeout=self._answer_s)
            if late:
                break
        for read in self._asked:
            _fail(read, DatabaseBusyError("the readers are closed"))
        while self._idle:
            await self._idle.pop().close()

    def _wake_another(self) -> bool:
        """Wakes a reader, or opens one; returns whether there may be another one to wake."""
        if self._idle:
            self._start(self._idle.pop())
        elif len(self._awake) < self._limit and not self._opening:
            opening = asyncio.get_running_loop().create_task(self._open())
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)
        return bool(self._opening) or len(self._awake) < self._limit

    async def _open(self) -> None:
        reader = self._make()
        try:
            await reader.open()
        except Exception as error:  # noqa: BLE001 - it belongs to the callers
            while self._waiting:  # they would meet the same
                _fail(self._waiting.popleft(), error)
        else:
            self._start(reader)

    def _start(self, reader: Reader) -> None:
        loop = asyncio.get_running_loop()
        trip = reader.start(lambda: self._travel(reader, loop))
        self._awake[trip] = reader
        trip.add_done_callback(self._arrived)

    def _travel(self, reader: Reader, loop: asyncio.AbstractEventLoop) -> None:
        """Runs what waits until nothing does; in the reader's thread."""
        while True:
            try:
                read = self._waiting.popleft()
            except IndexError:
                return
            if read.future.done():
                continue
            read.reader = reader
            try:
                read.result = reader.call(read.function)
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller, not to this thread
                read.error = error
            self._finished.append(read)
            self._ended += 1
            if self._waiting and not self._told:  # the next one may be slow
                self._told = True
                with suppress(RuntimeError):  # the loop is closed: nobody waits
                    loop.call_soon_threadsafe(self._deliver)

    def _arrived(self, trip: "asyncio.Future[None]") -> None:
        self._idle.append(self._awake.pop(trip))
        self._deliver()
        if self._waiting and not self._awake:  # it came when the reader was about to rest
            self._wake_another()

    def _deliver(self) -> None:
        self._told = False
        while self._finished:
            read = self._finished.popleft()
            if read.future.done():
                continue
            if read.error is None:
                read.future.set_result(read.result)
            else:
                _fail(read, read.error)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wakes another reader where a function has waited, and ends what has lasted too long."""
        while self._asked and self._asked[0].future.done():
            self._asked.popleft()
        if not self._asked:
            self._watching = False
            return
        now_s = loop.time()
        can_wake = True
        if self._waiting:
            patience_s = _PATIENCE_S if self._ended == self._ended_before else _MAX_PATIENCE_S
            if now_s - self._came_first_s() >= patience_s:
                can_wake = self._wake_another()
        self._ended_before = self._ended
        for read in self._asked:
            if now_s - read.came_s < min(self._wait_s, self._answer_s or self._wait_s):
                break
            self._end_if_late(read, now_s)
        loop.call_later(_PATIENCE_S if self._waiting and can_wake else _SWEEP_S, self._watch, loop)

    def _came_first_s(self) -> float:
        try:
            return self._waiting[0].came_s
        except IndexError:  # a reader took it meanwhile
            return float("inf")

    def _end_if_late(self, read: _Read, now_s: float) -> None:
        lasts_s = now_s - read.came_s
        if read.future.done():
            return
        if read.reader is None and lasts_s >= self._wait_s:
            _fail(read, DatabaseBusyError("no reader was free in time"))
        elif read.reader and read.bounded and self._answer_s is not None and lasts_s >= self._answer_s:
            _fail(read, DatabaseBusyError("no answer in time"))
            read.reader.cut()


def _fail(read: _Read, error: BaseException) -> None:
    if read.future.done():
        return
    # A future accepts any exception but this one.
    own = RuntimeError(repr(error)) if isinstance(error, StopIteration) else error
    read.future.set_exception(own)
