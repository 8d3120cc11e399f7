"""`python -m bench rates`: submits at fixed rates, of many tenants, on several servers, for a long time.

Each round is an open loop at a rate, which counts latency from when a submit was due, or with `--rate 0` a
closed loop of 64 connections to each server. Several servers share the database, and the rate between them.
The processor's time is that of all servers together; bare POSTs are measured between the rounds.
"""

import argparse
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import text

from app.auth import keys, tenants
from app.db.engines.engine import is_sqlite
from bench.children import Child, Children, Watch, free_port, split_cores
from bench.databases import SQLITE, database_of_its_own, reading, writing
from bench.gateway import SUBMIT, Site, prepare, submit_body
from bench.load import Order, Tally
from bench.rounds import answer, measured, order
from bench.standin import COUNT_PATH
from bench.targets import wire

_CONNECTIONS: Final = 64
_BARE_S: Final = 0.5
_HEAD: Final = (
    f"{'rate':>7}{'req/s':>8}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'cpu µs':>8}{'bare':>6}{'ratio':>7}"
)


@dataclass(frozen=True, slots=True)
class _Stage:
    """The servers, each with the load generator that asks it, and the bare route with one of them."""

    servers: list[tuple[Child, int]]
    loads: list[Child]
    bare: Child
    bare_port: int
    key: str

    def cpu_s(self) -> float:
        return sum(server.cpu_s() for server, _ in self.servers)

    def bare_us(self) -> float:
        """Returns the processor's time for a bare POST."""
        before_s = self.bare.cpu_s()
        wanted = Order(self.bare_port, [_post("/jobs", self.key)], '"members":4', 16, _BARE_S)
        done = measured(self.loads[0], wanted).requests
        return (self.bare.cpu_s() - before_s) / max(1, done) * 1e6

    def round(self, requests: list[str], rate: float, seconds: float) -> list[Tally]:
        """Asks all servers at once; the rate is shared between them."""
        each = rate / len(self.servers) or None
        orders = [
            Order(port, requests, '"request_id":"', _CONNECTIONS, seconds, each) for _, port in self.servers
        ]
        for load, wanted in zip(self.loads, orders, strict=True):
            order(load, wanted)
        return [answer(load, wanted) for load, wanted in zip(self.loads, orders, strict=True)]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part."""
    parser.add_argument(
        "--rate", type=float, action="append", help="a second (200 and 1,000); 0: as many as go"
    )
    parser.add_argument("--seconds", type=float, default=10, help="of each round, at most 60 (10)")
    parser.add_argument("--rounds", type=int, default=1, help="at each rate (1)")
    parser.add_argument("--tenants", type=int, default=1, help="who submit in turn (1)")
    parser.add_argument(
        "--servers", type=int, default=1, help="on one database, of PostgreSQL if several (1)"
    )
    parser.add_argument("--database", default=SQLITE, help="sqlite, postgresql (from its wheel) or a URL")
    parser.add_argument("--loops", action="store_true", help="let the servers follow what was submitted")


def main(given: argparse.Namespace) -> list[str]:
    """Measures and prints; returns the faults."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reelgate-bench-")))
        database = stack.enter_context(database_of_its_own(given.database, folder))
        children = stack.enter_context(Children())
        cores, other = split_cores(pin=given.servers == 1)
        upstream_port = free_port()
        upstream = Child("standin", ["bench.standin", str(upstream_port)], folder=folder, cores=other)
        children.add(upstream).wait_until_it_answers(upstream_port, COUNT_PATH)
        site = prepare(folder, database, upstream_port, RUN_LOOPS=str(given.loops).lower())
        requests = [_post(SUBMIT, key) for key in [site.key, *_more_keys(site, given.tenants - 1)]]
        faults = _run(given, _staged(children, site, given.servers, cores, other), requests)
        if not is_sqlite(database):
            with reading(database) as connection:
                known = (
                    "SELECT deadlocks, xact_rollback FROM pg_stat_database WHERE datname = current_database()"
                )
                deadlocks, rollbacks = connection.execute(text(known)).one()
            print(f"deadlocks: {deadlocks}; transactions rolled back: {rollbacks}")
        site.command("ledger", "verify")
        return faults


def _staged(
    children: Children, site: Site, servers: int, cores: frozenset[int], other: frozenset[int]
) -> _Stage:
    bare_port = free_port()
    bare = children.add(
        Child("baseline", ["bench.baseline", str(bare_port)], folder=site.folder, cores=cores)
    )
    bare.wait_until_it_answers(bare_port, "/")
    names = range(servers)
    return _Stage(
        [site.serve(children, f"gateway-{name}", cores=cores) for name in names],
        [
            children.add(Child(f"load-{name}", ["bench.load"], folder=site.folder, cores=other, talks=True))
            for name in names
        ],
        bare,
        bare_port,
        site.key,
    )


def _run(given: argparse.Namespace, stage: _Stage, requests: list[str]) -> list[str]:
    faults = []
    print(
        f"{given.database}, {given.servers} server(s), {given.tenants} tenant(s), {given.seconds:g} s a round"
    )
    print(_HEAD, "   MiB  others")
    stage.round(requests, 0, 1)  # a warm-up
    for rate in given.rate or (200.0, 1000.0):
        for _ in range(given.rounds):
            bare_us, before_s = stage.bare_us(), stage.cpu_s()
            watch = Watch([*(server for server, _ in stage.servers), *stage.loads])
            tallies = stage.round(requests, rate, given.seconds)
            done = sum(one.requests for one in tallies)
            cpu_us = (stage.cpu_s() - before_s) / max(1, done) * 1e6
            p50_ms = statistics.median(one.p50_ms for one in tallies)
            p99_ms, max_ms = max(one.p99_ms for one in tallies), max(one.max_ms for one in tallies)
            ratio = bare_us / cpu_us
            rss = "+".join(f"{server.rss_mib():.0f}" for server, _ in stage.servers)
            print(
                f"{rate:7.0f}{done / given.seconds:8.0f}{p50_ms:9.2f}{p99_ms:9.2f}{max_ms:9.1f}{cpu_us:8.0f}"
                f"{bare_us:6.0f}{ratio:7.3f}   {rss}  {watch.others_cpu():.2f}"
                f"  load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
            faults += [f"{rate:g}/s: {one.first_error}" for one in tallies if one.errors]
    return faults


def _more_keys(site: Site, count: int) -> list[str]:
    """Makes tenants with a key each, and returns the keys."""
    now_ms = time.time_ns() // 1_000_000
    pepper = site.environment["REELGATE_PEPPER"]
    made = []
    if count:
        with writing(site.database) as connection:
            for number in range(count):
                tenant = tenants.create(connection, f"bench-{number}", now_ms=now_ms)
                _, key = keys.create(
                    connection, tenant.id, mode="test", name="", pepper=pepper, now_ms=now_ms
                )
                made.append(key)
    return made


def _post(path: str, key: str) -> str:
    return wire("POST", path, key, submit_body("a harbour at dawn, the boats rock gently"))
