"""Reading an SQLite file in threads, behind the methods of an asynchronous engine that `Database` uses.

A function runs as a whole in one thread. An asynchronous driver goes to a thread and back for every statement
and for every step of its result, which takes several times as much of the processor; and SQLAlchemy's
asynchronous part brings its whole ORM, which a short command would wait for.
"""

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import Dialect

from app.db.sqlite import DatabaseBusyError

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True)
class _Work:
    function: Callable[[Connection], Any]
    future: "asyncio.Future[Any]"
    has_begun: bool = False
    result: Any = None
    error: BaseException | None = None


class BlockingEngine:
    """A synchronous engine and up to `threads` threads, one for each of its connections.

    A thread starts when there is work and no thread without any. `wait_s` is how long a function waits for a
    thread; it may then run for as long as it takes.
    """

    def __init__(self, sync_engine: Engine, *, threads: int, wait_s: float) -> None:
        self.sync_engine = sync_engine
        self._max = threads
        self._wait_s = wait_s
        self._gate = threading.Lock()
        self._closed = False
        self._threads: list[threading.Thread] = []
        self._free = 0  # threads without work; below zero: works without a thread
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()

    @property
    def dialect(self) -> Dialect:
        """The engine's dialect."""
        return self.sync_engine.dialect

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["BlockingEngine"]:
        """Yields what runs functions; each of them gets a connection of its own."""
        yield self

    async def run_sync(
        self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Returns the function's result. A function that has begun ends, also where its caller is cancelled.

        Raises:
            DatabaseBusyError: no thread was free in time, or the engine is disposed of.

        """

        def call(connection: Connection) -> R:
            return function(connection, *args, **kwargs)

        loop = asyncio.get_running_loop()
        work = _Work(call, loop.create_future())
        self._put(work)
        timer = loop.call_later(self._wait_s, _give_up, work)
        try:
            result: R = await work.future
        finally:
            timer.cancel()
        return result

    async def dispose(self) -> None:
        """Waits for the functions that were begun or wait, and closes the connections."""
        with self._gate:
            if not self._closed:
                self._closed = True
                for _ in self._threads:
                    self._queue.put(None)
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()
        self.sync_engine.dispose()

    def _put(self, work: _Work) -> None:
        with self._gate:  # nothing may be put into the queue after the end markers
            if self._closed:
                raise DatabaseBusyError("the readers are closed")
            self._queue.put(work)
            self._free -= 1
            if self._free < 0 and len(self._threads) < self._max:
                thread = threading.Thread(target=self._run, name="sqlite-reader", daemon=True)
                self._threads.append(thread)
                self._free += 1
                thread.start()

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            work.has_begun = True
            if not work.future.done():
                self._read(work)
            with self._gate:
                self._free += 1
            with suppress(RuntimeError):  # that loop is closed: nobody awaits the result
                work.future.get_loop().call_soon_threadsafe(_resolve, work)

    def _read(self, work: _Work) -> None:
        try:
            with self.sync_engine.connect() as connection:
                try:
                    work.result = work.function(connection)
                except BaseException:
                    connection.invalidate()  # the error keeps results alive, and they an old snapshot
                    raise
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller, not to this thread
            # A future accepts any exception but this one.
            work.error = RuntimeError(repr(error)) if isinstance(error, StopIteration) else error


def _resolve(work: _Work) -> None:
    if work.future.done():
        return
    if work.error is not None:
        work.future.set_exception(work.error)
    else:
        work.future.set_result(work.result)


def _give_up(work: _Work) -> None:
    if not work.has_begun and not work.future.done():
        work.future.set_exception(DatabaseBusyError("no reader was free in time"))
