"""The calendar days and months in which usage is summed. Pure: the caller gives the moment and the zone."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cached_property, lru_cache
from typing import Final, NamedTuple, assert_never

from app.quotas.metrics import Window

TOTAL: Final = "total"


class Period(NamedTuple):
    """The period in which a window's usage is summed, and whose name its rows have.

    `ends_ms` is when the window begins anew, in milliseconds since 1970; None where no calendar says so.
    `length_s` is its length in seconds, None where it has none: a day of 23 hours has 82,800.
    """

    label: str
    ends_ms: int | None
    length_s: int | None


_MINUTE: Final = Period(TOTAL, None, 60)  # a rate's `tat_us` is in the row of `total`
_ENDLESS: Final = Period(TOTAL, None, None)


@dataclass(frozen=True)
class Periods:
    """The calendar day and month of a moment in a time zone, such as `2026-11-24` and `2026-11`.

    `…_ends_ms` is when each ends, in milliseconds since 1970, and `…_s` its length in seconds.
    """

    day: str
    month: str
    day_ends_ms: int
    month_ends_ms: int
    day_s: int
    month_s: int

    @property
    def labels(self) -> tuple[str, str, str]:
        """The periods that a generation counts in: day, month and total."""
        return self.day, self.month, TOTAL

    def of(self, window: Window) -> Period:
        """Returns the period of a window."""
        return self._by_window[window]

    def has(self, now_ms: int) -> bool:
        """Returns whether a moment is in the day, and so in the month too."""
        return self.day_ends_ms - self.day_s * 1000 <= now_ms < self.day_ends_ms

    @cached_property
    def _by_window(self) -> dict[Window, Period]:
        return {window: self._of(window) for window in Window}

    def _of(self, window: Window) -> Period:
        match window:
            case Window.MINUTE:
                return _MINUTE
            case Window.DAY:
                return Period(self.day, self.day_ends_ms, self.day_s)
            case Window.MONTH:
                return Period(self.month, self.month_ends_ms, self.month_s)
            case Window.TOTAL | Window.NOW:
                return _ENDLESS
            case _:
                assert_never(window)


def periods_at(now_ms: int, zone: tzinfo) -> Periods:
    """Returns the periods of a moment (milliseconds since 1970) in a time zone."""
    return _periods_of(datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone).date(), zone)


@lru_cache(maxsize=1_400)  # two days in as many zones as there are: every moment of a day has the same
def _periods_of(today: date, zone: tzinfo) -> Periods:
    first = today.replace(day=1)
    next_first = (first + timedelta(days=32)).replace(day=1)
    day_from, day_to = _midnight_ms(today, zone), _midnight_ms(today + timedelta(days=1), zone)
    month_from, month_to = _midnight_ms(first, zone), _midnight_ms(next_first, zone)
    return Periods(
        today.isoformat(),
        today.isoformat()[:7],
        day_to,
        month_to,
        (day_to - day_from) // 1000,
        (month_to - month_from) // 1000,
    )


def periods_of_day(day: str) -> tuple[str, str, str]:
    """Returns the periods that a generation counts in, by the day that it counts on."""
    return day, day[:7], TOTAL


def _midnight_ms(day: date, zone: tzinfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)
