"""`read` and `write`, the two ways to use the database, and `snapshot` for audits.

They run a synchronous function of a `Connection`, in a thread; it cannot await, so no transaction spans a
network call. A function may run again, where another in its transaction fails, so it changes nothing but the
database.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Connection

from app.db.announcements import ANNOUNCED, Announcement, Announcements
from app.db.engines.postgres import POOL_TIMEOUT_S, Postgres, PostgresPlace, driver_url, is_pooled
from app.db.engines.postgres_reader import PostgresReader
from app.db.engines.readers import Readers
from app.db.engines.sqlite import SqlitePlace, path_of
from app.db.engines.sqlite_reader import SqliteReader
from app.db.engines.writer import Writer
from app.db.outage import OUTAGES, NotBegunError, outage_of, words_of
from app.db.probe import WriteProbe, problem_of
from app.db.statements.counts import COUNTED
from app.db.statements.deferral import Ahead
from app.db.statements.prepared import execute
from app.errors import Problem
from app.kit.log import Aside, get_logger
from app.kit.meters import Labels, Meter, Tally

P = ParamSpec("P")
R = TypeVar("R")

_log = get_logger("db")
_ANSWER_S: Final = 6.0  # a database server that is frozen or cut off never answers, and enforces no timeout


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
    """An open database. `open_database` opens it, `close` closes it.

    `times` are how long callers waited, by `read` and `write`; `failures` what was not served, by that and
    the reason; `entered` what this process's transactions counted (`db.statements.counts`).
    """

    def __init__(self, dialect: str, readers: Readers, writer: Writer, announcements: Announcements) -> None:
        self.dialect = dialect  # `sqlite` or `postgresql`
        self.announcements = announcements
        self._readers = readers
        self._writer = writer
        self._probe = WriteProbe(self.write)
        self.times = Meter()
        self.failures: Tally = Counter()
        self.entered: Tally = Counter()
        self._of_reads, self._of_writes = self.times.of("read"), self.times.of("write")

    async def write(
        self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Runs the function in a transaction, and returns its result once that is committed and durable.

        What the function announced is published then.

        Raises:
            NotBegunProblem: DATABASE_UNAVAILABLE, and the function has not run.
            Problem: DATABASE_UNAVAILABLE, and nothing is known to be committed.
            Exception: what the function raised, and nothing of it is committed.

        """
        return await self._write(None, lambda connection: function(connection, *args, **kwargs))

    async def write_for(
        self,
        tenant_id: str,
        function: Callable[Concatenate[Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Does as `write`, with a function whose locks are all this tenant's, or taken after `commit_soon`.

        The functions of a tenant run one after another, and share transactions with those of others.
        """
        return await self._write(tenant_id, lambda connection: function(connection, *args, **kwargs))

    async def write_together(
        self,
        whose: str | Ahead,
        function: Callable[Concatenate[Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Does as `write_for`, with a function that shares what it knows (`db.statements.deferral`).

        It is for what comes by the thousand. All that such a function reads is read by functions that heed
        what is deferred and kept. `whose` is its tenant's id, or also says what it needs, which is then read
        for many such functions at once.
        """
        tenant_id, ahead = (whose, None) if isinstance(whose, str) else (whose.tenant_id, whose)
        return await self._write(
            tenant_id, lambda connection: function(connection, *args, **kwargs), shares=True, ahead=ahead
        )

    async def _write(
        self,
        key: str | None,
        function: Callable[[Connection], R],
        *,
        shares: bool = False,
        ahead: Ahead | None = None,
    ) -> R:
        def call(connection: Connection) -> tuple[R, list[Announcement], list[Labels]]:
            announced: list[Announcement] = []
            counted: list[Labels] = []
            info = connection.info
            info[ANNOUNCED], info[COUNTED] = announced, counted
            return function(connection), announced, counted

        began_s = time.perf_counter()
        try:
            result, announced, counted = await self._writer.run(call, key, shares=shares, ahead=ahead)
        except NotBegunError as error:
            raise self._unavailable(error, NotBegunProblem, what="write") from error
        except OUTAGES as error:
            raise self._unavailable(error, what="write") from error
        with Aside("counting a write"):
            self._of_writes.note(time.perf_counter() - began_s)
            for labels in counted:
                self.entered[labels] += 1
        self._probe.committed()
        self.announcements.publish(announced)
        done: R = result
        return done

    async def check_writes(self) -> None:
        """Returns where the database takes writes, as a write of its own has shown a moment ago or does now.

        Raises:
            Problem: DATABASE_UNAVAILABLE; its detail says why, such as that the database is read-only.

        """
        await self._probe.check()

    async def read(
        self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Runs the function on a connection that it must only read from, and returns its result.

        Raises:
            Problem: DATABASE_UNAVAILABLE.

        """
        return await self._read(lambda connection: function(connection, *args, **kwargs))

    async def snapshot(self, function: Callable[[Connection], R]) -> R:
        """Runs the function on one unchanging view of the whole database, for as long as it takes.

        Raises:
            Problem: DATABASE_UNAVAILABLE.

        """

        def call(connection: Connection) -> R:
            if self.dialect == "sqlite":
                execute(connection, "BEGIN")
            else:
                begin = "" if is_pooled(connection) else "BEGIN; "
                execute(
                    connection,
                    f"{begin}SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;"
                    " SET LOCAL statement_timeout = 0",
                )
            try:
                return function(connection)
            finally:
                execute(connection, "ROLLBACK")

        return await self._read(call, bounded=False)

    async def _read(self, function: Callable[[Connection], R], *, bounded: bool = True) -> R:
        began_s = time.perf_counter()
        try:
            result: R = await self._readers.run(function, bounded=bounded)
        except OUTAGES as error:
            raise self._unavailable(error) from error
        with Aside("counting a read"):
            self._of_reads.note(time.perf_counter() - began_s)
        return result

    async def close(self) -> None:
        """Sends the remaining announcements; closes the readers, then the writer, which may checkpoint."""
        await self._probe.close()
        await self.announcements.close()
        await self._readers.close()
        await self._writer.close()

    def _unavailable(
        self, error: Exception, kind: type[Problem] = Problem, *, what: str = "read"
    ) -> Exception:
        """Returns the problem for an outage; an error that is our own fault is returned as it is.

        Such errors are a violated constraint or a wrong statement.
        """
        outage = outage_of(error)
        if outage is None:
            return error
        self._probe.failed(outage)
        self.failures[what, outage.reason] += 1
        cause = getattr(error, "orig", None) or error.__cause__ or error
        _log.error(
            "The database is not available.",
            reason=outage.reason,
            error=words_of(error),
            kind=type(cause).__name__,
        )
        return problem_of(outage, kind)


def open_database(url: str, *, pool: int = 10) -> Database:
    """Opens a database by its URL (`sqlite:///PATH` or `postgresql://…`) with at most `pool` connections."""
    if is_sqlite(url):
        path = path_of(url)
        readers = Readers(lambda: SqliteReader(path), limit=pool, wait_s=POOL_TIMEOUT_S)
        return Database("sqlite", readers, Writer([SqlitePlace(path)]), Announcements())
    server = Postgres(url)
    lanes = max(1, pool * 2 // 5)
    readers = Readers(
        lambda: PostgresReader(server), limit=max(1, pool - lanes), wait_s=POOL_TIMEOUT_S, answer_s=_ANSWER_S
    )
    announcements = Announcements(url, readers.run)
    server.on_drop = announcements.reconnect
    writer = Writer([PostgresPlace(server) for _ in range(lanes)], answer_s=_ANSWER_S)
    return Database("postgresql", readers, writer, announcements)
