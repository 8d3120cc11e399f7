"""A server of pictures that behaves as told: with ranges, a length and a total, badly, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Picture:
    """What is at a path, and how it is given out."""

    data: bytes
    ranges: bool = True
    length: bool = True
    total: bool = True
    etag: str = ""
    status: int = 0
    headers: tuple[str, ...] = ()
    hangs: bool = False
    gate: asyncio.Event | None = None
    to_ranges: Callable[[int, int], bytes] | None = None
    """The whole answer to a request for the bytes from one offset to another."""


@dataclass
class Gallery:
    """Pictures by path, and the heads of all requests that came."""

    port: int = 0
    pictures: dict[str, Picture] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)
    sent_bytes: int = 0
    at_once: int = 0
    max_at_once: int = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def hang(self, path: str, picture: Picture) -> str:
        """Put it there; its URL."""
        self.pictures[path] = picture
        return f"http://{self.host}/{path}"

    def asked(self, path: str) -> list[str]:
        return [head for head in self.heads if head.startswith(f"GET /{path} ")]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.at_once += 1
        self.max_at_once = max(self.max_at_once, self.at_once)
        try:
            with suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.heads.append(head)
                picture = self.pictures.get(head.split(" ")[1].lstrip("/"))
                await self._answer(writer, head, picture)
        finally:
            self.at_once -= 1
            writer.close()

    def _no_range(self, begin: int, _end: int) -> bytes:
        return f"HTTP/1.1 416 x\r\nContent-Range: bytes */{begin}\r\nContent-Length: 0\r\n\r\n".encode()

    async def _answer(self, writer: asyncio.StreamWriter, head: str, picture: Picture | None) -> None:
        if picture is None:
            writer.write(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n")
            return
        if picture.gate is not None:
            await picture.gate.wait()
        if picture.hangs:
            await asyncio.sleep(60)
        names = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n"))
        }
        status, lines, data = 200, [*picture.headers], picture.data
        if picture.etag:
            lines.append(f"ETag: {picture.etag}")
            if names.get("if-none-match") == picture.etag:
                writer.write(f"HTTP/1.1 304 x\r\nETag: {picture.etag}\r\n\r\n".encode())
                return
        if (picture.ranges or picture.to_ranges) and "range" in names:
            begin, end = map(int, names["range"].removeprefix("bytes=").split("-"))
            if picture.to_ranges is not None or begin >= len(data):
                writer.write((picture.to_ranges or self._no_range)(begin, end + 1))
                return
            status, data = 206, picture.data[begin : end + 1]
            total = str(len(picture.data)) if picture.total else "*"
            lines.append(f"Content-Range: bytes {begin}-{begin + len(data) - 1}/{total}")
        if picture.length:
            lines.append(f"Content-Length: {len(data)}")
        text = "".join(f"{line}\r\n" for line in lines)
        writer.write(f"HTTP/1.1 {picture.status or status} x\r\n{text}\r\n".encode())
        for start in range(0, len(data), 65_536):
            writer.write(data[start : start + 65_536])
            await writer.drain()
            self.sent_bytes += len(data[start : start + 65_536])


@asynccontextmanager
async def open_gallery() -> AsyncIterator[Gallery]:
    gallery = Gallery()
    server = await asyncio.start_server(gallery.serve, "127.0.0.1", 0)
    gallery.port = server.sockets[0].getsockname()[1]
    async with server:
        yield gallery
