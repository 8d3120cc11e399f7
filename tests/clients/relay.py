"""A bad network between a client library and the gateway: an HTTP relay that fails as it is told.

Each connection carries one call, unless its fault is `stale`. A plan is a list of faults: the n-th call that
`only` matches meets the n-th of them, and every other call meets none.

    python -m tests.clients.relay --target http://127.0.0.1:8700 --plan cut-after,drip --only '^POST '

prints one line of JSON with its `url`, and ends when its standard input does. A program in any language
drives it over HTTP: `PUT /-relay {"plan": ["drop"], "only": "^POST "}` sets a plan, `GET /-relay` tells what
was met.
"""

import argparse
import asyncio
import json
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

FAULTS: Final = {
    "pass": "nothing is wrong",
    "refuse": "the connection is closed before anything of the call is passed on",
    "cut-sent": "the call is passed on, and the connection closed without waiting for the answer",
    "cut-after": "the answer has come from the gateway, and is lost: the connection is closed without it",
    "cut-half": "half of the answer is passed on, then the connection is closed",
    "reset": "as cut-after, by a TCP reset",
    "drop": "the answer is lost, and the connection stays open: only the client's own timeout ends it",
    "bad-gateway": "the answer is lost, and a proxy's page with status 502 comes in its place",
    "drip": "the answer comes in pieces of a few bytes",
    "stale": "the answer comes; the connection is closed when the client uses it for its next call",
    "restart": "the answer is lost, and the gateway is stopped and started again",
}
_CONTROL: Final = "/-relay"
_MAX_HEAD: Final = 65_536
_PIECE: Final = 7
_PROXY_PAGE: Final = (
    b"HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 20\r\nconnection: close\r\n\r\n"
    b"<h1>Bad Gateway</h1>"
)


@dataclass
class Relay:
    """`met` has every call (method and path) with its fault, in order; `restart` is called for that fault."""

    target: str
    restart: Callable[[], None] | None = None
    plan: list[str] = field(default_factory=list)
    only: str = ""
    met: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0
    _restarting: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fail(self, *plan: str, only: str = "") -> None:
        """Begin a new plan, and forget what was met."""
        unknown = set(plan) - FAULTS.keys()
        if unknown:
            raise ValueError(f"no such faults: {', '.join(sorted(unknown))}")
        self.plan, self.only, self.met = list(plan), only, []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            try:
                while await self._call(reader, writer):
                    pass
            finally:
                await _closed(writer)

    async def _call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Relay one call; whether the connection is kept for another."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length[1])) if length else b""
        line = head.split(b"\r\n", 1)[0].decode("latin-1").rpartition(" ")[0]
        if line.endswith(_CONTROL):
            writer.write(self._controlled(line, body))
            await writer.drain()
            return False
        fault = self.plan.pop(0) if self.plan and re.search(self.only, line) else "pass"
        self.met.append((line, fault))
        if fault == "refuse":
            return False
        async with self._restarting:  # a gateway that is away just now is waited for, as proxies do
            far_reader, far_writer = await asyncio.open_connection(*_address(self.target))
        try:
            far_writer.write(_closing(head) + body)
            await far_writer.drain()
            return await self._answer(fault, far_reader, reader, writer)
        finally:
            await _closed(far_writer)

    async def _answer(
        self,
        fault: str,
        far: asyncio.StreamReader,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        if fault == "cut-sent":
            writer.close()  # the gateway's side stays open, as behind a proxy, until it has answered
            await far.read()
            return False
        if fault in {"pass", "drip"}:
            await _pass_on(far, writer, is_dripping=fault == "drip")
            return False
        answer = await far.read()
        match fault:
            case "cut-half":
                writer.write(answer[: len(answer) // 2])
                await writer.drain()
            case "reset":
                writer.transport.abort()
            case "drop":
                await reader.read()
            case "bad-gateway":
                writer.write(_PROXY_PAGE)
                await writer.drain()
            case "stale":
                writer.write(re.sub(rb"(?i)\r\nconnection: close", b"", answer, count=1))
                await writer.drain()
                await reader.read(1)
            case "restart":
                await self._restart()
        return False

    async def _restart(self) -> None:
        if self.restart is None:
            raise ValueError("this relay was not told how to restart the gateway")
        async with self._restarting:
            await asyncio.to_thread(self.restart)

    def _controlled(self, line: str, body: bytes) -> bytes:
        status = "200 OK"
        answer = {"plan": self.plan, "only": self.only, "met": self.met}
        if not line.startswith("GET "):
            try:
                wanted = json.loads(body)
                self.fail(*wanted["plan"], only=wanted.get("only", ""))
            except (ValueError, KeyError, TypeError) as error:
                status, answer = "400 Bad Request", {"error": str(error)}
            else:
                answer = {"plan": self.plan, "only": self.only, "met": []}
        text = json.dumps(answer).encode()
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n"
        return head.encode() + b"access-control-allow-origin: *\r\nconnection: close\r\n\r\n" + text


async def _pass_on(far: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_dripping: bool) -> None:
    while data := await far.read(_PIECE if is_dripping else _MAX_HEAD):
        writer.write(data)
        await writer.drain()
        if is_dripping:
            await asyncio.sleep(0.0005)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def _closing(head: bytes) -> bytes:
    """The head with which the gateway closes the connection after its answer, so that its end is seen."""
    kept = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head)
    return kept.removesuffix(b"\r\n") + b"connection: close\r\n\r\n"


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


@contextmanager
def relaying(target: str, restart: Callable[[], None] | None = None) -> Iterator[Relay]:
    """A relay in a thread of its own, until the block ends."""
    relay = Relay(target, restart)
    ready, loop = threading.Event(), asyncio.new_event_loop()
    over = asyncio.Event()

    async def run() -> None:
        await _serve(relay, 0, ready.set, over.wait())
        # A connection that was accepted just now starts its task a moment later.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for one in others:
                one.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    ready.wait()
    try:
        yield relay
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


async def _serve(relay: Relay, port: int, ready: Callable[[], object], over: Awaitable[object]) -> None:
    server = await asyncio.start_server(relay.handle, "127.0.0.1", port, limit=_MAX_HEAD)
    relay.port = server.sockets[0].getsockname()[1]
    ready()
    await over
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--target", required=True, help="the gateway's address")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--plan", default="", help=f"faults with commas between: {', '.join(FAULTS)}")
    parser.add_argument("--only", default="", help="a pattern of the calls that meet them, such as ^POST")
    parser.add_argument("--restart", help="a command that restarts the gateway, and ends once it is ready")
    given = parser.parse_args()
    command = shlex.split(given.restart or "")
    relay = Relay(given.target, (lambda: _run(command)) if command else None)
    relay.fail(*filter(None, given.plan.split(",")), only=given.only)

    def tell() -> None:
        print(json.dumps({"url": relay.url}), flush=True)  # noqa: T201 - its one line

    asyncio.run(_serve(relay, given.port, tell, asyncio.to_thread(sys.stdin.read)))


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
