"""`python -m bench floor`: how far a submit is from the least that a durable one can cost, on SQLite.

Four servers are compared in interleaved rounds, by their processor time for each request: a bare FastAPI POST
(speed 1), two applications that do nothing but what makes a submit durable (`bench.least`), and the gateway.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from bench.children import Child, Children, RunError, free_port, split_cores
from bench.gateway import SUBMIT, prepare, submit_body
from bench.load import Order
from bench.rounds import measured
from bench.standin import COUNT_PATH
from bench.targets import wire

_BARE: Final = "bare POST (FastAPI)"
_WARM_UP_S: Final = 0.3


class _Server(NamedTuple):
    child: Child
    port: int
    request: str
    cpu_us: list[float]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part of the benchmark."""
    parser.add_argument("--seconds", type=float, default=1.0, help="of each server and round (1)")
    parser.add_argument("--rounds", type=int, default=7, help="to take medians over (7)")
    parser.add_argument("--connections", type=int, default=64, help="requests at a time (64)")


def main(given: argparse.Namespace) -> list[str]:
    """Measures and prints; returns no faults."""
    with tempfile.TemporaryDirectory(prefix="reelgate-bench-") as made, Children() as children:
        servers = _started(Path(made), children)
        load = children.add(Child("load", ["bench.load"], folder=Path(made), cores=_cores()[1], talks=True))
        for server in servers.values():
            _round(load, server, given.connections, _WARM_UP_S)
            server.cpu_us.clear()
        for one_round in range(given.rounds):
            for server in (list if one_round % 2 else reversed)(list(servers.values())):
                _round(load, server, given.connections, given.seconds)
        print(f"{'':44}{'processor µs':>14}{'least':>8}{'speed':>8}")
        bare = servers[_BARE].cpu_us
        for name, server in servers.items():
            speed = statistics.median(one / own for one, own in zip(bare, server.cpu_us, strict=True))
            median_us, least_us = statistics.median(server.cpu_us), min(server.cpu_us)
            print(f"{name:44}{median_us:14.0f}{least_us:8.0f}{speed:8.2f}", flush=True)
    return []


def _cores() -> tuple[frozenset[int], frozenset[int]]:
    return split_cores(pin=True)


def _started(folder: Path, children: Children) -> dict[str, _Server]:
    served, other = _cores()
    upstream_port = free_port()
    upstream = Child("standin", ["bench.standin", str(upstream_port)], folder=folder, cores=other)
    children.add(upstream).wait_until_it_answers(upstream_port, COUNT_PATH)
    body = submit_body("a harbour at dawn, the boats rock gently, slow camera move to the left")
    port = free_port()
    child = children.add(Child("bare", ["bench.baseline", str(port)], folder=folder, cores=served))
    child.wait_until_it_answers(port, "/raw")
    servers = {_BARE: _Server(child, port, wire("POST", "/jobs", "x" * 60, body), [])}
    for name, rows in (("least, two tiny rows", "tiny"), ("least, the rows of a submit", "whole")):
        database, port = folder / f"{rows}.db", free_port()
        if rows == "whole":
            prepare(folder, f"sqlite:///{database}", upstream_port)
        arguments = ["bench.least", str(port), str(upstream_port), str(database), rows]
        child = children.add(Child(rows, arguments, folder=folder, cores=served))
        child.wait_until_it_answers(port, "/")
        servers[name] = _Server(child, port, wire("POST", "/", "x" * 60, body), [])
    site = prepare(folder, f"sqlite:///{folder / 'gateway.db'}", upstream_port)
    child, port = site.serve(children, "gateway", cores=served, RUN_LOOPS="false")
    servers["gateway"] = _Server(child, port, wire("POST", SUBMIT, site.key, body), [])
    return servers


def _round(load: Child, server: _Server, connections: int, seconds: float) -> None:
    before_s = server.child.cpu_s()
    tally = measured(load, Order(server.port, [server.request], '"request_id":"', connections, seconds))
    if tally.errors:
        raise RunError(f"{server.child.name}: {tally.first_error}\n{server.child.tail()}")
    server.cpu_us.append((server.child.cpu_s() - before_s) / tally.requests * 1e6)
