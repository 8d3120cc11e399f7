"""Standings: how much of each limit is used, and what one more generation changes. Pure.

Usage and the time come from the caller. `quotas.account` reads the rows of which an `Account` is made, and
writes what is taken from it. Rates are counted by GCRA, the generic cell rate algorithm.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, assert_never

from app.quotas.amounts import MEMBER_OF, NAMES, NOTHING, Amounts
from app.quotas.limits import Limit, Payer, Scope, scopes_of
from app.quotas.metrics import Metric, Unit, Window
from app.quotas.periods import TOTAL, Periods

IN_FLIGHT_RETRY_S: Final = 5  # an event frees a slot, not the clock, so clients should try again soon
_MINUTE_US: Final = 60_000_000
_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})


class Usage(NamedTuple):
    """What a scope used in one period.

    `added_microcredits` is the sum of top-ups and adjustments, and `tat_us` the rate limiter's theoretical
    arrival time, in microseconds since 1970; only the period `total` has them.
    """

    held: Amounts = NOTHING
    spent: Amounts = NOTHING
    added_microcredits: int = 0
    tat_us: int | None = None

    @property
    def sums(self) -> dict[str, int]:
        """What is held and spent, by the names of the columns: `held_generations`, `spent_generations`, …."""
        return {
            f"{what}_{name}": getattr(amounts, name)
            for name in NAMES
            for what, amounts in (("held", self.held), ("spent", self.spent))
        }


class Standing(NamedTuple):
    """A limit, with how much of it is used; all amounts are in the metric's unit.

    `held` is for requests under way, and may come back; `spent` does not. `remaining` is never negative.
    `resets_at_ms` is when the window begins anew. For a rate it is when the whole burst is free again or,
    where nothing remains, when the next event may come: it is never before a refused caller may try again.
    `wanted` is how much one more generation takes.
    """

    limit: Limit
    amount: int
    held: int
    spent: int
    remaining: int
    resets_at_ms: int | None
    resets_in_s: int | None
    period: str | None
    window_s: int | None
    wanted: int = 0
    retry_after_s: int | None = None
    """The seconds until what is wanted fits; None where it fits already, or waiting alone does not help."""
    undeclared: bool = False
    """Whether the amount that is wanted is unknown, because the model's file does not declare it."""

    @property
    def fits(self) -> bool:
        """Whether what is wanted fits. An unknown amount does not fit: no limit is ever ignored silently."""
        return not self.undeclared and self.wanted <= self.remaining

    @property
    def waits_for_override(self) -> bool:
        """Whether only the end of a temporary override can make room for what is wanted."""
        is_lasting = self.limit.metric.window is Window.TOTAL or self.wanted > self.amount
        return self.limit.until_ms is not None and is_lasting and self.wanted > self.remaining

    @property
    def may_be_queued_for(self) -> bool:
        """Whether a generation that exceeds this limit may be queued until it fits.

        That is so for limits on what is in flight, but not for those of end users: their queued generations
        count as in flight, so that no end user fills the queue alone.
        """
        is_in_flight = self.limit.metric.window is Window.NOW and not self.limit.scope.end_user
        return is_in_flight and self.wanted <= self.amount

    @property
    def burst(self) -> int | None:
        """The burst of a rate, where it is set: `spent` and `remaining` add up to it, not to `amount`."""
        return self.limit.burst if self.amount else None

    @property
    def overdrawn(self) -> int:
        """The micro-credits by which a balance is below 0; 0 where it is not, or this is no balance."""
        is_balance = self.limit.metric is Metric.CREDITS_TOTAL
        return max(0, self.held + self.spent - self.amount) if is_balance else 0


def violated(standings: Sequence[Standing], *, queueable: bool = False) -> list[Standing]:
    """Returns the limits that refuse: what is wanted does not fit into them.

    A submit that is `queueable` is not refused because of what is in flight.
    """
    return [one for one in standings if not one.fits and not (queueable and one.may_be_queued_for)]


def binding(against: Sequence[Standing]) -> Standing:
    """Returns which of the limits that refuse binds: the one with the longest wait.

    If two wait equally long, as a day's and a month's do on a month's last day, it is the one with the longer
    window, so that every day of the month names the same limit.
    """
    return max(
        against, key=lambda one: (one.retry_after_s is None, one.retry_after_s or 0, one.window_s or 0)
    )


