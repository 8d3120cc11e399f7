"""Everything that a gateway does to its database and its upstream, counted, with a fault at the Nth of it.

An event is a statement, a savepoint, the moment before and the moment after a commit, and every step of a
call upstream. A fault happens before what the event names; after a commit has a name of its own.
"""

import asyncio
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import psycopg
import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import OperationalError

from app.db.statements import prepared
from app.upstream.answer import Answer
from app.upstream.connection import ConnectError, Route
from app.upstream.connection import Connection as UpstreamConnection
from app.upstream.stock import Ahead

Fault = Callable[["Events"], None]
"""What happens at the last event that was met, before it or instead of it."""


@dataclass
class Events:
    """The events that were met while `on`, each as `kind: name`; at number `at` the fault happens."""

    fault: Fault
    at: int | None = None
    on: bool = False
    met: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def reached(self) -> bool:
        return self.at is not None and len(self.met) >= self.at

    def meet(self, kind: str, name: str) -> None:
        with self._lock:  # SQLite's writer is a thread of its own
            if not self.on:
                return
            self.met.append(f"{kind}: {name}")
            due = len(self.met) == self.at
        if due:
            self.fault(self)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Inside the block everything counts."""
        self.on = True
        try:
            yield
        finally:
            self.on = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside the block nothing counts: it is the test's own doing."""
        was, self.on = self.on, False
        try:
            yield
        finally:
            self.on = was


def no_fault(_events: Events) -> None:
    pass


def kill(_events: Events) -> NoReturn:
    """The end of this process, as by the operating system or a pulled plug."""
    os.kill(os.getpid(), signal.SIGKILL)
    while True:  # a thread may go on for a moment
        time.sleep(1)


def bug(events: Events) -> NoReturn:
    """An error that nobody foresaw."""
    raise RuntimeError(f"broken on purpose at {events.met[-1]}")


def outage(driver_error: Callable[[], Exception]) -> Fault:
    """A database or a network that fails, in the words of its driver."""

    def happen(events: Events) -> NoReturn:
        kind, _, name = events.met[-1].partition(": ")
        if kind == "network":
            raise _network_error(name)
        if kind == "statement":
            raise OperationalError(name, None, driver_error())
        raise driver_error()

    return happen


def sqlite_error() -> Exception:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    error.sqlite_errorname = "SQLITE_IOERR"
    return error


def postgres_error() -> Exception:
    return psycopg.OperationalError("server closed the connection unexpectedly")


def _network_error(name: str) -> Exception:
    return ConnectError() if name.startswith("connect") else ConnectionResetError("reset on purpose")


@contextmanager
def counting(events: Events) -> Iterator[None]:
    """Whatever this process does inside the block is told to `events`; connections must be opened in it."""

    def before_statement(_c: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        events.meet("statement", " ".join(statement.split()[:3]))

    send = prepared._send

    def counted_send(driver: Any, sql: str, parameters: Any) -> Any:
        events.meet("statement", " ".join(sql.split()[:3]))
        return send(driver, sql, parameters)

    commit: Callable[[DefaultDialect, Any], None] = DefaultDialect.do_commit

    def do_commit(dialect: DefaultDialect, connection: Any) -> None:
        events.meet("commit", "before")
        commit(dialect, connection)
        events.meet("commit", "after")

    event.listen(Engine, "before_cursor_execute", before_statement)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(DefaultDialect, "do_commit", do_commit)
            patch.setattr(prepared, "_send", counted_send)
            _count_calls(events, patch)
            yield
    finally:
        event.remove(Engine, "before_cursor_execute", before_statement)


def _count_calls(events: Events, patch: pytest.MonkeyPatch) -> None:
    open_one, send, receive = Route.open, UpstreamConnection.send, Answer.receive

    async def opened(route: Route) -> UpstreamConnection:
        events.meet("network", "connect")
        connection = await open_one(route)
        try:
            events.meet("network", "connected")
        except Exception:
            connection.abort()  # the connection that there would not be
            raise
        return connection

    def sent(connection: UpstreamConnection, request: bytes, answer: Answer) -> asyncio.Future[None]:
        events.meet("network", "send")
        over = send(connection, request, answer)
        events.meet("network", "sent")
        return over

    def received(answer: Answer, data: bytes) -> bool:
        """In how many parts an answer comes differs each time; that it begins and ends does not."""
        begun = vars(answer).setdefault("begun on purpose", [])
        if not begun:
            begun.append(answer)
            events.meet("network", "receive")
        was_over = answer.over
        if (is_over := receive(answer, data)) and not was_over:
            events.meet("network", "received")
        return is_over

    # What is opened ahead comes at no fixed place of the story; it is opened when it is needed.
    patch.setattr(Ahead, "begin", lambda _: None)
    patch.setattr(Route, "open", opened)
    patch.setattr(UpstreamConnection, "send", sent)
    patch.setattr(Answer, "receive", received)
