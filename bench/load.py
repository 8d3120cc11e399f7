"""The load generator, a process of its own: `python -m bench.load` reads JSON commands, and writes results.

Each is one line. It uses raw asyncio protocols with keep-alive on uvloop, formats requests beforehand, and
parses only the status and `Content-Length` of responses. A connection has one request at a time.

Closed loop: each connection sends its next request when the last one is answered, and latency counts from the
sending. Open loop: requests become due at a fixed rate whatever the server does, and latency counts from the
moment when each was due, also while it waits for a free connection, so that a stalled server cannot slow down
the generator that measures it (coordinated omission).
"""

import asyncio
import base64
import gc
import itertools
import json
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop

from bench.children import HOST

MAX_REQUESTS = 1_000_000  # in one round, whatever the other bounds allow
GRACE_S = 10.0  # for responses that are outstanding at the end of a round
_DONE = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Order:
    """One round to run; a `rate` (per second) makes it an open loop; every response must contain `expect`."""

    port: int
    requests: list[str]  # base64
    expect: str
    connections: int
    seconds: float
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """The measurements of a round. `late_p99_ms` is how late this generator itself was in an open loop."""

    requests: int
    errors: int
    first_error: str
    seconds: float
    rps: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    late_p99_ms: float


@dataclass(slots=True)
class Round:
    """A round that is running."""

    order: Order
    requests: Iterator[bytes]
    expect: bytes
    done: "asyncio.Future[None]"
    latencies_s: list[float] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    errors: int = 0
    first_error: str = ""
    in_flight: int = 0
    ends_s: float = 0.0
    due: deque[float] = field(default_factory=deque)
    idle: "deque[Connection]" = field(default_factory=deque)
    all_due: bool = False

    def answered(self, connection: "Connection", fault: str) -> None:
        """Records a complete response; the connection is free again."""
        now_s = time.perf_counter()
        self.in_flight -= 1
        if fault:
            self.failed(fault)
        else:
            self.latencies_s.append(now_s - connection.since_s)
        if self.order.rate is not None:
            self.idle.append(connection)
            self.send_due()
        elif now_s < self.ends_s and len(self.latencies_s) + self.errors < MAX_REQUESTS:
            self.send(connection, now_s)
        self.finish_if_over()

    def failed(self, fault: str) -> None:
        """Counts an error, and keeps the text of the first."""
        self.errors += 1
        self.first_error = self.first_error or fault

    def lost(self, connection: "Connection", *, waiting: bool) -> None:
        """Records that the server closed a connection."""
        if self.done.done():
            return
        self.failed("the server closed a connection")
        if waiting:
            self.in_flight -= 1
        elif connection in self.idle:
            self.idle.remove(connection)
        self.finish_if_over()

    def send(self, connection: "Connection", since_s: float) -> None:
        """Sends the next request, whose latency counts from `since_s`."""
        self.in_flight += 1
        connection.send(next(self.requests), since_s)

    def arrive(self, due_s: float) -> None:
        """Records that a request is due, in an open loop."""
        self.late_s.append(time.perf_counter() - due_s)
        self.due.append(due_s)
        self.send_due()

    def send_due(self) -> None:
        """Sends due requests on the connections that are free."""
        while self.due and self.idle:
            self.send(self.idle.popleft(), self.due.popleft())

    def no_more_due(self) -> None:
        """Records that the last request has become due, in an open loop."""
        self.all_due = True
        self.finish_if_over()

    def finish_if_over(self) -> None:
        """Ends the round once nothing is outstanding."""
        sending_is_over = self.order.rate is None or (self.all_due and not self.due)
        if self.in_flight == 0 and sending_is_over and not self.done.done():
            self.done.set_result(None)


