"""What stands between the browser and the gateway: servers on real sockets, and a wire that can be cut."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from tests.harness import until

HOST = "127.0.0.1"


class _Server(uvicorn.Server):
    """uvicorn that leaves the process's signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(app: ASGIApp, **config: Any) -> AsyncIterator[int]:
    """Serve an application whose lifespan is open already, in this loop: the port."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind((HOST, 0))
    server = _Server(
        uvicorn.Config(
            app,
            **{"http": "httptools", **config},
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await until(lambda: server.started or task.done())
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task
        listener.close()


@dataclass
class Link:
    """One connection through the relay, and every byte that went over it."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)
    is_doomed: bool = False

    def cut(self) -> None:
        self.near.transport.abort()
        self.far.transport.abort()


@dataclass
class Relay:
    """A network to the gateway, which can be cut and mended."""

    target: int
    port: int = 0
    links: list[Link] = field(default_factory=list)
    _listener: asyncio.Server | None = None
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set)
    _doomed: bytes | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def mend(self) -> None:
        """Take connections (again)."""
        self._listener = await asyncio.start_server(self._connect, HOST, self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Drop every connection, and take none."""
        if self._listener is not None:
            self._listener.close()
        self.drop()

    def drop(self) -> None:
        """Drop every connection; the next ones are taken."""
        for link in self.links:
            link.cut()

    def lose_answer_to(self, request: str) -> None:
        """Let the next request that begins like this through, and cut its connection at the answer."""
        self._doomed = request.encode()

    def asked(self, request: str) -> int:
        """How many requests began like this, such as `POST /v1/models/`."""
        return sum(bytes(link.sent).count(request.encode()) for link in self.links)

    @property
    def text(self) -> str:
        """All that went either way."""
        return "\n".join(
            bytes(part).decode(errors="replace") for link in self.links for part in (link.sent, link.received)
        )

    async def close(self) -> None:
        self.cut()
        await asyncio.gather(*self._tasks)

    def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._link(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(HOST, self.target)
        link = Link(writer, far_writer)
        self.links.append(link)
        try:
            await asyncio.gather(self._asks(link, reader), self._answers(link, far_reader))
        finally:
            link.cut()

    async def _asks(self, link: Link, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                link.sent += piece
                if self._doomed is not None and self._doomed in piece:
                    self._doomed, link.is_doomed = None, True
                link.far.write(piece)
                await link.far.drain()
        link.far.transport.abort()

    async def _answers(self, link: Link, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while (piece := await reader.read(65536)) and not link.is_doomed:
                link.received += piece
                link.near.write(piece)
                await link.near.drain()
        if link.is_doomed:
            link.near.transport.abort()
        else:
            link.near.close()  # sends what is under way first


@asynccontextmanager
async def relaying(target: int) -> AsyncIterator[Relay]:
    """A relay to a port of this machine."""
    relay = Relay(target)
    await relay.mend()
    try:
        yield relay
    finally:
        await relay.close()
