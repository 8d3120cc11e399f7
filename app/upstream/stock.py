"""Open connections that nobody uses at present. They are few, and kept briefly."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from app.kit.tasks import retrieve_exception
from app.upstream.answer import Answer
from app.upstream.connection import ConnectError, Connection

_MAX_KEPT: Final = 50
_KEEP_S: Final = 4.0  # servers close a connection on which nothing happens after five seconds or more
_MAX_AHEAD: Final = 16

Open = Callable[[], Awaitable[Connection]]


class Kept:
    """Connections for reads, each used again and again, the last one first."""

    def __init__(self, open_one: Open) -> None:
        self._open = open_one
        self._kept: deque[tuple[float, Connection]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def take(self) -> Connection:
        """Returns a connection that is alive.

        Raises:
            ConnectError: there is none.

        """
        while self._kept:
            _, connection = self._kept.pop()
            if connection.is_alive:
                return connection
            connection.abort()
        return _alive(await self._open())

    def give_back(self, connection: Connection, answer: Answer) -> None:
        """Takes a connection back after an exchange, and keeps it for a while if it may be used again."""
        if not answer.keeps_connection:
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        self._kept.append((loop.time() + _KEEP_S, connection))
        if len(self._kept) > _MAX_KEPT:
            self._kept.popleft()[1].abort()
        if self._timer is None:
            self._timer = loop.call_later(_KEEP_S, self._drop_old)

    def close(self) -> None:
        """Closes all of them."""
        if self._timer is not None:
            self._timer.cancel()
        while self._kept:
            self._kept.pop()[1].abort()

    def _drop_old(self) -> None:
        loop = asyncio.get_running_loop()
        while self._kept and self._kept[0][0] <= loop.time():
            self._kept.popleft()[1].abort()
        self._timer = loop.call_at(self._kept[0][0], self._drop_old) if self._kept else None


class Ahead:
    """Connections for submits, each used once, and opened a little before it is needed.

    A paid POST gets a connection that was never used: on another one, the server might close it while our
    body is on its way, an unknown outcome that can be avoided.
    """

    def __init__(self, open_one: Open) -> None:
        self._open = open_one
        self._begun: deque[tuple[float, asyncio.Future[Connection]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Begins to open one more connection, unless many are waiting already."""
        if len(self._begun) >= _MAX_AHEAD:
            return
        loop = asyncio.get_running_loop()
        opening = asyncio.ensure_future(self._open())
        opening.add_done_callback(retrieve_exception)
        self._begun.append((loop.time() + _KEEP_S, opening))
        if self._timer is None:
            self._timer = loop.call_later(_KEEP_S, self._drop_old)

    async def take(self) -> Connection:
        """Returns a connection that is alive and was never used.

        Raises:
            ConnectError: there is none.

        """
        while self._begun:
            _, opening = self._begun.popleft()
            try:
                connection = await opening
            except ConnectError:
                break
            except asyncio.CancelledError:
                _drop(opening)  # nobody has it, and it may have been opened at this moment
                raise
            if connection.is_alive:
                return connection
            connection.abort()
        return _alive(await self._open())

    def give_back(self, connection: Connection, _answer: Answer) -> None:
        """Closes a connection after its exchange."""
        connection.abort()

    def close(self) -> None:
        """Closes all of them."""
        if self._timer is not None:
            self._timer.cancel()
        while self._begun:
            _drop(self._begun.pop()[1])

    def _drop_old(self) -> None:
        loop = asyncio.get_running_loop()
        while self._begun and self._begun[0][0] <= loop.time():
            _drop(self._begun.popleft()[1])
        self._timer = loop.call_at(self._begun[0][0], self._drop_old) if self._begun else None


def _alive(connection: Connection) -> Connection:
    """Returns a connection that was just opened, where the other side has not closed it already."""
    if not connection.is_alive:
        connection.abort()
        raise ConnectError
    return connection


def _drop(opening: "asyncio.Future[Connection]") -> None:
    if not opening.cancel() and not opening.cancelled() and opening.exception() is None:
        opening.result().abort()
