"""One gateway behind two ports: the ordinary protocol, and the one that answers what is plain itself."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from uvicorn.config import Config
from uvicorn.server import ServerState

from app.kit import log
from app.server.edge import Edge
from app.server.fast.fast_protocol import FastProtocol
from app.server.fast.fast_reads import FastReads
from app.server.fast.fast_submits import FastSubmits
from app.server.protocol import GuardedProtocol, Limits
from tests.harness import World
from tests.patience import PATIENCE_S

KEEP_ALIVE_S = 60


class Counted(FastReads):
    """Counts the reads that were answered fast."""

    answered = 0

    def answer(self, *args: Any) -> Any:
        found = super().answer(*args)
        self.answered += found is not None
        return found


class CountedSubmits(FastSubmits):
    """Counts the submits that were taken for plain."""

    taken = 0

    def plain(self, *args: Any) -> Any:
        found = super().plain(*args)
        self.taken += found is not None
        return found


@dataclass
class Line:
    """A connection of a client."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[bytes, list[bytes], bytes]:
        """The status line, the headers as they came, and the body of the next response."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *headers = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
            lengths = [int(one.partition(b": ")[2]) for one in headers if one.startswith(b"content-length")]
            return first, headers, await self.reader.readexactly(sum(lengths))

    async def rest(self) -> bytes:
        """All that is said until the server closes the connection."""
        said = b""
        with suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE_S):
                while part := await self.reader.read(65_536):
                    said += part
        return said


@dataclass
class Ways:
    """Both ports, and the lines that the gateway logs."""

    world: World
    ports: dict[str, int]
    reads: Counted
    submits: CountedSubmits
    states: dict[str, ServerState]
    lines: list[dict[str, Any]] = field(default_factory=list)

    @asynccontextmanager
    async def connect(self, way: str = "fast") -> AsyncIterator[Line]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[way])
        try:
            yield Line(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def get(self, path: str, *headers: str, key: str | None = None) -> bytes:
        """A request as a usual client sends it."""
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: gateway.test",
            f"Authorization: Bearer {key or self.world.key}",
        ]
        return "\r\n".join([*lines, "Accept: */*", *headers, "", ""]).encode()

    def post(self, path: str, body: bytes, *headers: str, key: str | None = None) -> bytes:
        """The same, with a JSON body."""
        lines = ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return self.get(path, *lines, *headers, key=key).replace(b"GET", b"POST", 1) + body

    async def ask(self, line: Line, request: bytes) -> tuple[bytes, list[bytes], bytes]:
        line.send(request)
        return await line.answer()

    @property
    def connections(self) -> list[Any]:
        return list(self.states["fast"].connections)


@asynccontextmanager
async def both_ways(world: World) -> AsyncIterator[Ways]:
    """Serve the world's gateway at two ports, with a log in JSON."""
    settings, loop = world.gateway.settings, asyncio.get_running_loop()
    edge = Edge(world.app, settings.base_url)
    reads, submits = Counted(world.app, edge), CountedSubmits(world.app, edge)
    limits = Limits.of(settings)
    config = Config(
        edge,
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    config.load()
    protocols: dict[str, Any] = {
        "ordinary": partial(GuardedProtocol, limits),
        "fast": partial(FastProtocol, reads, submits, limits),
    }
    ways = Ways(world, {}, reads, submits, {})
    async with AsyncExitStack() as stack:
        stack.enter_context(_json_log(ways.lines))
        for way, protocol in protocols.items():
            state = ways.states[way] = ServerState()
            state.default_headers = [(b"date", b"Mon, 30 Nov 2026 12:00:00 GMT")]
            server = await loop.create_server(
                partial(protocol, config, state, {}, loop, on_refusal=edge.count_refusal), "127.0.0.1", 0
            )
            stack.callback(server.close)
            stack.callback(_abort, state)
            ways.ports[way] = server.sockets[0].getsockname()[1]
        yield ways


def _abort(state: ServerState) -> None:
    for one in list(state.connections):
        one.transport.abort()


@contextmanager
def _json_log(lines: list[dict[str, Any]]) -> Iterator[None]:
    writer = SimpleNamespace(write=lambda line: lines.append(json.loads(line)), dropped=0)
    with (
        patch.object(log._output, "_writer", writer),
        patch.multiple(log._set_up, pending=None, as_json=True, level=logging.INFO),
    ):
        yield
