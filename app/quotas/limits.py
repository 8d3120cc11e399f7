"""Limits, and whether one more generation fits into them. Pure: usage and time come from the caller.

A limit belongs to a tenant, to one of its API keys or end users, for all models or for one, or to a client
token. It is one metric with one amount. Money is integer micro-credits, 1,000,000 to a credit.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

MICROCREDITS: Final = 1_000_000
MOST: Final = 999_999_999  # of credits: in micro-credits still an integer of a structured field, 15 digits
_MINUTE_US: Final = 60_000_000
_CREDITS: Final = re.compile(r"[+-]?[0-9]{1,9}(\.[0-9]{1,6})?")  # Decimal itself takes 1_000, 1e3 and NaN
IN_FLIGHT_RETRY_S: Final = 5  # a slot is freed by an event, not by the clock: a client looks again soon


class Metric(StrEnum):
    """What is limited, and over which window."""

    SUBMITS_MINUTE = "submits-minute"
    IN_FLIGHT = "in-flight"
    GENERATIONS_DAY = "generations-day"
    GENERATIONS_MONTH = "generations-month"
    GENERATIONS_TOTAL = "generations-total"
    CREDITS_DAY = "credits-day"
    CREDITS_MONTH = "credits-month"
    CREDITS_TOTAL = "credits-total"
    READS_MINUTE = "reads-minute"
    CALLS_MINUTE = "calls-minute"
    TOKENS_MINUTE = "tokens-minute"

    @property
    def of_credits(self) -> bool:
        """Whether its amounts are micro-credits."""
        return self.startswith("credits")

    @property
    def is_rate(self) -> bool:
        """Whether it is a rate a minute."""
        return self.endswith("minute")

    @property
    def window(self) -> str | None:
        """`minute`, `day`, `month`, `total`, or None for what is in flight."""
        return None if self is Metric.IN_FLIGHT else self.rpartition("-")[2]


_OF_SETTINGS: Final = frozenset({Metric.READS_MINUTE, Metric.CALLS_MINUTE, Metric.TOKENS_MINUTE})
SETTABLE: Final = tuple(metric for metric in Metric if metric not in _OF_SETTINGS)
"""Limits on anything but submits are the operator's, in the settings."""
EVERY_END_USER: Final = "*"
"""In place of a label: a limit of each end user that has no own one of that metric."""


class LimitError(ValueError):
    """It is no limit; the message is for the operator."""


class Scope(NamedTuple):
    """Whose usage: a key's, an end user's or a client token's or, where all are empty, the whole tenant's.

    Of one model or, empty, of all. A key that was made by a rotation counts as the first of its line.
    """

    kid: str = ""
    model_id: str = ""
    end_user: str = ""
    token_id: str = ""

    @property
    def holder(self) -> str:
        """`tenant`, `key`, `end-user` or `token`."""
        if self.token_id:
            return "token"
        if self.end_user:
            return "end-user"
        return "key" if self.kid else "tenant"

    @property
    def is_of_client(self) -> bool:
        """Whether whoever holds a client token may see it: what its tenant and key have is not theirs."""
        return bool(self.token_id or self.end_user)


@dataclass(frozen=True, slots=True)
class Limit:
    """`amount` is of generations, submits or micro-credits; None means no limit, though a default has one.

    `burst` is how many submits may come at once where the metric is a rate: by default a minute's.
    """

    scope: Scope
    metric: Metric
    amount: int | None
    burst: int | None = None

    @property
    def policy(self) -> str:
        """Its name in headers and refusals, such as `key-credits-day`."""
        of_model = "-model" if self.scope.model_id else ""
        return f"{self.scope.holder}{of_model}-{self.metric}"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a scope used in one period. `added_microcredits`, of `total` alone, are top-ups and adjustments.

    `tat_us` is the rate limiter's theoretical arrival time, in microseconds since 1970.
    """

    held_generations: int = 0
    spent_generations: int = 0
    held_microcredits: int = 0
    spent_microcredits: int = 0
    added_microcredits: int = 0
    tat_us: int | None = None


class Payer(NamedTuple):
    """Whom a generation counts for beside its tenant.

    A key and, where it was made with a client token, that and the end user whom it names.
    """

    kid: str
    end_user: str = ""
    token_id: str = ""


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

    def label(self, metric: Metric) -> str:
        """The period that a metric's window is in."""
        return {"day": self.day, "month": self.month}.get(metric.window or "", TOTAL)

    @property
    def labels(self) -> tuple[str, str, str]:
        """Day, month and total."""
        return self.day, self.month, TOTAL

    def end_ms(self, metric: Metric) -> int | None:
        """When the metric's window begins anew; None where it never does by the calendar."""
        return {"day": self.day_ends_ms, "month": self.month_ends_ms}.get(metric.window or "")

    def length_s(self, metric: Metric) -> int | None:
        """The window's length in seconds: a day that a clock change shortens has 82,800."""
        return {"minute": 60, "day": self.day_s, "month": self.month_s}.get(metric.window or "")


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


