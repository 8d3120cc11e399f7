"""PostgreSQL: the engine, the guards that hold in every transaction, and connections through a pooler.

The guards are set by the gateway itself, not by a startup parameter: PgBouncer and most managed services
refuse a connection that has one. On a direct connection they are set once. Behind a pooler they are set at
the start of each transaction, since the next one may run on another server connection; and no statement is
prepared there, since a statement that one client has prepared is another client's under the same name.
"""

import importlib.util
import time
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, event, text
from sqlalchemy.engine import make_url

from app.config import SettingsError
from app.db.outage import drops_connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

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


def driver_url(url: str) -> str:
    """Returns the URL as SQLAlchemy's driver wants it.

    Raises:
        SettingsError: the driver is not installed.

    """
    if importlib.util.find_spec("psycopg") is None:
        raise SettingsError("PostgreSQL needs more packages: pip install 'reelgate[postgres]'.")
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def open_engine(url: str, *, pool: int) -> "AsyncEngine":
    """Returns an engine with at most `pool` connections; see `drop_when_useless`."""
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - it brings the whole ORM

    engine = create_async_engine(
        driver_url(url),
        pool_size=pool,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        pool_pre_ping=True,
        hide_parameters=True,  # parameters contain what callers sent
        connect_args=CONNECT,
    )
    sync_engine = engine.sync_engine
    event.listen(sync_engine, "connect", _prepare_connection)
    event.listen(sync_engine, "begin", _guard_transaction)
    return engine


def drop_when_useless(engine: "AsyncEngine", on_drop: "Callable[[], None]") -> None:
    """Drops every connection, and calls `on_drop`, when the answer to one says that it cannot serve any more.

    So says a primary that a failover has demoted: it keeps its connections, and would refuse every write on
    them for ever. Nothing is repeated: whoever met the error hears of it.
    """
    event.listen(engine.sync_engine, "handle_error", _Dropping(on_drop).judge)


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


def _prepare_connection(connection: Any, record: Any) -> None:
    """Finds out whether a pooler answers, and sets the guards of a connection that is direct.

    A pooler gives a process id of its own making at the start.
    """
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(OWN_PID)
        (pid,) = cursor.fetchone()
        pooled = pid != connection.info.backend_pid
        record.info[_POOLED] = pooled
        if pooled:
            connection.driver_connection.prepare_threshold = None
        else:
            cursor.execute(_statement_of_guards("SET"))
        cursor.close()
        connection.autocommit = False
    except BaseException:
        connection.driver_connection.pgconn.finish()  # the pool does not know it yet, so nobody else would
        raise


def _guard_transaction(connection: Connection) -> None:
    if is_pooled(connection):
        connection.exec_driver_sql(_statement_of_guards("SET LOCAL"))


def _statement_of_guards(command: str) -> str:
    return "; ".join(f"{command} {name} = '{value}'" for name, value in GUARDS.items())


class _Dropping:
    """Decides which errors drop every connection: one a second at most, so that a standby is not stormed."""

    def __init__(self, on_drop: "Callable[[], None]") -> None:
        self._on_drop = on_drop
        self._last_s = float("-inf")

    def judge(self, context: Any) -> None:
        """Makes SQLAlchemy invalidate the pool where an error says that its connections cannot serve."""
        gone = context.is_disconnect or drops_connection(context.original_exception)
        now_s = time.monotonic()
        if context.connection is None or not gone or now_s - self._last_s < _MIN_BETWEEN_DROPS_S:
            return
        self._last_s = now_s
        context.is_disconnect = True
        self._on_drop()
