"""The least that a durable submit can cost: `python -m bench.least PORT UPSTREAM_PORT DATABASE ROWS`.

A raw ASGI application on the server of the others. A POST is one transaction, one POST on a fresh connection
to loopback, another transaction, and a constant answer. Transactions of requests that wait together share a
commit, in a thread with one connection of `sqlite3` at `synchronous=FULL`. There is no key, no schema, no
quota, no price, no idempotency, no log, no metric, no time limit, and nothing of what fails is handled.

ROWS says what is written: `tiny`, a row of two columns, which is changed; or `whole`, the rows that a submit
of the gateway leaves in its tables, with all their indexes: the generation, its hold and two events.
"""

import asyncio
import sqlite3
import sys
import threading
import time
import uuid
from collections import deque
from itertools import count
from typing import Any, Final, NamedTuple

from starlette.types import Receive, Scope, Send

from bench.children import HOST, serve_until_parent_ends

_ANSWER: Final = b'{"request_id":"0"}'
_HEADERS: Final = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_ANSWER))]
_TINY: Final = "CREATE TABLE IF NOT EXISTS least (id TEXT PRIMARY KEY, job TEXT)"
_GENERATION: Final = {
    "model_id": "a/b",
    "price_microcredits": 250_000,
    "price_version": "1",
    "output_seconds": 5,
    "credential": "sandbox",
    "trace_id": "0" * 32,
    "root_kid": "k",
    "quota_day": "2026-11-30",
    "settles_in": "completed",
    "charge": "held",
    "caller_address": "127.0.0.0/24",
}


class _Write(NamedTuple):
    """What a transaction writes for one request: `job` is None in the first one."""

    id: str
    body: bytes
    job: str | None
    done: "asyncio.Future[None]"


class Writer(threading.Thread):
    """The thread that writes, many requests with one commit."""

    def __init__(self, database: str, *, is_tiny: bool) -> None:
        super().__init__(daemon=True)
        self._database, self._is_tiny = database, is_tiny
        self._waiting: deque[_Write] = deque()
        self._bell = threading.Event()
        self._numbers = count(10**9)
        self._owner: tuple[Any, ...] = ()

    def put(self, write: _Write) -> None:
        """Takes what is to be written; its future is done once that is committed."""
        self._waiting.append(write)
        if not self._bell.is_set():
            self._bell.set()

    def run(self) -> None:
        """Writes what waits, for ever."""
        connection = sqlite3.connect(self._database, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        if self._is_tiny:
            connection.execute(_TINY)
        else:
            self._owner = connection.execute("SELECT tenant_id, kid, mode FROM api_keys").fetchone()
        while True:
            self._bell.wait()
            self._bell.clear()
            while group := [self._waiting.popleft() for _ in range(len(self._waiting))]:
                connection.execute("BEGIN IMMEDIATE")
                (self._write_tiny if self._is_tiny else self._write_whole)(connection, group)
                connection.execute("COMMIT")
                group[0].done.get_loop().call_soon_threadsafe(_finish, group)

    def _write_tiny(self, connection: sqlite3.Connection, group: list[_Write]) -> None:
        new = [(one.id,) for one in group if one.job is None]
        sent = [(one.job, one.id) for one in group if one.job is not None]
        connection.executemany("INSERT INTO least (id) VALUES (?)", new)
        connection.executemany("UPDATE least SET job = ? WHERE id = ?", sent)

    def _write_whole(self, connection: sqlite3.Connection, group: list[_Write]) -> None:
        tenant_id, kid, mode = self._owner
        now_ms = time.time_ns() // 1_000_000
        new = [one for one in group if one.job is None]
        sent = [one for one in group if one.job is not None]
        of_all = (tenant_id, kid, mode, "dispatching", 1, "", now_ms, now_ms, now_ms, *_GENERATION.values())
        connection.executemany(
            "INSERT INTO generations (tenant_id, kid, mode, state, version, key_space, created_at_ms,"  # noqa: S608 - our names
            f" changed_at_ms, lease_until_ms, {', '.join(_GENERATION)}, id, input)"
            f" VALUES ({', '.join('?' * (len(of_all) + 2))})",
            [(*of_all, one.id, one.body.decode()) for one in new],
        )
        connection.executemany(
            "INSERT INTO ledger_entries (tenant_id, mode, kind, generation_id, kid, model_id, microcredits,"
            " at_ms) VALUES (?, ?, 'hold', ?, '', '', -250000, ?)",
            [(tenant_id, mode, one.id, now_ms) for one in new],
        )
        connection.executemany(
            "UPDATE generations SET state = 'in_queue', version = version + 1, upstream_request_id = ?,"
            " changed_at_ms = ?, lease_until_ms = NULL, next_poll_at_ms = ? WHERE id = ? AND version = 1",
            [(f"{one.job}-{one.id}", now_ms, now_ms, one.id) for one in sent],
        )
        connection.executemany(
            "INSERT INTO generation_events (generation_id, version, state, at_ms, reason, tenant_id, mode,"
            " number) VALUES (?, ?, ?, ?, 'x', ?, ?, ?)",
            [
                (one.id, version, state, now_ms, tenant_id, mode, next(self._numbers))
                for some, version, state in ((new, 1, "dispatching"), (sent, 2, "in_queue"))
                for one in some
            ],
        )


def _finish(group: list[_Write]) -> None:
    for one in group:
        one.done.set_result(None)


class Call(asyncio.Protocol):
    """One POST on a connection of its own; the future has the answer's body."""

    def __init__(self, request: bytes, done: "asyncio.Future[bytes]") -> None:
        self._request, self._done, self._received = request, done, b""
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the request."""
        self._transport = transport
        transport.write(self._request)  # type: ignore[attr-defined]  # it is a transport of a stream

    def data_received(self, data: bytes) -> None:
        """Takes the answer, whose body is a short object."""
        self._received += data
        if self._received.endswith(b"}") and not self._done.done():
            self._done.set_result(self._received.rpartition(b"\r\n\r\n")[2])
            if self._transport is not None:
                self._transport.abort()  # type: ignore[attr-defined]  # as above


class Least:
    """The application."""

    def __init__(self, writer: Writer, upstream_port: int) -> None:
        self._writer, self._port = writer, upstream_port
        self._head = f"POST /v1/models/a/b HTTP/1.1\r\nHost: {HOST}:{upstream_port}\r\nContent-Length: "

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; a GET only says that it is there."""
        if scope["method"] == "POST":
            await self._submit((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _ANSWER})

    async def _submit(self, body: bytes) -> None:
        loop, made = asyncio.get_running_loop(), str(uuid.uuid4())
        recorded = loop.create_future()
        self._writer.put(_Write(made, body, None, recorded))
        await recorded
        answered: asyncio.Future[bytes] = loop.create_future()
        request = f"{self._head}{len(body)}\r\n\r\n".encode() + body
        await loop.create_connection(lambda: Call(request, answered), HOST, self._port)
        job = (await answered).decode()
        ended = loop.create_future()
        self._writer.put(_Write(made, body, job, ended))
        await ended


if __name__ == "__main__":
    own_writer = Writer(sys.argv[3], is_tiny=sys.argv[4] == "tiny")
    own_writer.start()
    serve_until_parent_ends(Least(own_writer, int(sys.argv[2])))
