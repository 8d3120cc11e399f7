"""PostgreSQL: the engine, the guards that hold in every transaction, and connections through a pooler.

The guards are set by the gateway itself, not by a startup parameter: PgBouncer and most managed services
refuse a connection that has one. On a direct connection they are set once. Behind a pooler they are set at
the start of each transaction, since the next one may run on another server connection; and no statement is
prepared there, since a statement that one client has prepared is another client's under the same name.
"""

import importlib.util
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InternalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from app.config import SettingsError
from app.db.outage import TRY_AGAIN, drops_connection
from app.db.statements.prepared import execute, note_change

POOL_TIMEOUT_S = 5.0
# A committed id is durable before the caller is answered, and no statement outlives the callers' patience.
GUARDS = {"synchronous_commit": "on", "statement_timeout": "5s", "lock_timeout": "4s"}
CONNECT: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 6000,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 2,
}
_POOLED: Final = "reelgate.pooled"
OWN_PID: Final = "SELECT pg_backend_pid()"
_MIN_BETWEEN_DROPS_S: Final = 1.0
_READS_ONLY: Final = "SET default_transaction_read_only = on"
_IDLE: Final = 0  # libpq's numbers: of no transaction
_FAILED: Final = 3  # and of one in which a statement has failed


def driver_url(url: str) -> str:
    """Returns the URL as SQLAlchemy's driver wants it.

    Raises:
        SettingsError: the driver is not installed.

    """
    if importlib.util.find_spec("psycopg") is None:
        raise SettingsError("PostgreSQL needs more packages: pip install 'reelgate[postgres]'.")
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def is_pooled(connection: Connection) -> bool:
    """Returns whether a pooler is between this connection and the server."""
    return bool(connection.info.get(_POOLED))


def swallowed_guards(connection: Connection) -> list[str]:
    """Returns the guards that do not hold in the transaction of this connection."""
    return [
        name
        for name, value in GUARDS.items()
        if connection.execute(
            text("SELECT current_setting(:name) <> :value"), {"name": name, "value": value}
        ).scalar_one()
    ]


def statement_of_guards(command: str) -> str:
    """Returns the SQL that sets all guards, by SET or SET LOCAL."""
    return "; ".join(f"{command} {name} = '{value}'" for name, value in GUARDS.items())


class Postgres:
    """Opens connections to a server, and says when those that are open must not be used any more.

    All connections are dropped, and `on_drop` is called, when the answer to one says that it cannot serve. So
    says a primary that a failover has demoted: it keeps its connections, and would refuse every write on them
    for ever. Nothing is repeated: whoever met the error hears of it. One drop a second at most, so that a
    standby is not stormed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.epoch = 0
        self.on_drop: Callable[[], None] = lambda: None
        self.writing = _engine(url)
        self.reading = _engine(url, _READS_ONLY)
        event.listen(self.writing, "begin", _begin)
        event.listen(self.writing, "before_cursor_execute", note_change)
        self._dropped_s = float("-inf")

    def judge(self, error: BaseException) -> bool:
        """Returns whether the connection that had this error is to be closed; drops all others with it."""
        if not isinstance(error, DBAPIError):
            return False
        gone = error.connection_invalidated or drops_connection(error.orig)
        now_s = time.monotonic()
        if gone and now_s - self._dropped_s >= _MIN_BETWEEN_DROPS_S:
            self._dropped_s = now_s
            self.epoch += 1
            self.on_drop()
            return True
        return error.connection_invalidated


class Kept:
    """A connection that is kept open from one use to the next."""

    def __init__(self, server: Postgres, engine: Engine) -> None:
        self._server = server
        self._engine = engine
        self._connection: Connection | None = None
        self._epoch = -1

    @property
    def is_open(self) -> bool:
        """Whether it was used before, and so may have ended since without our being told."""
        return self._connection is not None and self._epoch == self._server.epoch

    def get(self) -> Connection:
        """Returns the connection, opened anew where it has to be."""
        if self._connection is None or self._epoch != self._server.epoch:
            self.drop()
            self._epoch = self._server.epoch
            self._connection = self._engine.connect()
        return self._connection

    def drop(self) -> None:
        """Closes the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def failed(self, error: BaseException) -> None:
        """Drops the connection where an error says that it is lost."""
        if self._server.judge(error):
            self.drop()

    def cut(self) -> None:
        """Ends the connection under whoever waits for its answer, in another thread."""
        with suppress(Exception):  # it may end by itself meanwhile
            connection = self._connection
            if connection is not None:
                driver: Any = connection.connection.driver_connection  # None where it has just ended
                descriptor = driver.pgconn.socket
                with socket.socket(fileno=os.dup(descriptor)) as other:
                    other.shutdown(socket.SHUT_RDWR)


