"""`python -m bench resting`: what a server at rest costs, its start and memory, and what commands cost."""

import argparse
import resource
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.children import Child, Children, free_port, split_cores
from bench.databases import SQLITE, database_of_its_own
from bench.gateway import Site, prepare
from bench.standin import COUNT_PATH

_SETTLES_S: Final = 3.0  # after the start, before rest is measured
_COMMANDS: Final = ("tenants list", "keys list", "ledger list", "limits list --tenant bench")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part."""
    parser.add_argument("--seconds", type=float, default=30, help="for which a server rests (30)")
    parser.add_argument("--database", default=SQLITE, help="sqlite, postgresql (from its wheel) or a URL")


def main(given: argparse.Namespace) -> list[str]:
    """Measures and prints; returns no faults."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reelgate-bench-")))
        database = stack.enter_context(database_of_its_own(given.database, folder))
        children = stack.enter_context(Children())
        cores, other = split_cores(pin=True)
        upstream_port = free_port()
        upstream = Child("standin", ["bench.standin", str(upstream_port)], folder=folder, cores=other)
        children.add(upstream).wait_until_it_answers(upstream_port, COUNT_PATH)
        site = prepare(folder, database, upstream_port)
        for loops in ("true", "false"):
            began_s = time.monotonic()
            server, _ = site.serve(children, f"gateway-{loops}", cores=cores, RUN_LOOPS=loops)
            ready_s, start_s = time.monotonic() - began_s, server.cpu_s()
            time.sleep(_SETTLES_S)
            before_s = server.cpu_s()
            time.sleep(given.seconds)
            rest = (server.cpu_s() - before_s) / given.seconds
            print(f"server, {given.database}, loops {loops}: at rest {rest:.2%} of a core;", end=" ")
            print(f"ready after {ready_s:.2f} s, {start_s:.2f} s of processor; {server.rss_mib():.0f} MiB")
            server.stop()
        for command in _COMMANDS:
            used_s = min(_processor_s(site, command) for _ in range(5))
            print(f"reelgate {command}: {used_s:.2f} s of processor")
    return []


def _processor_s(site: Site, command: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    site.command(*command.split())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
