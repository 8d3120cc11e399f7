"""Verifying roll-ups: every sum of usage is computed anew from the ledger and the generations.

Days and hours are compared where the tenant's present time zone says which they are: since it was last
changed. Over all time, the sums are compared in any case.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, func, select, text

from app.db.schema.tables import archived_usage, tenants, usage_counts, usage_days, usage_months
from app.db.statements.deferral import write_deferred
from app.quotas.account import zone_of
from app.quotas.balances.ledger import Kind
from app.quotas.sums.rollups import COUNTS, REFUSED, SUBMITTED, Facet, bucket_of, microusd
from app.quotas.sums.usage_sums import month_of, summed_until

_QUARTER_MS: Final = 900_000
_HOUR_MS: Final = 3_600_000
_AHEAD_OF_UTC_MS: Final = 14 * _HOUR_MS
_COMPARED: Final = tuple(name for name in COUNTS if name != "refused_calls")
_ENTRIES: Final = f"""
    SELECT tenant_id, mode, quarter, kid, model_id, end_user, token_id, outcome, kind, count(*) AS entries,
    sum(amount) AS amount FROM (
        SELECT l.tenant_id, l.mode, l.at_ms / {_QUARTER_MS} AS quarter, l.kind,
        coalesce(g.root_kid, g.kid, l.kid) AS kid, coalesce(g.model_id, l.model_id) AS model_id,
        coalesce(g.end_user, '') AS end_user, coalesce(g.token_id, '') AS token_id,
        CASE l.kind WHEN '{Kind.HOLD}' THEN '{SUBMITTED}' WHEN '{Kind.SETTLE}' THEN
            coalesce((SELECT e.state FROM generation_events e
            WHERE e.generation_id = g.id AND e.at_ms = l.at_ms AND (e.reason = 'resolved_charged'
            OR ',' || g.settles_in || ',' LIKE '%,' || e.state || ',%')
            ORDER BY e.version LIMIT 1), g.state)
        ELSE coalesce(g.state, '') END AS outcome,
        CASE l.kind WHEN '{Kind.HOLD}' THEN -l.microcredits WHEN '{Kind.SETTLE}' THEN g.price_microcredits
        ELSE l.microcredits END AS amount
        FROM ledger_entries l LEFT JOIN generations g ON g.id = coalesce(l.generation_id, l.about_id)
        /* of a batch */
    ) AS entry
    GROUP BY tenant_id, mode, quarter, kid, model_id, end_user, token_id, outcome, kind"""  # noqa: S608 - our words
_ENDED: Final = f"""
    SELECT tenant_id, mode, finished_at_ms / {_QUARTER_MS} AS quarter, coalesce(root_kid, kid) AS kid,
    model_id, coalesce(end_user, '') AS end_user, coalesce(token_id, '') AS token_id, state AS outcome,
    upstream_cost_usd, count(*) AS ended
    FROM generations g WHERE finished_at_ms IS NOT NULL AND charge IS NOT NULL /* and of a batch */
    GROUP BY tenant_id, mode, finished_at_ms / {_QUARTER_MS}, coalesce(root_kid, kid), model_id,
    coalesce(end_user, ''), coalesce(token_id, ''), state, upstream_cost_usd"""  # noqa: S608 - our words
_OF_A_BATCH: Final = "EXISTS (SELECT 1 FROM archived_requests a WHERE a.id = g.id AND a.batch_id = :batch_id)"
_NAMES: Final = {Kind.HOLD: "held", Kind.SETTLE: "spent", Kind.REFUND: "refunded"}


class Place(NamedTuple):
    """The key of a row; the period is 0 in what is summed over all time."""

    tenant_id: str
    mode: str
    facet: str
    period: int
    subject: str
    kid: str
    model_id: str
    outcome: str


_Sums = dict[Place, dict[str, int]]


@dataclass(frozen=True, slots=True)
class _Since:
    """From which day and which hour on a tenant's rows are compared one by one."""

    day: int
    hour_ms: int

    @classmethod
    def of(cls, since_ms: int | None) -> "_Since":
        if since_ms is None:
            return cls(0, 0)
        # Of days that began before the change, some part is in another time zone.
        return cls(bucket_of(since_ms + _AHEAD_OF_UTC_MS, UTC).day + 1, since_ms + _HOUR_MS)


