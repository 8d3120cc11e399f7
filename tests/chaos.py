"""An upstream that misbehaves on purpose, on raw sockets, and remembers every body that it received in full.

Each connection meets the next of the given behaviours, the last one again and again. What it does is
fixed; nothing is random. `bodies` are the charges: RunComfy makes a job of every body that arrives whole.
"""

import asyncio
import gzip
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

JOB = "chaos-job-1"
NEVER_S = 60.0  # longer than any deadline of a test; the client leaves before


@dataclass
class Wire:
    """The server's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    chaos: "Chaos"

    async def head(self) -> bytes:
        """The request's line and headers."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.chaos.heads.append(head)
        return head

    async def request(self) -> bytes:
        """The request's body, if it has one; from here on it counts as received."""
        sizes = re.findall(rb"(?i)\ncontent-length: *(\d+)", await self.head())
        if not sizes:
            return b""
        body = await self.reader.readexactly(int(sizes[0]))
        self.chaos.bodies.append(body)
        return body

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def drip(self, raw: bytes, pause_s: float) -> None:
        for at in range(len(raw)):
            await self.send(raw[at : at + 1])
            await asyncio.sleep(pause_s)

    async def hang(self) -> None:
        """Until the client leaves."""
        with suppress(ConnectionError):
            await asyncio.wait_for(self.reader.read(), NEVER_S)

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


Behaviour = Callable[[Wire], Awaitable[None]]


@dataclass
class Chaos:
    """What was seen so far, and what the next connections meet."""

    behaviours: list[Behaviour]
    url: str = ""
    connections: int = 0
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behaviour = self.behaviours[min(self.connections, len(self.behaviours) - 1)]
        self.connections += 1
        try:
            # The client leaving is what most of these lead to.
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await behaviour(Wire(reader, writer, self))
        finally:
            writer.close()


@asynccontextmanager
async def chaos(*behaviours: Behaviour, port: int = 0) -> AsyncIterator[Chaos]:
    """Serve on a free port until the block ends."""
    served = Chaos(list(behaviours))
    running: set[asyncio.Task[None]] = set()
    transports: list[asyncio.WriteTransport] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        transports.append(writer.transport)
        task.add_done_callback(running.discard)
        # The end of the block cuts what hangs.
        with suppress(asyncio.CancelledError):
            await served.serve(reader, writer)

    server = await asyncio.start_server(keep, "127.0.0.1", port)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for transport in transports:  # those with bytes that nobody reads would wait for ever
            transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0)  # a transport closes its socket on the loop's next turn


def response(
    status: int | str = 200,
    body: bytes | Mapping[str, Any] = b"",
    *headers: str,
    length: int | None = None,
) -> bytes:
    """The bytes of an answer, with its true Content-Length unless another is given."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status} Chaos" if isinstance(status, int) else status,
        "Content-Type: application/json",
        f"Content-Length: {len(raw) if length is None else length}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw


GOOD_BODY = {"request_id": JOB, "status_url": "s", "result_url": "r", "cancel_url": "c"}
GOOD = response(200, GOOD_BODY)


# Behaviours. The first group ends before the request was read.


async def reset_on_accept(wire: Wire) -> None:
    wire.reset()


async def fin_on_accept(wire: Wire) -> None:
    assert wire.writer  # closed by whoever called


async def hang_on_accept(wire: Wire) -> None:
    await asyncio.sleep(NEVER_S)
    assert wire.writer


def reset_after_bytes(count: int) -> Behaviour:
    async def behave(wire: Wire) -> None:
        await wire.reader.readexactly(count)
        wire.reset()

    return behave


def fin_after_bytes(count: int) -> Behaviour:
    async def behave(wire: Wire) -> None:
        await wire.reader.readexactly(count)

    return behave


async def hang_after_head(wire: Wire) -> None:
    await wire.head()
    await asyncio.sleep(NEVER_S)


def answer_before_body(raw: bytes) -> Behaviour:
    """Answers on the headers alone, as a proxy does that refuses early."""

    async def behave(wire: Wire) -> None:
        await wire.head()
        await wire.send(raw)
        await wire.hang()

    return behave


# The second group has received the whole body.


def answer(raw: bytes) -> Behaviour:
    """Exactly these bytes, then FIN."""

    async def behave(wire: Wire) -> None:
        await wire.request()
        await wire.send(raw)

    return behave


def answer_then_hang(raw: bytes) -> Behaviour:
    async def behave(wire: Wire) -> None:
        await wire.request()
        await wire.send(raw)
        await wire.hang()

    return behave


def answer_then_reset(raw: bytes) -> Behaviour:
    async def behave(wire: Wire) -> None:
        await wire.request()
        await wire.send(raw)
        wire.reset()

    return behave


def drip(raw: bytes, pause_s: float) -> Behaviour:
    async def behave(wire: Wire) -> None:
        await wire.request()
        await wire.drip(raw, pause_s)

    return behave


def endless(start: bytes, again: bytes) -> Behaviour:
    """An answer that never stops."""

    async def behave(wire: Wire) -> None:
        await wire.request()
        await wire.send(start)
        while True:
            await wire.send(again)

    return behave


@cache
def gzip_bomb(size_bytes: int = 50_000_000) -> bytes:
    """An answer of a few dozen KiB that unfolds to `size_bytes`."""
    packed = gzip.compress(b'{"request_id": "' + b"x" * size_bytes + b'"}')
    return response(200, packed, "Content-Encoding: gzip")


def job(result: bytes, status: str = "completed") -> Behaviour:
    """Accepts submits, and answers every look with this status and these bytes of a result."""

    async def behave(wire: Wire) -> None:
        body = await wire.request()
        if body:
            await wire.send(GOOD)
        elif b"/status" in wire.chaos.heads[-1].split(b"\r\n", 1)[0]:
            await wire.send(response(200, {"status": status}, "Connection: close"))
        else:
            await wire.send(result)

    return behave
