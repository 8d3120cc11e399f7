"""The calendar days and months in which usage is summed. Pure: the caller gives the moment and the zone."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, assert_never

from app.quotas.metrics import Window

TOTAL: Final = "total"


@dataclass(frozen=True, slots=True)
class Periods:
    """The calendar day and month of a moment in a time zone: `2026-11-24`, `2026-11`, and when each ends."""

    day: str
    month: str
    day_ends_ms: int
    month_ends_ms: int
    day_s: int
    month_s: int

    def label(self, window: Window) -> str:
        """The period in which that window's usage stands. A rate's moment stands with the total."""
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
        """Day, month and total."""
        return self.day, self.month, TOTAL

    def end_ms(self, window: Window) -> int | None:
        """When the window begins anew; None where it never does by the calendar."""
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
        """The window's length in seconds: a day that a clock change shortens has 82,800."""
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
    """The periods of a moment."""
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
    """The labels of a generation's periods, from the day that it was counted on."""
    return day, day[:7], TOTAL


def _midnight_ms(day: date, zone: tzinfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)
