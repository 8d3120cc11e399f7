"""Fetching a URL that a stranger chose. One client for all of them, judged where it connects.

A name is resolved, all its addresses are judged, and the connection goes to an address that was judged: there
is no second look-up that could say something else. The name itself stays for Host, SNI and the certificate.
Connections are not kept: each is judged by the reach of whoever wants it.

What failed is for the operator's log alone: to the caller all of it looks alike.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin

import httpcore2

from app.egress.addresses import Address, AllowedNetwork, is_public, unmapped
from app.egress.resolver import Resolver
from app.egress.tls import system_trust
from app.egress.urls import URL, URLRefused, parse_url

_USUAL_PORTS: Final = frozenset({80, 443})
_CONNECT_S: Final = 3.0
_MAX_ADDRESSES: Final = 4  # tried, of those that a name has
_MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CLOSE_S: Final = 1.0


class EgressError(Exception):
    """The URL was not fetched; `reason` is a word for the operator's log, and for nobody else."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Reach:
    """What may be reached beside the public internet.

    `hosts` are host:port, over plain http too and whatever their addresses are; `networks` those that are
    allowed although they are not public. A URL below the first of a pair in `instead` is fetched below the
    second: the same place by its inner name.
    """

    hosts: frozenset[str] = frozenset()
    networks: tuple[AllowedNetwork, ...] = ()
    instead: tuple[tuple[str, str], ...] = ()

    @property
    def ports(self) -> frozenset[int]:
        """The ports that may be reached over https."""
        return _USUAL_PORTS.union(*(network.ports for network in self.networks))

    def allows(self, url: URL, address: Address) -> bool:
        """Whether this URL may be fetched from this address."""
        if url.authority in self.hosts:
            return True
        if any(network.includes(unmapped(address), url.port) for network in self.networks):
            return True
        return url.port in _USUAL_PORTS and is_public(address)

    def read(self, text: str) -> URL:
        """The URL to fetch. Raises `EgressError`: no such URL may be fetched from anywhere."""
        for outer, inner in self.instead:
            if text.startswith(f"{outer}/"):
                text = inner + text[len(outer) :]
        try:
            url = parse_url(text)
        except URLRefused as error:
            raise EgressError("bad_url") from error
        if url.scheme == "http" and url.authority not in self.hosts:
            raise EgressError("plain_http")
        return url


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer whose body is still to come. `headers` are in lower case, the last of each name."""

    status: int
    headers: Mapping[str, str]
    _body: AsyncGenerator[bytes, None]

    async def chunk(self) -> bytes:
        """The next bytes of the body, undecoded; none at its end. Raises `EgressError`."""
        with _told():
            while not (chunk := await anext(self._body, None)):
                if chunk is None:
                    return b""
            return chunk


class Egress:
    """The client. It has no deadline of its own but for connecting: whoever waits sets one over all."""

    def __init__(self) -> None:
        self._resolver = Resolver()

    @asynccontextmanager
    async def get(
        self, url: str, reach: Reach, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Fetched]:
        """GET the URL, following up to three redirects, each judged like the first and none away from TLS.

        Raises:
            EgressError: it could not be fetched, or not be allowed to.

        """
        place = reach.read(url)
        for _ in range(_MAX_REDIRECTS + 1):
            async with self._answer(place, reach, headers or {}) as fetched:
                if fetched.status not in _REDIRECTS:
                    yield fetched
                    return
                place = _next(place, fetched.headers.get("location"), reach)
        raise EgressError("too_many_redirects")

    @asynccontextmanager
    async def _answer(self, url: URL, reach: Reach, headers: Mapping[str, str]) -> AsyncIterator[Fetched]:
        origin = httpcore2.Origin(url.scheme.encode(), url.host.encode(), url.port)
        connection = httpcore2.AsyncHTTPConnection(
            origin, system_trust(), network_backend=_Guard(self._resolver, url, reach)
        )
        request = httpcore2.Request(
            "GET",
            httpcore2.URL(
                scheme=origin.scheme, host=origin.host, port=origin.port, target=url.target.encode("ascii")
            ),
            headers=list(
                {
                    "Host": url.host_header,
                    "Accept": "*/*",
                    "Accept-Encoding": "identity",  # what is unpacked has no size that anybody announced
                    "User-Agent": "reelgate",
                    "Connection": "close",
                    **headers,
                }.items()
            ),
        )
        body: AsyncGenerator[bytes, None] | None = None
        try:
            with _told():
                response = await connection.handle_async_request(request)
            named = {
                name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
            }
            body = _stream(response)
            yield Fetched(response.status, named, body)
        finally:
            # Also while being cancelled; a peer that holds the close up is not waited for.
            with suppress(Exception):
                async with asyncio.timeout(_CLOSE_S):
                    if body is not None:
                        await body.aclose()
                    await connection.aclose()


async def _stream(response: httpcore2.Response) -> AsyncGenerator[bytes, None]:
    async with aclosing(response):
        async for chunk in response.aiter_stream():
            yield chunk


def _next(place: URL, location: str | None, reach: Reach) -> URL:
    if not location:
        raise EgressError("redirect_to_nowhere")
    try:
        joined = urljoin(f"{place.scheme}://{place.host_header}{place.target}", location)
    except ValueError as error:
        raise EgressError("bad_url") from error
    found = reach.read(joined)
    if place.scheme == "https" and found.scheme != "https":
        raise EgressError("redirect_from_tls")
    return found


@contextmanager
def _told() -> Iterator[None]:
    """Whatever the layers below raise, told as one error of ours."""
    try:
        yield
    except EgressError:
        raise
    except Exception as error:  # of the socket, of TLS, of the protocol, or of what it parses
        raise EgressError(_word(error)) from error


def _word(error: Exception) -> str:
    name = type(error).__name__
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name).strip("_")


class _Guard(httpcore2.AsyncNetworkBackend):
    """Connects to judged addresses alone, over TCP alone."""

    def __init__(self, resolver: Resolver, url: URL, reach: Reach) -> None:
        self._resolver = resolver
        self._url = url
        self._reach = reach
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109, ARG002 - the library's signature
        local_address: str | None = None,  # noqa: ARG002 - as above
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to the first of the host's addresses that takes it."""
        try:
            addresses = await self._resolver.addresses(host, port)
        except OSError as error:
            raise EgressError("unresolvable") from error
        if not all(self._reach.allows(self._url, address) for address in addresses):
            raise EgressError("forbidden_address")
        tried = addresses[:_MAX_ADDRESSES]
        for address in tried:
            with suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout, OSError):
                return await self._inner.connect_tcp(
                    str(address), port, timeout=_CONNECT_S / len(tried), socket_options=socket_options
                )
        raise EgressError("unreachable")

    async def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002 - the library's signature
        timeout: float | None = None,  # noqa: ASYNC109, ARG002 - as above
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002 - as above
    ) -> httpcore2.AsyncNetworkStream:
        """Never."""
        raise EgressError("unix_socket")
