"""`python -m bench asked`: what operators and partners ask, among ten million requests and among 100,000.

Each is a whole question: all statements of it are timed together, with other rows each time; in parentheses,
what they take of the processor, which other work on the machine changes less. It exits with 1
where one takes longer than 50 ms, or needs more statements among more requests. With
`--keep` the databases stay, so that they are loaded once: some 20 GB on each.
"""

import argparse
import random
from typing import Final, NamedTuple

from sqlalchemy import Connection

from bench.databases import FROM_WHEEL, SQLITE
from bench.filling import filled, say
from bench.history import History
from bench.plans import DAYS, add_histories, medians_ms
from bench.statements import STATEMENTS, captured

_OF: Final = ("search", "usage", "entries", "statements", "ledger", "refusals", "events.thresholds")
_WITHIN_MS: Final = 50.0
_COUNTED: Final = 25


class _Found(NamedTuple):
    """How long a question takes, how much of the processor, and how many statements it is, at most."""

    ms: float
    processor_ms: float
    statements: int


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part."""
    add_histories(parser)
    parser.add_argument("--only", metavar="TEXT", help="only questions whose names begin with it")
    parser.add_argument("--repeat", type=int, default=100, help="times that each question is asked (100)")


def main(given: argparse.Namespace) -> list[str]:
    """Loads, measures and prints; returns what takes too long, or more statements among more requests."""
    choices = given.database or (SQLITE, FROM_WHEEL)
    sizes = [(choice, rows) for choice in choices for rows in (given.beside, given.rows)]
    found = [_asked(given, choice, rows) for choice, rows in sizes]
    names = list(found[0])
    print(_table(names, sizes, found))
    faults = []
    for few, many, choice in zip(found[::2], found[1::2], choices, strict=True):
        for name in names:
            if many[name].ms > _WITHIN_MS:
                faults.append(f"{choice}, {name}: {many[name].ms:.1f} ms; {_WITHIN_MS:.0f} are allowed")
            if many[name].statements > few[name].statements:
                faults.append(f"{choice}, {name}: {many[name].statements} statements among more requests")
    return faults


def _asked(given: argparse.Namespace, choice: str, rows: int) -> dict[str, _Found]:
    names = [one for one in STATEMENTS if one.startswith(given.only or _OF)]
    history = History(rows, min(given.live, rows // 2), DAYS)
    with filled(choice, history, names, folder=given.folder, keep=given.keep) as connection:
        say(f"{choice}, {rows} rows: measuring")
        return {name: _measured(connection, history, name, given.repeat) for name in names}


def _measured(connection: Connection, history: History, name: str, repeat: int) -> _Found:
    return _Found(*medians_ms(connection, history, name, repeat), _count(connection, history, name))


def _count(connection: Connection, history: History, name: str) -> int:
    """Returns how many statements a question is, at most, for some rows."""
    chance = random.Random(name)  # noqa: S311 - guards nothing
    counts = []
    for _ in range(_COUNTED):
        counts.append(len(captured(connection, name, history.draw(chance))))
        connection.rollback()
    return max(counts)


def _table(names: list[str], sizes: list[tuple[str, int]], found: list[dict[str, _Found]]) -> str:
    titles = {SQLITE: "SQLite", FROM_WHEEL: "PostgreSQL"}
    heads = [f"{titles.get(choice, choice)} {rows:,}" for choice, rows in sizes]
    lines = [["Question", "statements", *heads], ["---"] * (2 + len(heads))]
    for name in names:
        most = max(one[name].statements for one in found)
        lines.append(
            [name, str(most), *(f"{one[name].ms:.1f} ({one[name].processor_ms:.1f})" for one in found)]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
