"""`python -m bench probing`: what looking at its picture costs a valid submit, beside one without.

One server, three tenants, interleaved rounds: media checks off; enforced on a picture that was seen before;
enforced on one that was not, which is fetched from the stand-in on loopback (a range of 64 KiB). What a real
store adds to the last is its own round trip and TLS.
"""

import argparse
import itertools
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.beside import CONNECTIONS, Kind, print_kinds
from bench.children import HOST, Child, Children, RunError, free_port, split_cores
from bench.databases import database_of_its_own
from bench.gateway import SUBMIT, Site, prepare, submit_body
from bench.load import Order
from bench.rounds import measured
from bench.standin import COUNT_PATH, PICTURE_PATH
from bench.targets import wire

_MOST_A_SECOND: Final = 3_000  # different pictures
_OFF, _SEEN, _NEW = "not looked at", "seen before", "not seen before"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this part."""
    parser.add_argument("--seconds", type=float, default=1.0, help="of each kind, loop and round (1)")
    parser.add_argument("--rounds", type=int, default=5, help="to take medians over (5)")
    parser.add_argument("--database", default="sqlite", help="sqlite, postgresql (from its wheel) or a URL")


def main(given: argparse.Namespace) -> list[str]:
    """Measure and print."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reelgate-bench-")))
        database = stack.enter_context(database_of_its_own(given.database, folder))
        children = stack.enter_context(Children())
        served, other = split_cores(pin=True)
        upstream_port = free_port()
        load = children.add(Child("load", ["bench.load"], folder=folder, cores=other, talks=True))
        upstream = Child("standin", ["bench.standin", str(upstream_port)], folder=folder, cores=other)
        children.add(upstream).wait_until_it_answers(upstream_port, COUNT_PATH)
        site = prepare(folder, database, upstream_port, RUN_LOOPS="false", MEDIA_CACHE_S="3600")
        kinds = {_OFF: Kind(site.key), _SEEN: _tenant(site, "seen"), _NEW: _tenant(site, "new")}
        server, port = site.serve(children, "gateway", cores=served)
        numbers = itertools.count()
        for one_round in range(given.rounds + 1):  # the first warms up
            for connections in CONNECTIONS:
                for name, kind in kinds.items():
                    most = int(_MOST_A_SECOND * given.seconds) if name == _NEW else 1
                    picture = f"http://{HOST}:{upstream_port}{PICTURE_PATH}"
                    urls = [f"{picture}?{next(numbers)}" if name == _NEW else picture for _ in range(most)]
                    bodies = (submit_body("a harbour", url) for url in urls)
                    requests = [wire("POST", SUBMIT, kind.bearer, body) for body in bodies]
                    before_s = server.cpu_s()
                    order = Order(port, requests, '"request_id":"', connections, given.seconds)
                    tally = measured(load, order)
                    if tally.errors or tally.requests > most > 1:
                        raise RunError(f"{name}: {tally.requests} answers, {tally.first_error}")
                    if one_round:
                        cpu_us = (server.cpu_s() - before_s) / tally.requests * 1e6
                        kind.tallies.setdefault(connections, []).append((tally, cpu_us))
    print_kinds(kinds)
    return []


def _tenant(site: Site, name: str) -> Kind:
    site.command("tenants", "create", name, "--quiet")
    site.command("tenants", "set-media-checks", name, "enforce")
    return Kind(site.command("keys", "create", "--tenant", name, "--test", "--quiet"))
