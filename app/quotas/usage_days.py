"""The days of all tenants together, so that their usage is read in few rows, however many tenants there are.

They are summed afterwards, from the tenants' own days: for a row that every submit changes, all tenants would
wait in turn. A day is summed once it is over in every time zone, and again with each of the six days after
it, since refused calls may be counted late. Newer days are read from the tenants' own.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select, update

from app.db.deferral import write_deferred
from app.db.tables import upkeep_positions, usage_counts, usage_days
from app.quotas.rollups import COUNTS, Facet, day_number

_NAME: Final = "usage days"
_MODES: Final = ("live", "test")
_OPEN_DAYS: Final = 3  # today in some time zone, and time for the transactions of the day before to end
_AGAIN_DAYS: Final = 6
_KEY: Final = ("mode", "period", "model_id", "outcome")


def summed_until(connection: Connection) -> int:
    """Returns the day, such as 20261130, up to which the days of all tenants are summed; 0: none is."""
    query = select(upkeep_positions.c.position).where(upkeep_positions.c.name == _NAME)
    return int(connection.scalar(query) or 0)


def sum_next(connection: Connection, *, now_ms: int) -> bool:
    """Sums the next day that is due; returns whether there was one.

    Where the clock was set back, days that may change again are no longer read from these sums.
    """
    until = summed_until(connection)
    last = _number(datetime.fromtimestamp(now_ms / 1000, UTC).date() - timedelta(days=_OPEN_DAYS))
    if until >= last:
        if until > last:
            _keep(connection, last)
        return False
    write_deferred(connection)
    due = _first_after(connection, until, last)
    first = _number(_date(due) - timedelta(days=_AGAIN_DAYS))
    connection.execute(usage_days.delete().where(usage_days.c.period.between(first, due)))
    key = [usage_counts.c[name] for name in _KEY]
    sums = (
        select(*key, *(func.sum(usage_counts.c[name]) for name in COUNTS))
        .where(
            usage_counts.c.mode.in_(_MODES),
            usage_counts.c.facet == Facet.DAY,
            usage_counts.c.period.between(first, due),
        )
        .group_by(*key)
    )
    connection.execute(usage_days.insert().from_select([*_KEY, *COUNTS], sums))
    _keep(connection, due)
    return True


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


def _keep(connection: Connection, until: int) -> None:
    query = update(upkeep_positions).where(upkeep_positions.c.name == _NAME)
    connection.execute(query.values(position=str(until)))


def _number(day: date) -> int:
    return day_number(day.year, day.month, day.day)


def _date(number: int) -> date:
    return date(number // 10_000, number // 100 % 100, number % 100)
