"""Reading an SQLite file by aiosqlite, a whole function at a time.

SQLAlchemy's own dialect for aiosqlite goes to the connection's thread and back for every statement and every
step of its result, which takes several times as much of the processor; and it brings SQLAlchemy's whole ORM,
which a short command would wait for. Here a function goes there once, and uses the connection as any other.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar
from urllib.parse import quote

import aiosqlite
from sqlalchemy import Connection, Engine, StaticPool, create_engine
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import OperationalError

from app.db.sqlite import BUSY_TIMEOUT_S, DatabaseBusyError

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
        self._wait_s = wait_s
        self._room = asyncio.Semaphore(limit)
        self._idle: list[_Reader] = []
        self._work: set[asyncio.Task[Any]] = set()
        self._closed = False

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
        begun = asyncio.Event()

        def call(connection: Connection) -> R:
            return function(connection, *args, **kwargs)

        task = asyncio.ensure_future(self._run(call, begun))
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not begun.is_set():
                task.cancel()
            task.add_done_callback(_look_at)
            raise

    async def dispose(self) -> None:
        """Waits for the functions that were begun or wait, and closes the connections."""
        self._closed = True
        while self._work:
            await asyncio.wait(self._work)
        while self._idle:
            await self._idle.pop().close()

    async def _run(self, call: Callable[[Connection], R], begun: asyncio.Event) -> R:
        try:
            async with asyncio.timeout(self._wait_s):
                await self._room.acquire()
        except TimeoutError:
            raise DatabaseBusyError("no reader was free in time") from None
        begun.set()
        try:
            reader = self._idle.pop() if self._idle else await _Reader.opened(self._file)
            result, error = await reader.run(call)
            if error is not None:
                await reader.close()  # the error keeps results alive, and they an old snapshot
                raise error
            self._idle.append(reader)
        finally:
            self._room.release()
        return result


class _Reader:
    """A connection of aiosqlite, and an engine that has no other."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._engine: Engine = create_engine(
            "sqlite://",
            creator=lambda: connection._conn,  # noqa: SLF001 - as SQLAlchemy's own dialect; the minor is pinned
            poolclass=StaticPool,
            hide_parameters=True,
        )

    @classmethod
    async def opened(cls, file: Path) -> "_Reader":
        """Opens the file for reading alone."""
        try:
            connection = await aiosqlite.connect(
                f"file:{quote(str(file))}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S
            )
            await connection.execute("PRAGMA query_only=ON")
        except sqlite3.Error as error:
            raise OperationalError(None, None, error) from error
        return cls(connection)

    async def run(self, call: Callable[[Connection], R]) -> tuple[R, BaseException | None]:
        """Runs the function in the connection's thread; returns its result and its error.

        An error is returned, not raised, since a future takes any but StopIteration.
        """
        # What each of aiosqlite's own methods does; it has no public name, so its minor is pinned.
        done: tuple[R, BaseException | None]
        done = await self._connection._execute(self._in_thread, call)  # type: ignore[no-untyped-call]  # noqa: SLF001
        return done

    def _in_thread(self, call: Callable[[Connection], Any]) -> tuple[Any, BaseException | None]:
        try:
            with self._engine.connect() as connection:
                return call(connection), None
        except StopIteration as error:
            return None, RuntimeError(repr(error))
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller, not to this thread
            return None, error

    async def close(self) -> None:
        """Closes the connection and ends its thread."""
        with suppress(sqlite3.Error):
            await self._connection.close()


def _look_at(task: "asyncio.Task[Any]") -> None:
    """An error that nobody is there to hear any more is no fault."""
    if not task.cancelled():
        task.exception()
