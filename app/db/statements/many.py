"""Statements with many rows as parameters: one trip, where a statement for each row would be many.

They are text, since SQLAlchemy has none of them in a form that both databases take. All values are text,
whole numbers, or None.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from itertools import chain, count
from typing import Any, Final

from sqlalchemy import Connection, Table

from app.db.statements import prepared
from app.db.statements.prepared import Row

_EITHER: Final = re.compile(r"\bIN \((''[^(){}]*)\)")
_SIZES: Final = (64, 32, 16, 8, 4, 2, 1)  # rows of a statement: few numbers, so that all stay prepared


class Many:
    """A statement with a place `{rows}` for rows of these columns, such as `… IN (VALUES {rows})`.

    Numbers among the columns are named in `whole`, where PostgreSQL has nothing else to know their type from.
    `IN ('', …)` is an array on PostgreSQL, which else uses no index where columns are in the list.
    `each` is how a row is written, with `{}` for each value, and `between` what stands between two. One more
    value may stand before the rows, as `{first}`. `blank` is a row that matches nothing.
    """

    def __init__(
        self,
        sql: str,
        *columns: str,
        whole: Collection[str] = (),
        each: str = "",
        between: str = ", ",
        blank: Row | None = None,
    ) -> None:
        written = ("CAST({} AS BIGINT)" if name in whole else "{}" for name in columns)
        self._sql, self._between, self._blank = sql, between, blank
        self._each = each or f"({', '.join(written)})"

    def run(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> list[Row]:
        """Runs the statement for all rows, once for each; returns the rows that it returned."""
        return [row for some, _ in self._runs(connection, rows) for row in some]

    def change(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> int:
        """Runs the statement for all rows, once for each; returns how many it changed."""
        return sum(changed for _, changed in self._runs(connection, rows))

    def _runs(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> Iterator[tuple[list[Row], int]]:
        at = 0
        for size in _SIZES:
            while len(rows) - at >= size:
                yield self._send(connection, rows[at : at + size], ())
                at += size

    def match(self, connection: Connection, rows: Sequence[Sequence[Any]], *first: Any) -> list[Row]:
        """Runs a statement for rows that it matches: a single trip for up to 64.

        The blank row is added to them, or where there is none the last one is repeated.
        """
        found: list[Row] = []
        for at in range(0, len(rows), _SIZES[0]):
            some = rows[at : at + _SIZES[0]]
            size = next(one for one in reversed(_SIZES) if one >= len(some))
            more = [some[-1] if self._blank is None else self._blank] * (size - len(some))
            found += self._send(connection, [*some, *more], first)[0]
        return found

    def _send(
        self, connection: Connection, rows: Sequence[Sequence[Any]], first: tuple[Any, ...]
    ) -> tuple[list[Row], int]:
        shape = (self._sql, self._each, self._between, len(rows))
        sql = _filled(*shape, connection.dialect.name == "sqlite")
        return prepared.execute(connection, sql, (*first, *chain.from_iterable(rows)))


@lru_cache(maxsize=256)
def _filled(sql: str, each: str, between: str, rows: int, is_sqlite: bool) -> str:  # noqa: FBT001 - of the cache
    """Returns the statement for so many rows, with the parameters as the database writes them."""
    marks = ("?" if is_sqlite else f"${number}" for number in count(1))
    begin, _, rest = sql.partition("{rows}")
    rest = rest if is_sqlite else _EITHER.sub(r"= ANY (ARRAY[\1])", rest)
    begin = begin.replace("{first}", next(marks)) if "{first}" in begin else begin
    values = each.count("{}")
    written = (each.format(*(next(marks) for _ in range(values))) for _ in range(rows))
    return begin + between.join(written) + rest


@lru_cache(maxsize=64)
def inserting_many(table: Table, *names: str) -> Many:
    """Returns the statement that inserts rows with these columns."""
    return Many(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {{rows}}", *names)  # noqa: S608 - our names
