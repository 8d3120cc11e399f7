"""Rates by GCRA, the generic cell rate algorithm. Pure: the moment comes from the caller, in microseconds."""

from typing import Final, NamedTuple

from app.quotas.limits import Limit

_MINUTE_US: Final = 60_000_000


class Rate(NamedTuple):
    """A rate: at most `burst` events at once, and one more each `interval_us` microseconds."""

    interval_us: int
    burst: int

    @classmethod
    def of(cls, limit: Limit) -> "Rate":
        """Returns the rate of a limit that allows more than 0 a minute."""
        amount = limit.amount or 1
        return cls(-(-_MINUTE_US // amount), limit.burst or amount)

    def _arrival(self, tat_us: int | None, now_us: int) -> int:
        # A used-up burst puts the arrival time this far ahead, and replicas' clocks may differ by a minute.
        # One further ahead comes from a clock that was set back, or from a limit that was changed. It is
        # ignored: a refusal writes nothing, so else all would be refused until the clock has caught up.
        furthest_us = now_us + self.burst * self.interval_us + _MINUTE_US
        return now_us if tat_us is None or tat_us > furthest_us else max(tat_us, now_us)

    def take(self, tat_us: int | None, now_us: int) -> int:
        """Returns the theoretical arrival time after one more event now."""
        return self._arrival(tat_us, now_us) + self.interval_us

    def remaining(self, tat_us: int | None, now_us: int) -> int:
        """Returns how many events may come at once now."""
        room_us = now_us + self.burst * self.interval_us - self._arrival(tat_us, now_us)
        return max(0, room_us // self.interval_us)

    def wait_us(self, tat_us: int | None, now_us: int) -> int:
        """Returns the microseconds until one more event may come; 0 where it may come now."""
        return max(0, self._arrival(tat_us, now_us) - now_us - (self.burst - 1) * self.interval_us)

    def full_us(self, tat_us: int | None, now_us: int) -> int:
        """Returns the microseconds until the whole burst is free again."""
        return self._arrival(tat_us, now_us) - now_us