class PostgresPlace:
    """A connection to write through; see `app.db.engines.writer.Place`."""

    max_group = 32  # PostgreSQL keeps 64 savepoints of a transaction where others look them up quickly
    locks_rows = True
    next_savepoint: tuple[str, ...] = ("RELEASE one; SAVEPOINT one",)

    def __init__(self, server: Postgres) -> None:
        self.engine = server.writing
        self._kept = Kept(server, server.writing)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Begins a transaction, and commits it at the end of the block."""
        connection = self._begun()
        try:
            yield connection
            _check_not_failed(connection)
            connection.commit()
        except BaseException as error:
            self._kept.failed(error)
            if self._kept.is_open:
                self._roll_back(connection)
            raise

    def is_lost(self, error: BaseException) -> bool:
        """Returns whether the transaction is: its connection is, or a deadlock makes it begin anew."""
        if not isinstance(error, DBAPIError):
            return False
        state = getattr(error.orig, "sqlstate", None)
        return error.connection_invalidated or drops_connection(error.orig) or state in TRY_AGAIN

    def has_failed(self, connection: Connection) -> bool:
        """Returns whether a statement has failed, and the transaction takes no more of them for that."""
        return _status(connection) == _FAILED

    def cut(self) -> None:
        """Ends the connection under whoever waits for its answer."""
        self._kept.cut()

    def close(self) -> None:
        """Closes the connection."""
        self._kept.drop()

    def _begun(self) -> Connection:
        """Returns the connection in a new transaction; a new one where the old one has ended at rest."""
        was_open = self._kept.is_open
        try:
            connection = self._kept.get()
            connection.begin()
        except DBAPIError as error:
            self._kept.failed(error)
            if not (was_open and error.connection_invalidated):
                self._kept.drop()
                raise
            connection = self._kept.get()
            connection.begin()
        return connection

    def _roll_back(self, connection: Connection) -> None:
        """Ends the transaction, or the connection with it.

        After a COMMIT that raised, SQLAlchemy takes the transaction for over and sends no ROLLBACK. Where the
        server knows nothing of that COMMIT, the transaction would keep its locks, and the next one join it.
        """
        try:
            connection.rollback()
            is_over = _status(connection) == _IDLE
        except SQLAlchemyError:
            is_over = False
        if not is_over:
            self._kept.drop()


def _engine(url: str, *of_a_session: str) -> Engine:
    engine = create_engine(
        driver_url(url),
        poolclass=NullPool,  # each thread keeps its own connection
        isolation_level="AUTOCOMMIT",  # a transaction begins and ends where we say so
        hide_parameters=True,  # parameters contain what callers sent
        connect_args=CONNECT,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, record: Any) -> None:
        """Finds out whether a pooler answers, and sets up a session that is direct.

        A pooler gives a process id of its own making at the start.
        """
        try:
            connection.autocommit = True
            (pid,) = connection.execute(OWN_PID).fetchone()
            record.info[_POOLED] = pid != connection.info.backend_pid
            if record.info[_POOLED]:
                connection.prepare_threshold = None
            else:
                connection.execute("; ".join([statement_of_guards("SET"), *of_a_session]))
        except BaseException:
            connection.close()  # the pool does not know it yet, so nobody else would
            raise

    return engine


def _check_not_failed(connection: Connection) -> None:
    """Refuses a COMMIT that would roll back, and say nothing."""
    if _status(connection) == _FAILED:
        error = ValueError("a statement had failed, and its error was not raised")
        raise InternalError("COMMIT", None, error)


def _status(connection: Connection) -> int:
    driver: Any = connection.connection.driver_connection
    status: int = driver.info.transaction_status
    return status


def _begin(connection: Connection) -> None:
    if is_pooled(connection):
        execute(connection, f"BEGIN; {statement_of_guards('SET LOCAL')}")
    else:
        execute(connection, "BEGIN")
