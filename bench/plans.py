"""`python -m bench plans`: every statement of the hot paths among ten million generations.

The history is loaded into each database, analyzed, and the statements are explained and timed, beside the
same with a hundredth as many generations. SQLite's file is read once before that, so that as much of it as
fits is in memory. Twenty million events and as many ledger entries come with them: some 25 GB on each
database. With `--only` no table is loaded that the named statements do not read.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, text

from bench.databases import FROM_WHEEL, SQLITE
from bench.filling import filled, say
from bench.history import History
from bench.statements import STATEMENTS, faults_of, plan_of
from bench.timed import of_process

_WARM: Final = 20
_MIN: Final = 5
_SECONDS: Final = 3.0  # at most, for all runs of one statement
DAYS: Final = 400  # with usage, at least, so that a month has as many rows in each history


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part."""
    add_histories(parser)
    parser.add_argument("--repeat", type=int, default=300, help="times that each statement runs (300)")
    parser.add_argument(
        "--only",
        action="append",
        metavar="TEXT",
        help="only statements whose names begin with it, such as search; may be repeated",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every median and plan")


def add_histories(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which histories are compared, and where they are."""
    parser.add_argument("--rows", type=int, default=10_000_000, help="generations (10,000,000)")
    parser.add_argument("--beside", type=int, default=100_000, help="the smaller history (100,000)")
    parser.add_argument("--live", type=int, default=10_000, help="of them in flight, in both (10,000)")
    parser.add_argument(
        "--database",
        action="append",
        help="sqlite, postgresql (from its wheel) or a superuser's URL; may be repeated (both)",
    )
    parser.add_argument("--folder", type=Path, help="where the files go; a temporary folder")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="leave the databases there, and use what is there already"
    )


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
    history = History(rows, min(given.live, rows // 2), DAYS)
    with filled(choice, history, names, folder=given.folder, keep=given.keep) as connection:
        say(f"{choice}, {rows} rows: measuring")
        medians, plans = {}, {}
        chance = random.Random(rows)  # noqa: S311 - guards nothing
        for name in names:
            plans[name] = plan_of(connection, name, history.draw(chance, of_the_largest=True))
            connection.rollback()
            medians[name], _ = medians_ms(connection, history, name, given.repeat)
        return medians, plans


def medians_ms(connection: Connection, history: History, name: str, repeat: int) -> tuple[float, float]:
    """Returns the median time of a statement, run through SQLAlchemy with other rows each time.

    The second number is what it takes of the processor, in this process and the database's. Whatever it
    writes is rolled back.
    """
    chance = random.Random(name)  # noqa: S311 - guards nothing
    taken: list[float] = []
    of_processor: list[float] = []
    until_s = time.perf_counter() + _SECONDS
    while len(taken) < repeat + _WARM and (len(taken) < _MIN or time.perf_counter() < until_s):
        draw = history.draw(chance)
        connection.execute(text("SELECT 1"))  # begins the transaction
        began_s, began_of_processor = time.perf_counter(), _processor_ms(connection)
        STATEMENTS[name].run(connection, draw)
        taken.append((time.perf_counter() - began_s) * 1000)
        of_processor.append(_processor_ms(connection) - began_of_processor)
        connection.rollback()
    warm = min(_WARM, len(taken) // 2)
    return statistics.median(taken[warm:]), statistics.median(of_processor[warm:])


def _processor_ms(connection: Connection) -> float:
    driver: Any = connection.connection.driver_connection
    behind = 0 if connection.dialect.name == "sqlite" else of_process(driver.info.backend_pid)
    return (time.thread_time_ns() + behind) / 1e6


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
