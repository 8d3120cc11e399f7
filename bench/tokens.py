"""`python -m bench tokens`: what a submit with a client token costs, beside one with its API key.

One server, one tenant, interleaved rounds: the key; a token without a budget; one with a budget and an end
user who has a limit, which counts in half as many sums again.
"""

import argparse
import json
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from bench.beside import CONNECTIONS, Kind, print_kinds
from bench.children import HOST, Child, Children, RunError, free_port, split_cores
from bench.databases import database_of_its_own
from bench.gateway import SUBMIT, prepare, submit_body
from bench.load import Order
from bench.rounds import measured
from bench.standin import COUNT_PATH, PICTURE_PATH
from bench.targets import wire

_KEY, _PLAIN, _FULL = "API key", "client token", "with budget and end user"
_UNLIMITED: Final = {"TOKEN_CALLS_PER_MINUTE": "0"}
_SCOPES: Final = ("--scope", "submit", "--scope", "read", "--scope", "tokens:create")


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
        site = prepare(folder, database, upstream_port, RUN_LOOPS="false", **_UNLIMITED)
        site.command("tenants", "create", "pages", "--quiet")
        site.command("tenants", "set-media-checks", "pages", "off")
        key = site.command("keys", "create", "--tenant", "pages", "--test", "--quiet", *_SCOPES)
        site.command(
            "limits", "set", "--tenant", "pages", "--test", "--end-user", "*", "generations-day=900000"
        )
        server, port = site.serve(children, "gateway", cores=served)
        kinds = {
            _KEY: Kind(key),
            _PLAIN: Kind(_token(port, key)),
            _FULL: Kind(_token(port, key, most_generations=900_000_000, end_user="user-1")),
        }
        picture = f"http://{HOST}:{upstream_port}{PICTURE_PATH}"
        for one_round in range(given.rounds + 1):  # the first warms up
            for connections in CONNECTIONS:
                for name, kind in kinds.items():
                    requests = [wire("POST", SUBMIT, kind.bearer, submit_body("a harbour", picture))]
                    before_s = server.cpu_s()
                    order = Order(port, requests, '"request_id":"', connections, given.seconds)
                    tally = measured(load, order)
                    if tally.errors:
                        raise RunError(f"{name}: {tally.first_error}")
                    if one_round:
                        cpu_us = (server.cpu_s() - before_s) / tally.requests * 1e6
                        kind.tallies.setdefault(connections, []).append((tally, cpu_us))
    print_kinds(kinds)
    return []


def _token(port: int, key: str, **terms: Any) -> str:
    request = urllib.request.Request(
        f"http://{HOST}:{port}/v1/client-tokens",
        json.dumps({"lifetime_s": 3600, **terms}).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        return str(json.loads(answer.read())["token"])