class Connection(asyncio.Protocol):
    """A keep-alive connection with at most one request in progress."""

    __slots__ = ("_buffer", "_round", "_transport", "_waiting", "since_s")

    def __init__(self, one_round: Round) -> None:
        self._round = one_round
        self._buffer = b""
        self._waiting = False
        self._transport: asyncio.Transport | None = None
        self.since_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Stores the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _error: Exception | None) -> None:
        """Reports the loss: within a round the server has no reason to close."""
        self._round.lost(self, waiting=self._waiting)

    def send(self, request: bytes, since_s: float) -> None:
        """Sends one request."""
        self.since_s = since_s
        self._waiting = True
        if self._transport is not None:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Collects the response, and checks it when it is complete."""
        if self._buffer:
            data = self._buffer + data
        head_ends = data.find(_DONE)
        total = None if head_ends < 0 else head_ends + 4 + _content_length(data[:head_ends])
        if total is None or len(data) < total:
            self._buffer = data
            return
        self._buffer = b""
        self._waiting = False
        right = data.startswith(b"HTTP/1.1 200 ") and len(data) == total and self._round.expect in data
        self._round.answered(self, "" if right else data[:300].decode("utf-8", "replace"))

    def close(self) -> None:
        """Closes the connection."""
        if self._transport is not None:
            self._transport.abort()


def _content_length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.find(b"\r\ncontent-length:")
    if at < 0:
        return 0
    return int(lowered[at + 17 :].split(b"\r\n", 1)[0])


async def run(order: Order) -> Tally:
    """Runs one round."""
    loop = asyncio.get_running_loop()
    requests = itertools.cycle([base64.b64decode(one) for one in order.requests])
    one_round = Round(order, requests, order.expect.encode(), loop.create_future())
    connections: list[Connection] = []
    for _ in range(order.connections):
        _, connection = await loop.create_connection(lambda: Connection(one_round), HOST, order.port)
        connections.append(connection)
    started_s = time.perf_counter()
    one_round.ends_s = started_s + order.seconds
    if order.rate is None:
        for connection in connections:
            one_round.send(connection, time.perf_counter())
    else:
        one_round.idle.extend(connections)
        count = min(MAX_REQUESTS, max(1, round(order.rate * order.seconds)))
        threading.Thread(target=_pace, args=(loop, one_round, order.rate, count), daemon=True).start()
    try:
        await asyncio.wait_for(one_round.done, order.seconds + GRACE_S)
    except TimeoutError:
        one_round.errors += one_round.in_flight + len(one_round.due)
        one_round.first_error = one_round.first_error or f"no answer within {GRACE_S:.0f} s"
    took_s = time.perf_counter() - started_s
    one_round.done.cancel()
    for connection in connections:
        connection.close()
    return _tally(one_round, took_s)


def _pace(loop: asyncio.AbstractEventLoop, one_round: Round, rate: float, count: int) -> None:
    """Announces each request when it is due.

    It runs in a thread, because an event loop's timers are only accurate to a millisecond.
    """
    first_s = time.perf_counter() + 0.001
    for number in range(count):
        due_s = first_s + number / rate
        pause_s = due_s - time.perf_counter()
        if pause_s > 0:
            time.sleep(pause_s)
        loop.call_soon_threadsafe(one_round.arrive, due_s)
    loop.call_soon_threadsafe(one_round.no_more_due)


def _tally(one_round: Round, took_s: float) -> Tally:
    latencies_s = sorted(one_round.latencies_s)
    count = len(latencies_s)
    return Tally(
        requests=count,
        errors=one_round.errors,
        first_error=one_round.first_error,
        seconds=took_s,
        rps=count / took_s,
        p50_ms=_percentile_ms(latencies_s, 0.5),
        p99_ms=_percentile_ms(latencies_s, 0.99),
        max_ms=_percentile_ms(latencies_s, 1.0),
        late_p99_ms=_percentile_ms(sorted(one_round.late_s), 0.99),
    )


def _percentile_ms(ordered_s: list[float], share: float) -> float:
    """Returns the nearest-rank percentile; 0 where there are no values."""
    return ordered_s[math.ceil(share * len(ordered_s)) - 1] * 1000 if ordered_s else 0.0


def main() -> None:
    """Runs the ordered rounds until standard input ends."""
    gc.disable()  # pauses of garbage collection would be counted as the server's
    for line in sys.stdin:
        tally = uvloop.run(run(Order(**json.loads(line))))
        gc.collect()
        print(json.dumps(asdict(tally)), flush=True)


if __name__ == "__main__":
    main()
