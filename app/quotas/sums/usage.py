"""Usage: sums of roll-ups by hour, day or month, in groups, a page at a time.

Pages are read by a key, so each reads its own rows alone where the grouping is the one that rows are kept in.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Subquery,
    Table,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
    union_all,
)

from app.db.schema.tables import tenants, usage_counts, usage_days, usage_months
from app.db.statements.deferral import write_deferred
from app.quotas.account import zone_of
from app.quotas.sums.rollups import COUNTS, Facet, day_number
from app.quotas.sums.usage_sums import month_of, summed_until


class Step(StrEnum):
    """How long each period of an answer is."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


class Group(StrEnum):
    """What usage can be grouped by. The value is the name in addresses and documents."""

    TENANT = "tenant"
    MODEL = "model"
    KEY = "key"
    END_USER = "end_user"
    TOKEN = "token"  # noqa: S105 - no secret
    OUTCOME = "outcome"


_COLUMNS: Final = {
    Group.TENANT: "tenant_id",
    Group.MODEL: "model_id",
    Group.KEY: "kid",
    Group.END_USER: "subject",
    Group.TOKEN: "subject",
    Group.OUTCOME: "outcome",
}
_MAX_VALUE: Final = 200
_FIRST_DAYS: Final = 2  # that are read at first where each may have many rows
_MAX_MONTH: Final = 999_999
_LAST_DAY: Final = 31  # of a month, as the end of a range
_FACETS: Final = {Group.END_USER: Facet.END_USER, Group.TOKEN: Facet.TOKEN}
Key = tuple[int | str, ...]
"""The key of a row in an answer: its period as the table has it, then the value of each group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which usage is asked for.

    The days are of the tenants' time zones, the last one included; `tenant_id` is None for all tenants.
    `only` are values that groups must have. `by` and `facet` are such that the roll-ups have them. Days up to
    `summed_until` are in the sums of `usage_sums`; 0: none are.
    """

    tenant_id: str | None
    mode: str
    first: date
    last: date
    by: Step
    groups: tuple[Group, ...] = ()
    only: Mapping[Group, str] = field(default_factory=dict)
    summed_until: int = 0

    @property
    def is_of_all(self) -> bool:
        """Whether the days of all tenants together have the answer, as far as they are summed."""
        return (
            self.tenant_id is None
            and self.facet is Facet.DAY
            and {*self.groups, *self.only} <= {Group.MODEL, Group.OUTCOME}
        )

    @property
    def is_wide(self) -> bool:
        """Whether each period has a row for each tenant, key of all tenants, end user or token."""
        groups = {Group.END_USER, Group.TOKEN}
        if self.tenant_id is None:
            groups |= {Group.TENANT, Group.KEY}
        return not groups.isdisjoint(self.groups)

    @property
    def facet(self) -> Facet:
        """Which rows have the answer."""
        for group, facet in _FACETS.items():
            if group in self.groups or group in self.only:
                return facet
        return Facet.HOUR if self.by is Step.HOUR else Facet.DAY


class Zone(NamedTuple):
    """A tenant's time zone, and since when it is that, in milliseconds; None where it always was."""

    name: str
    zone: tzinfo
    since_ms: int | None = None


def zone_of_tenant(connection: Connection, tenant_id: str | None) -> Zone:
    """Returns a tenant's time zone; that of all tenants together (None) is UTC."""
    if tenant_id is None:
        return Zone("UTC", zone_of("UTC"))
    query = select(tenants.c.time_zone, tenants.c.time_zone_since_ms).where(tenants.c.id == tenant_id)
    row = connection.execute(query).one()
    return Zone(row.time_zone, zone_of(row.time_zone), row.time_zone_since_ms)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of an answer: its key, and sums by their names in `COUNTS`."""

    key: Key
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A page of an answer: the question, its rows, the sums of all its pages, and whether there are more.

    `time_zone` is whose days they are; None where each tenant's are its own. It has been the tenant's since
    `time_zone_since_ms`, None where it always was.
    """

    question: Question
    time_zone: str | None
    time_zone_since_ms: int | None
    rows: Sequence[Row]
    total: Mapping[str, int]
    has_more: bool


