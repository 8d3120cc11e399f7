"""Reading an SQLite file by aiosqlite, a whole function at a time.

SQLAlchemy's own dialect for aiosqlite goes to the connection's thread and back for every statement and every
step of its result, which takes several times as much of the processor; and it brings SQLAlchemy's whole ORM,
which a short command would wait for. Here a function goes there once, and uses the connection as any other.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, TypeVar, cast
from urllib.parse import quote

import aiosqlite
from sqlalchemy import Connection, StaticPool, create_engine
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import OperationalError

from app.db.outage import DatabaseBusyError
from app.db.sqlite import BUSY_TIMEOUT_S

P = ParamSpec("P")
R = TypeVar("R")

_DIALECT: Final[Dialect] = sqlite.dialect()


class Readers:
    """At most `limit` connections to a file, each with a thread of its own, behind an engine's methods.

    A connection is opened when there is work and none without any. `wait_s` is how long a function waits for
    one; it may then run for as long as it takes.
    """

    dialect = _DIALECT

    def __init__(self, file: Path, *, limit: int, wait_s: float) -> None:
        self._file = file
        self._limit = limit
        self._wait_s = wait_s
        self._opened = 0
        self._idle: list[_Reader] = []
        self._waiting: deque[asyncio.Future[_Reader]] = deque()
        self._asked = 0  # functions that wait or run, and whose callers wait for them
        self._running = 0
        self._closed = False
        self._calm = asyncio.Event()  # after closing: nothing waits or runs

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["Readers"]:
        """Yields what runs functions; each of them gets a connection of its own."""
        yield self

    async def run_sync(
        self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Returns the function's result. A function that has begun ends, also where its caller is cancelled.

        Raises:
            DatabaseBusyError: no connection was free in time, or the readers are closed.

        """
        if self._closed:
            raise DatabaseBusyError("the readers are closed")
        self._asked += 1
        try:
            reader = await self._free_one()
            self._running += 1
            done = reader.start(lambda connection: function(connection, *args, **kwargs))
            done.add_done_callback(lambda _: self._ended(reader))
            result, error = await asyncio.shield(done)
        finally:
            self._asked -= 1
            self._settle()
        if error is not None:
            raise error
        return cast("R", result)

    async def dispose(self) -> None:
        """Waits for the functions that run or wait, and closes the connections."""
        self._closed = True
        self._settle()
        await self._calm.wait()
        while self._idle:
            await self._idle.pop().close()

    async def _free_one(self) -> "_Reader":
        if self._idle:
            return self._idle.pop()
        if self._opened < self._limit:
            self._opened += 1
            try:
                return await _Reader.opened(self._file)
            except BaseException:
                self._opened -= 1
                raise
        waiter: asyncio.Future[_Reader] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(self._wait_s):
                return await asyncio.shield(waiter)
        except BaseException as error:
            if waiter.done():  # it came too late
                self._give(waiter.result())
            else:
                waiter.cancel()
            if isinstance(error, TimeoutError):
                raise DatabaseBusyError("no reader was free in time") from None
            raise

    def _ended(self, reader: "_Reader") -> None:
        self._running -= 1
        self._give(reader)
        self._settle()

    def _settle(self) -> None:
        if self._closed and not self._asked and not self._running:
            self._calm.set()

    def _give(self, reader: "_Reader") -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(reader)
                return
        self._idle.append(reader)


class _Done(NamedTuple):
    """How a function ended: an error is no error of the future, which takes any but StopIteration."""

    result: Any
    error: BaseException | None


class _Reader:
    """A connection of aiosqlite, and an engine that has no other.

    aiosqlite has no public name for running a function in a connection's thread, nor has it one for the
    connection of `sqlite3`; SQLAlchemy's dialect uses the same private ones. Its minor version is pinned.
    """

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection: Any = connection
        self._is_stale = False
        self._engine = create_engine(
            "sqlite://", creator=self._connect, poolclass=StaticPool, hide_parameters=True
        )

    @classmethod
    async def opened(cls, file: Path) -> "_Reader":
        """Opens the file for reading alone."""
        connection = aiosqlite.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)
        connection._thread.daemon = True  # noqa: SLF001 - a process that breaks off must end all the same
        try:
            return cls(await connection)
        except sqlite3.Error as error:
            raise OperationalError(None, None, error) from error

    def start(self, function: Callable[[Connection], Any]) -> "asyncio.Future[_Done]":
        """Runs the function in the connection's thread. The future must not be cancelled."""
        done: asyncio.Future[_Done] = asyncio.get_running_loop().create_future()
        self._connection._tx.put_nowait((done, lambda: self._run(function)))  # noqa: SLF001 - see the class
        return done

    async def close(self) -> None:
        """Closes the connection and ends its thread."""
        await self._connection.close()

    def _run(self, function: Callable[[Connection], Any]) -> _Done:
        try:
            with self._engine.connect() as connection:
                return _Done(function(connection), None)
        except StopIteration as error:
            return self._failed(RuntimeError(repr(error)))
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller, not to this thread
            return self._failed(error)

    def _failed(self, error: BaseException) -> _Done:
        """Leaves the connection: the error may keep results alive, and these an old snapshot."""
        self._engine.dispose()
        self._is_stale = True
        return _Done(None, error)

    def _connect(self) -> sqlite3.Connection:
        if self._is_stale:
            self._connection._connection = self._connection._connector()  # noqa: SLF001 - see the class
            self._is_stale = False
        raw: sqlite3.Connection = self._connection._conn  # noqa: SLF001 - see the class
        raw.execute("PRAGMA query_only=ON")
        return raw
