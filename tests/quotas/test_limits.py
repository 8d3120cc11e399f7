"""Windows by the calendar, and what fits into a limit."""

import itertools
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.quotas.amounts import NOTHING, Amounts
from app.quotas.limits import Limit, Payer, Scope
from app.quotas.metrics import Metric, Unit
from app.quotas.periods import TOTAL, periods_at, periods_of_day
from app.quotas.standing import Account, Standing, Usage
from tests.quotas.accounts import OF_SUBMITS

KID, MODEL = "k1", "maker/model"
SCOPES: Final = {
    "tenant": Scope(),
    "tenant-model": Scope("", MODEL),
    "key": Scope(KID),
    "key-model": Scope(KID, MODEL),
}
OF_CREDITS = tuple(one for one in OF_SUBMITS if one.unit is Unit.MICROCREDITS)
OF_SECONDS = tuple(one for one in OF_SUBMITS if one.unit is Unit.OUTPUT_SECONDS)
COUNTED = tuple(one for one in OF_SUBMITS if one not in (*OF_CREDITS, *OF_SECONDS))
in_every_scope = pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


NOW_MS: Final = ms("2026-11-24T12:00:00Z")


def one_at(price: int) -> Amounts:
    """One generation at a price in micro-credits, of so many seconds too."""
    return Amounts(generations=1, microcredits=price, output_seconds=price)


def sums(
    generations: tuple[int, int] = (0, 0),
    microcredits: tuple[int, int] = (0, 0),
    seconds: tuple[int, int] = (0, 0),
    **more: int,
) -> Usage:
    """What is held and spent of each."""
    held, spent = (Amounts(*each) for each in zip(generations, microcredits, seconds, strict=True))
    return Usage(held, spent, **more)


def account(
    *limits: Limit,
    usage: Mapping[tuple[Scope, str], Usage] | None = None,
    in_flight: Mapping[Scope, int] | None = None,
    now_ms: int = NOW_MS,
    zone: str = "UTC",
) -> Account:
    periods = periods_at(now_ms, ZoneInfo(zone))
    return Account(Payer(KID), MODEL, now_ms, zone, periods, limits, usage or {}, in_flight or {})


def only(opened: Account, price: int | None = None) -> Standing:
    [standing] = opened.standings(NOTHING if price is None else one_at(price))
    return standing


def fitting(opened: Account, price: int) -> tuple[int, Account]:
    """How many fit, by taking one after the other until one does not, and the account then."""
    for count in range(1000):
        if not all(one.fits for one in opened.standings(one_at(price))):
            return count, opened
        opened = opened.with_one_more(one_at(price))
    raise AssertionError("there is no end to it")


# --- days and months

