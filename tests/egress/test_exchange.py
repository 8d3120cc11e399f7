"""A POST to a stranger: whatever pieces its answer comes in, and wherever it ends, it is read as one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from app.egress.client import Egress, EgressError, Posted, Reach

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nRetry-After: 7\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"


@dataclass
class Stranger:
    """A server that writes these pieces after each request, and closes unless it `hangs`."""

    pieces: list[bytes] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    hangs: bool = False
    post: Callable[..., Awaitable[Posted]] = field(init=False)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head + await reader.readexactly(2))
        for piece in self.pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if self.hangs:
            await reader.read()
        writer.close()


@asynccontextmanager
async def listening(stranger: Stranger) -> AsyncIterator[None]:
    server = await asyncio.start_server(stranger.serve, "127.0.0.1", 0)
    place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def post(*, body_s: float = 5.0) -> Posted:
        reach = Reach(hosts=frozenset({place}))
        return await Egress("tests").post(
            f"http://{place}/hook?a=1",
            reach,
            b"{}",
            {"Content-Type": "application/json"},
            within_s=5.0,
            kept_bytes=8,
            body_s=body_s,
        )

    stranger.post = post
    async with server:
        yield


@pytest.fixture
async def stranger() -> AsyncIterator[Stranger]:
    made = Stranger()
    async with listening(made):
        yield made


@pytest.mark.parametrize("whole", [HEAD + b"hello", CHUNKED, HEAD.replace(b"200", b"410") + b"hello"])
async def test_an_answer_that_is_cut_anywhere_is_read_as_one(stranger: Stranger, whole: bytes) -> None:
    for place in range(1, len(whole), 3):
        stranger.pieces = [whole[:place], whole[place:]]
        posted = await stranger.post()
        assert (posted.status, posted.body, posted.candid) == (int(whole[9:12]), b"hello", True), place
    first = stranger.requests[0].decode()
    assert first.startswith("POST /hook?a=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert first.endswith("Content-Length: 2\r\nContent-Type: application/json\r\n\r\n{}")


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ([b"HTTP/1.1 100 Continue\r\n\r\n", HEAD, b"hello"], b"hello"),
        ([HEAD.replace(b"\r\nRetry", b"\r\nContent-Length: 5\r\nRetry"), b"hello"], b"hello"),
        ([b"HTTP/1.0 200 OK\r\n\r\nhel", b"lo"], b"hello"),
        ([HEAD, b"he"], b"he"),  # the body breaks off: the status is the answer
        ([HEAD.replace(b": 5", b": 999999999"), b"x" * 100_000], b"x" * 8),  # no more is kept
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" + HEAD], b"hello"),  # a second answer
    ],
)
async def test_the_status_is_the_answer_and_no_more_of_the_body_is_kept_than_is_asked_for(
    stranger: Stranger, pieces: list[bytes], body: bytes
) -> None:
    stranger.pieces = pieces
    posted = await stranger.post()
    assert (posted.status, posted.body) == (200, body)


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"220 mail.example ESMTP\r\n"],
        [HEAD[:-2]],
        [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
        [HEAD.replace(b"\r\nRetry", b"\r\nContent-Length: 6\r\nRetry"), b"hello"],
        [b"HTTP/1.1 200 OK\r\nx: ", b"y" * 70_000, b"\r\n\r\n"],
    ],
)
async def test_what_is_no_answer_is_a_failure_and_not_a_status(
    stranger: Stranger, pieces: list[bytes]
) -> None:
    stranger.pieces = pieces
    with pytest.raises(EgressError, match=r"remote_protocol_error|read_error"):
        await stranger.post()


async def test_a_body_that_never_ends_is_not_waited_for(stranger: Stranger) -> None:
    stranger.pieces, stranger.hangs = [HEAD, b"he"], True
    posted = await stranger.post(body_s=0.0)
    assert posted.status == 200
    assert b"hello".startswith(posted.body)
