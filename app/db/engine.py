"""`read` and `write`, the two ways to use the database, and `snapshot` for audits.

They run a synchronous function of a `Connection`; it cannot await, so no transaction spans a network call.
PostgreSQL may require that the function runs again, so it must change nothing but the database.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from app.db.announcements import ANNOUNCED, Announcement, Announcements
from app.db.keyed_lock import KeyedLocks
from app.db.outage import OUTAGES, DatabaseBusyError, outage_of, words_of
from app.db.postgres import POOL_TIMEOUT_S, driver_url, drop_when_useless, open_engine
from app.db.probe import WriteProbe, problem_of
from app.db.readers import Readers
from app.db.sqlite import Writer, path_of
from app.errors import Problem
from app.kit.log import get_logger

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

P = ParamSpec("P")
R = TypeVar("R")

_log = get_logger("db")
_MAX_TRIES = 5
_TRY_AGAIN = frozenset({"40001", "40P01"})  # serialization failure, deadlock: nothing was committed
_TURN_S = 6.0  # of the eight seconds of a submit: the rest is for sending it
_ANSWER_S = 6.0  # a database server that is frozen or cut off never answers, and enforces no timeout


def is_sqlite(url: str) -> bool:
    """Returns whether a database URL names an SQLite file."""
    return url.startswith("sqlite:///")


def sync_url(url: str) -> str:
    """Returns the URL with the driver that migrations use."""
    if is_sqlite(url):
        return url
    return driver_url(url)


class NotBegunProblem(Problem):
    """DATABASE_UNAVAILABLE where it is certain that no statement was sent to the database."""


class Database:
    """An open database. `open_database` opens it, `close` closes it."""

    def __init__(
        self, readers: "AsyncEngine | Readers", writer: Writer | None, turns: KeyedLocks | None = None
    ) -> None:
        self._readers = readers
        self._writer = writer
        self._turns = turns
        self.announcements = Announcements(None if isinstance(readers, Readers) or writer else readers)
        self._probe = WriteProbe(self.write)

    @property
    def dialect(self) -> str:
        """The SQL dialect: `sqlite` or `postgresql`."""
        return self._readers.dialect.name

    async def write(
        self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Runs the function in a transaction, and returns its result once that is committed and durable.

        What the function announced is published then.

        Raises:
            Problem: DATABASE_UNAVAILABLE, and nothing is known to be committed.
            Exception: what the function raised, and nothing of it is committed.

        """

        def call(connection: Connection) -> tuple[R, list[Announcement]]:
            announced: list[Announcement] = []
            connection.info[ANNOUNCED] = announced
            return function(connection, *args, **kwargs), announced

        try:
            if self._writer is not None:
                done: tuple[R, list[Announcement]] = await self._writer.run(call)
            else:
                done = await _bounded(self._write_postgres(call))
        except OUTAGES as error:
            raise self._unavailable(error) from error
        self._probe.committed()
        self.announcements.publish(done[1])
        return done[0]

    async def check_writes(self) -> None:
        """Returns where the database takes writes, as a write of its own has shown a moment ago or does now.

        Raises:
            Problem: DATABASE_UNAVAILABLE; its detail says why, such as that the database is read-only.

        """
        await self._probe.check()

    @asynccontextmanager
    async def serialized(self, key: str) -> AsyncIterator[None]:
        """Holds the lock of this key for the block: a process's writes to one row run one after another.

        A burst of them then takes connections neither from other reads and writes nor from other keys. On
        SQLite the writer's own queue serves the purpose.

        Raises:
            NotBegunProblem: the lock was not free in time.

        """
        if self._turns is None:
            yield
            return
        try:
            async with self._turns.of(key):
                yield
        except DatabaseBusyError as error:
            raise self._unavailable(error, NotBegunProblem) from error

    async def read(
        self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Runs the function on a connection that it must only read from, and returns its result.

        Raises:
            Problem: DATABASE_UNAVAILABLE.

        """
        try:
            if self._writer is not None:
                return await self._read(function, *args, **kwargs)
            return await _bounded(self._read(function, *args, **kwargs))
        except OUTAGES as error:
            raise self._unavailable(error) from error

    async def snapshot(self, function: Callable[[Connection], R]) -> R:
        """Runs the function on one unchanging view of the whole database, for as long as it takes.

        Raises:
            Problem: DATABASE_UNAVAILABLE.

        """

        def call(connection: Connection) -> R:
            if self.dialect == "sqlite":
                connection.exec_driver_sql("BEGIN")
            else:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            try:
                return function(connection)
            finally:
                connection.rollback()

        try:
            async with self._readers.connect() as connection:
                return await connection.run_sync(call)
        except OUTAGES as error:
            raise self._unavailable(error) from error

    async def close(self) -> None:
        """Sends the remaining announcements; closes the readers, then the writer, which may checkpoint."""
        await self._probe.close()
        await self.announcements.close()
        await self._readers.dispose()
        if self._writer is not None:
            await self._writer.close()

    def _unavailable(self, error: Exception, kind: type[Problem] = Problem) -> Exception:
        """Returns the problem for an outage; an error that is our own fault is returned as it is.

        Such errors are a violated constraint or a wrong statement.
        """
        outage = outage_of(error)
        if outage is None:
            return error
        self._probe.failed(outage)
        cause = getattr(error, "orig", None) or error
        _log.error(
            "The database is not available.",
            reason=outage.reason,
            error=words_of(error),
            kind=type(cause).__name__,
        )
        return problem_of(outage, kind)

    async def _read(
        self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        async with self._readers.connect() as connection:
            return await connection.run_sync(function, *args, **kwargs)

    async def _write_postgres(self, call: Callable[[Connection], R]) -> R:
        engine = cast("AsyncEngine", self._readers)
        tries = 1
        while True:
            try:
                async with engine.begin() as connection:
                    return await connection.run_sync(call)
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _TRY_AGAIN or tries == _MAX_TRIES:
                    raise
                tries += 1
                await asyncio.sleep(0)


def open_database(url: str, *, pool: int = 10) -> Database:
    """Opens a database by its URL (`sqlite:///PATH` or `postgresql://…`) with at most `pool` connections."""
    if is_sqlite(url):
        return Database(Readers(path_of(url), limit=pool, wait_s=POOL_TIMEOUT_S), Writer(url))
    engine = open_engine(url, pool=pool)
    # A third of the pool is left to work that takes no keyed lock: recording outcomes above all.
    db = Database(engine, None, KeyedLocks(max(1, pool * 2 // 3), patience_s=_TURN_S))
    drop_when_useless(engine, db.announcements.reconnect)
    return db


async def _bounded(work: Coroutine[Any, Any, R]) -> R:
    """Returns the work's result, or raises DatabaseBusyError when it does not come in time.

    The work is then cancelled, but its end is not awaited, since it may hang.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=_ANSWER_S)
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    if not task.done():
        raise DatabaseBusyError(f"no answer within {_ANSWER_S:g} s")
    return task.result()
