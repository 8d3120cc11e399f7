"""`python -m bench shares`: what roll-ups, and what is kept of callers, cost in a submit.

A submit's two transactions are run as they are, and the processor's time of their parts is taken inside them,
so that part and whole are measured in the same moment. On PostgreSQL that is the time of the lane and of the
server's process behind it. What callers cost is what inserting the row takes more with one than without. A
submit writes nothing to the audit log: that is checked.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final
from unittest.mock import patch

import uvloop
from sqlalchemy import Connection, func, select, text

from app.auth.callers import NOBODY, Caller
from app.db import revision
from app.db.engine import Database, open_database
from app.db.tables import audit_entries
from app.generations import store
from app.generations.submit.record import Admission
from app.quotas import rollups
from bench.databases import FROM_WHEEL, SQLITE, database_of_its_own
from bench.transactions import submit, tenant

_TENANTS: Final = 20
_SUBMITS: Final = 100  # of one round, at once
_WARM: Final = 10
_MAX_SHARE: Final = 0.03
_CALLER: Final = Caller("203.0.113.0/24", "python-httpx/2.0")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part of the benchmark."""
    parser.add_argument(
        "--database", default="both", help="sqlite, postgresql, a server's URL, or both (both)"
    )
    parser.add_argument("--rounds", type=int, default=40, help="of a hundred submits, with and without (40)")


def main(given: argparse.Namespace) -> list[str]:
    """Measures and prints; returns what costs too much."""
    faults = []
    for choice in (SQLITE, FROM_WHEEL) if given.database == "both" else (given.database,):
        with (
            tempfile.TemporaryDirectory() as folder,
            database_of_its_own(choice, Path(folder)) as url,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            revision.upgrade(url)
            faults += runner.run(_measure(url, given.rounds))
    return faults


@dataclass(frozen=True, slots=True)
class _Round:
    """The microseconds of processor of one submit: of all, of its roll-ups, and of inserting its row."""

    whole: float
    roll_ups: float
    insert: float


async def _measure(url: str, rounds: int) -> list[str]:
    db = open_database(url)
    owners = [await db.write(tenant, f"tenant-{number}") for number in range(_TENANTS)]
    admission = Admission(db)
    audited = await db.read(_audited)
    found: dict[Caller, list[_Round]] = {NOBODY: [], _CALLER: []}
    for _ in range(rounds + _WARM):
        for caller, taken in found.items():
            taken.append(await _round(db, admission, owners, caller))
    one, other = (taken[_WARM:] for taken in (found[_CALLER], found[NOBODY]))
    whole, roll_ups = median(each.whole for each in one), median(each.roll_ups for each in one)
    callers = median(each.insert for each in one) - median(each.insert for each in other)
    print(f"{db.dialect}: a submit takes {whole:.0f} µs of the processor, of which")
    for name, part in (("roll-ups", roll_ups), ("callers", callers), ("both", roll_ups + callers)):
        print(f"    {name:10}{part:8.1f} µs{part / whole:8.1%}", flush=True)
    faults = []
    if (roll_ups + callers) / whole > _MAX_SHARE:
        faults.append(f"{db.dialect}: roll-ups and callers cost more than {_MAX_SHARE:.0%} of a submit")
    if await db.read(_audited) != audited:
        faults.append(f"{db.dialect}: a submit wrote to the audit log")
    await db.close()
    return faults


async def _round(db: Database, admission: Admission, owners: list[tuple[str, str]], caller: Caller) -> _Round:
    pids = [] if db.dialect == "sqlite" else await db.read(_processes)
    taken = {"count": 0, "insert": 0}
    with _timed(rollups, "count", taken), _timed(store, "insert", taken):
        began = time.process_time_ns() + sum(map(_of_process, pids))
        await asyncio.gather(
            *(submit(db, admission, owners[one % _TENANTS], caller=caller) for one in range(_SUBMITS))
        )
        whole = time.process_time_ns() + sum(map(_of_process, pids)) - began
    return _Round(*(one / _SUBMITS / 1e3 for one in (whole, taken["count"], taken["insert"])))


@contextmanager
def _timed(module: Any, name: str, taken: dict[str, int]) -> Iterator[None]:
    """Adds to `taken` the nanoseconds of processor of a module's function of a connection."""
    function: Callable[..., Any] = getattr(module, name)

    def timed(connection: Connection, *args: Any, **kwargs: Any) -> Any:
        began = _of_thread(connection)
        try:
            return function(connection, *args, **kwargs)
        finally:
            taken[name] += _of_thread(connection) - began

    with patch.object(module, name, timed):
        yield


def _of_thread(connection: Connection) -> int:
    """Returns the nanoseconds of this thread and of the database's process behind its connection."""
    if connection.dialect.name == "sqlite":
        return time.thread_time_ns()
    driver: Any = connection.connection.driver_connection
    return time.thread_time_ns() + _of_process(driver.info.backend_pid)


def _of_process(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0])


def _processes(connection: Connection) -> list[int]:
    query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    return list(connection.scalars(text(query)))


def _audited(connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(audit_entries)) or 0
