"""The HTTP client for URLs that strangers choose. It checks each address that it connects to.

A host name is resolved once, all its addresses are judged, and the connection is made to one of those
addresses, so that no second look-up could give another answer. The name itself is still used for `Host`, SNI
and the certificate. Connections are not reused, because each is judged by the `Reach` of one request.

Why a fetch failed is for the operator's log alone, unless a server that callers may know about has answered:
of all others the caller must not be able to tell the reasons apart.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin

import httpcore2

from app.egress.addresses import Address, AllowedNetwork, is_public, unmapped
from app.egress.exchange import Exchange, connect
from app.egress.race import first_stream, in_turns
from app.egress.resolver import Resolver
from app.egress.tls import system_trust
from app.egress.urls import URL, URLRefused, parse_url, scheme_of
from app.kit.sockets import SMALL_RECEIVE_BUFFER

_USUAL_PORTS: Final = frozenset({80, 443})
_CONNECT_S: Final = 3.0
_MAX_ADDRESSES: Final = 32  # of one host name, that are tried
_UNENCODED: Final = re.compile(r"[ \x80-\xff]")
_MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CLOSE_S: Final = 1.0


class EgressError(Exception):
    """The URL was not fetched. `reason` is a short code for the operator's log.

    Callers may be told of it only where it is `candid`: the reason is then the answer of a public server, or
    of a host that the operator named, and tells nothing of our own networks.
    """

    def __init__(self, reason: str, *, candid: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.candid = candid


@dataclass(frozen=True, slots=True)
class Reach:
    """What may be fetched: the public internet, or less, and what is named here in addition.

    `only` are the names of hosts that alone are fetched from, besides `hosts`; `*.` in front of one stands
    for every name below it; None is all names. `hosts` are of the form host:port; they are allowed over plain
    http too, and whatever their addresses are.
    `networks` are allowed although they are not public. `instead` are pairs of base URLs: a URL below the
    first is fetched below the second, which is the internal name of the same server.
    """

    hosts: frozenset[str] = frozenset()
    networks: tuple[AllowedNetwork, ...] = ()
    instead: tuple[tuple[str, str], ...] = ()
    only: tuple[str, ...] | None = None

    @property
    def ports(self) -> frozenset[int]:
        """The ports that may be reached over https; those of `hosts` are not among them."""
        return _USUAL_PORTS.union(*(network.ports for network in self.networks))

    def allows(self, url: URL, address: Address) -> bool:
        """Returns whether this URL may be fetched from this address."""
        if url.authority in self.hosts:
            return True
        if any(network.includes(unmapped(address), url.port) for network in self.networks):
            return True
        return url.port in _USUAL_PORTS and is_public(address)

    def read(self, text: str) -> URL:
        """Returns the URL to fetch for a text, with the replacements of `instead` made.

        Raises:
            EgressError: the text is no URL that may be fetched, whatever its addresses are.

        """
        for outer, inner in self.instead:
            if text.startswith(f"{outer}/"):
                text = inner + text[len(outer) :]
        try:
            url = parse_url(text)
        except URLRefused as error:
            raise EgressError("bad_url") from error
        if url.scheme == "http" and url.authority not in self.hosts:
            raise EgressError("plain_http")
        if not self._has(url):
            raise EgressError("forbidden_host")
        return url

    def _has(self, url: URL) -> bool:
        if self.only is None or url.authority in self.hosts:
            return True
        name = url.host.removesuffix(".")
        return any(name.endswith(one[1:]) if one.startswith("*.") else name == one for one in self.only)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A response whose body has not been read yet.

    `headers` have lower-case names; of several with one name, the last is kept. `candid` says whether callers
    may be told what it answers, as for an EgressError.
    """

    status: int
    headers: Mapping[str, str]
    candid: bool
    _body: AsyncGenerator[bytes, None]

    async def chunk(self) -> bytes:
        """Returns the next bytes of the body as sent, not decompressed; empty bytes at its end.

        Raises:
            EgressError: the body could not be read on.

        """
        with _as_egress_error(candid=self.candid):
            while not (chunk := await anext(self._body, None)):
                if chunk is None:
                    return b""
            return chunk


