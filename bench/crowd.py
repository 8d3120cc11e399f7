"""`python -m bench crowd`: what an event costs a server for each of a thousand subscribers to it.

All of them have a stream of the tenant's events. The processor's time of the submits that cause the events is
measured before, without subscribers, and subtracted.
"""

import argparse
import asyncio
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.children import HOST, Child, Children, RunError, free_port, split_cores
from bench.databases import SQLITE, database_of_its_own
from bench.gateway import prepare, submit
from bench.standin import COUNT_PATH

_PATIENCE_S: Final = 60.0
_PAUSE_S: Final = 0.05  # between two submits, so that their events do not come together
_EVENTS: Final = 2  # of one submit: it is being sent, and it is in RunComfy's queue
_EVENT: Final = b"event: state"


class Subscriber(asyncio.Protocol):
    """Counts the events of a stream."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._end = b""
        self.events = 0
        self.opened = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks for the stream."""
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Counts what came."""
        if not self.opened.done():
            self.opened.set_result(data.startswith(b"HTTP/1.1 200 "))
        self.events += (self._end + data).count(_EVENT)
        self._end = data[1 - len(_EVENT) :]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part."""
    parser.add_argument("--subscribers", type=int, default=1000, help="to a tenant's events (1000)")
    parser.add_argument("--submits", type=int, default=40, help="each of which makes two events (40)")
    parser.add_argument("--database", default=SQLITE, help="sqlite, postgresql (from its wheel) or a URL")


def main(given: argparse.Namespace) -> list[str]:
    """Measures and prints; returns no faults."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reelgate-bench-")))
        database = stack.enter_context(database_of_its_own(given.database, folder))
        children = stack.enter_context(Children())
        served, other = split_cores(pin=True)
        upstream_port = free_port()
        upstream = Child("standin", ["bench.standin", str(upstream_port)], folder=folder, cores=other)
        children.add(upstream).wait_until_it_answers(upstream_port, COUNT_PATH)
        limit = {"STREAMS_PER_TENANT": str(given.subscribers + 1)}
        site = prepare(folder, database, upstream_port, RUN_LOOPS="false", **limit)
        server, port = site.serve(children, "gateway", cores=served)
        asyncio.run(_run(given, server, port, site.key))
    return []


async def _run(given: argparse.Namespace, server: Child, port: int, key: str) -> None:
    await _submits(5, port, key)
    alone_s = server.cpu_s()
    await _submits(given.submits, port, key)
    alone_s = server.cpu_s() - alone_s
    request = f"GET /v1/events HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    subscribers = [
        (await loop.create_connection(lambda: Subscriber(request), HOST, port))[1]
        for _ in range(given.subscribers)
    ]
    if not all(await asyncio.gather(*(one.opened for one in subscribers))):
        raise RunError("not every stream was opened")
    await asyncio.sleep(1)
    crowd_s = server.cpu_s()
    began_s = time.monotonic()
    await _submits(given.submits, port, key)
    wanted = given.submits * _EVENTS
    while min(one.events for one in subscribers) < wanted:
        if time.monotonic() - began_s > _PATIENCE_S:
            raise RunError(f"not every event was seen within {_PATIENCE_S:g} s")
        await asyncio.sleep(0.05)
    crowd_s = server.cpu_s() - crowd_s
    each_us = (crowd_s - alone_s) / (wanted * given.subscribers) * 1e6
    print(f"{given.subscribers} subscribers, {wanted} events, {given.database}")
    print(f"processor without subscribers {alone_s:.2f} s, with them {crowd_s:.2f} s")
    print(f"for an event and a subscriber: {each_us:.1f} us; {server.rss_mib():.0f} MiB")


async def _submits(count: int, port: int, key: str) -> None:
    for _ in range(count):
        await asyncio.to_thread(submit, port, key, "a harbour")
        await asyncio.sleep(_PAUSE_S)
