"""A credential is left alone when it fares badly, and only then; only time and a trial bring it back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstream.breaker import MAX_FAILURES, Condition, Health

NOW_MS = 1_790_000_000_000
DAY_S = 86_400
WELL = Health()


def failed(health: Health, times: int = 1, *, now_ms: int = NOW_MS) -> Health:
    for _ in range(times):
        health = health.failed("timeout", now_ms)
    return health


def refused(health: Health = WELL, *, now_ms: int = NOW_MS, **how: Any) -> Health:
    return health.refused("http_402", now_ms, **({"retry_after_s": None, "looks_too": False} | how))


def pause_ms(health: Health, now_ms: int = NOW_MS) -> int:
    return health.until_ms - now_ms


# --- what opens it


def test_the_tenth_failure_in_a_row_opens_it_and_no_earlier_one() -> None:
    for times in range(MAX_FAILURES):
        assert failed(WELL, times).condition(NOW_MS) is Condition.CLOSED
    opened = failed(WELL, MAX_FAILURES)
    assert MAX_FAILURES == 10
    assert (opened.condition(NOW_MS), opened.may_submit, opened.may_poll) == (Condition.OPEN, False, False)
    assert (opened.reason, opened.openings) == ("timeout", 1)


@given(st.lists(st.integers(0, MAX_FAILURES - 1)), st.sampled_from(["answered", "accepted"]))
def test_one_answer_in_between_is_enough_to_keep_it_closed(runs: list[int], answer: str) -> None:
    health = WELL
    for run in runs:
        health = getattr(failed(health, run), answer)()
        assert health.may_submit
        assert health.failures == 0
    assert failed(health, MAX_FAILURES - 1).may_submit


def test_a_refusal_opens_it_at_once() -> None:
    opened = refused()
    assert (opened.condition(NOW_MS), opened.may_submit, opened.reason) == (Condition.OPEN, False, "http_402")


def test_only_a_refusal_that_says_so_holds_looks_back_too() -> None:
    assert refused(looks_too=False).may_poll
    assert not refused(looks_too=True).may_poll
    assert WELL.may_poll


def test_while_it_is_open_what_was_under_way_changes_neither_its_end_nor_its_count() -> None:
    opened = refused()
    for again in (
        refused(opened, now_ms=NOW_MS + 1),
        refused(opened, now_ms=NOW_MS + 1, retry_after_s=DAY_S),
        failed(opened, 20, now_ms=NOW_MS + 1),
    ):
        assert (again.until_ms, again.openings, again.reason) == (opened.until_ms, 1, "http_402")


def test_what_was_under_way_may_still_show_that_looks_fail_as_well() -> None:
    opened = refused(refused(looks_too=False), looks_too=True)
    assert not opened.may_poll
    assert not refused(opened, looks_too=False).may_poll, "and nothing under way shows the contrary"


# --- for how long


def test_each_opening_lasts_twice_as_long_up_to_five_minutes() -> None:
    health, now_ms, pauses = WELL, NOW_MS, []
    for _ in range(30):
        health = refused(health, now_ms=now_ms)
        pauses.append(pause_ms(health, now_ms))
        now_ms = health.until_ms
    assert pauses[:8] == [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]
    assert set(pauses[7:]) == {300_000}


@given(st.integers(0, DAY_S), st.integers(0, 50))
def test_a_retry_after_is_obeyed_to_the_second_whatever_came_before(asked_s: int, openings: int) -> None:
    opened = refused(Health(openings=openings), retry_after_s=asked_s)
    assert pause_ms(opened) == max(1, asked_s) * 1000
    assert opened.condition(NOW_MS) is Condition.OPEN
    assert opened.condition(opened.until_ms - 1) is Condition.OPEN
    assert opened.condition(opened.until_ms) is Condition.HALF_OPEN


@given(st.integers(1, DAY_S), st.integers(0, DAY_S * 1000))
def test_callers_are_told_a_time_when_it_is_worth_asking_again(asked_s: int, later_ms: int) -> None:
    opened = refused(retry_after_s=asked_s)
    told_s = opened.retry_after_s(NOW_MS + later_ms)
    assert told_s >= 1
    assert NOW_MS + later_ms + told_s * 1000 >= opened.until_ms
    assert told_s <= max(1, asked_s - later_ms // 1000 + 1)


# --- what closes it


@given(st.integers(0, 10 * DAY_S * 1000))
def test_time_alone_never_closes_it(later_ms: int) -> None:
    opened = refused()
    now = opened.condition(NOW_MS + later_ms)
    assert now is (Condition.OPEN if later_ms < 5_000 else Condition.HALF_OPEN)
    assert not opened.may_submit


def test_no_answer_of_what_was_under_way_closes_it() -> None:
    for opened in (refused(), failed(WELL, MAX_FAILURES)):
        assert opened.answered() == opened
        assert opened.accepted() == opened


def test_a_trial_that_went_well_closes_it_and_keeps_its_openings_until_a_submit_is_accepted() -> None:
    twice = refused(refused(), now_ms=NOW_MS + 5_000)
    recovered = twice.recovered()
    assert (recovered.condition(NOW_MS), recovered.may_submit, recovered.may_poll) == (
        Condition.CLOSED,
        True,
        True,
    )
    assert (recovered.openings, recovered.failures, recovered.reason) == (2, 0, "")
    assert pause_ms(refused(recovered)) == 20_000, "the trial showed nothing of submits"
    assert recovered.answered().openings == 2
    assert recovered.accepted() == WELL
    assert pause_ms(refused(recovered.accepted())) == 5_000


def test_a_trial_that_fails_opens_it_again_at_once_and_for_longer() -> None:
    opened = failed(WELL, MAX_FAILURES)
    again = failed(opened, now_ms=opened.until_ms)
    assert again.condition(opened.until_ms) is Condition.OPEN
    assert (again.openings, pause_ms(again, opened.until_ms)) == (2, 10_000)


# --- the clock


@pytest.mark.parametrize("back_s", [DAY_S + 3600, 10 * DAY_S, 365 * DAY_S])
def test_a_clock_that_was_set_back_does_not_keep_it_open_for_that_long(back_s: int) -> None:
    for opened in (refused(), refused(retry_after_s=DAY_S), failed(WELL, MAX_FAILURES)):
        now_ms = NOW_MS - back_s * 1000
        assert opened.condition(now_ms) is Condition.HALF_OPEN
        assert failed(opened, now_ms=now_ms).condition(now_ms) is Condition.OPEN, (
            "and is opened by that clock"
        )


def test_nobody_is_told_to_come_back_after_the_clocks_error() -> None:
    assert refused().retry_after_s(NOW_MS - 365 * DAY_S * 1000) <= DAY_S + 3600


# --- whatever happens


class TestAnyHistory:
    acts = st.one_of(
        st.just("answered"),
        st.just("accepted"),
        st.just("recovered"),
        st.just("failed"),
        st.tuples(st.none() | st.integers(0, DAY_S), st.booleans()),
    )

    @given(st.lists(st.tuples(acts, st.integers(-10_000, 400_000)), max_size=60))
    def test_it_is_open_for_a_day_at_most_and_usable_exactly_while_it_is_closed(
        self, history: list[tuple[Any, int]]
    ) -> None:
        health, now_ms = WELL, NOW_MS
        for act, later_ms in history:
            now_ms += later_ms
            before = health
            if act == "failed":
                health = health.failed("timeout", now_ms)
            elif isinstance(act, tuple):
                health = health.refused("http_429", now_ms, retry_after_s=act[0], looks_too=act[1])
                assert not health.may_submit
            else:
                health = getattr(health, act)()
            if not before.may_submit and act != "recovered":
                assert not health.may_submit, "only a trial closes it"
            assert health.may_submit == (health.condition(now_ms) is Condition.CLOSED)
            assert health.may_poll or not health.may_submit
            assert health.until_ms - now_ms <= DAY_S * 1000 + 600_000
            assert health.failures >= 0
            assert len(health.reason) <= 64
