"""`read` and `write`, the two ways to use the database, and `snapshot` for audits.

They run a synchronous function of a `Connection`; it cannot await, so no transaction spans a network call.
PostgreSQL may require that the function runs again, so it must change nothing but the database.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.db.announcements import ANNOUNCED, Announcement, Announcements
from app.db.keyed_lock import KeyedLocks
from app.db.readers import Readers
from app.db.sqlite import DatabaseBusyError, Writer, is_outage, path_of
from app.errors import DATABASE_UNAVAILABLE, Problem
from app.kit.log import get_logger

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

P = ParamSpec("P")
R = TypeVar("R")

_log = get_logger("db")
_POOL_TIMEOUT_S = 5.0
_MAX_TRIES = 5
_TRY_AGAIN = frozenset({"40001", "40P01"})  # serialization failure, deadlock: nothing was committed
_RETRY_AFTER_S = 2
# A committed id is durable before the caller is answered, and no statement outlives the callers' patience.
_POSTGRES_OPTIONS = "-c synchronous_commit=on -c statement_timeout=5s -c lock_timeout=4s"
_POSTGRES: dict[str, int | str] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 6000,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 2,
}
_TURN_S = 6.0  # of the eight seconds of a submit: the rest is for sending it
_ANSWER_S = 6.0  # a database server that is frozen or cut off never answers, and enforces no timeout
_OUTAGES = (DBAPIError, PoolTimeoutError, DatabaseBusyError, OSError)


def is_sqlite(url: str) -> bool:
    """Returns whether a database URL names an SQLite file."""
    return url.startswith("sqlite:///")


def sync_url(url: str) -> str:
    """Returns the URL with the driver that migrations use."""
    if is_sqlite(url):
        return url
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


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
        except _OUTAGES as error:
            raise _unavailable(error) from error
        self.announcements.publish(done[1])
        return done[0]

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
            raise _unavailable(error, NotBegunProblem) from error

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
        except _OUTAGES as error:
            raise _unavailable(error) from error

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
        except _OUTAGES as error:
            raise _unavailable(error) from error

    async def close(self) -> None:
        """Sends the remaining announcements; closes the readers, then the writer, which may checkpoint."""
        await self.announcements.close()
        await self._readers.dispose()
        if self._writer is not None:
            await self._writer.close()

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
        return Database(Readers(path_of(url), limit=pool, wait_s=_POOL_TIMEOUT_S), Writer(url))
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - it brings the whole ORM

    async_url = make_url(url).set(drivername="postgresql+psycopg")
    own = async_url.query.get("options", "")  # such as a search_path; migrations read it from the URL too
    options = " ".join((own if isinstance(own, str) else " ".join(own), _POSTGRES_OPTIONS)).strip()
    engine = create_async_engine(
        async_url,
        pool_size=pool,
        max_overflow=0,
        pool_timeout=_POOL_TIMEOUT_S,
        pool_pre_ping=True,
        hide_parameters=True,  # parameters contain what callers sent
        connect_args=_POSTGRES | {"options": options},
    )
    # A third of the pool is left to work that takes no keyed lock: recording outcomes above all.
    return Database(engine, None, KeyedLocks(max(1, pool * 2 // 3), patience_s=_TURN_S))


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


def _unavailable(error: Exception, kind: type[Problem] = Problem) -> Exception:
    """Returns the problem for an outage; an error that is our own fault is returned as it is.

    Such errors are a violated constraint or a wrong statement.
    """
    if isinstance(error, DBAPIError) and not is_outage(error):
        return error
    cause = getattr(error, "orig", None) or error
    _log.error("The database is not available.", error=str(cause), kind=type(cause).__name__)
    return kind(DATABASE_UNAVAILABLE, "The database did not answer in time.", retry_after_s=_RETRY_AFTER_S)
