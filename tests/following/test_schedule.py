"""When to look next: often at what is young, seldom at what is old, and never late by more than a tenth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.generations.following.schedule import Durations, Schedule

DAY_MS = 86_400_000
paces = st.builds(
    lambda min_s, more_s: Schedule(min_s, min_s + more_s), st.floats(0.05, 60), st.floats(0, 600)
)
ages_ms = st.integers(-DAY_MS, 30 * DAY_MS)  # negative: the clock was set back
usuals_ms = st.none() | st.floats(0, DAY_MS)
chances = st.floats(0, 1)


@given(paces, ages_ms, usuals_ms, chances)
def test_a_gap_is_within_its_bounds_but_for_a_tenth_of_chance(
    pace: Schedule, age_ms: int, usual_ms: float | None, chance: float
) -> None:
    gap_ms = pace.gap_ms(age_ms=age_ms, usual_ms=usual_ms, chance=chance)
    assert gap_ms >= 1
    assert pace.min_s * 900 - 1 <= gap_ms <= pace.max_gap_ms() + 1


@given(paces, ages_ms, usuals_ms, chances)
def test_chance_shortens_a_gap_by_a_tenth_at_most_and_never_lengthens_it(
    pace: Schedule, age_ms: int, usual_ms: float | None, chance: float
) -> None:
    whole_ms = pace.gap_ms(age_ms=age_ms, usual_ms=usual_ms, chance=0)
    gap_ms = pace.gap_ms(age_ms=age_ms, usual_ms=usual_ms, chance=chance)
    assert whole_ms * 0.9 - 1 <= gap_ms <= whole_ms


def test_chance_spreads_looks_that_began_together() -> None:
    gaps = {Schedule().gap_ms(age_ms=100_000, usual_ms=None, chance=step / 100) for step in range(101)}
    assert (min(gaps), max(gaps), len(gaps)) == (9_000, 10_000, 101)


@given(paces, ages_ms, st.integers(0, DAY_MS), usuals_ms)
def test_a_gap_only_grows_with_age(pace: Schedule, age_ms: int, more_ms: int, usual_ms: float | None) -> None:
    younger_ms = pace.gap_ms(age_ms=age_ms, usual_ms=usual_ms, chance=0)
    assert younger_ms <= pace.gap_ms(age_ms=age_ms + more_ms, usual_ms=usual_ms, chance=0)


@given(paces, ages_ms, st.floats(0, DAY_MS), chances)
def test_a_usual_duration_never_makes_a_gap_longer(
    pace: Schedule, age_ms: int, usual_ms: float, chance: float
) -> None:
    known_ms = pace.gap_ms(age_ms=age_ms, usual_ms=usual_ms, chance=chance)
    assert known_ms <= pace.gap_ms(age_ms=age_ms, usual_ms=None, chance=chance)


@given(paces, st.floats(0, DAY_MS), st.floats(0, 1.99))
def test_until_twice_the_usual_duration_a_gap_is_a_tenth_of_it_at_most(
    pace: Schedule, usual_ms: float, share: float
) -> None:
    gap_ms = pace.gap_ms(age_ms=int(usual_ms * share), usual_ms=usual_ms, chance=0)
    assert gap_ms <= max(usual_ms / 10, pace.min_s * 1000) + 1


@given(st.floats(0, DAY_MS))
def test_who_takes_twice_the_usual_is_followed_by_its_age(usual_ms: float) -> None:
    age_ms = int(usual_ms * 2) + 1
    pace = Schedule(0.001, 100_000)
    known_ms = pace.gap_ms(age_ms=age_ms, usual_ms=usual_ms, chance=0)
    assert known_ms == pace.gap_ms(age_ms=age_ms, usual_ms=None, chance=0)


@given(st.integers(1_000, 300_000))
def test_a_job_is_known_to_be_over_within_a_tenth_of_its_duration(duration_ms: int) -> None:
    """Or within the shortest gap; whatever the phase of the looks, which are made at every gap's end."""
    pace, at_ms, inspections = Schedule(1, 30), 1_000, 1
    while at_ms < duration_ms:
        at_ms += pace.gap_ms(age_ms=at_ms, usual_ms=None, chance=0)
        inspections += 1
    assert at_ms - duration_ms <= max(1_000, duration_ms * 0.1)
    assert inspections <= 10 + 1 + 50  # a second apart for ten seconds, then by tenths


def test_a_years_old_job_costs_two_looks_a_minute() -> None:
    assert Schedule().gap_ms(age_ms=365 * DAY_MS, usual_ms=10_000, chance=0) == 30_000


class TestDurations:
    def test_nothing_is_usual_before_one_was_seen(self) -> None:
        durations = Durations()
        durations.learn("a/b", 5_000)
        assert (durations.usual_ms("a/b"), durations.usual_ms("a/c")) == (5_000, None)

    @given(st.lists(st.integers(0, DAY_MS), min_size=1))
    def test_what_is_usual_lies_between_the_shortest_and_the_longest(self, seen_ms: list[int]) -> None:
        durations = Durations()
        for one_ms in seen_ms:
            durations.learn("a/b", one_ms)
        usual_ms = durations.usual_ms("a/b")
        assert usual_ms is not None
        assert min(seen_ms) - 1 <= usual_ms <= max(seen_ms) + 1

    def test_one_odd_job_is_forgotten_after_about_ten(self) -> None:
        durations = Durations()
        for one_ms in (10_000, 600_000, *[10_000] * 15):
            durations.learn("a/b", one_ms)
        assert durations.usual_ms("a/b") == pytest.approx(10_000, rel=0.5)
