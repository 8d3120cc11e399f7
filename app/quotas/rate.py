"""Rates by GCRA, the generic cell rate algorithm. Pure: the moment comes from the caller, in microseconds."""

from typing import Final, NamedTuple

from app.quotas.limits import Limit

_MINUTE_US: Final = 60_000_000


class Rate(NamedTuple):
    """At most `burst` at once, and one more each `interval_us`."""

    interval_us: int
    burst: int

    @classmethod
    def of(cls, limit: Limit) -> "Rate":
        """The rate of a limit with an amount above 0 a minute."""
        amount = limit.amount or 1
        return cls(-(-_MINUTE_US // amount), limit.burst or amount)

    def _arrival(self, tat_us: int | None, now_us: int) -> int:
        # A full burst is as far ahead as it gets, and a minute more where the clocks of servers disagree.
        # What is further is of a clock that was set back, or of another limit. It is forgotten: a refusal
        # writes nothing that would end it, so nobody got in before the clock had caught up.
        furthest_us = now_us + self.burst * self.interval_us + _MINUTE_US
        return now_us if tat_us is None or tat_us > furthest_us else max(tat_us, now_us)

    def take(self, tat_us: int | None, now_us: int) -> int:
        """The theoretical arrival time after one more."""
        return self._arrival(tat_us, now_us) + self.interval_us

    def remaining(self, tat_us: int | None, now_us: int) -> int:
        """How many may come at once now."""
        room_us = now_us + self.burst * self.interval_us - self._arrival(tat_us, now_us)
        return max(0, room_us // self.interval_us)

    def wait_us(self, tat_us: int | None, now_us: int) -> int:
        """How long until one more may come; 0 when it may now."""
        return max(0, self._arrival(tat_us, now_us) - now_us - (self.burst - 1) * self.interval_us)

    def full_us(self, tat_us: int | None, now_us: int) -> int:
        """How long until the whole burst is free again."""
        return self._arrival(tat_us, now_us) - now_us