@dataclass(frozen=True, slots=True)
class Posted:
    """The answer to a POST: its status, headers as in `Fetched`, and the beginning of its body.

    `candid` says whether callers may be told what it answers, as for an EgressError.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    candid: bool


class Egress:
    """The client. It bounds the time to connect and no other: callers set a deadline around each use.

    `user_agent` is what servers are told of who fetches.
    """

    def __init__(self, user_agent: str = "reelgate") -> None:
        self._resolver = Resolver()
        self._user_agent = user_agent

    @asynccontextmanager
    async def get(
        self, url: str, reach: Reach, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Fetched]:
        """Sends a GET request, following up to three redirects, and yields the response.

        Each redirect is judged like the first URL; one from https to http is refused.

        Raises:
            EgressError: the URL could not be fetched, or must not be.

        """
        place, candid = reach.read(url), False
        for _ in range(_MAX_REDIRECTS + 1):
            async with self._answer("GET", place, reach, headers or {}) as fetched:
                if fetched.status not in _REDIRECTS:
                    yield fetched
                    return
                place = _next(place, fetched, reach)
                candid = fetched.candid
        raise EgressError("too_many_redirects", candid=candid)

    async def post(
        self,
        url: str,
        reach: Reach,
        body: bytes,
        headers: Mapping[str, str],
        *,
        within_s: float,
        kept_bytes: int,
        body_s: float,
    ) -> Posted:
        """Sends a POST request; returns its answer, which may be a redirect, with the beginning of its body.

        The answer has to begin within `within_s` seconds. Of its body there is what arrives within `body_s`
        more, `kept_bytes` at most; where it breaks off, the status is the answer all the same.

        Raises:
            EgressError: nothing could be sent to the URL, or must not be; or there is no answer.
            TimeoutError: it did not begin in time.

        """
        place, exchange, is_candid = reach.read(url), None, False
        try:
            async with asyncio.timeout(within_s):
                addresses = await _judged(self._resolver, place, reach)
                exchange = await _opened(place, addresses)
                is_candid = _is_candid(place, reach, addresses)
                if place.scheme == "https":
                    # A name that ends in a dot is the same name: certificates have it without.
                    await exchange.start_tls(system_trust(), place.host.removesuffix("."))
                await exchange.send(self._request(place, body, headers), kept_bytes=kept_bytes)
            with suppress(TimeoutError):
                async with asyncio.timeout(body_s):
                    await exchange.read()
        except OSError as error:  # of the socket, or TLS; a TimeoutError is one, too
            if isinstance(error, TimeoutError):
                raise
            reason = "certificate" if _is_of_certificate(error) else "connect_error"
            raise EgressError(reason, candid=is_candid) from error
        finally:
            if exchange is not None:
                exchange.abort()
        if exchange.status is None:
            raise EgressError(exchange.failure, candid=is_candid)
        return Posted(exchange.status, exchange.headers, bytes(exchange.body), is_candid)

    def _request(self, url: URL, body: bytes, headers: Mapping[str, str]) -> bytes:
        lines = [
            f"POST {url.target} HTTP/1.1",
            f"Host: {url.host_header}",
            "Accept: */*",
            "Accept-Encoding: identity",
            f"User-Agent: {self._user_agent}",
            "Connection: close",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        if any("\r" in line or "\n" in line for line in lines):
            raise EgressError("bad_url")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    @asynccontextmanager
    async def _answer(
        self, method: str, url: URL, reach: Reach, headers: Mapping[str, str]
    ) -> AsyncIterator[Fetched]:
        origin = httpcore2.Origin(url.scheme.encode(), url.host.encode(), url.port)
        guard = _Guard(self._resolver, url, reach)
        connection = httpcore2.AsyncHTTPConnection(origin, system_trust(), network_backend=guard)
        request = httpcore2.Request(
            method,
            httpcore2.URL(
                scheme=origin.scheme, host=origin.host, port=origin.port, target=url.target.encode("ascii")
            ),
            headers=list(
                {
                    "Host": url.host_header,
                    "Accept": "*/*",
                    "Accept-Encoding": "identity",  # a compressed body's real size is not announced
                    "User-Agent": self._user_agent,
                    "Connection": "close",
                    **headers,
                }.items()
            ),
            # A name that ends in a dot is the same name: certificates and SNI have it without.
            extensions={"sni_hostname": url.host.removesuffix(".")},
        )
        body: AsyncGenerator[bytes, None] | None = None
        try:
            with _as_egress_error(guard):
                response = await connection.handle_async_request(request)
            named = {
                name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
            }
            body = _stream(response)
            yield Fetched(response.status, named, guard.candid, body)
        finally:
            # Runs on cancellation too. A peer that delays the close is not waited for beyond `_CLOSE_S`.
            with suppress(Exception):
                async with asyncio.timeout(_CLOSE_S):
                    if body is not None:
                        await body.aclose()
                    await connection.aclose()
            with suppress(Exception):
                await guard.close()


async def _stream(response: httpcore2.Response) -> AsyncGenerator[bytes, None]:
    async with aclosing(response):
        async for chunk in response.aiter_stream():
            yield chunk


def _next(place: URL, fetched: Fetched, reach: Reach) -> URL:
    location = fetched.headers.get("location", "").strip()
    if not location:
        raise EgressError("redirect_to_nowhere", candid=fetched.candid)
    # The header's bytes were read as Latin-1. What is not ASCII, and blanks, many servers forget to encode.
    encoded = _UNENCODED.sub(lambda found: f"%{ord(found[0]):02X}", location)
    try:
        joined = urljoin(f"{place.scheme}://{place.host_header}{place.target}", encoded)
    except ValueError as error:
        raise EgressError("bad_url") from error
    if place.scheme == "https" and scheme_of(joined) == "http":
        raise EgressError("redirect_from_tls", candid=fetched.candid)
    return reach.read(joined)


@contextmanager
def _as_egress_error(guard: "_Guard | None" = None, *, candid: bool = False) -> Iterator[None]:
    """Turns whatever the layers below raise into an `EgressError`."""
    try:
        yield
    except EgressError:
        raise
    except Exception as error:  # from the socket, TLS, the protocol or a parser
        if guard is not None:
            candid = guard.candid
            if _is_of_certificate(error):
                raise EgressError("certificate", candid=candid) from error
        raise EgressError(_code_of(error), candid=candid) from error


def _is_of_certificate(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


def _code_of(error: Exception) -> str:
    name = type(error).__name__
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name).strip("_")


async def _judged(resolver: Resolver, url: URL, reach: Reach) -> list[Address]:
    """Returns all addresses of a URL's host, where all of them are allowed.

    Raises:
        EgressError: one is not, or there are none.

    """
    try:
        addresses = await resolver.addresses(url.host, url.port)
    except OSError as error:
        raise EgressError("unresolvable") from error
    if not all(reach.allows(url, address) for address in addresses):
        raise EgressError("forbidden_address")
    return addresses


def _is_candid(url: URL, reach: Reach, addresses: Sequence[Address]) -> bool:
    """Returns whether callers may be told what comes from these addresses."""
    return url.authority in reach.hosts or all(map(is_public, addresses))


async def _opened(url: URL, addresses: Sequence[Address]) -> Exchange:
    """Returns a connection to the first of the addresses that accepts one."""

    async def to(address: Address) -> Exchange:
        return await connect(str(address), url.port)

    opened = await first_stream(to, in_turns(addresses)[:_MAX_ADDRESSES], within_s=_CONNECT_S)
    if opened is None:
        raise EgressError("unreachable")
    return opened


class _Guard(httpcore2.AsyncNetworkBackend):
    """A network backend that connects over TCP, and only to addresses that were judged."""

    def __init__(self, resolver: Resolver, url: URL, reach: Reach) -> None:
        self._resolver = resolver
        self._url = url
        self._reach = reach
        self._inner = httpcore2.AnyIOBackend()
        self._opened: httpcore2.AsyncNetworkStream | None = None
        self.candid = False  # whether it connected to an address about which callers may be told

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - the library's signature
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109, ARG002 - as above
        local_address: str | None = None,  # noqa: ARG002 - as above
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Returns a connection to the first of the host's addresses that accepts one.

        It is refused unless all of the host's addresses are allowed.
        """
        addresses = await _judged(self._resolver, self._url, self._reach)

        options = [*(socket_options or ()), SMALL_RECEIVE_BUFFER]

        async def to(address: Address) -> httpcore2.AsyncNetworkStream:
            return await self._inner.connect_tcp(
                str(address), port, timeout=_CONNECT_S, socket_options=options
            )

        stream = await first_stream(to, in_turns(addresses)[:_MAX_ADDRESSES], within_s=_CONNECT_S)
        if stream is None:
            raise EgressError("unreachable")
        self._opened = stream
        self.candid = _is_candid(self._url, self._reach, addresses)
        return stream

    async def close(self) -> None:
        """Closes the connection, also one whose TLS handshake was given up, which the library leaves open."""
        if self._opened is not None:
            await self._opened.aclose()

    async def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002 - the library's signature
        timeout: float | None = None,  # noqa: ASYNC109, ARG002 - as above
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002 - as above
    ) -> httpcore2.AsyncNetworkStream:
        """Refuses: files of the machine are never connected to."""
        raise EgressError("unix_socket")