DAY: Final = 86_400
CALENDAR = [
    ("UTC", "2026-11-24T12:00:00.000Z", "2026-11-24", "2026-11-25T00:00Z", DAY, 30 * DAY),
    ("UTC", "2028-02-28T23:59:59.999Z", "2028-02-28", "2028-02-29T00:00Z", DAY, 29 * DAY),
    ("UTC", "2028-02-29T00:00:00.000Z", "2028-02-29", "2028-03-01T00:00Z", DAY, 29 * DAY),
    ("UTC", "2100-02-28T12:00:00.000Z", "2100-02-28", "2100-03-01T00:00Z", DAY, 28 * DAY),
    ("UTC", "2026-12-31T23:59:59.999Z", "2026-12-31", "2027-01-01T00:00Z", DAY, 31 * DAY),
    ("UTC", "2027-01-01T00:00:00.000Z", "2027-01-01", "2027-01-02T00:00Z", DAY, 31 * DAY),
    ("Europe/Berlin", "2026-03-28T23:00Z", "2026-03-29", "2026-03-29T22:00Z", DAY - 3600, 31 * DAY - 3600),
    ("Europe/Berlin", "2026-10-25T22:59Z", "2026-10-25", "2026-10-25T23:00Z", DAY + 3600, 31 * DAY + 3600),
    ("Europe/Berlin", "2026-10-31T23:00Z", "2026-11-01", "2026-11-01T23:00Z", DAY, 30 * DAY),
    ("America/Santiago", "2026-09-06T03:59Z", "2026-09-05", "2026-09-06T04:00Z", DAY, 30 * DAY - 3600),
    ("America/Santiago", "2026-09-06T04:00Z", "2026-09-06", "2026-09-07T03:00Z", DAY - 3600, 30 * DAY - 3600),
    ("America/Santiago", "2026-04-05T03:30Z", "2026-04-04", "2026-04-05T04:00Z", DAY + 3600, 30 * DAY + 3600),
    ("Asia/Beirut", "2026-03-28T21:59Z", "2026-03-28", "2026-03-28T22:00Z", DAY, 31 * DAY - 3600),
    ("Asia/Beirut", "2026-03-28T22:00Z", "2026-03-29", "2026-03-29T21:00Z", DAY - 3600, 31 * DAY - 3600),
    ("America/Havana", "2026-11-01T04:00Z", "2026-11-01", "2026-11-02T05:00Z", DAY + 3600, 30 * DAY + 3600),
    ("Pacific/Kiritimati", "2026-12-31T10:00Z", "2027-01-01", "2027-01-01T10:00Z", DAY, 31 * DAY),
    ("Asia/Kathmandu", "2026-01-31T18:15Z", "2026-02-01", "2026-02-01T18:15Z", DAY, 28 * DAY),
]
moments_ms = st.integers(ms("2012-01-01T00:00Z"), ms("2100-01-01T00:00Z")) | st.builds(
    lambda day, offset_ms: ms(day) + offset_ms,
    st.sampled_from([ends for _, _, _, ends, _, _ in CALENDAR]),
    st.sampled_from([-1, 0, 1]) | st.integers(-100_000_000, 100_000_000),
)
zones = st.sampled_from(sorted({zone for zone, *_ in CALENDAR}))


@pytest.mark.parametrize(("zone", "now", "day", "ends", "day_s", "month_s"), CALENDAR)
def test_days_and_months_are_those_of_the_tenants_calendar(
    *, zone: str, now: str, day: str, ends: str, day_s: int, month_s: int
) -> None:
    found = periods_at(ms(now), ZoneInfo(zone))
    assert (found.day, found.month, found.labels) == (day, day[:7], (day, day[:7], TOTAL))
    assert (found.day_ends_ms, found.day_s, found.month_s) == (ms(ends), day_s, month_s)
    assert periods_of_day(day) == found.labels


@given(zones, moments_ms)
def test_a_new_day_or_month_begins_exactly_when_the_old_one_was_said_to_end(zone: str, now_ms: int) -> None:
    tz = ZoneInfo(zone)
    now = periods_at(now_ms, tz)
    assert now.day == datetime.fromtimestamp(now_ms / 1000, tz).date().isoformat()
    day_began_ms, month_began_ms = now.day_ends_ms - now.day_s * 1000, now.month_ends_ms - now.month_s * 1000
    assert month_began_ms <= day_began_ms <= now_ms < now.day_ends_ms <= now.month_ends_ms
    assert periods_at(day_began_ms - 1, tz).day < now.day
    assert periods_at(day_began_ms, tz) == periods_at(now.day_ends_ms - 1, tz) == now
    tomorrow = periods_at(now.day_ends_ms, tz)
    assert tomorrow.day > now.day
    assert tomorrow.day_ends_ms - tomorrow.day_s * 1000 == now.day_ends_ms
    assert periods_at(month_began_ms - 1, tz).month < now.month
    assert periods_at(month_began_ms, tz).month == periods_at(now.month_ends_ms - 1, tz).month == now.month
    assert periods_at(now.month_ends_ms, tz).day[7:] == "-01"


@given(zones, moments_ms, st.sampled_from([Metric.GENERATIONS_DAY, Metric.CREDITS_MONTH]))
def test_a_client_that_waits_for_a_reset_is_never_too_early_nor_a_second_late(
    zone: str, now_ms: int, metric: Metric
) -> None:
    standing = only(account(Limit(Scope(), metric, 1), now_ms=now_ms, zone=zone))
    ends_ms = standing.resets_at_ms
    assert ends_ms is not None
    assert standing.resets_in_s is not None
    assert now_ms + (standing.resets_in_s - 1) * 1000 < ends_ms <= now_ms + standing.resets_in_s * 1000


