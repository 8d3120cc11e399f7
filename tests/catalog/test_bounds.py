"""Bounds of inputs: what passes is what model and bound allow, and no body gets around one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog.bounds import CODE, faults_of_bounds, violations_of_bounds
from app.catalog.catalog import SHIPPED, load_catalog

MODEL = load_catalog(SHIPPED).models["bytedance/dreamina-3-0/image-to-video"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["enum", "minimum", "maximum", "max_length", "other"])
RESOLUTION = st.sampled_from(["720P", "1080P"])
FRAMES = st.sampled_from([121, 241])


def pointers(bounds: Any, body: dict[str, Any]) -> list[str]:
    found = violations_of_bounds(MODEL, bounds, body)
    assert {one.code for one in found} <= {CODE}
    return [one.pointer for one in found]


@given(st.dictionaries(st.sampled_from(["resolution", "seed", "x"]), st.dictionaries(NAMES, JSON)))
def test_bounds_of_whatever_form_are_judged_and_never_raise(bounds: dict[str, dict[str, Any]]) -> None:
    for one in faults_of_bounds(MODEL, bounds):
        assert one.pointer.startswith("#/bounds")
        assert one.detail


@given(st.dictionaries(st.sampled_from(["resolution", "number_of_frames", "seed", "prompt", "x"]), JSON))
def test_what_is_no_fault_can_be_used_on_any_body(body: dict[str, Any]) -> None:
    bounds: dict[str, dict[str, Any]] = {
        "resolution": {"enum": ["720P"]},
        "number_of_frames": {"enum": [121], "minimum": 1, "maximum": 200},
        "seed": {"minimum": -1, "maximum": 5},
        "prompt": {"max_length": 3},
    }
    assert faults_of_bounds(MODEL, bounds) == []
    found = pointers(bounds, body)
    assert ("#/resolution" in found) == (body.get("resolution", "720P") != "720P")
    assert ("#/number_of_frames" in found) == (
        isinstance(body.get("number_of_frames"), bool) or body.get("number_of_frames", 121) != 121
    )


@given(st.lists(RESOLUTION, min_size=1), st.none() | RESOLUTION)
def test_an_input_that_is_left_out_counts_as_its_default(allowed: list[str], sent: str | None) -> None:
    body = {} if sent is None else {"resolution": sent}
    passes = (sent or "720P") in allowed
    assert pointers({"resolution": {"enum": allowed}}, body) == ([] if passes else ["#/resolution"])


@pytest.mark.parametrize(
    ("bound", "body", "text"),
    [
        ({"seed": {"minimum": 0}}, {}, "must be at least 0 with this client token, is -1"),
        ({"seed": {"maximum": 5}}, {"seed": True}, "must be at most 5 with this client token, is true"),
        ({"seed": {"maximum": 5}}, {"seed": "4"}, "must be at most 5"),
        ({"seed": {"maximum": 5}}, {"seed": None}, "must be at most 5"),
        ({"number_of_frames": {"enum": [121]}}, {"number_of_frames": True}, "must be 121"),
        ({"prompt": {"max_length": 2}}, {"prompt": "abc"}, "must be at most 2 long"),
        ({"prompt": {"max_length": 5}}, {"prompt": {"a": 1}}, "must be at most 5 long"),
        ({"image_urls": {"max_length": 0}}, {"image_urls": ["a"]}, "must be at most 0 long"),
        (
            {"resolution": {"enum": ["720P", "1080P"]}},
            {"resolution": "4K"},
            'must be one of "720P", "1080P" with this client token, is "4K"',
        ),
    ],
)
def test_what_is_beyond_is_told_in_words(bound: Any, body: dict[str, Any], text: str) -> None:
    (found,) = violations_of_bounds(MODEL, bound, body)
    assert found.detail.startswith(text)


def test_a_number_is_the_same_however_it_is_written() -> None:
    assert pointers({"number_of_frames": {"enum": [121]}}, {"number_of_frames": 121.0}) == []
    assert pointers({"seed": {"enum": [1]}}, {"seed": json.loads("true")}) == ["#/seed"]


def test_an_input_without_a_default_must_be_sent_where_its_value_is_bound() -> None:
    published = MODEL.compiled.published["properties"]
    assert "default" in published["seed"]
    without = {**published, "seed": {"type": "integer"}}
    compiled = type(MODEL.compiled)(
        MODEL.compiled.schema,
        {**MODEL.compiled.published, "properties": without},
        MODEL.compiled.media,
        MODEL.compiled.warnings,
        MODEL.compiled.validator,
    )
    model = type(MODEL)(
        MODEL.model_id,
        MODEL.display_name,
        MODEL.kind,
        MODEL.categories,
        MODEL.file,
        compiled,
        MODEL.pricing,
        MODEL.warnings,
    )
    (found,) = violations_of_bounds(model, {"seed": {"maximum": 5}}, {})
    assert found.detail.endswith("(it was left out, and has no default)")
    assert violations_of_bounds(model, {"seed": {"maximum": 5}}, {"seed": 5}) == []


@pytest.mark.parametrize(
    ("bounds", "place"),
    [
        ({"seed": {"max_length": 1}}, "#/bounds/seed/max_length"),
        ({"prompt": {"minimum": 3}}, "#/bounds/prompt/minimum"),
        ({"image_urls": {"maximum": 3}}, "#/bounds/image_urls/maximum"),
        ({"seed": {"minimum": 5, "maximum": 1}}, "#/bounds/seed"),
        ({"resolution": {"enum": ["720P"] * 101}}, "#/bounds"),
    ],
)
def test_a_bound_that_would_mean_nothing_is_a_fault(bounds: Any, place: str) -> None:
    assert [one.pointer for one in faults_of_bounds(MODEL, bounds)] == [place]
