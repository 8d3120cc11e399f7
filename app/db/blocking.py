"""An engine that blocks, in the place of an asynchronous one: for commands that read an SQLite file.

It spares them the import of SQLAlchemy's asynchronous part, which brings its whole ORM: a third of what a
short command would cost. A server must not use it, since its event loop would stand still for every
statement; nor anybody on PostgreSQL, where nothing could end the wait for a server that is frozen.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import Dialect

P = ParamSpec("P")
R = TypeVar("R")


class BlockingConnection:
    """A connection with the one method of an asynchronous one that `Database` uses."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def run_sync(
        self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """The function's result."""
        return function(self._connection, *args, **kwargs)


class BlockingEngine:
    """A synchronous engine behind those methods of an asynchronous one that `Database` uses."""

    def __init__(self, sync_engine: Engine) -> None:
        self.sync_engine = sync_engine

    @property
    def dialect(self) -> Dialect:
        """The engine's dialect."""
        return self.sync_engine.dialect

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[BlockingConnection]:
        """A connection for the block."""
        with self.sync_engine.connect() as connection:
            yield BlockingConnection(connection)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[BlockingConnection]:
        """A connection for the block, which is one transaction."""
        with self.sync_engine.begin() as connection:
            yield BlockingConnection(connection)

    async def dispose(self) -> None:
        """Close its connections."""
        self.sync_engine.dispose()
