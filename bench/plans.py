"""`python -m bench plans`: every statement of the hot paths among ten million generations.

The history is loaded into each database, analyzed, and the statements are explained and timed, beside the
same with a hundredth as many generations. SQLite's file is read once before that, so that as much of it as
fits is in memory. Twenty million events and as many ledger entries come with them: some 25 GB on each
database. With `--only` no table is loaded that the named statements do not read.
"""

# ruff: noqa: S608 - its statements are made of its own constants

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.pool import StaticPool

from app.db import revision
from app.db.engine import is_sqlite, sync_url
from app.db.sqlite import path_of, writer_engine
from bench.databases import FROM_WHEEL, SQLITE, database_of_its_own
from bench.history import TABLES, History
from bench.statements import STATEMENTS, captured, faults_of, plan_of

_WARM: Final = 20
_MIN: Final = 5
_SECONDS: Final = 3.0  # at most, for all runs of one statement
_DAYS: Final = 400  # with usage, at least, so that a month has as many rows in each history
_GB: Final = 2**30
_CHUNK: Final = 2**24


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part."""
    parser.add_argument("--rows", type=int, default=10_000_000, help="generations (10,000,000)")
    parser.add_argument("--beside", type=int, default=100_000, help="the smaller history (100,000)")
    parser.add_argument("--live", type=int, default=10_000, help="of them in flight, in both (10,000)")
    parser.add_argument("--repeat", type=int, default=300, help="times that each statement runs (300)")
    parser.add_argument(
        "--database",
        action="append",
        help="sqlite, postgresql (from its wheel) or a superuser's URL; may be repeated (both)",
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="TEXT",
        help="only statements whose names begin with it, such as search; may be repeated",
    )
    parser.add_argument("--folder", type=Path, help="where the files go; a temporary folder")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every median and plan")


def main(given: argparse.Namespace) -> list[str]:
    """Loads, measures and prints; returns the statements whose plan is wrong."""
    faults, document = [], []
    names = [one for one in STATEMENTS if one.startswith(tuple(given.only or ("",)))]
    if not names:
        return [f"no statement's name begins with {' or '.join(given.only)}"]
    for choice in given.database or (SQLITE, FROM_WHEEL):
        sizes = [_run(given, choice, rows, names) for rows in (given.beside, given.rows)]
        print(_table(choice, given, *(medians for medians, _ in sizes)))
        faults += [
            f"{choice}, {name}: {fault}\n{plan}"
            for name, plan in sizes[1][1].items()
            for fault in faults_of(plan, name, "sqlite" if choice == SQLITE else "postgresql")
        ]
        document.append({"database": choice.partition(":")[0], "sizes": sizes})
    if given.json is not None:
        given.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return faults


def _run(
    given: argparse.Namespace, choice: str, rows: int, names: Sequence[str]
) -> tuple[dict[str, float], dict[str, str]]:
    """Returns the median milliseconds and the plan of each of these statements."""
    history = History(rows, min(given.live, rows // 2), _DAYS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plans-", dir=given.folder)))
        url = stack.enter_context(database_of_its_own(choice, folder))
        revision.upgrade(url)
        with _bulk(url) as connection:
            _load(connection, history, _tables(connection, history, names))
            connection.exec_driver_sql("ANALYZE")
        if choice != SQLITE:
            with _bulk(url) as connection:
                connection.exec_driver_sql("VACUUM")
        free = shutil.disk_usage(folder).free / _GB
        _say(f"{choice}, {rows} rows: measuring; {free:.0f} GiB of disk are left")
        if choice == SQLITE:
            _warm(path_of(url))
        with _measuring(url) as connection:
            medians, plans = {}, {}
            chance = random.Random(rows)  # noqa: S311 - guards nothing
            for name in names:
                plans[name] = plan_of(connection, name, history.draw(chance, of_the_largest=True))
                connection.rollback()
                medians[name] = _median_ms(connection, history, name, given.repeat)
            return medians, plans


def _warm(file: Path) -> None:
    """Reads a file once, so that the kernel has as much of it as fits: a server has run for a while."""
    began_s = time.monotonic()
    with file.open("rb", buffering=0) as opened:
        while opened.read(_CHUNK):
            pass
    _say(f"  {file.stat().st_size / _GB:.1f} GiB read in {time.monotonic() - began_s:.0f} s")


def _median_ms(connection: Connection, history: History, name: str, repeat: int) -> float:
    """Returns the median time of a statement, run through SQLAlchemy with other rows each time.

    Whatever it writes is rolled back.
    """
    chance = random.Random(name)  # noqa: S311 - guards nothing
    taken: list[float] = []
    until_s = time.perf_counter() + _SECONDS
    while len(taken) < repeat + _WARM and (len(taken) < _MIN or time.perf_counter() < until_s):
        draw = history.draw(chance)
        connection.execute(text("SELECT 1"))  # begins the transaction
        began_s = time.perf_counter()
        STATEMENTS[name].run(connection, draw)
        taken.append((time.perf_counter() - began_s) * 1000)
        connection.rollback()
    return statistics.median(taken[min(_WARM, len(taken) // 2) :])


def _tables(connection: Connection, history: History, names: Sequence[str]) -> Collection[str]:
    """Returns the tables that these statements read, and those that every row refers to."""
    draw = history.draw(random.Random(0))  # noqa: S311 - guards nothing
    texts = [sql for name in names for sql, _ in captured(connection, name, draw)]
    return {"tenants", "api_keys"} | {one for one in TABLES if any(one in text for text in texts)}


def _load(connection: Connection, history: History, tables: Collection[str]) -> None:
    """Fills the tables without their secondary indexes, and then creates those."""
    sqlite = connection.dialect.name == "sqlite"
    if sqlite:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    else:
        query = (
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
            " AND indexname NOT LIKE 'pk_%' AND indexname NOT LIKE '%_pkc'"
            f" AND tablename IN ({', '.join(repr(table) for table in TABLES)})"
            " AND indexname NOT IN (SELECT conname FROM pg_constraint)"
        )
    indexes = connection.execute(text(query)).all()
    began_s = time.monotonic()
    for name, _ in indexes:
        connection.exec_driver_sql(f'DROP INDEX "{name}"')
    for table in history.fill(connection, tables):
        _say(f"  {time.monotonic() - began_s:4.0f} s: {table}")
    for name, definition in indexes:
        _say(f"  {time.monotonic() - began_s:4.0f} s: {name}")
        connection.exec_driver_sql(definition)
    _say(f"  {time.monotonic() - began_s:4.0f} s: analyze")


@contextmanager
def _bulk(url: str) -> Iterator[Connection]:
    """Yields a connection that commits each statement, and neither waits for a disk nor checks references."""
    engine = _engine(url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        commands = (
            ("PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF", "PRAGMA cache_size=-1000000")
            if is_sqlite(url)
            else (
                "SET session_replication_role = replica",
                "SET synchronous_commit = off",
                "SET maintenance_work_mem = '1GB'",
                "SET statement_timeout = 0",
            )
        )
        for command in commands:
            connection.exec_driver_sql(command)
        yield connection
    engine.dispose()


@contextmanager
def _measuring(url: str) -> Iterator[Connection]:
    # The SQLite driver itself begins no transaction for a statement that starts with WITH; this engine does.
    engine = writer_engine(path_of(url)) if is_sqlite(url) else _engine(url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def _engine(url: str) -> Engine:
    return create_engine(url if is_sqlite(url) else sync_url(url), poolclass=StaticPool)


def _table(choice: str, given: argparse.Namespace, few: dict[str, float], many: dict[str, float]) -> str:
    rows: list[tuple[Any, ...]] = [(name, few[name], many[name], many[name] / few[name]) for name in few]
    return "\n".join(
        [
            "",
            f"{choice.partition(':')[0]}, {given.live} live, median ms",
            f"{'':38}{given.beside:>12,}{given.rows:>12,}{'ratio':>8}",
            *(f"{name:38}{one:12.3f}{other:12.3f}{ratio:8.2f}" for name, one, other, ratio in rows),
        ]
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
