"""The states of a generation and the words in which callers see them."""

import re
from pathlib import Path

import pytest

from app.generations.lifecycle import (
    FOLLOWABLE,
    MOVES,
    RESULT_NAMES,
    SOURCES,
    STATUS_NAMES,
    TERMINAL,
    State,
)

# How far a job has come. `unknown` comes before `in_queue`: late evidence still attaches its id.
ORDER = {
    State.ACCEPTED: 0,
    State.DISPATCHING: 1,
    State.UNKNOWN: 2,
    State.IN_QUEUE: 3,
    State.IN_PROGRESS: 4,
    State.COMPLETED: 5,
    State.FAILED: 5,
    State.CANCELLED: 5,
    State.REJECTED: 5,
    State.EXPIRED: 5,
    State.LOST: 5,
}
PROVEN_UNSENT = (State.DISPATCHING, State.ACCEPTED)


def test_every_state_is_reachable_from_the_first() -> None:
    reached = {State.ACCEPTED}
    while more := {to for state in reached for to in MOVES[state]} - reached:
        reached |= more
    assert reached == set(State)


def test_every_state_has_an_entry_and_a_place_in_the_order() -> None:
    assert set(MOVES) == set(State)
    assert set(ORDER) == set(State)


def test_what_has_ended_never_moves_again() -> None:
    assert {
        State.COMPLETED,
        State.FAILED,
        State.CANCELLED,
        State.REJECTED,
        State.EXPIRED,
        State.LOST,
    } == TERMINAL
    assert all(MOVES[state] == frozenset() for state in TERMINAL)


def test_every_live_state_can_still_end() -> None:
    for state in set(State) - TERMINAL:
        reached = {state}
        while more := {to for one in reached for to in MOVES[one]} - reached:
            reached |= more
        assert reached & TERMINAL, state


def test_no_move_goes_back_but_what_is_proven_unsent() -> None:
    back = {(one, to) for one in State for to in MOVES[one] if ORDER[to] <= ORDER[one]}
    assert back == {PROVEN_UNSENT}


def test_no_state_moves_to_itself() -> None:
    """Else an event would be written for something that did not happen."""
    assert all(state not in MOVES[state] for state in State)


def test_an_unknown_job_is_never_sent_again() -> None:
    reached = {State.UNKNOWN}
    while more := {to for state in reached for to in MOVES[state]} - reached:
        reached |= more
    assert not reached & {State.ACCEPTED, State.DISPATCHING}


def test_only_a_job_with_an_upstream_id_completes_or_fails() -> None:
    assert SOURCES[State.COMPLETED] == SOURCES[State.FAILED] == FOLLOWABLE


@pytest.mark.parametrize("to", State)
def test_sources_are_the_inverse_of_moves(to: State) -> None:
    assert SOURCES[to] == {state for state in State if to in MOVES[state]}


def test_callers_see_only_documented_words() -> None:
    """Clients abort on any other. `failed` and `succeeded` belong to the result route alone."""
    assert set(STATUS_NAMES) == set(RESULT_NAMES) == set(State)
    assert set(STATUS_NAMES.values()) == {"in_queue", "in_progress", "completed", "cancelled"}
    assert set(RESULT_NAMES.values()) == {"in_queue", "in_progress", "succeeded", "failed", "cancelled"}


def test_both_routes_agree_whether_a_job_has_ended() -> None:
    ended = {"completed", "cancelled", "succeeded", "failed"}
    for state in State:
        assert (STATUS_NAMES[state] in ended) == (RESULT_NAMES[state] in ended) == (state in TERMINAL)
        assert (RESULT_NAMES[state] == "succeeded") == (state is State.COMPLETED)


def test_the_words_never_go_back() -> None:
    """A watcher sees in_queue, in_progress, an end, in this order, on every path."""
    rank = {"in_queue": 0, "in_progress": 1, "completed": 2, "cancelled": 2}
    back = {
        (one, to) for one in State for to in MOVES[one] if rank[STATUS_NAMES[to]] < rank[STATUS_NAMES[one]]
    }
    # An unknown job was shown as in progress, and is found waiting in the queue: rare, and true.
    assert back == {(State.UNKNOWN, State.IN_QUEUE)}


def test_no_sql_text_spells_a_state_itself() -> None:
    """A renamed state changes every condition with it; migrations are history, and keep theirs."""
    word = "|".join(State)
    spelled = re.compile(rf"\bstate\b[^\n]*'({word})'|'({word})', *'({word})'")
    app = Path(__file__).parents[2] / "app"
    sql = [*app.glob("db/**/*.py"), *app.glob("generations/**/*.py"), *app.glob("admin/**/*.py")]
    found = [f"{path.name}: {hit[0]}" for path in sql for hit in spelled.finditer(path.read_text("utf-8"))]
    assert found == []
