"""The protocol that faces strangers, over real sockets: every bound holds, and every refusal is a problem."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Never, cast

import pytest
import uvloop
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs
from uvicorn.config import Config
from uvicorn.server import ServerState

from app.kit.log import _add_trace_id
from app.server import protocol
from app.server.protocol import GuardedProtocol, Limits
from app.server.transport import Transport
from tests.patience import PATIENCE_S
from tests.processes import eventually, place_for, started

pytestmark = pytest.mark.anyio

LIMITS = Limits("http://gateway.test", head_bytes=4096, head_s=60, body_s=60, write_s=60, connections=1000)
AT_ONCE = 12_000_000  # bytes; more than the kernel takes
GET = b"GET / HTTP/1.1\r\nHost: gateway.test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 4\r\n\r\nbody"


@dataclass
class App:
    """Answers what it received; `/gate` when told, `/large` with more than any buffer holds."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[tuple[str, str, bytes]] = field(default_factory=list)
    disconnected: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (special := self.specials().get(scope["path"])) is not None:
            await special(receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnected += 1
                return
            body += message["body"]
            more = message["more_body"]
        self.seen.append((scope["method"], scope["path"], body))
        if scope["path"] == "/gate":
            await self.gate.wait()
        if scope["path"] == "/large":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(1000):
                await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        await _answer(send, b"seen " + body)

    def specials(self) -> dict[str, Callable[[Receive, Send], Awaitable[None]]]:
        return {"/early": _early, "/at-once": _at_once, "/half": self._half, "/stubborn": self._stubborn}

    async def _half(self, _: Receive, send: Send) -> None:
        length = (b"content-length", b"4")
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": b"ha", "more_body": True})
        await self.gate.wait()
        await send({"type": "http.response.body", "body": b"lf"})

    async def _stubborn(self, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.disconnected += 1
        await _answer(send, b"too late")


async def _early(_: Receive, send: Send) -> None:
    await _answer(send, b"early", (b"connection", b"close"))


async def _at_once(_: Receive, send: Send) -> None:
    await _answer(send, b"z" * AT_ONCE)


async def _answer(send: Send, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Place:
    port: int
    app: App
    state: ServerState

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def talk(self, *parts: bytes) -> bytes:
        """Everything that the server says until it closes; for tests where it must."""
        async with self.connect() as (reader, writer), listening(reader) as hearing:
            for part in parts:
                writer.write(part)
                with suppress(OSError):
                    await writer.drain()
                await asyncio.sleep(0.01)
            return await hearing


async def heard(reader: asyncio.StreamReader) -> bytes:
    """All that is said until the end; what was sent after the server closed makes that end a reset."""
    said = b""
    with suppress(ConnectionError):
        while part := await reader.read(65_536):
            said += part
    return said


@asynccontextmanager
async def listening(reader: asyncio.StreamReader) -> AsyncIterator["asyncio.Task[bytes]"]:
    """Hears while something is sent: a reset takes what was not read, and a slow sender meets one."""
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        yield group.create_task(heard(reader))


@asynccontextmanager
async def serving(**limits: Any) -> AsyncIterator[Place]:
    loop = asyncio.get_running_loop()
    app, state = App(), ServerState()
    config = Config(
        app, ws="none", log_config=None, access_log=False, timeout_keep_alive=60, proxy_headers=False
    )
    config.load()
    chosen = replace(LIMITS, **limits)
    server = await loop.create_server(
        lambda: GuardedProtocol(chosen, config, state, {}, loop), "127.0.0.1", 0
    )
    try:
        yield Place(server.sockets[0].getsockname()[1], app, state)
    finally:
        server.close()
        for one in list(state.connections):
            one.transport.abort()
        for task in list(state.tasks):
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)
        await asyncio.sleep(0)


def answers_in(said: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """The answers, one after another; all must have a length."""
    found = []
    while said:
        head, _, rest = said.partition(b"\r\n\r\n")
        lines = head.decode("ascii").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        length = int(headers["content-length"])
        found.append((int(lines[0].split(" ")[1]), headers, rest[:length]))
        assert len(rest) >= length, "an answer is cut"
        said = rest[length:]
    return found


def refusal_in(said: bytes, status: int, code: str, before: int = 0) -> dict[str, Any]:
    """The problem with which the server ended the connection, behind so many answers."""
    *earlier, last = answers_in(said)
    assert [one[0] for one in earlier] == [200] * before
    got, headers, body = last
    assert got == status, body
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    problem: dict[str, Any] = json.loads(body)
    assert (problem["status"], problem["code"]) == (status, code), problem
    assert problem["type"] == f"http://gateway.test/problems/{code.replace('_', '-')}"
    assert re.fullmatch(r"[0-9a-f]{32}", problem["trace_id"])
    assert headers["reelgate-trace-id"] == problem["trace_id"]
    assert problem["detail"]
    return problem


# --- what is no HTTP


MALFORMED: dict[str, bytes] = {
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 40,
    "a word": b"HELO\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "an unknown method": b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a method in lower case": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "an empty host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "one host twice": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "a user in the host": b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "a path in the host": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "two in one host": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbodyx",
    "one length twice": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
    "a list of lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\nbody",
    "a negative length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "a signed length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nbody",
    "a hex length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\nbody",
    "a huge length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "CL.TE": b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE.CL": b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "TE.TE": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
    "a strange coding": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a list of codings": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a blank before a colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "a blank before a name": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "a NUL in a header": b"GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n",
    "a control in a name": b"GET / HTTP/1.1\r\nHost: a\r\nX\x01: b\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n",
    "bytes in a header that is read": b"GET / HTTP/1.1\r\nHost: a\r\nPrefer: \xff\xfe\r\n\r\n",
    "bytes in the address": b"GET /\xc3\xbc HTTP/1.1\r\nHost: a\r\n\r\n",
    "a blank in the address": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "no slash": b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    "a star": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "RTSP": b"OPTIONS / RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    "ICE": b"SOURCE / ICE/1.0\r\n\r\n",
    "a tunnel": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "two keys": b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nAuthorization: y\r\n\r\n",
    "two types": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Type: x\r\nContent-Type: x\r\n\r\n",
    "two idempotency keys": b"GET / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: x\r\nIdempotency-Key: x\r\n\r\n",
}
IN_A_BODY: dict[str, bytes] = {
    "a chunk of no size": b"zz\r\n",
    "a negative chunk": b"-1\r\n",
    "a chunk of another size": b"3\r\nabcd\r\n0\r\n\r\n",
    "a huge chunk": b"fffffffffffffffff\r\n",
    "a chunk without its end": b"4\r\nabcdX0\r\n\r\n",
    "a bare line feed behind a size": b"4\nabcd\r\n0\r\n\r\n",
}
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_two_readers_could_read_differently_is_refused_once_and_closed(name: str) -> None:
    async with serving() as place:
        refusal_in(await place.talk(MALFORMED[name] + GET), 400, "malformed_request")
        assert place.app.seen == []


@pytest.mark.parametrize("name", MALFORMED)
async def test_the_request_before_it_is_answered_and_the_one_behind_it_never(name: str) -> None:
    async with serving() as place:
        refusal_in(await place.talk(POST + MALFORMED[name] + GET), 400, "malformed_request", before=1)
        assert place.app.seen == [("POST", "/", b"body")]


@pytest.mark.parametrize("name", IN_A_BODY)
async def test_a_broken_body_takes_its_request_back(name: str) -> None:
    async with serving() as place:
        refusal_in(await place.talk(CHUNKED, IN_A_BODY[name] + GET), 400, "malformed_request")
        assert place.app.seen == []
        assert place.app.disconnected <= 1


async def test_an_answer_under_way_is_not_mixed_with_a_refusal() -> None:
    async with serving() as place, place.connect() as (reader, writer):
        writer.write(b"GET /gate HTTP/1.1\r\nHost: a\r\n\r\n")
        while not place.app.seen:  # noqa: ASYNC110 - the application is the other side
            await asyncio.sleep(0.005)
        writer.write(b"nonsense\r\n\r\n")
        await asyncio.sleep(0.05)
        place.app.gate.set()
        async with asyncio.timeout(PATIENCE_S):
            refusal_in(await reader.read(), 400, "malformed_request", before=1)


async def test_a_refusal_reaches_a_client_that_goes_on_sending() -> None:
    """A close with input unread would reset the connection, and the answer with it."""
    async with serving() as place:
        flood = [b"x" * 65_536] * 20
        refusal_in(await place.talk(b"nonsense\r\n\r\n", *flood), 400, "malformed_request")
        early = b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n"
        ((status, _, body),) = answers_in(await place.talk(early, *flood))
        assert (status, body) == (200, b"early")


# --- what is fine


FINE: dict[str, tuple[bytes, bytes]] = {
    "HTTP/1.0 without a host": (b"GET / HTTP/1.0\r\n\r\n", b""),
    "an absolute address": (b"GET http://a/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b""),
    "line breaks before it": (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b""),
    "an IPv6 host": (b"GET / HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n", b""),
    "chunks": (
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: Chunked\r\n\r\n"
            b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n"
        ),
        b"abc",
    ),
    "trailers": (
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nab\r\n0\r\nAuthorization: x\r\n\r\n"
        ),
        b"ab",
    ),
    "the server as a whole": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b""),
    "bytes in headers that nobody reads": (
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCF-IPCity: S\xc3\xa3o Paulo\r\n"
            b"Referer: https://a/\xff\r\nUser-Agent: \x80\xfe\r\n\r\n"
        ),
        b"",
    ),
    "h2c on a GET": (
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
        ),
        b"",
    ),
    "h2c on a POST": (
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nContent-Length: 4\r\n\r\nbody"
        ),
        b"body",
    ),
    "a websocket": (
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
        b"",
    ),
}


