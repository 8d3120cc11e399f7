"""`python -m bench transactions`: the processor's time of a read, and of a submit's two transactions.

It opens a database in this process, without HTTP and without an upstream, and works on it with 1, 16 and 64
callers at a time. SQLite waits for its disk at each commit, as in a server; PostgreSQL is a server of its
own, whose time is not counted.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Final

import uvloop
from sqlalchemy import Connection

from app.auth import keys, tenants
from app.db import revision
from app.db.engines.engine import Database, open_database
from app.generations import store
from app.generations.dispatch.dispatcher import record_outcome
from app.generations.queue.decide import SubmitPolicy
from app.generations.store import SubmitIntent
from app.generations.submit.record import Admission
from app.kit.ids import new_id
from app.quotas.account import Owner, set_limit
from app.quotas.amounts import Amounts
from app.quotas.limits import Limit, Payer, Scope
from app.quotas.metrics import Metric
from app.upstream.credentials import Choice
from app.upstream.outcomes import Outcome, Verdict
from bench.databases import FROM_WHEEL, SQLITE, database_of_its_own

_CALLERS: Final = (1, 16, 64)
_ROWS: Final = 2_000
_NOW_MS: Final = 1_790_000_000_000
_PEPPER: Final = "a pepper for benchmarks, which nobody keeps secret"
_Tenants = list[tuple[str, str]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part of the benchmark."""
    parser.add_argument(
        "--database", default="both", help="sqlite, postgresql, a server's URL, or both (both)"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement and round (1)")
    parser.add_argument("--rounds", type=int, default=3, help="to take medians over (3)")


def main(given: argparse.Namespace) -> list[str]:
    """Measures and prints; returns no faults."""
    print(f"{'':36}{'processor µs':>14}{'a second':>12}")
    for choice in (SQLITE, FROM_WHEEL) if given.database == "both" else (given.database,):
        with (
            tempfile.TemporaryDirectory() as folder,
            database_of_its_own(choice, Path(folder)) as url,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            revision.upgrade(url)
            runner.run(_measure(url, given))
    return []


async def _measure(url: str, given: argparse.Namespace) -> None:
    db = open_database(url)
    of_fifty = [await db.write(tenant, f"tenant-{number}") for number in range(50)]
    admission = Admission(db)
    ids = [await submit(db, admission, of_fifty[number % 50]) for number in range(_ROWS)]

    async def read() -> None:
        await db.read(store.find, random.choice(ids), None)  # noqa: S311 - not a secret

    async def submit_one() -> None:
        await submit(db, admission, of_fifty[0])

    async def submit_fifty() -> None:
        await submit(db, admission, random.choice(of_fifty))  # noqa: S311 - not a secret

    kinds = {"read": read, "submit, one tenant": submit_one, "submit, fifty tenants": submit_fifty}
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(given.rounds):
        for name, work in kinds.items():
            for callers in _CALLERS:
                found.setdefault((name, callers), []).append(await _run(work, callers, given.seconds))
    for (name, callers), rounds in found.items():
        cpu_us, rate = (median(values) for values in zip(*rounds, strict=True))
        print(f"{db.dialect:11}{name:22}{callers:3}{cpu_us:14.0f}{rate:12.0f}", flush=True)
    await db.close()


async def _run(work: Callable[[], Awaitable[None]], callers: int, seconds: float) -> tuple[float, float]:
    """Returns the microseconds of processor for one call, and the calls in a second."""
    count = 0
    until_s = time.perf_counter() + seconds

    async def call() -> None:
        nonlocal count
        while time.perf_counter() < until_s:
            await work()
            count += 1

    cpu_s, began_s = time.process_time(), time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    return (time.process_time() - cpu_s) / count * 1e6, count / (time.perf_counter() - began_s)


def tenant(connection: Connection, name: str) -> tuple[str, str]:
    """Makes a tenant with two limits and a key; returns its id and the kid."""
    made = tenants.create(connection, name, now_ms=_NOW_MS)
    kid, _ = keys.create(connection, made.id, mode="test", name="", pepper=_PEPPER, now_ms=_NOW_MS)
    for metric, amount in ((Metric.GENERATIONS_DAY, 10**9), (Metric.CREDITS_MONTH, 10**15)):
        set_limit(connection, Owner(made.id, "test"), Limit(Scope(), metric, amount), now_ms=_NOW_MS)
    return made.id, kid


async def submit(db: Database, admission: Admission, owner: tuple[str, str]) -> str:
    """Runs what a submit does to the database, and returns the generation's id."""
    tenant_id, kid = owner
    intent = SubmitIntent(
        generation_id=new_id(_NOW_MS),
        tenant_id=tenant_id,
        kid=kid,
        payer=Payer(kid),
        mode="test",
        model_id="a/b",
        input_json=b'{"prompt":"a harbour in the morning","image_urls":["https://example.com/a.jpg"]}',
        amounts=Amounts(generations=1, microcredits=250_000, output_seconds=5),
        price_version="1",
        settles_in="completed",
        trace_id="0" * 32,
        choices=(Choice("default"),),
    )
    recorded = await admission.record(intent, SubmitPolicy(), now_ms=_NOW_MS, lease_until_ms=_NOW_MS + 60_000)
    outcome = Outcome(Verdict.ACCEPTED, "accepted", upstream_request_id=f"job-{intent.generation_id}")
    done = await db.write_for(
        tenant_id,
        record_outcome,
        intent.generation_id,
        outcome,
        {},
        now_ms=_NOW_MS,
        version=recorded.generation.version,
    )
    return done.id
