"""`python -m bench following`: one server and ten thousand live generations that the upstream does not end.

Measured beside the same server, in the same run, without any: the event loop's delay, memory and processor
time, and how late a poll is. All generations are due at once when they appear, as after an outage.
"""

import argparse
import base64
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, text

from app.generations.lifecycle import FOLLOWABLE
from bench.children import HOST, Child, Children, Watch, free_port, get, split_cores
from bench.databases import FROM_WHEEL, SQLITE, database_of_its_own, reading, writing
from bench.gateway import finished_job, prepare
from bench.jobs import add_live_jobs
from bench.load import Order, Tally
from bench.rounds import answer, order
from bench.standin import COUNT_PATH

_SAMPLE_S: Final = 1.0
_RATE: Final = 20.0  # requests a second of each kind: one every 50 ms
_CONNECTIONS: Final = 4
_STEADY_S: Final = 5  # seconds after the first round that do not count as steady
_IS_LIVE: Final = "state IN ({})".format(", ".join(f"'{state}'" for state in sorted(FOLLOWABLE)))
_LAG: Final = text(
    f"SELECT min(next_poll_at_ms) FROM generations WHERE credential = 'sandbox' AND {_IS_LIVE}"  # noqa: S608
)
_UNSEEN: Final = text(
    f"SELECT count(*) FROM generations WHERE {_IS_LIVE} AND polled_at_ms IS NULL"  # noqa: S608
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One second of a phase.

    `lag_ms` is how late the latest generation's poll is, `unseen` the number of generations that were never
    polled, `looks` the number of polls from the start.
    """

    at_s: float
    lag_ms: int
    unseen: int
    looks: int
    cpu_s: float
    rss_mib: float


@dataclass(frozen=True, slots=True)
class Phase:
    """The measurements of a period; `livez` and `status` are the callers' view, at 20 requests/s each."""

    seconds: float
    samples: list[Sample]
    livez: Tally
    status: Tally
    others_cpu: float

    def steady(self) -> list[Sample]:
        """Returns the samples after the first round, in which every generation was polled once."""
        rest = [one for one in self.samples if not one.unseen]
        return rest[_STEADY_S:] or self.samples[-1:]

    def rate(self, samples: Sequence[Sample], number: Callable[[Sample], float]) -> float:
        """Returns how fast a number grows, per second."""
        first, last = samples[0], samples[-1]
        return (number(last) - number(first)) / max(last.at_s - first.at_s, _SAMPLE_S)


@dataclass(slots=True)
class Findings:
    """The results of one database's run."""

    database: str
    jobs: int
    idle: Phase
    busy: Phase
    faults: list[str] = field(default_factory=list)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part."""
    parser.add_argument("--jobs", type=int, default=10_000, help="live ones (10,000)")
    parser.add_argument("--seconds", type=float, default=100, help="to follow them for (100)")
    parser.add_argument("--idle", type=float, default=20, help="seconds without any before that (20)")
    parser.add_argument("--oldest", type=float, default=1800, help="seconds since the oldest was made (1800)")
    parser.add_argument(
        "--database",
        action="append",
        help="sqlite, postgresql (from its wheel) or a URL; may be repeated (sqlite and postgresql)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything, with each second")
    parser.add_argument("--no-pin", action="store_true", help="let all processes share all cores")


def main(given: argparse.Namespace) -> list[str]:
    """Measures and prints; returns the faults."""
    found = [_run(given, database) for database in given.database or (SQLITE, FROM_WHEEL)]
    for one in found:
        print(_table(one))
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n", encoding="utf-8")
    return [f"{one.database}: {fault}" for one in found for fault in one.faults]


def _run(given: argparse.Namespace, choice: str) -> Findings:
    served, other = split_cores(pin=not given.no_pin)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reelgate-bench-")))
        database = stack.enter_context(database_of_its_own(choice, folder))
        children = stack.enter_context(Children())
        upstream_port = free_port()
        loads = [
            children.add(Child(f"load-{name}", ["bench.load"], folder=folder, cores=other, talks=True))
            for name in ("livez", "status")
        ]
        upstream = children.add(
            Child("standin", ["bench.standin", str(upstream_port)], folder=folder, cores=other)
        )
        upstream.wait_until_it_answers(upstream_port, COUNT_PATH)
        site = prepare(folder, database, upstream_port)
        server, port = site.serve(children, "gateway", cores=served)
        finished = finished_job(port, site.key)
        orders = _orders(port, site.key, finished)
        look = stack.enter_context(reading(database))
        watched = _Watched(server, upstream, upstream_port, loads, orders, look)
        _say(f"{choice}: no live jobs, {given.idle:g} s")
        idle = watched.phase(given.idle)
        _say(f"{choice}: {given.jobs} live jobs, {given.seconds:g} s")
        with writing(database) as connection:
            add_live_jobs(connection, given.jobs, now_ms=time.time_ns() // 1_000_000, oldest_s=given.oldest)
        findings = Findings(choice.partition(":")[0], given.jobs, idle, watched.phase(given.seconds))
        findings.faults += [
            f"{name}: {tally.errors} errors. {tally.first_error}"
            for name, tally in (("livez", findings.busy.livez), ("status", findings.busy.status))
            if tally.errors
        ]
        if findings.busy.samples[-1].unseen:
            findings.faults.append(f"{findings.busy.samples[-1].unseen} jobs were never looked at")
        site.command("ledger", "verify")
        return findings


@dataclass(frozen=True, slots=True)
class _Watched:
    """A server, and everything that is measured of it."""

    server: Child
    upstream: Child
    upstream_port: int
    loads: list[Child]
    orders: list[Callable[[float], Order]]
    database: Connection

    def phase(self, seconds: float) -> Phase:
        watch = Watch([self.server, self.upstream, *self.loads])
        wanted = [make(seconds) for make in self.orders]
        for load, one in zip(self.loads, wanted, strict=True):
            order(load, one)
        began_s = time.monotonic()
        samples = []
        while (at_s := time.monotonic() - began_s) < seconds:
            samples.append(self._sample(at_s))
            time.sleep(max(0, began_s + len(samples) * _SAMPLE_S - time.monotonic()))
        others_cpu = watch.others_cpu()
        livez, status = (answer(load, one) for load, one in zip(self.loads, wanted, strict=True))
        return Phase(seconds, samples, livez, status, others_cpu)

    def _sample(self, at_s: float) -> Sample:
        first_ms = self.database.execute(_LAG).scalar()
        now_ms = time.time_ns() // 1_000_000
        return Sample(
            at_s,
            0 if first_ms is None else max(0, now_ms - first_ms),
            self.database.execute(_UNSEEN).scalar_one(),
            json.loads(get(self.upstream_port, COUNT_PATH)[1])["looks"],
            self.server.cpu_s(),
            self.server.rss_mib(),
        )


def _orders(port: int, key: str, finished: str) -> list[Callable[[float], Order]]:
    def requests(path: str, expect: str) -> Callable[[float], Order]:
        wire = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        sent = [base64.b64encode(wire).decode()]
        return lambda seconds: Order(port, sent, expect, _CONNECTIONS, seconds, _RATE)

    return [
        requests("/livez", '"status":"ok"'),
        requests(f"/v1/requests/{finished}/status", '"status":"completed"'),
    ]


def _table(found: Findings) -> str:
    idle, busy = found.idle, found.busy
    steady, first = busy.steady(), [one for one in busy.samples if one.unseen]
    lags = [one.lag_ms for one in steady]
    looks_s = busy.rate(steady, lambda one: one.looks)
    rows: list[tuple[str, Any, Any, Any]] = [
        _row("event loop (livez) p50, ms", idle.livez.p50_ms, busy.livez.p50_ms),
        _row("event loop (livez) p99, ms", idle.livez.p99_ms, busy.livez.p99_ms),
        _row("event loop (livez) max, ms", idle.livez.max_ms, busy.livez.max_ms),
        _row("status, finished job, p50, ms", idle.status.p50_ms, busy.status.p50_ms),
        _row("status, finished job, p99, ms", idle.status.p99_ms, busy.status.p99_ms),
        _row("cores, this server", *(one.rate(one.steady(), lambda s: s.cpu_s) for one in (idle, busy))),
        _row("cores, others and PostgreSQL", idle.others_cpu, busy.others_cpu),
        _row("memory at the end, MiB", idle.samples[-1].rss_mib, busy.samples[-1].rss_mib),
    ]
    first_s = first[-1].at_s + _SAMPLE_S if first else 0
    first_looks_s = busy.rate(first or steady, lambda one: one.looks)
    look_ms = busy.rate(steady, lambda one: one.cpu_s) / max(looks_s, 1) * 1000
    grows_ms = busy.rate(steady, lambda one: one.lag_ms)
    by_time = ", ".join(f"{one.at_s:.0f} s {one.lag_ms / 1000:.1f}" for one in busy.samples[::10])
    lines = [
        "",
        f"{found.database}, {found.jobs} live jobs",
        f"{'':34}{'none':>10}{'jobs':>10}{'ratio':>10}",
        *(f"{name:34}{one:10.2f}{other:10.2f}{ratio:>10}" for name, one, other, ratio in rows),
        f"first round: {first_s:.0f} s, {first_looks_s:.0f} looks a second",
        f"after it: {looks_s:.0f} looks a second, {looks_s / found.jobs * 60:.2f} for a job in a minute",
        f"processor: {look_ms:.2f} ms for a look",
        f"lag after it, ms: median {statistics.median(lags):.0f}, most {max(lags)}, +{grows_ms:.1f} a second",
        f"memory after it: {steady[0].rss_mib:.0f} → {steady[-1].rss_mib:.0f} MiB",
        f"lag by time, s: {by_time}",
    ]
    return "\n".join(lines)


def _row(name: str, one: float, other: float) -> tuple[str, float, float, str]:
    return name, one, other, f"{other / one:.1f}" if one else ""


def _say(line: str) -> None:
    print(line, file=sys.stderr)
