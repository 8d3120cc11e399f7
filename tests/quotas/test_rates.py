"""So many a minute: never more than a burst at once, never more than the rate, and nobody locked out."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.documents.amounts.limits import limit as document
from app.errors import QUOTA_EXCEEDED, Problem
from app.kit.clock import iso
from app.quotas.calls import CallLimiter
from app.quotas.limits import Limit, Scope
from app.quotas.metrics import Metric
from app.quotas.problem import QuotaProblem
from app.quotas.standing import Rate, Standing, rate_standing
from tests.harness import FakeClock

NOW_US = 1_790_000_000_000_000
MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
YEAR_US = 365 * 24 * HOUR_US

rates = st.builds(
    lambda amount, burst: Rate.of(per_minute(amount, burst)),
    st.sampled_from([1, 7, 60, 61, 6000, 999_999_999]),
    st.integers(1, 20),
)
steps_us = st.sampled_from([0, 1, 999, 1_000_000, 8_571_429, 30_000_000, MINUTE_US]) | st.integers(
    0, 3 * MINUTE_US
)
tats_us = st.none() | st.integers(NOW_US - HOUR_US, NOW_US + HOUR_US) | st.integers(0, NOW_US + YEAR_US)


def per_minute(amount: int, burst: int | None = None) -> Limit:
    return Limit(Scope(), Metric.SUBMITS_MINUTE, amount, burst)


def arrive(rate: Rate, tat_us: int | None, now_us: int) -> tuple[int | None, bool]:
    """What a gateway does with one arrival: the state after it, and whether it was let in."""
    if rate.remaining(tat_us, now_us) == 0:
        return tat_us, False
    return rate.take(tat_us, now_us), True


def let_in(rate: Rate, moments_us: Iterable[int]) -> list[int]:
    tat_us, found = None, []
    for now_us in moments_us:
        tat_us, fits = arrive(rate, tat_us, now_us)
        if fits:
            found.append(now_us)
    return found


def takes(rate: Rate, tat_us: int | None, now_us: int) -> int:
    """How many are let in at one moment, by trying."""
    for count in range(1000):
        tat_us, fits = arrive(rate, tat_us, now_us)
        if not fits:
            return count
    raise AssertionError("there is no end to it")


def assert_no_span_has_too_many(rate: Rate, taken_us: list[int]) -> None:
    for (i, first), (j, last) in itertools.combinations(enumerate(taken_us), 2):
        assert j - i + 1 <= rate.burst + (last - first) // rate.interval_us


@pytest.mark.parametrize(
    ("amount", "burst", "interval_us", "at_once"),
    [
        (1, None, 60_000_000, 1),
        (1, 5, 60_000_000, 5),
        (7, None, 8_571_429, 7),
        (7, 3, 8_571_429, 3),
        (60, None, 1_000_000, 60),
        (60, 1, 1_000_000, 1),
        (60, 600, 1_000_000, 600),
        (999_999_999, None, 1, 999_999_999),
        (999_999_999, 1, 1, 1),
    ],
)
def test_the_burst_is_a_minutes_unless_it_is_set_and_the_interval_is_never_too_short(
    amount: int, burst: int | None, interval_us: int, at_once: int
) -> None:
    rate = Rate.of(per_minute(amount, burst))
    assert rate == (interval_us, at_once)
    assert rate.remaining(None, NOW_US) == at_once
    assert rate.interval_us * amount >= MINUTE_US


@given(rates, st.lists(steps_us, max_size=60))
def test_exactly_those_are_let_in_for_whom_a_bucket_has_a_token(rate: Rate, steps: list[int]) -> None:
    moments = list(itertools.accumulate(steps, initial=NOW_US))
    expected, full_us = [], rate.burst * rate.interval_us
    level_us, before_us = full_us, NOW_US
    for now_us in moments:
        level_us, before_us = min(full_us, level_us + now_us - before_us), now_us
        if level_us >= rate.interval_us:
            level_us -= rate.interval_us
            expected.append(now_us)
    assert let_in(rate, moments) == expected


@given(rates, st.lists(steps_us | st.just(0), max_size=60), st.data())
def test_no_span_has_more_than_the_burst_and_the_rate_while_clocks_disagree_by_up_to_a_minute(
    rate: Rate, steps: list[int], data: st.DataObject
) -> None:
    back = st.sampled_from([0, 1, 1000, MINUTE_US]) | st.integers(0, MINUTE_US)
    moments = [now - data.draw(back) for now in itertools.accumulate(steps, initial=NOW_US)]
    assert_no_span_has_too_many(rate, let_in(rate, moments))


@given(rates, st.lists(st.tuples(steps_us, st.sampled_from([0, 0, 0, 0, HOUR_US, YEAR_US])), max_size=60))
def test_a_clock_set_back_far_gives_at_most_a_new_burst(rate: Rate, steps: list[tuple[int, int]]) -> None:
    # Between two such falls the promise holds as if nothing had been before.
    now_us, tat_us = NOW_US, None
    taken: list[list[int]] = [[]]
    for forward_us, back_us in steps:
        now_us += forward_us - back_us
        if back_us:
            taken.append([])
        tat_us, fits = arrive(rate, tat_us, now_us)
        if fits:
            taken[-1].append(now_us)
    for stretch in taken:
        assert_no_span_has_too_many(rate, stretch)


@pytest.mark.parametrize("back_us", [1, MINUTE_US - 1, MINUTE_US, MINUTE_US + 1, HOUR_US, YEAR_US])
@pytest.mark.parametrize(
    ("amount", "burst"), [(1, None), (1, 5), (7, None), (60, 1), (60, 600), (6000, None)]
)
def test_a_clock_set_back_locks_nobody_out_for_longer_than_a_minute_and_one_interval(
    amount: int, burst: int | None, back_us: int
) -> None:
    rate = Rate.of(per_minute(amount, burst))
    tat_us: int | None = None
    for _ in range(rate.burst):
        tat_us, fits = arrive(rate, tat_us, NOW_US)
        assert fits
    assert not arrive(rate, tat_us, NOW_US)[1]
    wait_us = rate.wait_us(tat_us, NOW_US - back_us)
    assert wait_us <= MINUTE_US + rate.interval_us
    assert arrive(rate, tat_us, NOW_US - back_us + wait_us)[1]


def test_a_limit_that_is_raised_is_not_kept_waiting_by_what_was_taken_under_the_old_one() -> None:
    old, new = Rate.of(per_minute(1, 100)), Rate.of(per_minute(600))
    tat_us = None
    for _ in range(100):
        tat_us, _ = arrive(old, tat_us, NOW_US)
    assert new.wait_us(tat_us, NOW_US) == 0
    assert new.remaining(tat_us, NOW_US) == 600


@given(rates, tats_us)
def test_what_remains_is_how_many_are_let_in_and_never_more_than_the_burst(
    rate: Rate, tat_us: int | None
) -> None:
    assert 0 <= rate.remaining(tat_us, NOW_US) <= rate.burst
    assert takes(rate, tat_us, NOW_US) == rate.remaining(tat_us, NOW_US)


@given(rates, tats_us)
def test_after_the_wait_exactly_one_fits_and_a_microsecond_before_it_none(
    rate: Rate, tat_us: int | None
) -> None:
    wait_us = rate.wait_us(tat_us, NOW_US)
    assert (wait_us == 0) == (rate.remaining(tat_us, NOW_US) > 0)
    if wait_us:
        assert takes(rate, tat_us, NOW_US + wait_us) == 1
        for early_us in (1, min(1000, wait_us)):
            assert takes(rate, tat_us, NOW_US + wait_us - early_us) == 0


@given(rates, tats_us)
def test_the_burst_is_whole_again_when_it_is_said_to_be_and_not_before(
    rate: Rate, tat_us: int | None
) -> None:
    full_us = rate.full_us(tat_us, NOW_US)
    assert rate.remaining(tat_us, NOW_US + full_us) == rate.burst
    if full_us:
        assert rate.remaining(tat_us, NOW_US + full_us - 1) < rate.burst


# --- a rate as it stands


@given(st.sampled_from([1, 7, 60, 61, 6000, 999_999_999]), st.none() | st.integers(1, 20), tats_us)
def test_a_client_that_comes_back_when_told_is_let_in_and_a_second_earlier_is_not(
    amount: int, burst: int | None, tat_us: int | None
) -> None:
    limit, now_ms = per_minute(amount, burst), NOW_US // 1000
    standing = rate_standing(limit, tat_us, now_ms, 1)
    retry_s = standing.retry_after_s
    assert standing.fits == (retry_s is None)
    if retry_s is not None:
        assert retry_s > 0
        assert rate_standing(limit, tat_us, now_ms + retry_s * 1000, 1).fits
        assert not rate_standing(limit, tat_us, now_ms + (retry_s - 1) * 1000, 1).fits
        assert standing.resets_at_ms is not None
        assert rate_standing(limit, tat_us, standing.resets_at_ms, 1).fits
        assert not rate_standing(limit, tat_us, standing.resets_at_ms - 1, 1).fits


def test_a_rate_shows_what_is_free_at_once_and_when_all_is_free_again() -> None:
    limit, tat_us = per_minute(7, 3), None
    for _ in range(2):
        tat_us = Rate.of(limit).take(tat_us, NOW_US)
    now_ms = NOW_US // 1000
    found = rate_standing(limit, tat_us, now_ms, 1)
    assert found == Standing(limit, 7, 0, 2, 1, now_ms + 17_143, 18, None, 60, 1)
    assert found.fits
    assert (document(found)["limit"], document(found)["burst"]) == (7, 3)


@given(st.sampled_from([1, 7, 60]), st.none() | st.integers(1, 90), tats_us)
def test_what_is_spent_and_what_is_left_of_a_rate_make_its_burst_or_its_amount(
    amount: int, burst: int | None, tat_us: int | None
) -> None:
    shown = document(rate_standing(per_minute(amount, burst), tat_us, NOW_US // 1000, 0))
    assert shown["burst"] == burst
    assert shown["held"] + shown["spent"] + shown["remaining"] == shown["burst" if burst else "limit"]


@given(st.sampled_from([1, 7, 60]), st.none() | st.integers(1, 90), tats_us, st.integers(0, 1))
def test_a_rate_that_refuses_resets_when_the_next_one_fits_and_else_when_all_is_free(
    amount: int, burst: int | None, tat_us: int | None, wanted: int
) -> None:
    limit, now_ms = per_minute(amount, burst), NOW_US // 1000
    found = rate_standing(limit, tat_us, now_ms, wanted)
    assert found.resets_at_ms is not None
    assert found.resets_in_s is not None
    then = rate_standing(limit, tat_us, found.resets_at_ms, 0)
    assert then.remaining == (1 if found.remaining == 0 else burst or amount)
    assert found.retry_after_s in {None, found.resets_in_s}


@pytest.mark.parametrize("tat_us", [None, 0, NOW_US])
def test_a_rate_of_nought_never_lets_in_and_says_that_waiting_does_not_help(tat_us: int | None) -> None:
    limit = per_minute(0)
    assert rate_standing(limit, tat_us, NOW_US // 1000, 1) == Standing(
        limit, 0, 0, 0, 0, None, None, None, 60, 1
    )
    assert not rate_standing(limit, tat_us, NOW_US // 1000, 1).fits
    assert rate_standing(limit, tat_us, NOW_US // 1000, 0).fits
    assert document(rate_standing(per_minute(0, 9), tat_us, NOW_US // 1000, 0))["burst"] is None


# --- reads


def let_in_reads(limiter: CallLimiter, kid: str, tries: int) -> int:
    count = 0
    for _ in range(tries):
        try:
            limiter.check(Scope(kid))
        except Problem as problem:
            assert problem.fault is QUOTA_EXCEEDED  # noqa: PT017 - the others are counted
        else:
            count += 1
    return count


def test_reads_are_counted_for_each_key_apart() -> None:
    limiter = CallLimiter(FakeClock(), Metric.READS_MINUTE, 3)
    assert let_in_reads(limiter, "one", 5) == 3
    assert let_in_reads(limiter, "other", 5) == 3


def test_a_refused_read_is_not_counted() -> None:
    clock = FakeClock()
    limiter = CallLimiter(clock, Metric.READS_MINUTE, 3)
    assert let_in_reads(limiter, "one", 100) == 3
    clock.advance(20)
    assert let_in_reads(limiter, "one", 100) == 1
    clock.advance(60)
    assert let_in_reads(limiter, "one", 100) == 3


def test_a_refused_read_is_told_when_to_come_back() -> None:
    clock = FakeClock()
    limiter = CallLimiter(clock, Metric.READS_MINUTE, 3)
    let_in_reads(limiter, "one", 3)
    clock.advance(0.5)
    with pytest.raises(Problem) as refused:
        limiter.check(Scope("one"))
    assert refused.value.retry_after_s == 20
    assert isinstance(refused.value, QuotaProblem)
    assert document(refused.value.binding)["resets_at"] == iso(clock.now_ms() + 19_500)
    assert refused.value.detail == (
        "This API key may make 3 reads a minute (`key-reads-minute`). Try again in 20 s."
    )


def test_looking_at_the_limit_on_reads_counts_nothing() -> None:
    limiter = CallLimiter(FakeClock(), Metric.READS_MINUTE, 3)
    for _ in range(10):
        standing = limiter.standing(Scope("one"))
        assert standing is not None
        assert (standing.remaining, standing.fits, standing.limit.policy) == (3, True, "key-reads-minute")


def test_nought_is_no_limit_on_reads() -> None:
    limiter = CallLimiter(FakeClock(), Metric.READS_MINUTE, 0)
    assert limiter.standing(Scope("one")) is None
    assert let_in_reads(limiter, "one", 1000) == 1000


def test_however_many_keys_read_the_memory_is_bounded() -> None:
    limiter = CallLimiter(FakeClock(), Metric.READS_MINUTE, 3)
    for number in range(25_000):
        limiter.check(Scope(str(number)))
        assert len(limiter._tats_us) <= 10_000


def test_keys_that_are_idle_are_forgotten_before_those_that_are_not() -> None:
    clock = FakeClock()
    limiter = CallLimiter(clock, Metric.READS_MINUTE, 3)
    for number in range(9_999):
        limiter.check(Scope(str(number)))
    clock.advance(60)
    assert let_in_reads(limiter, "busy", 5) == 3
    limiter.check(Scope("new"))
    assert set(limiter._tats_us) == {Scope("busy"), Scope("new")}
    assert let_in_reads(limiter, "busy", 5) == 0
