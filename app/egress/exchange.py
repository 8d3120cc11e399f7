"""One request over a connection of its own, and the beginning of its answer, without a client library.

httptools judges the answer's frames. No more of a body is kept than is asked for, and nothing is read beyond
that. A general client takes ten times as much of the processor's time.
"""

import asyncio
import ssl
from contextlib import suppress
from typing import Final, cast

import httptools

from app.egress.heads import with_one_length

_MAX_HEAD_BYTES: Final = 65_536
_OK: Final = 200
PROTOCOL_ERROR: Final = "remote_protocol_error"
READ_ERROR: Final = "read_error"


class Exchange(asyncio.Protocol):
    """A connection that carries one request.

    `status` and `headers` (lower-case names; of several with one name, the last) are those of the answer once
    its head has arrived, and `failure` is why it never will. `body` is its beginning, as far as it arrived.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.failure = ""
        self._kept_bytes = 0
        self._head_bytes = 0
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self._has_head: asyncio.Future[None] = loop.create_future()
        self._is_over: asyncio.Future[None] = loop.create_future()
        self._parser = httptools.HttpResponseParser(self)

    async def start_tls(self, trust: ssl.SSLContext, host: str) -> None:
        """Goes on inside TLS, with a certificate for that host."""
        loop = asyncio.get_running_loop()
        self._transport = await loop.start_tls(self._opened(), self, trust, server_hostname=host)

    async def send(self, request: bytes, *, kept_bytes: int) -> None:
        """Writes the request, and waits for the head of the answer, or for `failure`."""
        self._kept_bytes = kept_bytes
        self._opened().write(request)
        await self._has_head

    async def read(self) -> None:
        """Waits for as much of the body as is kept, or for its end."""
        await self._is_over

    def abort(self) -> None:
        """Closes the connection at once."""
        self._end(READ_ERROR)
        if self._transport is not None:
            with suppress(RuntimeError):  # uvloop's, where the other side has closed it a moment ago
                self._transport.abort()

    async def aclose(self) -> None:
        """Closes the connection at once."""
        self.abort()

    def _opened(self) -> asyncio.Transport:
        if self._transport is None:
            raise ConnectionError("it is closed")
        return self._transport

    def _end(self, failure: str) -> None:
        if self.status is None and not self.failure:
            self.failure = failure
        for one in (self._has_head, self._is_over):
            if not one.done():
                one.set_result(None)

    # The event loop calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Takes bytes of the answer. What comes before a request was sent, or after the answer, is none."""
        if self._is_over.done():
            return
        if self.status is None:
            data = data if self._head_bytes else with_one_length(data)
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end(PROTOCOL_ERROR)
        if self.status is None and self._head_bytes > _MAX_HEAD_BYTES:
            self._end(PROTOCOL_ERROR)
        if self._is_over.done():
            self.abort()

    def eof_received(self) -> None:
        """Takes the end of what the other side sends; the transport closes."""
        self._end(PROTOCOL_ERROR)

    def connection_lost(self, error: Exception | None) -> None:
        """Takes the end of the connection."""
        self._end(PROTOCOL_ERROR if error is None else READ_ERROR)

    # The parser calls these.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header; one behind the body is none of the answer's."""
        if self.status is None:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Takes the end of a head: the answer's, or an interim one's before it."""
        if self.status is not None:
            return
        status = self._parser.get_status_code()
        if status < _OK:
            self.headers.clear()
            return
        self.status = status
        self._has_head.set_result(None)
        if not self._kept_bytes:
            self._end("")

    def on_body(self, chunk: bytes) -> None:
        """Takes a part of the body."""
        self.body += chunk[: self._kept_bytes - len(self.body)]
        if len(self.body) >= self._kept_bytes:
            self._end("")

    def on_message_complete(self) -> None:
        """Takes the end of the answer, or of an interim one."""
        if self.status is not None:
            self._end("")


async def connect(address: str, port: int) -> Exchange:
    """Returns a connection to an address."""
    return (await asyncio.get_running_loop().create_connection(Exchange, address, port))[1]