# --- what fits


@in_every_scope
@pytest.mark.parametrize("amount", [0, 1, 7, 60])
@pytest.mark.parametrize("metric", COUNTED)
def test_exactly_as_many_fit_as_a_limit_allows(metric: Metric, amount: int, scope: Scope) -> None:
    count, full = fitting(account(Limit(scope, metric, amount)), price=150_000)
    assert (count, only(full).remaining) == (amount, 0)


@in_every_scope
@pytest.mark.parametrize("burst", [1, 90])
def test_exactly_a_burst_of_submits_fits_at_once(burst: int, scope: Scope) -> None:
    count, full = fitting(account(Limit(scope, Metric.SUBMITS_MINUTE, 60, burst)), price=1)
    assert (count, only(full).remaining) == (burst, 0)


@in_every_scope
@pytest.mark.parametrize(
    ("amount", "price", "fit"),
    [(0, 1, 0), (1, 1, 1), (9, 3, 3), (10, 3, 3), (11, 3, 3), (149_999, 150_000, 0), (1_199_999, 150_000, 7)],
)
@pytest.mark.parametrize("metric", [*OF_CREDITS, *OF_SECONDS])
def test_credits_and_seconds_are_spent_to_the_last_whole_request(
    metric: Metric, amount: int, price: int, fit: int, scope: Scope
) -> None:
    count, full = fitting(account(Limit(scope, metric, amount)), price)
    assert (count, only(full).held, only(full).remaining) == (fit, fit * price, amount - fit * price)


@pytest.mark.parametrize("metric", OF_CREDITS)
def test_what_costs_nothing_fits_even_where_no_credit_is_left(metric: Metric) -> None:
    opened = account(Limit(Scope(), metric, 0), usage={(Scope(), TOTAL): Usage(added_microcredits=-5)})
    for _ in range(3):
        assert only(opened, 0).fits
        opened = opened.with_one_more(one_at(0))
    assert not only(opened, 1).fits


limits = st.builds(
    Limit, st.sampled_from(list(SCOPES.values())), st.sampled_from(OF_SUBMITS), st.none() | st.integers(0, 30)
)


