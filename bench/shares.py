"""`python -m bench shares`: what roll-ups, and what is kept of callers, cost in a submit.

A submit is everything that the gateway does for it: HTTP, validation, both transactions and the call of a
stand-in for RunComfy. A server runs as it is, but for clocks around the parts (`bench.timed`), and the
processor's time of parts and whole is taken in the same rounds. On PostgreSQL that is the time of the gateway
and of the server's processes behind its connections. What callers cost is what inserting the row takes more
with one than without. A submit writes nothing to the audit log: that is checked.
"""

import argparse
import base64
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final, Protocol

from sqlalchemy import func, select, text

from app.db.schema.tables import audit_entries
from bench.children import HOST, Child, Children, RunError, free_port, split_cores
from bench.databases import FROM_WHEEL, SQLITE, database_of_its_own, reading
from bench.gateway import SUBMIT, prepare, submit_body
from bench.load import Order
from bench.rounds import measured
from bench.standin import COUNT_PATH
from bench.timed import of_process

_AT_ONCE: Final = (1, 64)
_MAX_SHARE: Final = 0.03
_WITH, _WITHOUT = b"with\n", b"without\n"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part of the benchmark."""
    parser.add_argument(
        "--database", default="both", help="sqlite, postgresql, a server's URL, or both (both)"
    )
    parser.add_argument("--rounds", type=int, default=10, help="with callers, and as many without (10)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each round (1)")


def main(given: argparse.Namespace) -> list[str]:
    """Measures and prints; returns what costs too much."""
    faults = []
    for choice in (SQLITE, FROM_WHEEL) if given.database == "both" else (given.database,):
        with (
            tempfile.TemporaryDirectory(prefix="reelgate-bench-") as name,
            database_of_its_own(choice, Path(name)) as url,
            Children() as children,
        ):
            faults += _measure(children, Path(name), url, given)
    return faults


@dataclass(frozen=True, slots=True)
class Round:
    """The microseconds of processor of one submit: of all, of its roll-ups, and of inserting its row."""

    whole: float
    roll_ups: float
    insert: float


class Submits(Protocol):
    """Has so many callers submit for some seconds; returns what one submit took."""

    def __call__(self, at_once: int, seconds: float, *, with_callers: bool) -> Round:
        """Measures a round."""


def submits_of(children: Children, folder: Path, url: str) -> Submits:
    """Starts a server whose parts are timed, and returns what has it answer submits."""
    served, other = split_cores(pin=True)
    upstream_port, port = free_port(), free_port()
    load = children.add(Child("load", ["bench.load"], folder=folder, cores=other, talks=True))
    upstream = Child("standin", ["bench.standin", str(upstream_port)], folder=folder, cores=other)
    children.add(upstream).wait_until_it_answers(upstream_port, COUNT_PATH)
    site = prepare(folder, url, upstream_port, RUN_LOOPS="false", PORT=str(port))
    server = children.add(
        Child("timed", ["bench.timed"], folder=folder, cores=served, environment=site.environment, talks=True)
    )
    server.wait_until_it_answers(port, "/readyz")
    request = _request(site.key)

    def one(at_once: int, seconds: float, *, with_callers: bool) -> Round:
        pids = backends(url)
        _ask(server, _WITH if with_callers else _WITHOUT)
        before = sum(map(of_process, pids))
        tally = measured(load, Order(port, [request], "request_id", at_once, seconds))
        taken = _ask(server, _WITHOUT)
        if tally.errors or not tally.requests:
            raise RunError(f"{tally.requests} answers, {tally.errors} errors. {tally.first_error}")
        whole = taken["process"] + sum(map(of_process, pids)) - before
        return Round(*(one / tally.requests / 1e3 for one in (whole, taken["roll_ups"], taken["insert"])))

    return one


def _measure(children: Children, folder: Path, url: str, given: argparse.Namespace) -> list[str]:
    dialect = url.partition(":")[0]
    one = submits_of(children, folder, url)
    one(max(_AT_ONCE), given.seconds, with_callers=True)
    audited = _audited(url)
    faults = []
    for at_once in _AT_ONCE:
        found: dict[bool, list[Round]] = {True: [], False: []}
        for _ in range(given.rounds):
            for with_callers, rounds in found.items():
                rounds.append(one(at_once, given.seconds, with_callers=with_callers))
        if (share := _told(f"{dialect}, {at_once} at once", found[True], found[False])) > _MAX_SHARE:
            faults.append(
                f"{dialect}: of {at_once} submits at once, roll-ups and callers cost {share:.1%}"
                f" instead of {_MAX_SHARE:.0%}"
            )
    if _audited(url) != audited:
        faults.append(f"{dialect}: a submit wrote to the audit log")
    return faults


def _told(title: str, rounds: Sequence[Round], without: Sequence[Round]) -> float:
    """Prints what the parts cost, and returns their share of a submit."""
    whole, roll_ups = median(each.whole for each in rounds), median(each.roll_ups for each in rounds)
    callers = median(each.insert for each in rounds) - median(each.insert for each in without)
    print(f"{title}: a submit takes {whole:.0f} µs of the processor, of which")
    for name, part in (("roll-ups", roll_ups), ("callers", callers), ("both", roll_ups + callers)):
        print(f"    {name:10}{part:8.1f} µs{part / whole:8.1%}", flush=True)
    return (roll_ups + callers) / whole


def _request(key: str) -> str:
    body = submit_body("a harbour at dawn, the boats rock gently, slow camera move to the left")
    head = (
        f"POST {SUBMIT} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {key}\r\n"
        "User-Agent: python-httpx/2.0\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return base64.b64encode(head.encode() + body).decode()


def _ask(server: Child, line: bytes) -> dict[str, int]:
    """Sets whether callers are kept; returns the nanoseconds since the last time, by part."""
    if server.process.stdin is None or server.process.stdout is None:
        raise RunError("the server was started without pipes")
    server.process.stdin.write(line)
    server.process.stdin.flush()
    taken: dict[str, int] = json.loads(server.process.stdout.readline())
    return taken


def backends(url: str) -> list[int]:
    """Returns the processes of PostgreSQL behind the gateway's connections."""
    if url.startswith("sqlite"):
        return []
    with reading(url) as connection:
        query = (
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        return list(connection.scalars(text(query)))


def _audited(url: str) -> int:
    with reading(url) as connection:
        return connection.scalar(select(func.count()).select_from(audit_entries)) or 0
