"""`python -m bench metering`: what metrics cost a call, as a share of the processor that the call takes.

A server answers calls of each kind. How many things it notes for one is read from `/metrics` before and
after: counters grow by what was counted, and histograms by what was timed. What noting one takes is measured
here, with the meters of the server. A scrape is measured by itself.
"""

import argparse
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from app.kit.meters import CallMeter, Tally
from bench.beside import Stage, staged
from bench.children import RunError, get
from bench.gateway import SUBMIT, finished_job, submit_body
from bench.load import Order
from bench.rounds import measured
from bench.targets import wire

_TOKEN: Final = "for-the-bench-alone"  # noqa: S105 - of a server that lives for a minute
_ALLOWED: Final = 0.05
_NOTES: Final = 100_000
_CONNECTIONS: Final = 64
_EVERY_S: Final = 15  # between two scrapes
_SCRAPES: Final = 50
_COUNTED: Final = re.compile(r"^(reelgate_\w+_(?:total|count))(?:\{.*\})? ([0-9.e+]+)$", re.MULTILINE)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part."""
    parser.add_argument("--seconds", type=float, default=2.0, help="of each kind and round (2)")
    parser.add_argument("--rounds", type=int, default=3, help="to take medians over (3)")
    parser.add_argument("--database", default="sqlite", help="sqlite, postgresql (from its wheel) or a URL")


def main(given: argparse.Namespace) -> list[str]:
    """Measures and prints; returns which kinds of call cost more than is allowed."""
    counting_us, timing_us = _cost_us(_count), _cost_us(_time)
    print(f"to count one takes {counting_us:.2f} us, to time one {timing_us:.2f} us")
    faults = []
    with staged(given, METRICS_TOKEN=_TOKEN, FRESHNESS_S="3600") as stage:
        stage.serve()
        key = stage.site.key
        job = finished_job(stage.port, key)
        calls = {
            "read of a status": (wire("GET", f"/v1/requests/{job}/status", key), '"status":'),
            "read of a record": (wire("GET", f"/v1/requests/{job}", key), '"request_id":'),
            "submit": (wire("POST", SUBMIT, key, submit_body("a harbour")), '"request_id":"'),
        }
        for name, (request, expect) in calls.items():
            us, counted, timed = _measured(stage, given, request, expect)
            share = (counted * counting_us + timed * timing_us) / us
            print(f"{name}: {us:.0f} us, notes {counted:.1f} counts and {timed:.1f} times: {share:.1%}")
            if share > _ALLOWED:
                faults.append(f"metrics are {share:.1%} of a {name}; {_ALLOWED:.0%} are allowed")
        began_s = stage.cpu_s()
        for _ in range(_SCRAPES):
            _scrape(stage)
        scrape_s = (stage.cpu_s() - began_s) / _SCRAPES
        print(f"a scrape: {scrape_s * 1e3:.1f} ms, {scrape_s / _EVERY_S:.3%} of a core every {_EVERY_S} s")
    return faults


def _measured(
    stage: Stage, given: argparse.Namespace, request: str, expect: str
) -> tuple[float, float, float]:
    """Returns what a call takes of the server, in microseconds, and how many things it counts and times."""
    order = Order(stage.port, [request], expect, _CONNECTIONS, given.seconds)
    costs, before, calls = [], _scrape(stage), 0
    for _ in range(given.rounds):
        began_s = stage.cpu_s()
        tally = measured(stage.load, order)
        if tally.errors:
            raise RunError(f"{tally.errors} answers were wrong: {tally.first_error}")
        costs.append((stage.cpu_s() - began_s) / tally.requests * 1e6)
        calls += tally.requests
    grown = _scrape(stage) - before
    timed = sum(count for name, count in grown.items() if name.endswith("_count"))
    # A call that is timed is counted by the same note.
    counted = sum(count for name, count in grown.items() if name.endswith("_total")) - min(timed, calls)
    return statistics.median(costs), counted / calls, timed / calls


def _scrape(stage: Stage) -> Counter[str]:
    status, text = get(stage.port, "/metrics", key=_TOKEN)
    if status != 200:  # noqa: PLR2004 - OK
        raise RunError(f"/metrics answered {status}")
    found: Counter[str] = Counter()
    for name, value in _COUNTED.findall(text.decode()):
        found[name] += round(float(value))
    return found


def _cost_us(note: Callable[[int], None]) -> float:
    """Returns what a loop of notes takes for each, the least of five."""
    took = []
    for _ in range(5):
        began = time.process_time_ns()
        note(_NOTES)
        took.append((time.process_time_ns() - began) / _NOTES / 1000)
    return min(took)


def _count(times: int) -> None:
    tally: Tally = Counter()
    for _ in range(times):
        tally["live", "bytedance/model", "accepted"] += 1


def _time(times: int) -> None:
    meter = CallMeter()
    for _ in range(times):
        meter.note(("GET", "/v1/requests/{request_id}/status", "200", "ok"), 0.0012, "0" * 32)