def answer(
    connection: Connection, question: Question, zone: Zone, *, after: Key | None, limit: int
) -> Answer:
    """Returns a page of the answer to a question; see `rows`."""
    question = replace(question, summed_until=summed_until(connection))
    found = rows(connection, question, zone.zone, after=after, limit=limit + 1)
    return Answer(
        question=question,
        time_zone=None if question.tenant_id is None else zone.name,
        time_zone_since_ms=zone.since_ms,
        rows=found[:limit],
        total=total(connection, question, zone.zone),
        has_more=len(found) > limit,
    )


def rows(
    connection: Connection, question: Question, zone: tzinfo, *, after: Key | None, limit: int
) -> list[Row]:
    """Returns at most `limit` rows of an answer, by period and groups; those after a key, where one is given.

    A row of which nothing was counted is left out. `zone` says when the days of hours begin and end.
    """
    write_deferred(connection)
    if after is not None and question.by is not Step.HOUR:
        first = _first_of(int(after[0]), question.first)
        question = replace(question, first=min(max(question.first, first), question.last))
    found: list[Row] = []
    for window in _windows(question):
        found += _page(connection, window, zone, after=after, limit=limit - len(found))
        if len(found) == limit:
            break
    return found


def _windows(question: Question) -> Iterator[Question]:
    """Yields a question by day a few days at a time, and ever more, where few days may fill a page."""
    if question.by is not Step.DAY or not question.is_wide:
        yield question
        return
    first, days = question.first, _FIRST_DAYS
    while first <= question.last:
        last = min(first + timedelta(days=days - 1), question.last)
        yield replace(question, first=first, last=last)
        first, days = last + timedelta(days=1), days * 4


def _page(
    connection: Connection, question: Question, zone: tzinfo, *, after: Key | None, limit: int
) -> list[Row]:
    source = _source(question, zone)
    columns = [_period_of(question, source), *(source.c[_COLUMNS[group]] for group in question.groups)]
    sums = _sums(source)
    query = (
        select(*(one.label(f"k{place}") for place, one in enumerate(columns)), *sums.values())
        .group_by(*columns)
        .having(or_(*(total != 0 for total in sums.values())))
        .order_by(*columns)
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(*columns) > tuple_(*(literal(one) for one in after)))
    size = len(columns)
    return [
        Row(tuple(row[:size]), dict(zip(COUNTS, map(int, row[size:]), strict=True)))
        for row in connection.execute(query)
    ]


def total(connection: Connection, question: Question, zone: tzinfo) -> dict[str, int]:
    """Returns the sums of all that is asked for, whatever it is grouped by."""
    write_deferred(connection)
    by = Step.HOUR if question.by is Step.HOUR else Step.MONTH
    question = replace(question, groups=(), by=by)
    source = _source(question, zone)
    row = connection.execute(select(*_sums(source).values())).one()
    return dict(zip(COUNTS, map(int, row), strict=True))


class BelowCost(NamedTuple):
    """A model that was charged less than its jobs cost: what it was charged, and RunComfy's own cost."""

    model_id: str
    charged_microcredits: int
    cost_microusd: int


COST_DAYS: Final = 7
"""For how many days back, and today, prices are compared with what jobs cost."""


def below_cost(connection: Connection, *, now_ms: int) -> list[BelowCost]:
    """Returns the models whose live requests were lately charged less than their jobs cost, at $1 a credit.

    Corrections of prices are taken off what was spent; other adjustments belong to no request, and are left
    out.
    """
    write_deferred(connection)
    first = datetime.fromtimestamp(now_ms / 1000, UTC).date() - timedelta(days=COST_DAYS)
    table = usage_counts.c
    charged = func.sum(table.spent_microcredits - table.adjusted_microcredits)
    cost = func.sum(table.cost_microusd)
    query = (
        select(table.model_id, charged, cost)
        .where(
            table.mode == "live",
            table.facet == Facet.DAY,
            table.period >= _number(first),
            table.outcome != "",
        )
        .group_by(table.model_id)
        .having(cost > charged)
        .order_by((cost - charged).desc(), table.model_id)
    )
    return [BelowCost(row[0], int(row[1]), int(row[2])) for row in connection.execute(query)]


def _sums(source: Subquery) -> dict[str, ColumnElement[int]]:
    return {name: func.coalesce(func.sum(source.c[name]), 0) for name in COUNTS}


def _period_of(question: Question, source: Subquery) -> ColumnElement[int]:
    return month_of(source.c.period) if question.by is Step.MONTH else source.c.period