@dataclass(frozen=True, slots=True)
class Standing:
    """A limit beside what is used of it.

    `held` belongs to requests under way and may come back; `spent` does not. `remaining` is never negative.
    `resets_at_ms` is when the window begins anew. A rate has none: it is when the whole burst is free again
    or, where none is left, when the next one is. So whoever is refused is never told to come back earlier.
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
    """For a wish that does not fit: seconds until it can, None when waiting alone will not help."""

    @property
    def fits(self) -> bool:
        """Whether the wish does."""
        return self.wanted <= self.remaining

    @property
    def may_be_queued_for(self) -> bool:
        """Whether it is a limit of what is in flight, into which the wish fits some day.

        Of an end user what waits counts as in flight, so that nobody fills the queue alone.
        """
        is_in_flight = self.limit.metric is Metric.IN_FLIGHT and not self.limit.scope.end_user
        return is_in_flight and self.wanted <= self.amount

    @property
    def burst(self) -> int | None:
        """Of a rate whose burst is not a minute's: what is spent and what remains make it, not the amount."""
        return self.limit.burst if self.amount else None

    @property
    def overdrawn(self) -> int:
        """By how many micro-credits a balance is below 0; 0 where it is not, and where it is no balance."""
        is_balance = self.limit.metric is Metric.CREDITS_TOTAL
        return max(0, self.held + self.spent - self.amount) if is_balance else 0


