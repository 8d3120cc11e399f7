"""Everything that a gateway does to its database and its upstream, counted, with a fault at the Nth of it.

An event is a statement, a savepoint, the moment before and the moment after a commit, and every step of a
call upstream. A fault happens before what the event names; after a commit has a name of its own.
"""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import httpcore2
import httpx2
import psycopg
import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import OperationalError

from app.db import prepared

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
    if name.startswith("connection."):
        return httpcore2.ConnectError("unreachable on purpose")
    if "receive" in name:
        return httpcore2.ReadError("cut on purpose")
    return ConnectionResetError("reset on purpose")


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

    handle = httpx2.AsyncHTTPTransport.handle_async_request

    async def handle_request(
        transport: httpx2.AsyncHTTPTransport, request: httpx2.Request
    ) -> httpx2.Response:
        if (trace := request.extensions.get("trace")) is not None:

            async def counted(name: str, info: dict[str, Any]) -> None:
                try:
                    events.meet("network", name)
                except Exception:
                    if name == "connection.connect_tcp.complete":
                        await info["return_value"].aclose()  # the connection that there would not be
                    raise
                await trace(name, info)

            request.extensions = {**request.extensions, "trace": counted}
        return await handle(transport, request)

    event.listen(Engine, "before_cursor_execute", before_statement)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(DefaultDialect, "do_commit", do_commit)
            patch.setattr(prepared, "_send", counted_send)
            patch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", handle_request)
            yield
    finally:
        event.remove(Engine, "before_cursor_execute", before_statement)
