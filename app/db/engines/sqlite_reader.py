"""A reader of an SQLite file, by aiosqlite.

SQLAlchemy's own dialect for aiosqlite goes to the connection's thread and back for every statement and every
step of its result, which takes several times as much of the processor; and it brings SQLAlchemy's whole ORM,
which a short command would wait for. Here functions go there whole, and use the connection as any other.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiosqlite
from sqlalchemy import Connection, StaticPool, create_engine
from sqlalchemy.exc import OperationalError

from app.db.engines.sqlite import BUSY_TIMEOUT_S


class SqliteReader:
    """A connection of aiosqlite, and an engine that has no other; see `app.db.engines.readers.Reader`.

    aiosqlite has no public name for running a function in a connection's thread, nor has it one for the
    connection of `sqlite3`; SQLAlchemy's dialect uses the same private ones. Its minor version is pinned.
    """

    def __init__(self, file: Path) -> None:
        self._aiosqlite: Any = aiosqlite.connect(
            f"file:{quote(str(file))}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S
        )
        self._aiosqlite._thread.daemon = True  # noqa: SLF001 - a process that breaks off must end all the same
        self._is_stale = False
        self._engine = create_engine(
            "sqlite://",
            creator=self._connect,
            poolclass=StaticPool,
            hide_parameters=True,
            isolation_level="AUTOCOMMIT",
        )
        self._connection: Connection | None = None

    async def open(self) -> None:
        """Opens the file for reading alone."""
        try:
            await self._aiosqlite
        except sqlite3.Error as error:
            raise OperationalError(None, None, error) from error

    def start(self, work: Callable[[], None]) -> "asyncio.Future[None]":
        """Runs the work in the connection's thread."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._aiosqlite._tx.put_nowait((done, work))  # noqa: SLF001 - see the class
        return done

    def call(self, function: Callable[[Connection], Any]) -> Any:
        """Runs the function; after an error, with another connection next time.

        The error may keep results alive, and these an old snapshot.
        """
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            return function(self._connection)
        except BaseException:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            self._engine.dispose()
            self._is_stale = True
            raise

    def cut(self) -> None:
        """Does nothing: a file answers."""

    async def close(self) -> None:
        """Closes the connection and ends its thread."""
        await self._aiosqlite.close()

    def _connect(self) -> sqlite3.Connection:
        if self._is_stale:
            self._aiosqlite._connection = self._aiosqlite._connector()  # noqa: SLF001 - see the class
            self._is_stale = False
        raw: sqlite3.Connection = self._aiosqlite._conn  # noqa: SLF001 - see the class
        raw.execute("PRAGMA query_only=ON")
        return raw
