"""Refusals: how many calls of each key were answered with which error, by the minute.

They are counted in memory, and a loop writes the counts, so no call waits for it, and a flood of refusals is
few rows. A process that dies loses what it has counted since the last time.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, func, select

from app.auth.keys import Mode
from app.db.engines.engine import Database
from app.db.schema.tables import refusals
from app.db.statements.upsert import insert_of
from app.errors import Problem
from app.kit.clock import Clock
from app.kit.log import get_logger
from app.kit.text import is_storable

MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 3_600_000
_MAX_COUNTED: Final = 10_000  # rows to write; what is beyond is counted without its key
_MAX_NETWORKS: Final = 1_000  # of callers without a valid key, that are counted at a time
_MAX_WRITTEN: Final = 100  # of these: those with the most refusals; the others are counted together
_BATCH: Final = 500
_COLUMNS: Final = ("tenant_id", "minute_ms", "kid", "code", "network")
_ROW: Final = refusals.c
_log = get_logger("auth")


class KnownKey(NamedTuple):
    """A key whose secret the caller knows, whether it is still valid or not."""

    tenant_id: str
    tenant_name: str
    kid: str
    mode: Mode


class _Counted(NamedTuple):
    """What one count is of; the first five are the primary key of its row."""

    tenant_id: str
    minute_ms: int
    kid: str
    code: str
    network: str
    mode: str


@dataclass(frozen=True, slots=True)
class Refused:
    """How often a key (none: callers without one, from `network` if known) was refused with an error.

    `max_per_minute` is the number in the worst minute.
    """

    tenant_id: str
    kid: str
    mode: str
    code: str
    network: str
    count: int
    max_per_minute: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which refusals to count; all that is not None must match. Times: from, and before, by the minute."""

    tenant_id: str | None = None
    kid: str | None = None
    mode: Mode | None = None
    code: str | None = None
    from_ms: int
    before_ms: int


@dataclass(frozen=True, slots=True)
class Refusals:
    """Counts refusals. `totals` are this process's, by mode, tenant's name and code, for the metric.

    `also` is called with the rows that are written and the time, in the transaction that writes them.
    """

    db: Database
    clock: Clock
    also: Callable[[Connection, Sequence[Mapping[str, Any]], int], None] | None = None
    totals: Counter[tuple[str, str, str]] = field(default_factory=Counter, init=False)
    _counts: Counter[_Counted] = field(default_factory=Counter, init=False)
    _networks: Counter[_Counted] = field(default_factory=Counter, init=False)

    def note(self, key: KnownKey | None, code: str, network: str = "") -> None:
        """Counts one refusal; without a known key, for the network that the call came from."""
        now_ms = self.clock.now_ms()
        minute_ms = now_ms - now_ms % MINUTE_MS
        if key is None:
            self._note_stranger(_Counted("", minute_ms, "", code, network, ""))
            return
        one = _Counted(key.tenant_id, minute_ms, key.kid, code, "", key.mode)
        if one not in self._counts and len(self._counts) >= _MAX_COUNTED:
            one = _Counted("", minute_ms, "", code, "", "")
        self._counts[one] += 1
        total = (key.mode, key.tenant_name, code)
        if total in self.totals or len(self.totals) < _MAX_COUNTED:
            self.totals[total] += 1

    def _note_stranger(self, one: _Counted) -> None:
        if not one.network:
            self._counts[one] += 1
            return
        if one not in self._networks and len(self._networks) >= _MAX_NETWORKS:
            self._fold(_MAX_NETWORKS // 2)
        self._networks[one] += 1

    def _fold(self, kept: int) -> None:
        """Keeps the networks with the most refusals apart, and counts all others together."""
        for one, count in sorted(self._networks.items(), key=itemgetter(1), reverse=True)[kept:]:
            del self._networks[one]
            self._counts[one._replace(network="")] += count

    def _write(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
        _add(connection, rows)
        if self.also is not None:
            self.also(connection, rows, self.clock.now_ms())

    async def run_once(self) -> int:
        """Writes what was counted since the last time. Returns the number of refusals."""
        self._fold(_MAX_WRITTEN)
        counts = self._counts + self._networks
        self._counts.clear()
        self._networks.clear()
        # In one order, so that servers which write at once do not wait for each other in a circle.
        ones = sorted(counts)
        for start in range(0, len(ones), _BATCH):
            rows = [{**one._asdict(), "count": counts[one]} for one in ones[start : start + _BATCH]]
            try:
                await self.db.write(self._write, rows)
            except Problem:
                self._counts.update({one: counts[one] for one in ones[start:]})
                raise
        return counts.total()

    async def close(self) -> None:
        """Writes what was counted, for the last time."""
        try:
            await self.run_once()
        except Problem:
            _log.warning("Refusals could not be counted.", count=self._counts.total())


def _add(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    statement = insert_of(connection, refusals)
    counted = {"count": _ROW.count + statement.excluded.count}
    connection.execute(statement.on_conflict_do_update(index_elements=_COLUMNS, set_=counted), rows)


def ranked(connection: Connection, wanted: Filters, *, limit: int) -> list[Refused]:
    """Returns what was refused most often, for each key, code and network, at most `limit` of them."""
    named = {name: getattr(wanted, name) for name in ("tenant_id", "kid", "mode", "code")}
    given = {name: value for name, value in named.items() if value is not None}
    if not all(map(is_storable, given.values())):
        return []
    conditions: Iterable[ColumnElement[bool]] = (
        _ROW.minute_ms >= wanted.from_ms - wanted.from_ms % MINUTE_MS,
        _ROW.minute_ms < wanted.before_ms,
        *(_ROW[name] == value for name, value in given.items()),
    )
    groups = (_ROW.tenant_id, _ROW.kid, _ROW.mode, _ROW.code, _ROW.network)
    count = func.sum(_ROW.count)
    query = (
        select(*groups, count, func.max(_ROW.count), func.min(_ROW.minute_ms), func.max(_ROW.minute_ms))
        .where(*conditions)
        .group_by(*groups)
        .order_by(count.desc(), *groups)
        .limit(limit)
    )
    return [Refused(*row[:5], *map(int, row[5:])) for row in connection.execute(query)]


def expire(connection: Connection, *, before_ms: int) -> int:
    """Removes the counts of the oldest hour that are older than `before_ms`; returns how many it removed."""
    oldest_ms = connection.scalar(select(func.min(_ROW.minute_ms)))
    if oldest_ms is None:
        return 0
    end_ms = min(before_ms, oldest_ms + _HOUR_MS)
    return connection.execute(delete(refusals).where(_ROW.minute_ms < end_ms)).rowcount
