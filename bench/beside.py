"""Measures kinds of submits beside one another, in interleaved rounds: the first kind is the baseline."""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.children import Child, Children, RunError, free_port, split_cores
from bench.databases import database_of_its_own
from bench.gateway import SUBMIT, Site, prepare
from bench.load import Order, Tally
from bench.rounds import measured
from bench.standin import COUNT_PATH
from bench.targets import wire

CONNECTIONS: Final = (1, 16)


@dataclass(slots=True)
class Kind:
    """One kind of submit: its bearer token, and its measurements by number of connections.

    A measurement is the tally of a round, and the server's processor time for one request in microseconds.
    """

    bearer: str
    tallies: dict[int, list[tuple[Tally, float]]] = field(default_factory=dict)


@dataclass(slots=True)
class Stage:
    """A prepared database, a stand-in for RunComfy and a load generator; `serve` starts the server."""

    site: Site
    upstream_port: int
    _children: Children
    _cores: tuple[frozenset[int], Child]
    port: int = 0
    _server: Child | None = None

    def serve(self) -> None:
        """Starts the gateway, on `port`."""
        self._server, self.port = self.site.serve(self._children, "gateway", cores=self._cores[0])

    @property
    def load(self) -> Child:
        """The load generator."""
        return self._cores[1]

    def cpu_s(self) -> float:
        """Returns the processor time in seconds that the server has used."""
        if self._server is None:
            raise RunError("nothing is served")
        return self._server.cpu_s()

    def run(
        self, given: argparse.Namespace, kinds: Mapping[str, Kind], bodies_of: Callable[[str], list[bytes]]
    ) -> None:
        """Runs all rounds.

        A kind with one body sends it again and again; one with several sends each of them once.
        """
        server, load = self._server, self._cores[1]
        if server is None:
            raise RunError("nothing is served")
        for one_round in range(given.rounds + 1):  # the first round warms up, and is not counted
            for connections in CONNECTIONS:
                for name, kind in kinds.items():
                    requests = [wire("POST", SUBMIT, kind.bearer, body) for body in bodies_of(name)]
                    before_s = server.cpu_s()
                    order = Order(self.port, requests, '"request_id":"', connections, given.seconds)
                    tally = measured(load, order)
                    if tally.errors or tally.requests > len(requests) > 1:
                        raise RunError(f"{name}: {tally.requests} answers, {tally.first_error}")
                    if one_round:
                        cpu_us = (server.cpu_s() - before_s) / tally.requests * 1e6
                        kind.tallies.setdefault(connections, []).append((tally, cpu_us))


@contextmanager
def staged(given: argparse.Namespace, **settings: str) -> Iterator[Stage]:
    """Prepares everything but the server, which starts once the caller has created the tenants."""
    with (
        tempfile.TemporaryDirectory(prefix="reelgate-bench-") as made,
        database_of_its_own(given.database, Path(made)) as database,
        Children() as children,
    ):
        folder = Path(made)
        served, other = split_cores(pin=True)
        upstream_port = free_port()
        load = children.add(Child("load", ["bench.load"], folder=folder, cores=other, talks=True))
        upstream = Child("standin", ["bench.standin", str(upstream_port)], folder=folder, cores=other)
        children.add(upstream).wait_until_it_answers(upstream_port, COUNT_PATH)
        site = prepare(folder, database, upstream_port, RUN_LOOPS="false", **settings)
        yield Stage(site, upstream_port, children, (served, load))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that such a part has."""
    parser.add_argument("--seconds", type=float, default=1.0, help="of each kind, loop and round (1)")
    parser.add_argument("--rounds", type=int, default=5, help="to take medians over (5)")
    parser.add_argument("--database", default="sqlite", help="sqlite, postgresql (from its wheel) or a URL")


def print_kinds(kinds: dict[str, Kind]) -> None:
    """Prints a table for each number of connections, with medians over the rounds."""
    first = next(iter(kinds.values()))
    for connections in CONNECTIONS:
        title = f"{connections} connections"
        print(f"\n{title:26}{'submits/s':>12}{'median ms':>12}{'p99 ms':>10}{'cpu us':>10}")
        base = first.tallies[connections]
        for name, kind in kinds.items():
            tallies = kind.tallies[connections]
            rps, p50, p99 = (
                statistics.median(getattr(one, what) for one, _ in tallies)
                for what in ("rps", "p50_ms", "p99_ms")
            )
            cpu_us = statistics.median(cpu for _, cpu in tallies)
            ratio = statistics.median(
                one.rps / other.rps for (one, _), (other, _) in zip(tallies, base, strict=True)
            )
            print(f"{name:26}{rps:12.0f}{p50:12.2f}{p99:10.2f}{cpu_us:10.0f}   x{ratio:.2f}")
