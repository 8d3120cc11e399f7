"""Fetching what strangers name: nothing but the public internet and the operator's own list is ever reached.

Names are resolved by a table in place of DNS, and connections are noted where they would be made: neither
the internet nor other networks can be part of a test.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpcore2
import pytest

from app.egress.addresses import is_public, parse_network
from app.egress.client import Egress, EgressError, Reach
from tests.loops import skipped
from tests.shared import PATIENT_S

pytestmark = pytest.mark.anyio

Served = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]
NAMES: dict[str, list[str]] = {
    "public.test": ["93.184.216.34"],
    "both.test": ["93.184.216.34", "10.0.0.1"],
    "also6.test": ["93.184.216.34", "::1"],
    "loop.test": ["127.0.0.1"],
    "metadata.test": ["169.254.169.254"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "nat64.test": ["64:ff9b::7f00:1"],
    "sixtofour.test": ["2002:7f00:1::"],
    "link.test": ["fe80::1%lo"],
    "empty.test": [],
}
_real = socket.getaddrinfo


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A table of names; any other is read by the system, as long as it is a number. What was asked."""
    asked: list[str] = []

    def look_up(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        if host in NAMES:
            found = NAMES[host]
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "unknown")
            return [
                (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
                for one in found
            ]
        if host == "localhost":
            return _real("127.0.0.1", port, type=socket.SOCK_STREAM)
        return _real(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Where connections would go; none is made to another machine."""
    made: list[tuple[str, int]] = []
    connect = httpcore2.AnyIOBackend.connect_tcp

    async def noted(self: httpcore2.AnyIOBackend, host: str, port: int, **more: Any) -> Any:
        made.append((host, port))
        if not ipaddress.ip_address(host).is_loopback:
            raise httpcore2.ConnectError("not in a test")
        return await connect(self, host, port, **more)

    monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", noted)
    return made


@pytest.fixture
def egress() -> Egress:
    return Egress()


async def reason(egress: Egress, url: str, reach: Reach) -> str:
    """Why the URL is not fetched."""
    with pytest.raises(EgressError) as caught:
        await body(egress, url, reach)
    return caught.value.reason


async def body(egress: Egress, url: str, reach: Reach) -> bytes:
    async with asyncio.timeout(10), egress.get(url, reach) as fetched:
        data = b""
        while chunk := await fetched.chunk():
            data += chunk
        return data


@asynccontextmanager
async def serving(handle: Served) -> AsyncIterator[int]:
    """A raw server on loopback; its port."""

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
                await handle(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(closing, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def answers(text: bytes) -> Served:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10_000)  # a request, or the beginning of TLS
        writer.write(text)

    return handle


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfile"
HOSTILE = (
    "https://127.0.0.1/",
    "https://127.1/",
    "https://0/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://127.0.0.1./",
    "https://localhost/",
    "https://LOCALHOST/",
    "https://0.0.0.0/",
    "https://[::]/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[0:0:0:0:0:ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::127.0.0.1]/",
    "https://[2002:7f00:1::]/",
    "https://[fd00:ec2::254]/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://2852039166/",  # 169.254.169.254
    "https://100.100.100.200/",
    "https://168.63.129.16/",
    "https://192.168.0.1/",
    "https://10.0.0.1/",
    "https://172.20.0.1/",
    "https://loop.test/",
    "https://metadata.test/",
    "https://mapped.test/",
    "https://nat64.test/",
    "https://sixtofour.test/",
    "https://link.test/",
    "https://both.test/",
    "https://also6.test/",
    "https://empty.test/",
    "https://public.test:22/",
    "https://public.test:8443/",
    "http://public.test/",
    "http://127.0.0.1/",
    "ftp://public.test/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "unix:///var/run/docker.sock",
    "https://user:word@public.test/",
    "https://public.test@127.0.0.1/",
    "https://127.0.0.1\\@public.test/",
    "https://public.test\t/",
    "https:127.0.0.1/",
    "//127.0.0.1/",
    "https://%31%32%37.0.0.1/",
    "https://\uff11\uff12\uff17.0.0.1/",
    "https://[fe80::1%25lo]/",
    "https://[::1",
    "https://",
    "",
)


@pytest.mark.parametrize("url", HOSTILE)
async def test_no_hostile_url_leads_to_a_connection(
    url: str, egress: Egress, resolver: list[str], connected: list[tuple[str, int]]
) -> None:
    await reason(egress, url, Reach())
    assert [one for one in connected if not is_public(ipaddress.ip_address(one[0]))] == []
    assert connected == []


async def test_a_public_name_is_connected_to_by_the_address_that_was_judged(
    egress: Egress, resolver: list[str], connected: list[tuple[str, int]]
) -> None:
    assert await reason(egress, "https://public.test/a.png", Reach()) == "unreachable"
    assert connected == [("93.184.216.34", 443)]
    assert resolver == ["public.test"]


async def test_a_name_that_changes_between_two_looks_is_looked_up_once(
    egress: Egress, monkeypatch: pytest.MonkeyPatch, connected: list[tuple[str, int]]
) -> None:
    told = iter([["93.184.216.34"], ["127.0.0.1"], ["127.0.0.1"]])

    def rebinding(_host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in next(told)]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    await reason(egress, "https://rebinding.test/", Reach())
    assert connected == [("93.184.216.34", 443)]
    assert await reason(egress, "https://rebinding.test/", Reach()) == "forbidden_address"
    assert connected == [("93.184.216.34", 443)]


async def test_what_the_operator_allows_is_reached_and_no_port_beside_it(
    egress: Egress, connected: list[tuple[str, int]]
) -> None:
    async with serving(answers(OK)) as port, serving(answers(OK)) as other:
        by_host = Reach(hosts=frozenset({f"127.0.0.1:{port}"}))
        assert await body(egress, f"http://127.0.0.1:{port}/a", by_host) == b"file"
        assert await reason(egress, f"http://127.0.0.1:{other}/a", by_host) == "plain_http"
        assert await reason(egress, f"http://127.1:{port}/a", by_host) == "plain_http"
        assert await reason(egress, f"https://127.0.0.1:{other}/a", by_host) == "forbidden_address"
        by_network = Reach(networks=(parse_network(f"127.0.0.0/8:{port}"),))
        assert await reason(egress, f"https://127.0.0.1:{other}/a", by_network) == "forbidden_address"
        # No TLS there, but it was connected to.
        assert await reason(egress, f"https://127.0.0.1:{port}/a", by_network) == "connect_error"
        assert connected == [("127.0.0.1", port)] * 2


async def test_where_hosts_are_named_no_other_is_fetched_from_nor_redirected_to(egress: Egress) -> None:
    async with serving(answers(OK)) as port:
        here = f"127.0.0.1:{port}"
        there = b"HTTP/1.1 302 Found\r\nLocation: https://other.test/\r\nContent-Length: 0\r\n\r\n"
        async with serving(answers(there)) as moving:
            hosts = frozenset({here, f"127.0.0.1:{moving}"})
            reach = Reach(hosts, only=("*.films.test", "films.example"))
            assert await body(egress, f"http://{here}/a", reach) == b"file"
            assert await reason(egress, f"http://127.0.0.1:{moving}/a", reach) == "forbidden_host"
            others = ("films.test", "a.films.test.evil.test", "xfilms.test", "other.test", "93.184.216.34")
            for name in others:
                assert await reason(egress, f"https://{name}/", reach) == "forbidden_host", name
            for name in ("a.films.test", "a.b.films.test", "films.example", "films.example."):
                assert await reason(egress, f"https://{name}/", reach) == "unresolvable", name


async def test_a_fast_server_does_not_fill_a_turn_of_the_loop_with_megabytes(
    egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    connect = httpcore2.AnyIOBackend.connect_tcp

    async def asked(self: httpcore2.AnyIOBackend, *address: Any, **more: Any) -> Any:
        stream = await connect(self, *address, **more)
        kept.append(stream.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
        return stream

    monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", asked)
    async with serving(answers(OK)) as port:
        here = f"127.0.0.1:{port}"
        assert await body(egress, f"http://{here}/a", Reach(frozenset({here}))) == b"file"
    assert 0 < kept[0] <= 2 * 262_144  # all that is read at once: uvloop reads until nothing is there


async def test_a_place_may_be_fetched_by_its_inner_name(egress: Egress) -> None:
    async with serving(answers(OK)) as port:
        inner = f"http://127.0.0.1:{port}"
        reach = Reach(frozenset({f"127.0.0.1:{port}"}), (), (("https://films.example", inner),))
        assert await body(egress, "https://films.example/samples/a.jpg", reach) == b"file"
        assert await reason(egress, "https://films.example.evil.test/a.jpg", reach) == "unresolvable"


REDIRECTS = (
    "http://127.0.0.1:{other}/",
    "https://127.0.0.1/",
    "//127.0.0.1:{other}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://localhost:{other}/",
    "http://[::1]:{other}/",
    "http://2130706433:{other}/",
    "http://127.0.0.1:{port}@127.0.0.1:{other}/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{other}/",
    "data:image/png;base64,AAAA",
    "http://[",
    "\\\\127.0.0.1:{other}\\x",
)


@pytest.mark.parametrize("location", REDIRECTS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_judged_like_the_first_url(
    location: str, status: int, egress: Egress, resolver: list[str], connected: list[tuple[str, int]]
) -> None:
    async with serving(answers(OK)) as other:
        sent: list[str] = []

        async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 {status} x\r\nLocation: {sent[0]}\r\nContent-Length: 0\r\n\r\n".encode())
            writer.close()

        async with serving(redirect) as port:
            sent.append(location.format(port=port, other=other))
            reach = Reach(hosts=frozenset({f"127.0.0.1:{port}"}))
            assert await reason(egress, f"http://127.0.0.1:{port}/", reach) != "too_many_redirects"
            assert connected == [("127.0.0.1", port)]


async def test_redirects_are_followed_three_times_and_no_more(egress: Egress) -> None:
    hops = 0

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal hops
        head = await reader.readuntil(b"\r\n\r\n")
        left = int(head.split(b" ")[1].strip(b"/"))
        hops += 1
        writer.write(
            OK
            if left == 0
            else f"HTTP/1.1 302 x\r\nLocation: /{left - 1}\r\nContent-Length: 0\r\n\r\n".encode()
        )

    async with serving(redirect) as port:
        reach = Reach(hosts=frozenset({f"127.0.0.1:{port}"}))
        assert await body(egress, f"http://127.0.0.1:{port}/3", reach) == b"file"
        assert hops == 4
        assert await reason(egress, f"http://127.0.0.1:{port}/4", reach) == "too_many_redirects"
        assert hops == 8


BROKEN = (
    b"",
    b"\0" * 100,
    b"HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 999999 x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nfile",
    b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\nfile",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nfile",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 100_000 + b"\r\n",
    b"HTTP/1.1 302 x\r\n\r\n",
    b"HTTP/1.1 302 x\r\nLocation: \r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 302 x\r\nLocation: \xff\xfe\r\nContent-Length: 0\r\n\r\n",
    b"<html>",
    b"SSH-2.0-OpenSSH_9.2\r\n",
)


@pytest.mark.parametrize("text", BROKEN)
async def test_a_broken_answer_is_an_error_of_ours_and_nothing_else(text: bytes, egress: Egress) -> None:
    async with serving(answers(text)) as port:
        await reason(egress, f"http://127.0.0.1:{port}/", Reach(hosts=frozenset({f"127.0.0.1:{port}"})))


async def test_a_drip_ends_with_the_deadline_and_its_connection_is_closed(egress: Egress) -> None:
    closed = asyncio.Event()
    dripped = []

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(b"x")
                dripped.append(1)
                await writer.drain()
                await asyncio.sleep(0.01)
        except OSError:
            closed.set()

    async with serving(drip) as port:
        reach = Reach(hosts=frozenset({f"127.0.0.1:{port}"}))

        async def bounded() -> None:
            async with asyncio.timeout(PATIENT_S):
                await body(egress, f"http://127.0.0.1:{port}/", reach)

        with pytest.raises(TimeoutError):
            await skipped(bounded(), PATIENT_S, once=lambda: len(dripped) > 3)
        async with asyncio.timeout(PATIENT_S):
            await closed.wait()


async def test_nothing_of_this_machines_environment_is_used_and_the_name_stays_for_the_host(
    egress: Egress, monkeypatch: pytest.MonkeyPatch, resolver: list[str]
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    heads: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)

    async with serving(note) as port:
        reach = Reach(hosts=frozenset({f"loop.test:{port}"}))
        assert await body(egress, f"http://loop.test:{port}/ü?a=b c".replace(" ", "%20"), reach) == b"file"
    head = heads[0].decode("ascii")
    assert head.startswith("GET /%C3%BC?a=b%20c HTTP/1.1\r\n")
    assert f"Host: loop.test:{port}\r\n" in head
    assert "Accept-Encoding: identity\r\n" in head
    assert "cookie" not in head.lower()
    assert "authorization" not in head.lower()