def _source(question: Question, zone: tzinfo) -> Subquery:
    """Returns the rows that an answer sums.

    Grouped by end user or token, what belongs to none is what the days have beyond the rows of the subjects.
    """
    facet = question.facet
    parts = _selected(question, zone, facet)
    if facet in _FACETS.values() and not any(group in _FACETS for group in question.only):
        parts += _selected(question, zone, Facet.DAY, of_none=1)
        parts += _selected(question, zone, facet, of_none=-1)
    return union_all(*parts).subquery("source")


def _selected(question: Question, zone: tzinfo, facet: Facet, *, of_none: int = 0) -> list[Select[Any]]:
    """Returns the queries of a facet's rows; `of_none`: as rows of no subject, times this number."""
    none: ColumnElement[str] = literal_column("''")
    found = []
    for part in _parts(question, facet, zone):
        table = part.table.c
        query = select(
            table.tenant_id if "tenant_id" in table else none.label("tenant_id"),
            # A month as a day, which `_period_of` makes a month again.
            (table.period * 100 if part.table is usage_months else table.period).label("period"),
            none.label("subject") if of_none or "subject" not in table else table.subject,
            table.kid if "kid" in table else none.label("kid"),
            table.model_id,
            table.outcome,
            *((table[name] * (of_none or 1)).label(name) for name in COUNTS),
        ).where(table.mode == question.mode, part.condition)
        if "facet" in table:
            query = query.where(table.facet == facet)
        if question.tenant_id is not None:
            query = query.where(table.tenant_id == question.tenant_id)
        for group, value in question.only.items():
            query = query.where(table[_COLUMNS[group]] == value)
            if group in _FACETS:
                query = query.where(table.subject != none)  # as the index of subjects says
        found.append(query)
    return found


class _Part(NamedTuple):
    """Some of the periods that are asked for, and the table whose rows have them."""

    table: Table
    condition: ColumnElement[bool]


def _parts(question: Question, facet: Facet, zone: tzinfo) -> list[_Part]:
    """Returns all periods that are asked for: those that are summed, and the others from their own rows."""
    if question.by is Step.HOUR:
        until = _midnight_ms(question.last + timedelta(days=1), zone) - 1
        return _between(usage_counts, _midnight_ms(question.first, zone), until)
    first, last = _number(question.first), _number(question.last)
    until = min(last, question.summed_until)
    if question.is_of_all:
        return [
            *_between(usage_days, first, until),
            *_between(usage_counts, max(first, question.summed_until + 1), last),
        ]
    months = _summed_months(question) if question.by is Step.MONTH and facet is Facet.DAY else []
    if not months:
        return _between(usage_counts, first, last)
    summed = min(months[-1] * 100 + _LAST_DAY, question.summed_until)
    return [
        *_between(usage_counts, first, months[0] * 100),
        # Each month by itself, since tenants stand behind months in the key.
        _Part(usage_months, usage_months.c.period.in_(months)),
        *_between(usage_counts, summed + 1, last),
    ]


def _between(table: Table, first: int, last: int) -> list[_Part]:
    return [_Part(table, table.c.period.between(first, last))] if first <= last else []


def _summed_months(question: Question) -> list[int]:
    """Returns the months of which all summed days are asked for; of the last, days may still be added."""
    first, last = question.first, question.last
    month = first if first.day == 1 else _month_after(first)
    until = question.summed_until
    if _number(last) < until:
        # Only of months that are over, since the rows of the others may have days after the last one.
        day_after = last + timedelta(days=1)
        until = _number(day_after.replace(day=1) - timedelta(days=1))
    found = []
    while _number(month) // 100 <= until // 100:
        found.append(_number(month) // 100)
        month = _month_after(month)
    return found


def _first_of(period: int, otherwise: date) -> date:
    """Returns the first day of a period of an answer; `otherwise` for what is none."""
    number = period if period > _MAX_MONTH else period * 100 + 1
    try:
        return date(number // 10_000, number // 100 % 100, number % 100)
    except (ValueError, OverflowError):  # a cursor that nobody was given
        return otherwise


def _month_after(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)


def _number(day: date) -> int:
    return day_number(day.year, day.month, day.day)


def _midnight_ms(day: date, zone: tzinfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


def is_key(question: Question, values: Sequence[object]) -> bool:
    """Returns whether these values can be the key of a row of this answer."""
    return (
        len(values) == 1 + len(question.groups)
        and type(values[0]) is int
        and 0 <= values[0] < 10**15
        and all(isinstance(one, str) and len(one) <= _MAX_VALUE and "\0" not in one for one in values[1:])
    )