@dataclass(frozen=True, slots=True)
class Account:
    """Everything that decides about one more generation of a payer and a model."""

    payer: Payer
    model_id: str
    now_ms: int
    time_zone: str
    periods: Periods
    limits: tuple[Limit, ...]
    usage: Mapping[tuple[Scope, str], Usage] = field(default_factory=dict)
    in_flight: Mapping[Scope, int] = field(default_factory=dict)

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """Those with sums of their own that a generation counts in, in a fixed order."""
        return scopes_of(self.payer.kid, self.model_id, self.payer.end_user)

    @property
    def cells(self) -> list[tuple[Scope, str]]:
        """Every scope and period that a generation counts in; of a client token all that it ever made."""
        sums = [(scope, label) for scope in self.scopes for label in self.periods.labels]
        return [*sums, *([(Scope(token_id=self.payer.token_id), TOTAL)] if self.payer.token_id else [])]

    def standings(self, microcredits: int | None = None) -> list[Standing]:
        """Every limit as it stands; with a price, also whether one more generation at that price fits."""
        return [
            self._standing(one, one.amount, microcredits) for one in self.limits if one.amount is not None
        ]

    def with_one_more(self, microcredits: int) -> "Account":
        """The account after one more generation at that price."""
        now_us = self.now_ms * 1000
        rates = {one.scope: one for one in self.limits if one.metric is Metric.SUBMITS_MINUTE and one.amount}
        usage = dict(self.usage)
        for scope, label in self.cells:
            before = usage.get((scope, label), Usage())
            rate = rates.get(scope) if label == TOTAL else None
            usage[scope, label] = Usage(
                before.held_generations + 1,
                before.spent_generations,
                before.held_microcredits + microcredits,
                before.spent_microcredits,
                before.added_microcredits,
                before.tat_us if rate is None else Rate.of(rate).take(before.tat_us, now_us),
            )
        in_flight = {scope: self.in_flight.get(scope, 0) + 1 for scope in self.scopes}
        return replace(self, usage=usage, in_flight=in_flight)

    def _standing(self, limit: Limit, amount: int, microcredits: int | None) -> Standing:
        metric = limit.metric
        wanted = 0 if microcredits is None else microcredits if metric.of_credits else 1
        period = self.periods.label(metric)
        usage = self.usage.get((limit.scope, period), Usage())
        if metric.is_rate:
            return rate_standing(limit, usage.tat_us, self.now_ms, wanted)
        if metric is Metric.IN_FLIGHT:
            held, spent = self.in_flight.get(limit.scope, 0), 0
        elif metric.of_credits:
            held, spent = usage.held_microcredits, usage.spent_microcredits
        else:
            held, spent = usage.held_generations, usage.spent_generations
        if metric is Metric.CREDITS_TOTAL:
            amount += usage.added_microcredits
        remaining = max(0, amount - held - spent)
        ends_ms = self.periods.end_ms(metric)
        resets_in_s = None if ends_ms is None else max(1, -((self.now_ms - ends_ms) // 1000))
        retry_after_s = None
        if remaining < wanted <= amount:
            retry_after_s = IN_FLIGHT_RETRY_S if metric is Metric.IN_FLIGHT else resets_in_s
        return Standing(
            limit,
            amount,
            held,
            spent,
            remaining,
            ends_ms,
            resets_in_s,
            None if metric is Metric.IN_FLIGHT else period,
            self.periods.length_s(metric),
            wanted,
            retry_after_s,
        )


def scopes_of(kid: str, model_id: str, end_user: str = "") -> tuple[Scope, ...]:
    """The scopes with sums that a generation counts in, always in the order in which rows are locked."""
    of_key = (Scope(), Scope("", model_id), Scope(kid, ""), Scope(kid, model_id))
    if not end_user:
        return of_key
    return (*of_key, Scope(end_user=end_user), Scope(model_id=model_id, end_user=end_user))


class Rate(NamedTuple):
    """GCRA, the generic cell rate algorithm: at most `burst` at once, and one more each `interval_us`."""

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


def rate_standing(limit: Limit, tat_us: int | None, now_ms: int, wanted: int) -> Standing:
    """A limit of so many a minute as it stands."""
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


def parse_limit(text: str, scope: Scope = Scope()) -> Limit:  # noqa: B008 - a constant
    """`credits-day=5`, `submits-minute=60/10` (a burst of 10), `in-flight=none`; credits, not micro-credits.

    Raises:
        LimitError: it is not of that form.

    """
    name, separator, value = text.partition("=")
    known = ", ".join(SETTABLE)
    if not separator or name not in SETTABLE:
        raise LimitError(f"{text!r} is not METRIC=AMOUNT; metrics are {known}.")
    metric = Metric(name)
    if value == "none":
        return Limit(scope, metric, None)
    amount_text, slash, burst_text = value.partition("/")
    if slash and not metric.is_rate:
        raise LimitError(f"{text!r}: a burst belongs to submits-minute alone.")
    if metric.of_credits:
        return Limit(scope, metric, parse_credits(amount_text, least=0))
    return Limit(scope, metric, _count(text, amount_text), _count(text, burst_text, 1) if slash else None)


def parse_credits(text: str, *, least: int | None = None) -> int:
    """Micro-credits from credits with up to six decimals, such as `12.5`.

    Raises:
        LimitError: it is not of that form, or below `least` credits.

    """
    amount = Decimal(text) if _CREDITS.fullmatch(text) else None
    if amount is None or abs(amount) > MOST:
        raise LimitError(f"{text!r} is no amount of credits: up to {MOST}, with at most six decimals.")
    if least is not None and amount < least:
        raise LimitError(f"{text!r} is less than {least}.")
    return int(amount * MICROCREDITS)


def credits_text(microcredits: int) -> str:
    """Credits for people: `0.15`, `12`, `-3`."""
    return f"{Decimal(microcredits) / MICROCREDITS:f}"


def _count(text: str, number: str, least: int = 0) -> int:
    fits = number.isascii() and number.isdigit() and len(number) <= len(str(MOST))
    if not fits or not least <= int(number) <= MOST:
        raise LimitError(f"{text!r}: {number[:20]!r} is not a whole number from {least} to {MOST}.")
    return int(number)