class Account(NamedTuple):
    """Everything that decides whether a payer may make one more generation with a model.

    `usage` is by scope and period, `in_flight` and `stored` (bytes) by scope; what is not in them is 0.
    `taken` is held beside it in every row of `rows`, since `usage` was read.
    """

    payer: Payer
    model_id: str
    now_ms: int
    time_zone: str
    periods: Periods
    limits: tuple[Limit, ...]
    usage: Mapping[tuple[Scope, str], Usage] = _NOTHING
    in_flight: Mapping[Scope, int] = _NOTHING
    stored: Mapping[Scope, int] = _NOTHING
    taken: Amounts = NOTHING

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The scopes with rows of usage that a generation counts in, in a fixed order."""
        return scopes_of(self.payer.kid, self.model_id, self.payer.end_user)

    @property
    def rows(self) -> list[tuple[Scope, str]]:
        """The scope and period of every row of usage that a generation counts in, in a fixed order."""
        labels = self.periods.labels
        return [(scope, label) for scope in self.scopes for label in labels]

    def standings(
        self, wanted: Amounts = NOTHING, *, undeclared: Collection[Unit] = frozenset()
    ) -> list[Standing]:
        """Returns the standing of every limit, for one more generation of these amounts.

        It does not fit into limits on units in `undeclared`: its model's file does not say how much it takes.
        """
        return [
            self._standing(one, one.amount, wanted, undeclared)
            for one in self.limits
            if one.amount is not None
        ]

    def with_one_more(self, wanted: Amounts) -> "Account":
        """Returns the account after one more generation of these amounts."""
        usage = {**self.usage, **self.arrivals_of_one_more()}
        if self.payer.token_id:
            of_token = Scope(token_id=self.payer.token_id), TOTAL
            before = usage.get(of_token, Usage())
            usage[of_token] = before._replace(held=before.held + wanted)
        return self._replace(
            usage=usage,
            in_flight={scope: self.in_flight.get(scope, 0) + 1 for scope in self.scopes},
            taken=self.taken + wanted,
        )

    def arrivals_of_one_more(self) -> dict[tuple[Scope, str], Usage]:
        """Returns the rows of `usage` that have the arrival times of rates, as one more submit makes them."""
        rows = {}
        for one in self.limits:
            if one.metric is _SUBMITS and one.amount and one.scope in self.scopes:
                before = self.usage.get((one.scope, TOTAL), _NO_USAGE)
                tat_us = Rate.of(one).take(before.tat_us, self.now_ms * 1000)
                rows[one.scope, TOTAL] = before._replace(tat_us=tat_us)
        return rows

    def _standing(self, limit: Limit, amount: int, wanted: Amounts, undeclared: Collection[Unit]) -> Standing:
        metric = limit.metric
        standing = _STANDING_OF[metric.window](self, limit, amount, wanted.of(metric.unit))
        if (until_ms := limit.until_ms) is not None and standing.waits_for_override:
            # Only the end of the override can help.
            standing = standing._replace(retry_after_s=max(1, -((self.now_ms - until_ms) // 1000)))
        if metric.unit in undeclared:
            return standing._replace(undeclared=True, retry_after_s=None)
        return standing

    def _rate_standing(self, limit: Limit, _amount: int, wanted: int) -> Standing:
        usage = self.usage.get((limit.scope, TOTAL), _NO_USAGE)
        return rate_standing(limit, usage.tat_us, self.now_ms, wanted)

    def _present_standing(self, limit: Limit, amount: int, wanted: int) -> Standing:
        if limit.metric.unit is Unit.BYTES:
            return stored_standing(limit, self.stored.get(limit.scope, 0))
        held = self.in_flight.get(limit.scope, 0)
        remaining = max(0, amount - held)
        can_come = remaining < wanted <= amount
        return Standing(
            limit,
            amount,
            held,
            0,
            remaining,
            None,
            None,
            None,
            None,
            wanted,
            IN_FLIGHT_RETRY_S if can_come else None,
        )

    def _sum_standing(self, limit: Limit, amount: int, wanted: int) -> Standing:
        metric, scope = limit.metric, limit.scope
        period = self.periods.of(metric.window)
        usage = self.usage.get((scope, period.label), _NO_USAGE)
        if metric is _BALANCE:
            amount += usage.added_microcredits
        place = MEMBER_OF[metric.unit]
        if place is None:
            raise AssertionError("what is summed has a place among the amounts")
        held, spent = usage.held[place], usage.spent[place]
        if scope in self.scopes:
            held += self.taken[place]
        remaining = amount - held - spent
        remaining = max(remaining, 0)
        ends_ms = period.ends_ms
        resets_in_s = None if ends_ms is None else max(1, -((self.now_ms - ends_ms) // 1000))
        return Standing(
            limit,
            amount,
            held,
            spent,
            remaining,
            ends_ms,
            resets_in_s,
            period.label,
            period.length_s,
            wanted,
            resets_in_s if remaining < wanted <= amount else None,
        )


_NO_USAGE: Final = Usage()
_SUBMITS, _BALANCE = Metric.SUBMITS_MINUTE, Metric.CREDITS_TOTAL  # a member's look-up is slow


def _standing_of(window: Window) -> Callable[[Account, Limit, int, int], Standing]:
    """Returns how limits of this window stand: by an account, the limit, its amount, and what is wanted."""
    match window:
        case Window.MINUTE:
            return Account._rate_standing  # noqa: SLF001 - of this module
        case Window.NOW:
            return Account._present_standing  # noqa: SLF001 - of this module
        case Window.DAY | Window.MONTH | Window.TOTAL:
            return Account._sum_standing  # noqa: SLF001 - of this module
        case _:
            assert_never(window)


_STANDING_OF: Final = {window: _standing_of(window) for window in Window}


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


def stored_standing(limit: Limit, stored_bytes: int, wanted_bytes: int = 0) -> Standing:
    """Returns the standing of a limit on stored bytes, of which so many are stored. Time frees none."""
    amount = limit.amount or 0
    remaining = max(0, amount - stored_bytes)
    return Standing(limit, amount, stored_bytes, 0, remaining, None, None, None, None, wanted_bytes)


def rate_standing(limit: Limit, tat_us: int | None, now_ms: int, wanted: int) -> Standing:
    """Returns the standing of a rate limit, whose theoretical arrival time is `tat_us`."""
    amount = limit.amount or 0
    if amount == 0:
        return Standing(limit, 0, 0, 0, 0, None, None, None, 60, wanted)
    rate, now_us = Rate.of(limit), now_ms * 1000
    remaining = rate.remaining(tat_us, now_us)
    until_us = rate.full_us(tat_us, now_us) if remaining else rate.wait_us(tat_us, now_us)
    wait_s = -(-until_us // 1_000_000)
    return Standing(
        limit,
        amount,
        0,
        rate.burst - remaining,
        remaining,
        now_ms + -(-until_us // 1000),
        wait_s,
        None,
        60,
        wanted,
        wait_s if wanted > remaining else None,
    )
