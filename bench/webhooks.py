"""`python -m bench webhooks`: what webhooks add to a request's end, and a claim with a million that wait.

It opens a database in this process, without HTTP, as `transactions` does. The cost of an end is that of the
transaction which records it, measured in turns: without an endpoint, and with one that hears it. What that
adds is compared with the end and everything that a gateway does for a submit (`bench.shares`). Then ten
endpoints are sent to, of which three are bad (`bench.deliveries`), and ends at RunComfy are told by a server
as it is (`bench.promptness`).
"""

# ruff: noqa: S608 - its statements are made of its own constants

import argparse
import asyncio
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import uvloop
from sqlalchemy import Connection, insert, text

from app.db import revision
from app.db.engines.engine import Database, open_database
from app.db.schema.tables import webhook_endpoints
from app.generations.advance import advance
from app.generations.lifecycle import State
from app.generations.submit.record import Admission
from app.webhooks.deliveries import claims
from app.webhooks.deliveries.claims import Caps
from app.webhooks.registry import subscriptions
from bench import deliveries, promptness
from bench.children import Child, Children, free_port
from bench.databases import FROM_WHEEL, SQLITE, database_of_its_own
from bench.receivers import BAD
from bench.shares import Submits, backends, submits_of
from bench.timed import of_process
from bench.transactions import _NOW_MS, submit, tenant

