"""The calendar days and months in which usage is summed. Pure: the caller gives the moment and the zone."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, assert_never

from app.quotas.metrics import Window

TOTAL: Final = "total"


@dataclass(frozen=True, slots=True)
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

    def label(self, window: Window) -> str:
        """Returns the period whose row has the usage of a window; a rate's `tat_us` is in that of `total`."""
        match window:
            case Window.DAY:
                return self.day
            case Window.MONTH:
                return self.month
            case Window.TOTAL | Window.MINUTE | Window.NOW:
                return TOTAL
            case _:
                assert_never(window)

    @property
    def labels(self) -> tuple[str, str, str]:
        """The periods that a generation counts in: day, month and total."""
        return self.day, self.month, TOTAL

    def end_ms(self, window: Window) -> int | None:
        """Returns when a window begins anew, in milliseconds since 1970; None where no calendar says so."""
        match window:
            case Window.DAY:
                return self.day_ends_ms
            case Window.MONTH:
                return self.month_ends_ms
            case Window.TOTAL | Window.MINUTE | Window.NOW:
                return None
            case _:
                assert_never(window)

    def length_s(self, window: Window) -> int | None:
        """Returns a window's length in seconds, None where it has none: a day of 23 hours has 82,800."""
        match window:
            case Window.MINUTE:
                return 60
            case Window.DAY:
                return self.day_s
            case Window.MONTH:
                return self.month_s
            case Window.TOTAL | Window.NOW:
                return None
            case _:
                assert_never(window)


def periods_at(now_ms: int, zone: tzinfo) -> Periods:
    """Returns the periods of a moment (milliseconds since 1970) in a time zone."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone).date()
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
