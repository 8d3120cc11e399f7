"""What servers forget to encode, and how hosts are named: in redirects, in TLS, and in requests."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpcore2
import pytest

from app.egress.addresses import parse_network
from app.egress.client import Egress, EgressError, Reach

pytestmark = pytest.mark.anyio


class Server:
    """Answers every request with a redirect, as long as one is left, and then with a file."""

    def __init__(self) -> None:
        self.port = 0
        self.locations: list[bytes] = []
        self.heads: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            head = await reader.read(4_000)
            self.heads.append(head)
            if self.locations:
                writer.write(
                    b"HTTP/1.1 302 x\r\nContent-Length: 0\r\nLocation: " + self.locations.pop() + b"\r\n\r\n"
                )
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfile")
        writer.close()


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """The server; every name that ends in `test`, or in `test.`, is its own."""
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *_: Any, **more: Any) -> list[Any]:
        return real("127.0.0.1" if host.rstrip(".").endswith("test") else host, port, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    opened = Server()
    listener = await asyncio.start_server(opened.serve, "127.0.0.1", 0)
    opened.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield opened


async def got(server: Server, url: str, user_agent: str = "reelgate") -> bytes:
    hosts = frozenset(f"{name}:{server.port}" for name in ("a.test", "a.test.", "b.test", "127.0.0.1"))
    async with Egress(user_agent).get(url.format(port=server.port), Reach(hosts=hosts)) as fetched:
        return await fetched.chunk()


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/bücher/größe.png".encode(), b"/b%C3%BCcher/gr%C3%B6%C3%9Fe.png"),
        ("/写真.jpg?a=é".encode(), b"/%E5%86%99%E7%9C%9F.jpg?a=%C3%A9"),
        ("/caf\xe9.png".encode("latin-1"), b"/caf%E9.png"),
        (b"/my picture (1).png", b"/my%20picture%20(1).png"),
        (b"  /a.png  ", b"/a.png"),
        (b"/a%20b.png", b"/a%20b.png"),
        (b"/a.png#part", b"/a.png"),
        (b"b.png?x=1", b"/folder/b.png?x=1"),
        (b"?x=1", b"/folder/a.png?x=1"),
        ("http://b.test:{port}/ü".encode(), b"/%C3%BC"),
        (b"//b.test:{port}/x y", b"/x%20y"),
    ],
)
async def test_a_redirect_is_followed_as_browsers_follow_it(
    server: Server, location: bytes, target: bytes
) -> None:
    server.locations = [location.replace(b"{port}", str(server.port).encode())]
    assert await got(server, "http://a.test:{port}/folder/a.png") == b"file"
    assert server.heads[1].split(b" ")[1] == target


@pytest.mark.parametrize(
    "location", [b"/a\x7fb", b"/a\\b", "http://b\u00fc.test/".encode(), b"mailto:a@b.test"]
)
async def test_a_redirect_that_parsers_understand_differently_is_not_followed(
    server: Server, location: bytes
) -> None:
    server.locations = [location]
    with pytest.raises(EgressError, match="bad_url"):
        await got(server, "http://a.test:{port}/a.png")


@pytest.mark.parametrize("name", ["a.test", "a.test."])
async def test_a_dot_at_the_end_of_a_name_is_no_part_of_it_in_tls(server: Server, name: str) -> None:
    with pytest.raises(EgressError):
        await got(server, f"https://{name}:{{port}}/")
    (hello,) = server.heads
    assert b"\x00\x06a.test\x00" in hello
    assert b"a.test." not in hello


async def test_a_server_is_told_who_fetches(server: Server) -> None:
    await got(server, "http://a.test:{port}/", "reelgate (+mailto:pictures@example.com)")
    assert b"\r\nUser-Agent: reelgate (+mailto:pictures@example.com)\r\n" in server.heads[0]


async def test_what_a_named_host_answers_may_be_told_and_nothing_of_others(server: Server) -> None:
    server.locations = [b"/again"] * 9
    with pytest.raises(EgressError) as caught:
        await got(server, "http://a.test:{port}/")
    assert (caught.value.reason, caught.value.candid) == ("too_many_redirects", True)
    server.locations = [b"https://10.0.0.1/"]
    with pytest.raises(EgressError) as caught:
        await got(server, "http://a.test:{port}/")
    assert (caught.value.reason, caught.value.candid) == ("forbidden_address", False)


async def test_what_answers_in_an_allowed_network_is_not_told(server: Server) -> None:
    """It is reached, and no TLS is spoken there; of a host that was named one by one, that may be told."""
    url = f"https://127.0.0.1:{server.port}/"
    for reach, candid in (
        (Reach(networks=(parse_network(f"127.0.0.0/8:{server.port}"),)), False),
        (Reach(hosts=frozenset({f"127.0.0.1:{server.port}"})), True),
    ):
        with pytest.raises(EgressError) as caught:
            async with Egress().get(url, reach):
                pass
        assert (caught.value.reason, caught.value.candid) == ("connect_error", candid)
    assert len(server.heads) == 2


async def test_a_certificate_that_is_not_valid_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses(*_: object) -> None:
        raise httpcore2.ConnectError("TLS") from ssl.SSLCertVerificationError("expired")

    monkeypatch.setattr(httpcore2.AsyncHTTPConnection, "handle_async_request", refuses)
    with pytest.raises(EgressError, match="certificate"):
        await got(server, "https://a.test:{port}/")
