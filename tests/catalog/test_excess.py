"""Judging a body takes no longer the more there is of what the model does not allow."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.v1.client_tokens import _terms_of
from app.catalog.catalog import SHIPPED, load_catalog
from app.catalog.excess import MAX_ITEMS, within_bounds
from app.catalog.model import Model, build_model
from app.catalog.validate import MAX_VIOLATIONS, MORE, media_texts, violations
from app.errors import Problem

CATALOG = load_catalog(SHIPPED, Path(__file__).parents[1] / "data" / "models")
URL = "https://pictures.example/a.jpg"
ODD: dict[str, Any] = {
    "type": "object",
    "properties": {
        "list": {"type": "array", "maxItems": 3, "uniqueItems": True, "items": {"type": "string"}},
        "free": {"type": "array", "items": {"type": "string", "format": "image_uri"}},
        "either": {
            "anyOf": [{"type": "array", "maxItems": 2, "items": {"type": "integer"}}, {"type": "null"}]
        },
        "map": {"type": "object", "maxProperties": 2, "additionalProperties": {"type": "integer"}},
        "open": {"type": "object"},
        "rows": {
            "type": "array",
            "maxItems": 2,
            "items": {
                "type": "object",
                "properties": {"cells": {"type": "array", "maxItems": 2, "items": {"type": "integer"}}},
            },
        },
        "word": {"type": "string", "maxLength": 5, "pattern": "^(a+)+$"},
    },
}
MODEL = build_model({"input_schema": ODD, "pricing": {"version": "1", "free": True}}, "odd/model")
SEED = CATALOG.models["bytedance/dreamina-3-0/image-to-video"]

HOSTILE: dict[str, tuple[Model, Callable[[int], dict[str, Any]]]] = {
    "addresses": (SEED, lambda n: {"prompt": "x", "image_urls": [f"{URL}?{i}" for i in range(n)]}),
    "no addresses": (SEED, lambda n: {"prompt": "x", "image_urls": ["x"] * n}),
    "numbers for addresses": (SEED, lambda n: {"prompt": "x", "image_urls": [1] * n}),
    "objects for addresses": (SEED, lambda n: {"prompt": "x", "image_urls": [{"a": 1}] * n}),
    "unknown fields": (SEED, lambda n: {f"promp{i}": 1 for i in range(n)}),
    "an unknown field that is full": (SEED, lambda n: {"x": [{"y": i} for i in range(n)]}),
    "a list with equal items": (MODEL, lambda n: {"list": ["x"] * n}),
    "a list without a bound": (MODEL, lambda n: {"free": [URL] * n}),
    "wrong items without a bound": (MODEL, lambda n: {"free": [1] * n}),
    "a list in a branch": (MODEL, lambda n: {"either": ["x"] * n}),
    "a map": (MODEL, lambda n: {"map": {f"k{i}": "x" for i in range(n)}}),
    "an open object": (MODEL, lambda n: {"open": {f"k{i}": "x" for i in range(n)}}),
    "a list in a list": (MODEL, lambda n: {"rows": [{"cells": ["x"] * n}] * 3}),
    "unknown fields in a list": (MODEL, lambda n: {"rows": [{f"k{i}": 1 for i in range(n)}] * 3}),
    "a long word": (MODEL, lambda n: {"word": "a" * n * 20 + "b"}),
}


def calls_of(work: Callable[[], Any]) -> int:
    """How many functions are called: unlike seconds, the same on every machine."""
    count = 0

    def note(_frame: Any, event: str, _of: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("name", HOSTILE)
def test_work_does_not_grow_with_what_is_too_much(name: str) -> None:
    model, body_of = HOSTILE[name]

    def judged(size: int) -> int:
        body = body_of(size)

        def work() -> None:
            assert violations(model, body)
            list(media_texts(model, body))

        work()  # what is done once per process
        return calls_of(work)

    assert judged(9000) <= judged(2 * MAX_ITEMS) * 1.1


@pytest.mark.parametrize("name", HOSTILE)
def test_the_violations_are_bounded_and_say_that_there_are_more(name: str) -> None:
    model, body_of = HOSTILE[name]
    found = violations(model, body_of(5000))
    assert 1 <= len(found) <= MAX_VIOLATIONS
    assert [one.code for one in found].count(MORE) == (len(found) == MAX_VIOLATIONS)
    assert found[-1].code == MORE or len(found) < MAX_VIOLATIONS


def test_the_bound_is_told_as_the_model_sets_it_and_with_the_number_that_was_sent() -> None:
    body = {"list": ["a"] * 5, "either": [1] * 3, "map": dict.fromkeys("abc", 1), "free": [URL] * 1001}
    assert {(one.pointer, one.detail) for one in violations(MODEL, body)} >= {
        ("#/list", "must have at most 3 items, has 5"),
        ("#/either", "must have at most 2 items, has 3"),
        ("#/map", "must have at most 2 fields, has 3"),
        (
            "#/free",
            "must have at most 1,000 items with all others whose number the model does not bound, has 1,001",
        ),
    }


def test_items_within_the_bound_are_judged_and_those_beyond_are_not() -> None:
    found = {
        (one.pointer, one.code) for one in violations(MODEL, {"either": None, "list": [1, "a", 2, 3, 4]})
    }
    assert found == {("#/list", "too_many_items"), ("#/list/0", "type"), ("#/list/2", "type")}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.sampled_from(["cells", "rows", "list", "free", "map", "x"]), inner, max_size=5)
    ),
    max_leaves=25,
)


@given(json_values)
def test_whatever_is_not_too_much_stays_as_it_is(value: Any) -> None:
    for model in (MODEL, SEED):
        cut = within_bounds(model.compiled.schema, value)
        if not cut.found and model.compiled.validator.is_valid(value):
            assert cut.body == value
        assert (model.compiled.validator.is_valid(cut.body) and not cut.found) == (
            model.compiled.validator.is_valid(value)
        )


TERMS: dict[str, Callable[[int], dict[str, Any]]] = {
    "models": lambda n: {"models": [1] * n},
    "bounds": lambda n: {"bounds": {f"model {i}": 1 for i in range(n)}},
    "bounds of a model": lambda n: {"bounds": {"a/b": {f"input {i}": 1 for i in range(n)}}, "lifetime_s": 1},
    "unknown terms": lambda n: {f"term {i}": 1 for i in range(n)},
}


@pytest.mark.parametrize("name", TERMS)
def test_the_terms_of_a_client_token_are_bounded_alike(name: str) -> None:
    def refused(size: int) -> int:
        body = TERMS[name](size)

        def work() -> None:
            with pytest.raises(Problem) as caught:
                _terms_of(body)
            assert 1 <= len(caught.value.errors) <= MAX_VIOLATIONS

        work()
        return calls_of(work)

    assert refused(9000) <= refused(2 * MAX_ITEMS) * 1.1
