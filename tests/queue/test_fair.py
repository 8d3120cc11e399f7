"""Start-time fair queueing: shares as the weights say, nobody starves, nothing is saved up."""

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from app.generations.queue.fair import MAX_WEIGHT, STEP, Flow, ahead_of
from tests.profiles import examples

weights = st.integers(1, MAX_WEIGHT)
small_turns = st.lists(
    st.builds(Flow, st.uuids().map(str), st.integers(0, 5 * STEP), st.integers(1, 9), st.integers(1, 12)),
    min_size=1,
    max_size=6,
    unique_by=lambda one: one.tenant_id,
)


def served(turns: list[Flow], virtual: int, count: int) -> list[str]:
    """Whom the queue serves, job by job, until nobody waits."""
    left = {one.tenant_id: one for one in turns if one.queued}
    order: list[str] = []
    while left and len(order) < count:
        turn = min(left.values(), key=lambda one: (one.tag, one.tenant_id))
        starts_at = turn.starts_at(virtual)
        virtual = max(virtual, starts_at)
        order.append(turn.tenant_id)
        turn = replace(turn, tag=starts_at + turn.step, queued=turn.queued - 1)
        left[turn.tenant_id] = turn
        if not turn.queued:
            del left[turn.tenant_id]
    return order


@given(st.lists(weights, min_size=2, max_size=8))
def test_shares_are_as_the_weights_at_any_time(chosen: list[int]) -> None:
    turns = [Flow(f"t{number}", 0, weight, 10**6) for number, weight in enumerate(chosen)]
    counts = Counter(served(turns, 0, 2_000))
    for one in turns:
        # Goyal's bound: two who wait all the time differ by less than a job of each.
        for other in turns:
            difference = counts[one.tenant_id] / one.weight - counts[other.tenant_id] / other.weight
            assert abs(difference) <= (1 / one.weight + 1 / other.weight) * (1 + 1e-3)


@given(small_turns, st.integers(0, 6 * STEP))
def test_nobody_is_passed_over_for_ever(turns: list[Flow], virtual: int) -> None:
    order = served(turns, virtual, 10**6)
    assert Counter(order) == {one.tenant_id: one.queued for one in turns}


def test_who_did_not_wait_saved_nothing_up() -> None:
    late, busy = Flow("late", 0, 1, 50), Flow("busy", 100 * STEP, 1, 50)
    order = served([late, busy], 100 * STEP, 20)
    assert Counter(order) == {"late": 10, "busy": 10}


def test_who_had_more_than_a_share_owes_nothing_once_the_others_are_gone() -> None:
    assert served([Flow("alone", 10**9, 1, 3)], 0, 10) == ["alone"] * 3


@settings(max_examples=examples(300))
@given(small_turns, st.integers(0, 6 * STEP), st.data())
def test_a_place_is_how_many_are_served_before(turns: list[Flow], virtual: int, data: st.DataObject) -> None:
    own = data.draw(st.sampled_from(turns))
    before = data.draw(st.integers(0, own.queued - 1))
    others = [one for one in turns if one is not own]
    order = served(turns, virtual, 10**6)
    places = [at for at, tenant_id in enumerate(order) if tenant_id == own.tenant_id]
    assert ahead_of(own, before, others, virtual) == places[before]
