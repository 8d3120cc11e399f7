"""Connections to RunComfy: direct or through a proxy's tunnel, with TLS or without, one request at a time."""

import asyncio
import re
import select
import socket
import ssl
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, cast
from urllib.parse import SplitResult, unquote

from app.egress.addresses import Address
from app.egress.race import first_stream, in_turns
from app.upstream.answer import Answer

_CONNECT_S: Final = 30.0  # for TCP alone; whoever needs a connection has a deadline of its own
_PORTS: Final = {"http": 80, "https": 443}
_IS_ADDRESS: Final = re.compile(r"[0-9.]+|.*:.*")
_HUNG_UP: Final = getattr(select, "POLLRDHUP", 0)  # Linux has it; the other events need not be asked for


class ConnectError(Exception):
    """There is no connection: nothing of a request was sent."""


class Connection(asyncio.Protocol):
    """A connection that carries one request after another. Bytes that nobody asked for end it."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._over: asyncio.Future[None] | None = None
        self._poll = select.poll()

    def send(self, request: bytes, answer: Answer) -> "asyncio.Future[None]":
        """Writes a request. The future is done when its answer is over, complete or not.

        The caller has just seen that the connection is alive.
        """
        self._answer = answer
        self._over = asyncio.get_running_loop().create_future()
        self._opened().write(request)
        return self._over

    @property
    def is_alive(self) -> bool:
        """Whether neither end has closed it: the kernel is asked, since the event loop may not know yet."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and not self._poll.poll(0)

    def abort(self) -> None:
        """Closes it at once."""
        if self._transport is not None:
            with suppress(RuntimeError):  # uvloop's, where the other side has closed it a moment ago
                self._transport.abort()

    async def aclose(self) -> None:
        """Closes it at once."""
        self.abort()

    async def start_tls(self, trust: ssl.SSLContext, host: str) -> None:
        """Goes on inside TLS."""
        loop = asyncio.get_running_loop()
        try:
            self._transport = await loop.start_tls(self._opened(), self, trust, server_hostname=host)
        except BaseException:
            self.abort()
            raise

    def _opened(self) -> asyncio.Transport:
        if self._transport is None:
            raise ConnectError
        return self._transport

    # The event loop calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), _HUNG_UP)

    def data_received(self, data: bytes) -> None:
        """Takes bytes of an answer."""
        answer = self._answer
        if answer is None or answer.over:
            self.abort()
            return
        try:
            is_over = answer.receive(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, what was received before it is evidence
            answer.end(type(error).__name__)
            is_over = True
        if is_over:
            self._wake()

    def eof_received(self) -> None:
        """Takes the end of what the other side sends; the transport closes."""
        self._end("")

    def connection_lost(self, _error: Exception | None) -> None:
        """Takes the end of the connection."""
        self._end("ReadError")

    def _end(self, failure: str) -> None:
        if self._answer is not None:
            self._answer.end(failure)
            self._wake()

    def _wake(self) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)


@dataclass(frozen=True, slots=True)
class Route:
    """The way to a host: its URL, the certificates that are trusted, and the URL of a proxy, if any.

    `trust` is None where neither of them uses TLS.
    """

    to: SplitResult
    trust: ssl.SSLContext | None = None
    proxy: SplitResult | None = None

    async def open(self) -> Connection:
        """Opens a connection.

        Raises:
            ConnectError: there is none.

        """
        try:
            connection = await _connected(self.proxy or self.to)
            try:
                await self._prepare(connection)
            except BaseException:
                connection.abort()
                raise
        except (OSError, ValueError) as error:  # of name resolution, sockets, TLS
            raise ConnectError from error
        return connection

    async def _prepare(self, connection: Connection) -> None:
        for hop in (self.proxy, self.to):
            if hop is not None and hop.scheme == "https" and self.trust is not None:
                await connection.start_tls(self.trust, hop.hostname or "")
            if hop is not None and hop is self.proxy:
                await _tunnel(connection, hop, _authority(self.to))


async def _connected(hop: SplitResult) -> Connection:
    """Returns a TCP connection to whichever address of the host answers first."""
    loop = asyncio.get_running_loop()
    host, port = _place_of(hop)

    async def connect(address: Address) -> Connection:
        _, connection = await loop.create_connection(Connection, str(address), port)
        return connection

    if _IS_ADDRESS.fullmatch(host):
        return (await loop.create_connection(Connection, host, port))[1]
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = in_turns([ip_address(one[4][0]) for one in found])
    connection = await first_stream(connect, addresses, within_s=_CONNECT_S)
    if connection is None:
        raise ConnectError
    return connection


@lru_cache(maxsize=64)  # few are in use, and each property of a URL is parsed anew
def _place_of(hop: SplitResult) -> tuple[str, int]:
    return hop.hostname or "", hop.port or _PORTS[hop.scheme]


async def _tunnel(connection: Connection, proxy: SplitResult, authority: str) -> None:
    """Asks a proxy for a tunnel to a host and port."""
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", "User-Agent: reelgate"]
    if proxy.username is not None:
        user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
        lines.append(f"Proxy-Authorization: Basic {b64encode(user).decode()}")
    answer = Answer(0, head_only=True)
    await connection.send("\r\n".join([*lines, "", ""]).encode(), answer)
    if answer.status is None or not answer.complete or answer.status // 100 != 2:  # noqa: PLR2004 - success
        raise ConnectError


def _authority(url: SplitResult) -> str:
    host = url.hostname or ""
    return f"{f'[{host}]' if ':' in host else host}:{url.port or _PORTS[url.scheme]}"
