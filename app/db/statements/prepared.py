"""Statements of the hot ways: compiled once for each dialect, and run on the driver's own connection.

Running a statement through SQLAlchemy costs several times what the driver itself takes, for the work that it
does at each call. Here a statement is written with SQLAlchemy like any other, and only its SQL and the order
of its parameters are kept. Errors are those that SQLAlchemy raises.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple, Protocol

from sqlalchemy import Connection, bindparam, insert
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import Table
from sqlalchemy.sql import Executable

Row = tuple[Any, ...]
_DRIVER: Final = "reelgate.driver"


class _Compiled(NamedTuple):
    """A statement in one dialect. `constants` are the parameters whose values are part of the statement."""

    sql: str
    order: Callable[[Mapping[str, Any]], Row]
    constants: dict[str, Any]


class Prepared:
    """A statement whose parameters and results are text and whole numbers, which need no conversion."""

    def __init__(self, statement: Executable) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def all(self, connection: Connection, parameters: Mapping[str, Any]) -> list[Row]:
        """Returns all rows."""
        return self._run(connection, parameters)[0]

    def one_or_none(self, connection: Connection, parameters: Mapping[str, Any]) -> Row | None:
        """Returns the only row, or None; the statement must not return more."""
        rows = self._run(connection, parameters)[0]
        return rows[0] if rows else None

    def one(self, connection: Connection, parameters: Mapping[str, Any]) -> Row:
        """Returns the only row.

        Raises:
            LookupError: there is none.

        """
        row = self.one_or_none(connection, parameters)
        if row is None:
            raise LookupError("a row that has to be there is missing")
        return row

    def run(self, connection: Connection, parameters: Mapping[str, Any]) -> int:
        """Runs a statement that returns no rows; returns how many it changed."""
        return self._run(connection, parameters)[1]

    def run_many(self, connection: Connection, parameters: Iterable[Mapping[str, Any]]) -> None:
        """Runs a statement that returns no rows, once for each set of parameters."""
        for one in parameters:
            self._run(connection, one)

    def _run(self, connection: Connection, parameters: Mapping[str, Any]) -> tuple[list[Row], int]:
        dialect = connection.dialect
        known = self._compiled.get(dialect.name)
        if known is None:
            known = self._compiled[dialect.name] = _compile(self._statement, dialect)
        sql, order, constants = known
        return execute(connection, sql, order({**constants, **parameters} if constants else parameters))


@lru_cache(maxsize=64)
def inserting(table: Table, *names: str) -> Prepared:
    """Returns the statement that inserts a row, with these columns as parameters."""
    return Prepared(insert(table).inline().values({name: bindparam(name) for name in names}))


def execute(connection: Connection, sql: str, parameters: Sequence[Any] = ()) -> tuple[list[Row], int]:
    """Runs SQL on the driver's own connection; returns its rows, and how many it changed.

    Parameters are `?` on SQLite, and `$1` and so on on PostgreSQL.

    Raises:
        DBAPIError: as SQLAlchemy raises it.

    """
    try:
        driver = _driver(connection)
        if not sql.startswith("SELECT"):
            driver.changes += 1
        return _send(driver, sql, parameters)
    except connection.dialect.loaded_dbapi.Error as error:
        raise _as_sqlalchemys(connection, sql, error) from error


def _send(driver: "Driver", sql: str, parameters: Sequence[Any]) -> tuple[list[Row], int]:
    return driver.run(sql, parameters)


def changes_of(connection: Connection) -> int:
    """Returns how many statements that may change something were run on this connection so far."""
    return _driver(connection).changes


def note_change(connection: Connection, _cursor: Any, sql: str, *_: Any) -> None:
    """Counts a statement that SQLAlchemy runs; an engine calls it before each."""
    if not sql.startswith("SELECT"):
        _driver(connection).changes += 1


def _driver(connection: Connection) -> "Driver":
    info = connection.info
    driver: Driver | None = info.get(_DRIVER)
    if driver is None:
        driver = info[_DRIVER] = _driver_of(connection)
    return driver


class Driver(Protocol):
    """A connection of a driver, below SQLAlchemy's. `changes` counts statements that may change something."""

    changes: int

    def run(self, sql: str, parameters: Sequence[Any]) -> tuple[list[Row], int]:
        """Runs a statement; returns its rows, and how many it changed."""


class _Sqlite:
    """A connection of `sqlite3`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.cursor().execute
        self.changes = 0

    def run(self, sql: str, parameters: Sequence[Any]) -> tuple[list[Row], int]:
        """Runs a statement, and reads its rows to the end, or it would keep a snapshot open."""
        cursor = self._execute(sql, parameters)
        return cursor.fetchall(), cursor.rowcount


def _driver_of(connection: Connection) -> Driver:
    own: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        return _Sqlite(own)
    from app.db.statements.libpq import Statements  # noqa: PLC0415 - on SQLite it is not needed, and may not be there

    return Statements(own)


def _as_sqlalchemys(connection: Connection, sql: str, error: Exception) -> BaseException:
    dialect = connection.dialect
    own: Any = error
    lost = dialect.is_disconnect(own, connection.connection.dbapi_connection, None)
    return DBAPIError.instance(
        sql,
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=lost,
        dialect=dialect,
    )


def _compile(statement: Executable, dialect: Dialect) -> _Compiled:
    # Positions instead of names: then parameters are a tuple, in both drivers.
    make: Any = type(dialect)
    positional = make(paramstyle="numeric_dollar" if dialect.name == "postgresql" else "qmark")
    # Every statement can be compiled, which the type of what can be executed does not say.
    compiled: Any = statement.compile(dialect=positional)  # type: ignore[attr-defined]
    names: tuple[str, ...] = tuple(compiled.positiontup or ())
    constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
    if not names:
        return _Compiled(str(compiled), lambda _: (), {})
    if len(names) == 1:
        (only,) = names
        return _Compiled(str(compiled), lambda values: (values[only],), constants)
    return _Compiled(str(compiled), itemgetter(*names), constants)
