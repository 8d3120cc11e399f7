"""Sums of finished days: the days of all tenants together, and the months of each tenant.

Usage is read from them in few rows, however many tenants and days there are. They are made afterwards, from
the tenants' own days: for a row that every submit changes, all tenants would wait in turn, and a submit would
write a month too. A day is summed once, when it is over in every time zone and nothing more is counted in it.
Newer days are read from the tenants' own. End users and client tokens have no months: a day may have hundreds
of thousands of them, which one transaction could not add, and most have few days in a month.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import BigInteger, ColumnElement, Connection, func, literal_column, select, update

from app.db.schema.tables import upkeep_positions, usage_counts, usage_days, usage_months
from app.db.statements.deferral import write_deferred
from app.db.statements.upsert import insert_of
from app.quotas.sums.rollups import COUNTS, Facet, day_number

_NAME: Final = "usage sums"
_MODES: Final = ("live", "test")
_OPEN_DAYS: Final = 3  # today in some time zone, and time for what is counted late, of the day before
_OF_ALL: Final = ("mode", "period", "model_id", "outcome")
_OF_MONTH: Final = ("mode", "period", "tenant_id", "kid", "model_id", "outcome")


def month_of(day: ColumnElement[int]) -> ColumnElement[int]:
    """Returns the month of a day: 202611 of 20261130. It is a whole number on both databases.

    `//` would be a number with a point on PostgreSQL where the 100 is no parameter, as grouping by it needs.
    """
    return day.op("/", return_type=BigInteger())(literal_column("100"))


def summed_until(connection: Connection) -> int:
    """Returns the day, such as 20261130, up to which days are summed; 0: none is."""
    query = select(upkeep_positions.c.position).where(upkeep_positions.c.name == _NAME)
    return int(connection.scalar(query) or 0)


def sum_next(connection: Connection, *, now_ms: int) -> bool:
    """Sums the next day that is due; returns whether there may be more.

    Where the clock was set back, days that may change again are taken out of the sums.
    """
    until, last = summed_until(connection), _last_over(now_ms)
    if until == last:
        return False
    if until > last:
        return take_out(connection, last // 100)
    write_deferred(connection)
    due = _first_after(connection, until, last)
    if _moved(connection, until, due):
        _sum_of_all(connection, due)
        _add_to_months(connection, due)
    return True


def _last_over(now_ms: int) -> int:
    day = datetime.fromtimestamp(now_ms / 1000, UTC).date() - timedelta(days=_OPEN_DAYS)
    return day_number(day.year, day.month, day.day)


def _first_after(connection: Connection, until: int, last: int) -> int:
    """Returns the first day after one of which something was counted, or else the last."""
    days = (
        connection.scalar(
            select(func.min(usage_counts.c.period)).where(
                usage_counts.c.mode == mode,
                usage_counts.c.facet == Facet.DAY,
                usage_counts.c.period > until,
                usage_counts.c.period <= last,
            )
        )
        for mode in _MODES
    )
    return min((day for day in days if day is not None), default=last)


def _moved(connection: Connection, until: int, to: int) -> bool:
    """Moves the place up to which days are summed, unless another server has just done so."""
    place = upkeep_positions.c
    query = update(upkeep_positions).where(
        place.name == _NAME, place.position == (str(until) if until else "")
    )
    return connection.execute(query.values(position=str(to))).rowcount == 1


def _sum_of_all(connection: Connection, day: int) -> None:
    # A server of an earlier version may have summed it, too.
    connection.execute(usage_days.delete().where(usage_days.c.period == day))
    key = [usage_counts.c[name] for name in _OF_ALL]
    sums = (
        select(*key, *(func.sum(usage_counts.c[name]) for name in COUNTS))
        .where(
            usage_counts.c.mode.in_(_MODES), usage_counts.c.facet == Facet.DAY, usage_counts.c.period == day
        )
        .group_by(*key)
    )
    connection.execute(usage_days.insert().from_select([*_OF_ALL, *COUNTS], sums))


def _add_to_months(connection: Connection, day: int) -> None:
    own = usage_counts.c
    names = [*_OF_MONTH, *COUNTS]
    of_day = select(*((own[name] if name != "period" else month_of(own.period)) for name in names)).where(
        own.mode.in_(_MODES), own.facet == Facet.DAY, own.period == day
    )
    insert = insert_of(connection, usage_months).from_select(names, of_day)
    sums = {name: usage_months.c[name] + insert.excluded[name] for name in COUNTS}
    connection.execute(insert.on_conflict_do_update(index_elements=_OF_MONTH, set_=sums))


def first_wrong_month(connection: Connection) -> int | None:
    """Returns the first of the last two months that is not the sum of its days; None where both are.

    Something was counted in a day that had been summed, by a server whose clock was days behind.
    """
    until = summed_until(connection)
    first = until // 100 - (1 if until // 100 % 100 > 1 else 89)  # January follows on December
    own = usage_counts.c
    month = month_of(own.period)
    days = select(month, *(func.sum(own[name]) for name in COUNTS)).group_by(month)
    days = days.where(own.period.between(first * 100, until))
    months = select(usage_months.c.period, *(func.sum(usage_months.c[name]) for name in COUNTS))
    months = months.where(usage_months.c.period >= first).group_by(usage_months.c.period)
    should, kept = (
        {row[0]: [int(one) for one in row[1:]] for row in connection.execute(query)}
        for query in (
            days.where(own.mode.in_(_MODES), own.facet == Facet.DAY),
            months.where(usage_months.c.mode.in_(_MODES)),
        )
    )
    return min((one for one in should.keys() | kept.keys() if should.get(one) != kept.get(one)), default=None)


def take_out(connection: Connection, month: int) -> bool:
    """Takes out a month and what is after it: they are summed anew. Returns True, since there is more to do.

    Where the clock was set back, it is the month of the last day that is over now.
    """
    until = summed_until(connection)
    if until > month * 100 and _moved(connection, until, month * 100):
        connection.execute(usage_days.delete().where(usage_days.c.period > month * 100))
        connection.execute(usage_months.delete().where(usage_months.c.period >= month))
    return True
