"""Running a statement through psycopg's own binding of libpq, for what is run many times a second.

A cursor of psycopg does more than is needed here, at each call: that takes three times as much of the
processor. What is left out is left out of the parameters: they are text, whole numbers, or None.
"""

from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus

_GOOD: Final = frozenset({ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK})


class Statements:
    """The statements of one connection: prepared once, except behind a pooler."""

    def __init__(self, driver: "psycopg.Connection[Any]") -> None:
        self._pgconn = driver.pgconn
        self._encoding = driver.info.encoding
        self._transformer = Transformer(driver)
        self._prepares = driver.prepare_threshold is not None
        # psycopg must prepare none of its own: after a rollback it sends DEALLOCATE ALL, which drops these.
        driver.prepare_threshold = None
        self._names: dict[str, bytes] = {}
        self.changes = 0

    def run(self, sql: str, parameters: Sequence[Any]) -> tuple[list[tuple[Any, ...]], int]:
        """Runs a statement with parameters `$1` and so on; returns its rows and how many it changed.

        Raises:
            psycopg.Error: it failed.

        """
        if not parameters:  # commands: several are one trip, where semicolons separate them
            result = self._pgconn.exec_(sql.encode(self._encoding))
            self._check(result)
            return self._rows_of(result), result.command_tuples or 0
        values: list[Any] = [
            one if one is None else one.encode(self._encoding) if isinstance(one, str) else b"%d" % one
            for one in parameters
        ]
        if b"\0" in b"".join(filter(None, values)):  # libpq would take it for the end
            raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        if self._prepares:
            name = self._names.get(sql) or self._prepare(sql)
            result = self._pgconn.exec_prepared(name, values)
        else:
            result = self._pgconn.exec_params(sql.encode(self._encoding), values)
        self._check(result)
        return self._rows_of(result), result.command_tuples or 0

    def _prepare(self, sql: str) -> bytes:
        name = b"reelgate_%d" % len(self._names)
        self._check(self._pgconn.prepare(name, sql.encode(self._encoding)))
        self._names[sql] = name
        return name

    def _rows_of(self, result: Any) -> list[tuple[Any, ...]]:
        if not result.ntuples:
            return []
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def _check(self, result: Any) -> None:
        if result.status not in _GOOD:
            raise psycopg.errors.error_from_result(result, encoding=self._encoding)