_PIECES: Final = 6
_SUBMITS_S: Final = 0.4
_MAX_SHARE: Final = 0.03
_AT_ONCE: Final = {1: 64, 64: 256}  # and how many ends a piece has
_WAITING: Final = (1_000, 1_000_000)
_ENDPOINTS: Final = 200
_OUTPUT: Final = {"video": "https://example.com/" + "harbour" * 12 + ".mp4"}
_CAPS: Final = Caps(per_endpoint=4, per_tenant=16)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part of the benchmark."""
    parser.add_argument(
        "--database", default="both", help="sqlite, postgresql, a server's URL, or both (both)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="to take medians over (5)")
    parser.add_argument("--rate", type=float, default=50, help="events a second (50)")
    parser.add_argument("--seconds", type=float, default=20, help="for how long (20)")
    parser.add_argument(
        "--only", choices=["ends", "claims", "deliveries", "promptness"], help="this part alone"
    )
    parser.add_argument("--rows", type=int, default=_WAITING[1], help="that wait for the claim")


def main(given: argparse.Namespace) -> list[str]:
    """Measures and prints; returns what costs too much."""
    faults: list[str] = []
    for choice in (SQLITE, FROM_WHEEL) if given.database == "both" else (given.database,):
        if given.only in {None, "ends"}:
            faults += _ends(choice, given)
        parts = {"claims": _claims, "deliveries": _deliveries}
        for name, measure in parts.items():
            if given.only not in {None, name}:
                continue
            with (
                tempfile.TemporaryDirectory() as folder,
                database_of_its_own(choice, Path(folder)) as url,
                asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
            ):
                revision.upgrade(url)
                runner.run(measure(url, given))
        if given.only in {None, "promptness"}:
            _promptness(choice, given)
    return faults


def _promptness(choice: str, given: argparse.Namespace) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="reelgate-bench-") as folder,
        database_of_its_own(choice, Path(folder)) as url,
    ):
        found = promptness.measure(url, Path(folder), rate=given.rate, seconds=given.seconds)
    for name, delays_ms in (("recorded", found.recorded_ms), ("told", found.arrived_ms)):
        p50_ms, p99_ms = promptness.cuts(delays_ms)
        print(
            f"{url.partition(':')[0]:11}{len(delays_ms)} ends, {found.rate:.0f} a second, polled every"
            f" {promptness.POLL_S:g} s: from RunComfy's end until it is {name:8} p50 {p50_ms:.0f} ms,"
            f" p99 {p99_ms:.0f} ms; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )


def _ends(choice: str, given: argparse.Namespace) -> list[str]:
    with (
        tempfile.TemporaryDirectory() as folder,
        database_of_its_own(choice, Path(folder)) as url,
        tempfile.TemporaryDirectory() as other_folder,
        database_of_its_own(choice, Path(other_folder)) as other_url,
        Children() as children,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        revision.upgrade(url)
        submits = submits_of(children, Path(other_folder), other_url)
        return runner.run(_shares(url, submits, given.rounds * _PIECES))


async def _shares(url: str, submits: Submits, pieces: int) -> list[str]:
    db = open_database(url)
    admission = Admission(db)
    owners = [await db.write(tenant, name) for name in ("without", "with-one")]
    await db.write(_add_endpoints, owners[1][0], 1)
    faults = []
    for at_once, in_turn in _AT_ONCE.items():
        whole, ended, added = [], [], []
        submits(at_once, _SUBMITS_S, with_callers=True)
        for piece in range(pieces):
            whole.append(submits(at_once, _SUBMITS_S, with_callers=True).whole)
            ends: tuple[list[float], list[float]] = ([], [])
            for which in (0, 1) if piece % 2 else (1, 0):
                ids: list[str] = []
                while len(ids) < in_turn:
                    ids += await asyncio.gather(*(submit(db, admission, owners[which]) for _ in range(16)))
                pids = backends(url)
                for start in range(0, in_turn, at_once):
                    some = ids[start : start + at_once]
                    ends[which].append(await _end_all(db, pids, owners[which][0], some))
            ended.append(median(ends[0]))
            added.append(median(ends[1]) - ended[-1])  # neighbours in time, whatever else the machine does
        submit_us, end_us, added_us = median(whole), median(ended), median(added)
        share = added_us / (submit_us + end_us)
        print(
            f"{db.dialect:11}{at_once:>3} at once: a submit {submit_us:.0f} µs, an end {end_us:.0f} µs; an"
            f" endpoint adds {added_us:.0f} µs, {share:.1%} of both; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        if share > _MAX_SHARE:
            faults.append(
                f"{db.dialect}, {at_once} at once: an endpoint adds {share:.1%}, not {_MAX_SHARE:.0%}"
            )
    await db.close()
    return faults


async def _end_all(db: Database, pids: list[int], tenant_id: str, ids: list[str]) -> float:
    """Ends requests at once; returns the microseconds of processor of each, here and behind connections."""
    began_ns = sum(map(of_process, pids)) + time.process_time_ns()
    await asyncio.gather(*(db.write_for(tenant_id, partial(_end, one)) for one in ids))
    return (sum(map(of_process, pids)) + time.process_time_ns() - began_ns) / len(ids) / 1e3


def _end(generation_id: str, connection: Connection) -> None:
    advance(
        connection,
        generation_id,
        State.COMPLETED,
        reason="upstream_succeeded",
        now_ms=_NOW_MS,
        output=_OUTPUT,
    )


async def _deliveries(url: str, given: argparse.Namespace) -> None:
    db = open_database(url)
    tenant_id, _ = await db.write(tenant, "hearing")
    await db.write(_add_endpoints, tenant_id, deliveries.ENDPOINTS)
    await db.close()
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, Children() as children:
        cores = frozenset(os.sched_getaffinity(0))
        child = Child("receivers", ["bench.receivers", str(port)], folder=Path(folder), cores=cores)
        children.add(child).wait_until_it_answers(port, "/ready")
        found = await deliveries.measure(url, tenant_id, port, rate=given.rate, seconds=given.seconds)
    print(
        f"{url.partition(':')[0]:11}{given.rate:.0f} events a second for {deliveries.ENDPOINTS} endpoints,"
        f" {len(BAD)} of them bad: of {found.first_attempts} first attempts at the others"
        f" p50 {found.p50_ms:.0f} ms, p99 {found.p99_ms:.0f} ms; {found.per_second:.0f} attempts a second,"
        f" {found.cpu_ms:.2f} ms of processor time each; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


async def _claims(url: str, given: argparse.Namespace) -> None:
    db = open_database(url)
    tenant_id, _ = await db.write(tenant, "waiting")
    await db.write(_add_endpoints, tenant_id, _ENDPOINTS)
    loaded = 0
    for rows in (_WAITING[0], given.rows):
        await _load(db, tenant_id, loaded, rows)
        loaded = rows
        took: dict[str, list[float]] = {}
        for _ in range(given.rounds * 3):
            for name, function in _measured(tenant_id).items():
                began_s = time.perf_counter()
                await db.write(function)
                took.setdefault(name, []).append((time.perf_counter() - began_s) * 1000)
        line = "   ".join(f"{name} {median(each):.2f} ms" for name, each in took.items())
        print(f"{db.dialect:11}{rows:>9} waiting for {_ENDPOINTS} endpoints: {line}", flush=True)
    await db.close()


def _measured(tenant_id: str) -> dict[str, Any]:
    def claim(connection: Connection) -> None:
        claims.claim(connection, _CAPS, limit=64, now_ms=_NOW_MS, lease_until_ms=_NOW_MS + 35_000)
        connection.execute(text("UPDATE webhook_deliveries SET state = 'pending' WHERE state = 'delivering'"))

    def page(connection: Connection) -> None:
        connection.execute(
            text(
                "SELECT * FROM webhook_deliveries WHERE tenant_id = :tenant AND mode = 'test'"
                " ORDER BY id DESC LIMIT 50"
            ),
            {"tenant": tenant_id},
        ).all()

    return {"claim": claim, "next due": claims.next_due, "a page": page}


def _add_endpoints(connection: Connection, tenant_id: str, count: int) -> None:
    for number in range(count):
        connection.execute(
            insert(webhook_endpoints).values(
                id=f"ep_{number:036}",
                tenant_id=tenant_id,
                mode="test",
                url="https://example.com/hook",
                vendor_links=False,
                state="enabled",
                state_since_ms=0,
                signature="v1",
                secret="",
                created_at_ms=0,
                changed_at_ms=0,
            )
        )
    subscriptions.changed(connection, tenant_id, "test")


async def _load(db: Database, tenant_id: str, first: int, until: int) -> None:
    """Inserts deliveries, each of a message of its own, in pieces that no timeout cuts."""
    for start in range(first, until, 20_000):
        end = min(start + 20_000, until)
        series = (
            f"WITH RECURSIVE n(i) AS (SELECT {start} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {end})"
            if db.dialect == "sqlite"
            else f"WITH n(i) AS (SELECT * FROM generate_series({start}, {end - 1}))"
        )
        number = "printf('%036d', {})" if db.dialect == "sqlite" else "lpad(({})::text, 36, '0')"
        one, its = number.format("i"), number.format(f"i % {_ENDPOINTS}")
        await db.write(
            _run,
            "INSERT INTO webhook_deliveries (id, message_id, endpoint_id, tenant_id, mode, type, cause,"
            f" state, attempts, next_at_ms, created_at_ms) {series} SELECT 'dlv_' || {one}, 'msg_' || {one},"
            f" 'ep_' || {its}, '{tenant_id}', 'test', 'request.completed', 'event', 'pending', 0,"
            f" {_NOW_MS} - 1000000 + i, {_NOW_MS}"
            " FROM n",
        )
    if db.dialect != "sqlite":
        await db.write(_run, "ANALYZE webhook_deliveries")


def _run(connection: Connection, statement: str) -> None:
    connection.execute(text(statement))