@given(
    st.lists(limits, min_size=1, max_size=8, unique_by=lambda one: (one.scope, one.metric)), st.integers(1, 9)
)
def test_of_many_limits_the_narrowest_decides_how_many_fit(several: list[Limit], price: int) -> None:
    each = [one.amount // one_at(price).of(one.metric.unit) for one in several if one.amount is not None]
    opened = account(*several)
    if each:
        assert fitting(opened, price)[0] == min(each)
    else:
        assert opened.standings(one_at(price)) == []


@pytest.mark.parametrize("metric", OF_SUBMITS)
@in_every_scope
def test_what_others_use_or_another_period_used_is_not_counted(metric: Metric, scope: Scope) -> None:
    opened = account(Limit(scope, metric, 5))
    own = (scope, opened.periods.of(metric.window).label)
    scopes = (*SCOPES.values(), Scope("k2"), Scope("", "maker/other"))
    periods = (*opened.periods.labels, "2026-11-23", "2026-10")
    a_lot = sums((9, 9), (9, 9), (9, 9), added_microcredits=9, tat_us=NOW_MS * 1000 + 60_000_000)
    usage = {one: a_lot for one in itertools.product(scopes, periods) if one != own}
    in_flight = {one: 9 for one in scopes if one != scope}
    assert only(account(Limit(scope, metric, 5), usage=usage, in_flight=in_flight)).remaining == 5


@pytest.mark.parametrize(
    ("metric", "held", "spent"),
    [(Metric.GENERATIONS_DAY, 2, 3), (Metric.CREDITS_MONTH, 50, 700), (Metric.OUTPUT_SECONDS_MONTH, 7, 8)],
)
def test_what_is_held_and_what_is_spent_both_count(metric: Metric, held: int, spent: int) -> None:
    label = account().periods.of(metric.window).label
    found = only(
        account(Limit(Scope(), metric, 1000), usage={(Scope(), label): sums((2, 3), (50, 700), (7, 8))})
    )
    assert (found.held, found.spent, found.remaining) == (held, spent, 1000 - held - spent)
    assert (found.period, found.window_s) == (label, DAY if metric is Metric.GENERATIONS_DAY else 30 * DAY)


@pytest.mark.parametrize(
    ("line", "added", "held", "spent", "allowed", "left"),
    [
        (0, 0, 0, 0, 0, 0),
        (0, 10, 0, 0, 10, 10),
        (0, 10, 3, 4, 10, 3),
        (5, 10, 0, 0, 15, 15),
        (5, 10, 4, 11, 15, 0),
        (5, -3, 0, 0, 2, 2),
        (0, -3, 0, 0, -3, 0),
        (5, 10, 9, 9, 15, 0),
    ],
)
def test_a_prepaid_balance_is_the_credit_line_and_what_was_added(
    *, line: int, added: int, held: int, spent: int, allowed: int, left: int
) -> None:
    usage = {(Scope(), TOTAL): sums((1, 1), (held, spent), added_microcredits=added)}
    prepaid = account(Limit(Scope(), Metric.CREDITS_TOTAL, line), usage=usage)
    found = only(prepaid, 1)
    assert (found.amount, found.remaining, found.fits) == (allowed, left, left > 0)
    assert fitting(prepaid, 1)[0] == left
    assert found.remaining - found.overdrawn == line + added - held - spent
    assert found.remaining * found.overdrawn == 0


def test_only_a_balance_is_overdrawn() -> None:
    used = {(Scope(), label): sums((9, 9), (9, 9), (9, 9)) for label in account().periods.labels}
    for metric in OF_SUBMITS:
        standing = only(account(Limit(Scope(), metric, 1), usage=used, in_flight={Scope(): 9}))
        assert standing.overdrawn == (17 if metric is Metric.CREDITS_TOTAL else 0)


@pytest.mark.parametrize("metric", OF_SUBMITS)
def test_a_model_that_declares_no_seconds_meets_every_limit_on_them_and_no_other(metric: Metric) -> None:
    undeclared = frozenset({Unit.OUTPUT_SECONDS})
    one = Amounts(generations=1, microcredits=1, output_seconds=0)
    [found] = account(Limit(Scope(), metric, 1000)).standings(one, undeclared=undeclared)
    assert (found.fits, found.undeclared) == ((False, True) if metric in OF_SECONDS else (True, False))
    assert found.retry_after_s is None
    assert account(Limit(Scope(), metric, None)).standings(one, undeclared=undeclared) == []


def test_money_added_gives_no_generations() -> None:
    usage = {(Scope(), TOTAL): Usage(added_microcredits=10)}
    assert fitting(account(Limit(Scope(), Metric.GENERATIONS_TOTAL, 2), usage=usage), 1)[0] == 2


def test_one_more_is_held_in_every_scope_and_period_and_the_account_before_stays_as_it_was() -> None:
    opened = account(Limit(SCOPES["key"], Metric.SUBMITS_MINUTE, 60))
    usage = {
        (one, label): sums((1, 2), (3, 4), (5, 6), added_microcredits=5, tat_us=6)
        for one in SCOPES.values()
        for label in opened.periods.labels
    }
    opened = account(*opened.limits, usage=usage, in_flight={Scope(): 1})
    before = dict(opened.usage), dict(opened.in_flight)
    after = opened.with_one_more(one_at(100))
    took = {(SCOPES["key"], TOTAL): NOW_MS * 1000 + 1_000_000}
    assert {key: one._replace(held=one.held + after.taken) for key, one in after.usage.items()} == {
        key: sums((2, 2), (103, 4), (105, 6), added_microcredits=5, tat_us=took.get(key, 6)) for key in usage
    }
    assert after.in_flight == {one: 2 if one == Scope() else 1 for one in SCOPES.values()}
    assert (opened.usage, opened.in_flight) == before
