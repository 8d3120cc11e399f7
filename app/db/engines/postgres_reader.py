"""A reader of a PostgreSQL database: a thread with a connection, whose session is read-only."""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from app.db.engines.postgres import Kept, Postgres, is_pooled, statement_of_guards
from app.db.statements.prepared import execute


class PostgresReader:
    """A connection to read from, with a thread of its own; see `app.db.engines.readers.Reader`."""

    def __init__(self, server: Postgres) -> None:
        self._kept = Kept(server, server.reading)
        self._work: queue.SimpleQueue[tuple[Callable[[], None], asyncio.Future[None]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._serve, name="reader", daemon=True)

    async def open(self) -> None:
        """Starts the thread; the connection is opened there."""
        self._thread.start()

    def start(self, work: Callable[[], None]) -> "asyncio.Future[None]":
        """Runs the work in the thread."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._work.put((work, done))
        return done

    def call(self, function: Callable[[Connection], Any]) -> Any:
        """Runs a function; once more where the connection had ended at rest, which a read may be."""
        was_open = self._kept.is_open
        try:
            return self._call(function)
        except DBAPIError as error:
            self._kept.failed(error)
            if not (was_open and error.connection_invalidated):
                raise
        try:
            return self._call(function)
        except DBAPIError as error:
            self._kept.failed(error)
            raise

    def cut(self) -> None:
        """Ends the connection under whoever waits for its answer."""
        self._kept.cut()

    async def close(self) -> None:
        """Closes the connection and ends the thread."""
        self._work.put(None)
        await asyncio.to_thread(self._thread.join)

    def _call(self, function: Callable[[Connection], Any]) -> Any:
        connection = self._kept.get()
        if not is_pooled(connection):
            return function(connection)
        execute(connection, f"BEGIN READ ONLY; {statement_of_guards('SET LOCAL')}")
        try:
            return function(connection)
        finally:
            with suppress(DBAPIError):
                execute(connection, "COMMIT")  # of announcements; nothing else can be changed

    def _serve(self) -> None:
        while (item := self._work.get()) is not None:
            work, done = item
            work()
            with suppress(RuntimeError):  # that loop is closed: nobody waits
                done.get_loop().call_soon_threadsafe(_done, done)
        self._kept.drop()


def _done(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