@pytest.mark.parametrize("name", FINE)
@pytest.mark.parametrize("pieces", [1, 7, 1000])
async def test_what_is_right_is_answered_however_it_is_cut(name: str, pieces: int) -> None:
    text, body = FINE[name]
    size = max(1, len(text) // pieces)
    async with serving() as place:
        said = await place.talk(*(text[start : start + size] for start in range(0, len(text), size)))
        ((status, _, got),) = answers_in(said)
        assert (status, got) == (200, b"seen " + body)


async def test_many_requests_on_one_connection_are_answered_in_order() -> None:
    async with serving() as place:
        said = await place.talk(POST * 50 + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert [(one[0], one[2]) for one in answers_in(said)] == [(200, b"seen body")] * 50 + [
            (200, b"seen ")
        ]


# --- sizes


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        (b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "address_too_long"),
        (b"GET /" + b"a" * 10_000, 414, "address_too_long"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 10_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 10_000, 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a" * 10_000, 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 101 + b"\r\n", 431, "headers_too_large"),
    ],
)
@pytest.mark.parametrize("piece", [100, 100_000])
async def test_a_head_that_is_too_large_is_refused_also_where_it_never_ends(
    text: bytes, status: int, code: str, piece: int
) -> None:
    async with serving() as place:
        parts = [text[start : start + piece] for start in range(0, len(text), piece)]
        # A head of which no part is complete is counted from its second packet on.
        refusal_in(await place.talk(*parts, b"a", b"a" * 5_000), status, code)
        assert place.app.seen == []


async def test_a_head_is_taken_up_to_its_very_limit() -> None:
    async with serving() as place:
        rest = (
            len(b"/") + len(b"host") + len(b"a") + 4 + len(b"connection") + len(b"close") + 4 + len(b"x") + 4
        )
        for more, status in ((0, 200), (1, 431)):
            value = b"v" * (LIMITS.head_bytes - rest + more)
            said = await place.talk(
                b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: " + value + b"\r\n\r\n"
            )
            assert answers_in(said)[0][0] == status


async def test_a_body_that_is_all_framing_is_refused() -> None:
    async with serving() as place:
        trailer = b"0\r\n" + b"X: " + b"a" * 20_000
        said = await place.talk(CHUNKED, *(trailer[at : at + 1000] for at in range(0, len(trailer), 1000)))
        refusal_in(said, 431, "headers_too_large")


async def test_one_connection_more_than_there_may_be_is_told_so() -> None:
    async with serving(connections=3) as place:
        opened = [await asyncio.open_connection("127.0.0.1", place.port) for _ in range(3)]
        problem = refusal_in(await place.talk(), 503, "too_many_connections")
        assert (problem["retryable"], problem["retry_after_s"]) == (True, 1)
        for _, writer in opened:
            writer.close()
            await writer.wait_closed()
        said = await place.talk(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert answers_in(said)[0][0] == 200


# --- time


async def drip(place: Place, start: bytes, drops: bytes = b"a") -> bytes:
    """Send the start, and then a drop again and again until the server has had enough."""
    async with place.connect() as (reader, writer):
        writer.write(start)
        reading = asyncio.create_task(heard(reader))
        async with asyncio.timeout(PATIENCE_S):
            while not reading.done():
                with suppress(OSError):
                    writer.write(drops)
                    await writer.drain()
                await asyncio.sleep(0.02)
        return await reading


async def test_a_head_that_drips_is_cut_off() -> None:
    async with serving(head_s=0.3) as place:
        for start in (b"GET /", b"GET / HTTP/1.1\r\nHost: a\r\nX: ", GET + b"GET /"):
            said = await drip(place, start)
            refusal_in(said, 408, "request_timeout", before=int(start.startswith(GET)))


async def test_a_body_that_drips_is_cut_off_and_its_request_ends() -> None:
    async with serving(body_s=0.3) as place:
        for start, drops in (
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n", b"a"),
            (CHUNKED, b"1\r\na\r\n"),
        ):
            refusal_in(await drip(place, start, drops), 408, "request_timeout")
        assert place.app.seen == []
        assert place.app.disconnected == 2


async def test_an_upload_may_take_long_as_long_as_each_megabyte_of_it_arrives_in_time() -> None:
    length = 4 * 1_048_576
    head = b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % length
    async with serving(body_s=0.4) as place:
        for path, statuses in ((b"/v1/files?name=a", [200]), (b"/v1/models/a", [408])):
            async with place.connect() as (reader, writer):
                writer.write(b"POST " + path + head)
                for _ in range(4):
                    await asyncio.sleep(0.15)
                    writer.write(b"b" * 1_048_576)
                async with asyncio.timeout(PATIENCE_S):
                    said = await reader.read()
                assert [one[0] for one in answers_in(said)] == statuses


async def test_an_upload_that_is_refused_may_not_go_on_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_UPLOADS", b"/at-once")
    async with serving(body_s=0.3) as place, place.connect() as (reader, writer):
        writer.write(b"POST /at-once HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n")
        answered = asyncio.ensure_future(reader.read())
        async with asyncio.timeout(PATIENCE_S):
            while not answered.done():
                with suppress(OSError):
                    writer.write(b"b" * 1_048_576)
                    await writer.drain()
                await asyncio.sleep(0.1)
        await asyncio.wait([answered])


async def test_a_connection_that_says_nothing_or_line_breaks_alone_is_closed_without_a_word() -> None:
    async with serving(head_s=0.3) as place:
        assert await place.talk() == b""
        assert await drip(place, b"", b"\r\n") == b""
        said = await drip(place, GET, b"\r\n")
        assert [one[0] for one in answers_in(said)] == [200]


async def test_a_client_that_we_do_not_read_from_is_not_called_slow() -> None:
    async with serving(body_s=0.2, head_s=0.2) as place, place.connect() as (reader, writer):
        # Behind the first, which takes long, our own flow control holds the second back.
        length = 1_000_000
        writer.write(b"GET /gate HTTP/1.1\r\nHost: a\r\n\r\n")
        writer.write(
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % length
        )
        writer.write(b"b" * length)
        await asyncio.sleep(0.8)
        place.app.gate.set()
        async with asyncio.timeout(PATIENCE_S):
            said = await reader.read()
        assert [(one[0], len(one[2])) for one in answers_in(said)] == [(200, 5), (200, 5 + length)]


async def test_a_reader_that_takes_nothing_is_cut_and_a_slow_one_is_not() -> None:
    async with serving(write_s=0.5) as place:
        async with place.connect() as (_reader, writer):
            writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            async with asyncio.timeout(PATIENCE_S):
                while not place.state.connections:  # noqa: ASYNC110 - the other side
                    await asyncio.sleep(0.005)
                while place.state.connections:  # noqa: ASYNC110 - the other side
                    await asyncio.sleep(0.02)
        async with place.connect() as (reader, writer):
            writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            length = 0
            async with asyncio.timeout(PATIENCE_S):
                while part := await reader.read(1_000_000):
                    length += len(part)
                    if length < 20_000_000:
                        await asyncio.sleep(0.02)
            assert length > 65_536_000


async def test_hundreds_of_slow_clients_do_not_keep_others_from_an_answer() -> None:
    async with serving(head_s=30, body_s=30, write_s=30) as place:
        starts: list[Callable[[int], bytes]] = [
            lambda n: b"GET / HTTP/1.1\r\nHost: a\r\nX-%d: " % n,
            lambda _: b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\nsome",
            lambda _: b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
            lambda _: b"",
        ]
        slow = [await asyncio.open_connection("127.0.0.1", place.port, limit=1024) for _ in range(400)]
        for number, (_, writer) in enumerate(slow):
            writer.write(starts[number % len(starts)](number))
        for _ in range(20):
            for _, writer in slow[::2]:
                writer.write(b"a")
            async with asyncio.timeout(PATIENCE_S):
                said = await place.talk(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert answers_in(said)[0][0] == 200
        for _, writer in slow:
            writer.transport.abort()


# --- what else could go wrong


LAST = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"


async def test_a_slow_but_moving_reader_gets_all_of_an_answer_behind_which_we_close() -> None:
    async with serving(write_s=0.4) as place, place.connect() as (reader, writer):
        writer.write(b"GET /at-once HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        said = b""
        async with asyncio.timeout(PATIENCE_S):
            while part := await reader.read(200_000):
                said += part
                await asyncio.sleep(0.01)
        ((status, _, body),) = answers_in(said)
        assert (status, len(body)) == (200, AT_ONCE)


async def test_a_reader_that_takes_nothing_of_a_last_answer_is_cut() -> None:
    async with serving(write_s=0.3) as place, place.connect() as (_, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # as each that reads has it
        writer.write(b"GET /at-once HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(PATIENCE_S):
            while place.state.total_requests == 0 or place.state.connections:  # noqa: ASYNC110 - the other side
                await asyncio.sleep(0.02)


async def test_bodies_behind_an_upgrade_that_is_not_made_are_bodies_and_no_requests() -> None:
    inner = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    first = b"POST /1 HTTP/1.1\r\nHost: a\r\n%sContent-Length: %d\r\n\r\n%s" % (UPGRADE, len(inner), inner)
    second = b"POST /2 HTTP/1.1\r\nHost: a\r\n%sTransfer-Encoding: chunked\r\n\r\n" % UPGRADE
    second += b"%x\r\n%s\r\n0\r\nX: y\r\n\r\n" % (len(inner), inner)
    for piece in (1, 50, 10_000):
        text = first + second + LAST
        async with serving() as place:
            said = await place.talk(*(text[at : at + piece] for at in range(0, len(text), piece)))
            assert [one[0] for one in answers_in(said)] == [200] * 3
            assert place.app.seen == [("POST", "/1", inner), ("POST", "/2", inner), ("GET", "/", b"")]


@pytest.mark.parametrize("head", ["POST / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.0\r\n"])
async def test_an_upgrade_does_not_open_what_is_closed_without(head: str) -> None:
    start = head.encode() + UPGRADE
    lengths = [
        b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
        b"Transfer-Encoding: x, chunked\r\n\r\n",
    ]
    for length in lengths:
        async with serving() as place:
            refusal_in(await place.talk(start + length + GET), 400, "malformed_request")
            assert place.app.seen == []
    async with serving(body_s=0.3) as place:
        said = await place.talk(start + b"Content-Length: 4\r\n\r\nbo")
        refusal_in(said, 408, "request_timeout")
        assert place.app.disconnected == 1


@pytest.mark.parametrize(
    "target", [b"/a#b", b"http://u:p@a/", b"http://b/", b"http://a", b"//\x7f", b"ftp://a/", b"?q"]
)
async def test_an_address_that_two_readers_could_read_differently_is_refused(target: bytes) -> None:
    async with serving() as place:
        said = await place.talk(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % target + GET)
        refusal_in(said, 400, "malformed_request")


async def test_requests_that_wait_on_a_connection_are_bounded_and_those_taken_are_answered() -> None:
    async with serving() as place, place.connect() as (reader, writer):
        writer.write(b"GET /gate HTTP/1.1\r\nHost: a\r\n\r\n" + GET * 20_000)
        async with asyncio.timeout(PATIENCE_S):
            while not place.app.seen:  # noqa: ASYNC110 - the application is the other side
                await asyncio.sleep(0.005)
            (connection,) = place.state.connections
            assert len(connection.pipeline) <= 100  # type: ignore[union-attr]  # it is ours
            place.app.gate.set()
            said = await reader.read()
        statuses = [one[0] for one in answers_in(said)]
        assert statuses == [200] * len(place.app.seen)
        assert 1 < len(statuses) <= 101


async def test_a_large_head_behind_another_request_is_refused_too() -> None:
    async with serving() as place:
        head = b"GET /2 HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000
        refusal_in(await place.talk(GET + head, b"y\r\n\r\n"), 431, "headers_too_large", before=1)
        assert len(place.app.seen) == 1


async def test_a_trailer_is_bounded_however_long_the_body_was() -> None:
    async with serving() as place, place.connect() as (reader, writer), listening(reader) as hearing:
        writer.write(CHUNKED + b"%x\r\n%s\r\n0\r\nX: " % (3_000_000, b"x" * 3_000_000))
        while not hearing.done() and not place.app.disconnected:
            with suppress(OSError):
                writer.write(b"y" * 1000)
                await writer.drain()
            await asyncio.sleep(0.01)
        refusal_in(await hearing, 431, "headers_too_large")


async def test_a_body_that_stays_out_while_its_answer_is_under_way_ends_behind_that_answer() -> None:
    async with serving(body_s=0.2) as place, place.connect() as (reader, writer):
        writer.write(b"POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nx")
        with capture_logs() as lines:
            await asyncio.sleep(0.6)
            place.app.gate.set()
            async with asyncio.timeout(PATIENCE_S):
                ((status, _, body),) = answers_in(await reader.read())
        assert (status, body, lines) == (200, b"half", [])


async def test_what_an_application_says_after_the_refusal_stays_unsaid() -> None:
    async with serving(body_s=0.2) as place:
        said = await place.talk(b"POST /stubborn HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nx")
        refusal_in(said, 408, "request_timeout")
        assert place.app.disconnected == 1
        assert not place.state.tasks


async def test_a_refusal_is_logged_once_under_the_trace_id_that_the_caller_has() -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    async with serving() as place:
        with capture_logs(processors=[_add_trace_id]) as lines:  # type: ignore[list-item]  # narrower than it need be
            problem = refusal_in(await place.talk(b"nonsense\r\n\r\n" * 2), 400, "malformed_request")
        (line,) = lines
        assert (line["log_level"], line["status"], line["trace_id"]) == ("info", 400, problem["trace_id"])
        assert line["reason"] == problem["detail"]
        parent = f"traceparent: 00-{trace_id}-b7ad6b7169203331-01\r\n\r\n".encode()
        said = await place.talk(b"GET / HTTP/1.1\r\n" + parent)  # without a host
        assert refusal_in(said, 400, "malformed_request")["trace_id"] == trace_id


async def test_no_refusal_repeats_what_was_sent() -> None:
    secret = b"s3cr3t"
    for text in (
        b"GET /%s\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: %s@a\r\n\r\n",
        b"%s\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: %s\0\r\n\r\n",
        b"GET /%s#x HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        async with serving() as place:
            assert secret not in await place.talk(text % secret)


async def test_a_refused_head_request_gets_no_body() -> None:
    async with serving() as place:
        said = await place.talk(b"HEAD / HTTP/1.1\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 400 ")
        assert said.endswith(b"\r\n\r\n")
        assert b"{" not in said


async def test_the_gateway_itself_refuses_in_problem_documents(tmp_path: Path, sqlite_url: str) -> None:
    place = place_for(
        tmp_path, sqlite_url, "http://127.0.0.1:9", HEADER_TIMEOUT_S="0.5", PUBLIC_URL="http://gateway.test"
    )
    with started(place) as running:
        server = Place(int(place.settings["PORT"]), App(), ServerState())
        refusal_in(await server.talk(b"GET / HTTP/1.1\r\n\r\n"), 400, "malformed_request")
        refusal_in(await server.talk(b"GET / HTTP/1.1\r\nX: "), 408, "request_timeout")
        upgrade = UPGRADE.replace(b"Upgrade, ", b"Upgrade, close, ", 1)
        said = await server.talk(b"GET /livez HTTP/1.1\r\nHost: a\r\n" + upgrade + b"\r\n")
        assert answers_in(said)[0][0] == 200
        body = b"POST /v1/models/x/y HTTP/1.1\r\nHost: a\r\n" + upgrade + b"Content-Length: 2\r\n\r\n{}"
        assert answers_in(await server.talk(body))[0][0] == 401
        # Lines are written a moment after the answers that they tell of.
        eventually(lambda: running.text().count("A request was refused before it was read.") == 2)
        log = running.text()
        assert "Traceback" not in log
        assert "WARNING" not in log.upper()


async def test_a_client_that_has_closed_its_sending_half_gets_the_answers_to_what_it_sent() -> None:
    async with serving() as place, place.connect() as (reader, writer):
        writer.write(POST.replace(b"/", b"/gate", 1) + GET)
        writer.write_eof()
        await asyncio.sleep(0.01)
        place.app.gate.set()
        async with asyncio.timeout(PATIENCE_S):
            answers = answers_in(await reader.read())
        assert [(status, body) for status, _, body in answers] == [(200, b"seen body"), (200, b"seen ")]
        assert not place.state.tasks


async def test_a_stream_to_a_client_that_has_closed_its_sending_half_ends() -> None:
    async with serving() as place, place.connect() as (reader, writer):
        with capture_logs() as lines:
            writer.write(b"GET /stubborn HTTP/1.1\r\nHost: a\r\n\r\n")
            writer.write_eof()
            async with asyncio.timeout(PATIENCE_S):
                await reader.read()
        assert place.app.disconnected == 1
        assert lines == []


@pytest.mark.parametrize("request_", [b"", GET[:20], POST[:-2]], ids=["nothing", "a head", "a body"])
async def test_a_client_that_ends_in_the_middle_of_a_request_is_refused_and_closed(request_: bytes) -> None:
    async with serving() as place, place.connect() as (reader, writer):
        writer.write(request_)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            said = await reader.read()
        assert place.app.seen == []
        if request_:
            refusal_in(said, 400, "malformed_request")
        else:
            assert said == b""


def test_clients_that_leave_at_any_moment_cause_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def leave() -> None:
        async with serving() as place:
            large = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
            for sent in (GET, GET * 5, POST, POST[:-2], large, GET + b"junk\r\n\r\n"):
                for turns in range(8):
                    async with place.connect() as (_, writer):
                        writer.write(sent)
                        for _ in range(turns):
                            await asyncio.sleep(0)
                        if turns % 2:
                            writer.transport.abort()
            async with asyncio.timeout(PATIENCE_S):
                while place.state.tasks:  # noqa: ASYNC110 - their end is told to nobody
                    await asyncio.sleep(0.002)

    # On uvloop, as a server: its transports raise where those of asyncio do not.
    with capture_logs() as lines, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(leave())
    assert [line for line in lines if line["log_level"] != "info"] == []
    assert [record.getMessage() for record in caplog.records if record.levelname != "DEBUG"] == []


async def test_whatever_is_done_to_a_transport_whose_client_has_left_does_nothing() -> None:
    class Closed:
        """As uvloop's are between a client's leaving and `connection_lost`."""

        def _refuse(self, *_: object) -> Never:
            raise RuntimeError("unable to perform operation; the handler is closed")

        write = pause_reading = resume_reading = write_eof = abort = _refuse

        def is_closing(self) -> bool:
            return False

        def can_write_eof(self) -> bool:
            return True

    left: list[bool] = []
    wire = Transport(
        cast("asyncio.Transport", Closed()),
        asyncio.get_running_loop(),
        is_sending=lambda: True,
        write_s=1,
        on_left=lambda: left.append(True),
    )
    wire.write(b"an answer")
    wire.pause_reading()
    wire.resume_reading()
    wire.close()
    assert len(left) == 5
    wire.lost()