def wrong_roll_ups(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yields the key of each row of roll-ups that is not the sum of the ledger, and what is wrong with it."""
    write_deferred(connection)
    since = {
        row.id: _Since.of(row.time_zone_since_ms)
        for row in connection.execute(select(tenants.c.id, tenants.c.time_zone_since_ms))
    }
    kept = _Collected(since, _first_hours(connection))
    for row in connection.execute(select(usage_counts)):
        counts = {name: int(getattr(row, name)) for name in _COMPARED}
        place = Place(*(getattr(row, name) for name in Place._fields))
        if row.outcome != REFUSED:
            kept.add(place, counts)
    right = _Collected(since, kept.first_hours)
    add_expected(connection, right.add)
    for row in connection.execute(select(archived_usage)):
        counts = {name: int(getattr(row, name)) for name in _COMPARED}
        right.add(Place(*(getattr(row, name) for name in Place._fields)), counts)
    for place in sorted(kept.sums.keys() | right.sums.keys()):
        now, should = kept.sums.get(place, {}), right.sums.get(place, {})
        wrong = [
            f"{name} is {now.get(name, 0)}, the ledger says {should.get(name, 0)}"
            for name in _COMPARED
            if now.get(name, 0) != should.get(name, 0)
        ]
        if wrong:
            yield " ".join(str(part) or "*" for part in place), "; ".join(wrong)
    yield from _wrong_sums(connection)


def _wrong_sums(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yields the days of all tenants together, and the months, that are not the sums of the tenants' days."""
    own, until = usage_counts.c, summed_until(connection)
    for title, table, period, last in (
        ("of all tenants", usage_days, own.period, until),
        ("of a month", usage_months, month_of(own.period), until // 100),
    ):
        names = [one.name for one in table.primary_key]
        columns = [period if name == "period" else own[name] for name in names]
        counted = select(*columns, *(func.sum(own[name]) for name in _COMPARED)).group_by(*columns)
        counted = counted.where(own.facet == Facet.DAY, own.period <= until, own.outcome != REFUSED)
        summed = select(*(table.c[name] for name in (*names, *_COMPARED)))
        summed = summed.where(table.c.period <= last, table.c.outcome != REFUSED)
        should, kept = (_by_key(connection, query, len(names)) for query in (counted, summed))
        for place in sorted(should.keys() | kept.keys()):
            if should.get(place) != kept.get(place):
                yield " ".join([f"* {title}", *map(str, place)]), "is not the sum of the tenants' days"


def _by_key(connection: Connection, query: Select[Any], size: int) -> dict[tuple[Any, ...], list[int]]:
    return {tuple(row[:size]): [int(one) for one in row[size:]] for row in connection.execute(query)}


@dataclass(frozen=True, slots=True)
class _Collected:
    """Sums that are collected for a comparison: those over all time, and those of single days and hours."""

    since: Mapping[str, _Since]
    first_hours: Mapping[str, int]
    sums: _Sums = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))

    def add(self, place: Place, counts: Mapping[str, int]) -> None:
        since = self.since.get(place.tenant_id, _Since(0, 0))
        if place.facet == Facet.HOUR:
            first_ms = self.first_hours.get(place.mode)
            if first_ms is None or place.period < max(first_ms, since.hour_ms):
                return
            self._sum(place, counts)
            return
        self._sum(place._replace(period=0), counts)
        if place.period >= since.day:
            self._sum(place, counts)

    def _sum(self, place: Place, counts: Mapping[str, int]) -> None:
        row = self.sums[place]
        for name, amount in counts.items():
            row[name] += amount


def _first_hours(connection: Connection) -> dict[str, int]:
    """Returns the first hour that is kept of each mode: those before it were removed, the oldest first."""
    query = select(usage_counts.c.mode, func.min(usage_counts.c.period)).where(
        usage_counts.c.facet == Facet.HOUR
    )
    found = connection.execute(query.group_by(usage_counts.c.mode)).all()
    return {str(row[0]): int(row[1]) for row in found}


def add_expected(
    connection: Connection,
    collect: Callable[[Place, Mapping[str, int]], None],
    *,
    batch_id: str | None = None,
) -> None:
    """Passes on what the ledger and the generations add to each row of the roll-ups.

    That is of all of them or, with a `batch_id`, of the generations that are being archived in this batch.
    """
    zones = {
        row.id: zone_of(row.time_zone)
        for row in connection.execute(select(tenants.c.id, tenants.c.time_zone))
    }

    def add(row: Any, counts: Mapping[str, int]) -> None:
        if row.tenant_id not in zones:  # a finding of another rule
            return
        bucket = bucket_of(row.quarter * _QUARTER_MS, zones[row.tenant_id])
        found = [(Facet.HOUR, bucket.hour_ms, ""), (Facet.DAY, bucket.day, "")]
        subjects = ((Facet.END_USER, row.end_user), (Facet.TOKEN, row.token_id))
        found += [(facet, bucket.day, subject) for facet, subject in subjects if subject]
        for facet, period, subject in found:
            scope = (row.kid or "", row.model_id or "", row.outcome or "")
            collect(Place(row.tenant_id, row.mode, facet, period, subject, *scope), counts)

    entries, ended, parameters = _ENTRIES, _ENDED, {}
    if batch_id is not None:
        entries = entries.replace("/* of a batch */", f"WHERE {_OF_A_BATCH}")
        ended = ended.replace("/* and of a batch */", f"AND {_OF_A_BATCH}")
        parameters = {"batch_id": batch_id}
    for row in connection.execute(text(entries), parameters):
        amount = int(row.amount or 0)
        if (name := _NAMES.get(row.kind)) is not None:
            add(row, {f"{name}_generations": row.entries, f"{name}_microcredits": amount})
        else:
            is_payment = row.kind == Kind.TOP_UP
            add(row, {"added_microcredits" if is_payment else "adjusted_microcredits": amount})
    for row in connection.execute(text(ended), parameters):
        cost_microusd = row.ended * microusd(row.upstream_cost_usd)
        add(row, {"ended_generations": row.ended, "cost_microusd": cost_microusd})
