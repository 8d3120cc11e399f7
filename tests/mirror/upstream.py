"""A server of outputs that does everything wrong, each in a way that its path names."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


FILM = box(b"ftyp", b"isom\0\0\2\0isomiso2") + box(b"moov", b"y" * 50) + box(b"mdat", b"x" * 3000)
PAGE = b"<!DOCTYPE html><html><body>Your session has ended.</body></html>"
_CHUNK = b"\0" * 65_536


@dataclass
class Upstream:
    """The server. What it serves at `/film` may be changed; `asked` has the paths that were asked for."""

    port: int = 0
    film: bytes = FILM
    asked: list[str] = field(default_factory=list)
    hanging: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while a caller waits for a drip to go on."""
    go: asyncio.Event = field(default_factory=asyncio.Event)
    """What `/held` waits for, after half of the film."""
    sent: int = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    async def handle(  # noqa: C901, PLR0912 - a case for each thing that it does wrong
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ")[1].decode()
        self.asked.append(path)
        name, _, argument = path.strip("/").partition("/")
        film = self.film
        match name:
            case "film":
                writer.write(answer(film))
            case "chunked":
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(film), film))
            case "truncated":
                writer.write(answer(film)[:-100])
            case "too-long":  # it says that it has more than there is
                writer.write(answer(film, length=len(film) + 1))
            case "too-short":  # it says that it has less, and sends all
                writer.write(answer(film, length=len(film) - 50))
            case "open-ended":  # no length, and cut off
                writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + film[:-100])
            case "page":
                writer.write(answer(PAGE, "video/mp4"))
            case "status":
                writer.write(b"HTTP/1.1 %b Oh\r\nContent-Length: 0\r\n\r\n" % argument.encode())
            case "redirect":
                target = b"/film" if not argument else b"https://" + argument.encode() + b"/film"
                writer.write(b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % target)
            case "drip":
                writer.write(answer(film)[:300])
                self.hanging.set()
                await asyncio.Event().wait()
            case "held":
                writer.write(answer(film)[:1000])
                self.hanging.set()
                await self.go.wait()
                writer.write(answer(film)[1000:])
            case "large":  # so many bytes, and no word of their number
                writer.write(
                    b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + box(b"ftyp", b"isom\0\0\2\0isom")
                )
                await self._stream(writer, int(argument))
            case "declared":  # the same with their number
                length = int(argument)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
                await self._stream(writer, length)
        await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter, length: int) -> None:
        while self.sent < length:
            writer.write(_CHUNK)
            await writer.drain()
            self.sent += len(_CHUNK)


def answer(body: bytes, media_type: str = "video/mp4", *, length: int | None = None) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {length or len(body)}\r\n\r\n"
    return head.encode() + body


@asynccontextmanager
async def serving() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    under_way: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        under_way.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
                await upstream.handle(reader, writer)
        finally:
            under_way.discard(task)
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        upstream.port = server.sockets[0].getsockname()[1]
        yield upstream
        for task in tuple(under_way):
            task.cancel()
