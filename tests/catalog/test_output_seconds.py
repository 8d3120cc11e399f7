"""The seconds of output that a request orders are what its model declares, known for every valid body."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog.catalog import SHIPPED, load_catalog
from app.catalog.model import Model, ModelError, build_model
from app.catalog.output_seconds import MAX_SECONDS
from tests.harness import MORE_MODELS

SEED = load_catalog(SHIPPED).models["bytedance/dreamina-3-0/image-to-video"]
PROPERTIES: dict[str, Any] = {
    "frames": {"type": "integer", "enum": [1, 2], "default": 1},
    "whole": {"type": "integer", "minimum": 4, "maximum": 30, "default": 5},
    "half": {"type": "number", "enum": [2.5, 5], "default": 2.5},
    "long": {"type": "number", "minimum": 0, "maximum": MAX_SECONDS, "default": 1},
    "chosen": {"type": "integer", "minimum": -1, "maximum": 30, "default": -1},
    "endless": {"type": "integer", "minimum": 1, "default": 1},
    "too_long": {"type": "integer", "minimum": 0, "maximum": MAX_SECONDS + 1, "default": 1},
    "optional": {"type": "integer", "minimum": 1, "maximum": 9},
    "needed": {"type": "integer", "minimum": 1, "maximum": 9},
    "nullable": {"type": ["integer", "null"], "minimum": 1, "maximum": 9, "default": 1},
    "text": {"type": "string", "enum": ["5", "10"], "default": "5"},
    "files": {"type": "array", "format": "image_uris"},
}


NOTHING = object()


def declaring(declaration: Any = NOTHING) -> Model:
    schema = {"type": "object", "properties": PROPERTIES, "required": ["needed"]}
    document = {"input_schema": schema, "pricing": {"version": "1", "free": True}}
    if declaration is not NOTHING:
        document["output_seconds"] = declaration
    return build_model(document, "a/b")


def row(seconds: Any, **when: Any) -> dict[str, Any]:
    return {"when": when, "seconds": seconds}


@pytest.mark.parametrize(("frames", "expected"), [(121, 5), (241, 10)])
def test_the_seeds_frames_are_five_and_ten_seconds(frames: int, expected: int) -> None:
    assert SEED.seconds({"number_of_frames": frames}) == expected
    assert SEED.seconds({}) == 5


def test_the_example_models_declare_theirs() -> None:
    models = load_catalog(MORE_MODELS).models
    assert {model_id: model.seconds({}) for model_id, model in models.items()} == {
        "bytedance/seed-audio-1.0/text-to-audio": 30,
        "bytedance/seedance-2.5/reference-to-video/4k": 5,
        "bytedance/seedream-5.0-pro/image-to-image": 0,
        "kling/kling-video-o3/4K/reference-to-video": 5,
        "wan-ai/wan-2.7/edit": 0,
    }
    assert models["bytedance/seedance-2.5/reference-to-video/4k"].seconds({"duration": 30}) == 30


def test_a_model_that_says_nothing_loads_and_its_seconds_are_not_known() -> None:
    model = declaring()
    assert (model.seconds({}), model.warnings) == (None, ())


@pytest.mark.parametrize("seconds", [0, 8, MAX_SECONDS])
def test_a_number_is_the_same_for_every_request(seconds: int) -> None:
    model = declaring(seconds)
    assert model.seconds({"whole": 9}) == seconds
    assert model.file["output_seconds"] == seconds


@given(st.integers(4, 30) | st.integers(4, 30).map(float))
def test_an_input_is_its_own_seconds_and_its_default_where_it_is_left_out(given_s: float) -> None:
    model = declaring({"input": "whole"})
    assert model.seconds({"whole": given_s}) == given_s
    assert isinstance(model.seconds({"whole": given_s}), int)
    assert model.seconds({}) == 5
    assert declaring({"input": "needed"}).seconds({"needed": 7}) == 7


@given(st.floats(0, MAX_SECONDS))
def test_a_fraction_counts_as_one_more_second_and_never_as_less_than_was_ordered(given_s: float) -> None:
    found = declaring({"input": "long"}).seconds({"long": given_s})
    assert found == math.ceil(given_s)
    assert declaring({"input": "half"}).seconds({}) == 3


def test_a_table_has_the_seconds_of_what_is_no_number_of_seconds() -> None:
    model = declaring({"inputs": ["text"], "table": [row(5, text="5"), row(10, text="10")]})
    assert (model.seconds({}), model.seconds({"text": "10"})) == (5, 10)
    chosen = declaring({"inputs": ["chosen"], "table": [row(4, chosen=4)], "otherwise": 30})
    assert (chosen.seconds({}), chosen.seconds({"chosen": 4})) == (30, 4)


@pytest.mark.parametrize(
    ("declaration", "pointer", "reason"),
    [
        *((wrong, "/output_seconds", "must be whole seconds") for wrong in (-1, 1.5, True, "5", None, [5])),
        (MAX_SECONDS + 1, "/output_seconds", "must be whole seconds from 0 to 86400"),
        ({}, "/output_seconds", "must be whole seconds"),
        ({"input": "whole", "table": []}, "/output_seconds", "must be whole seconds"),
        ({"input": "wholes"}, "/output_seconds/input", "is not an input"),
        ({"input": 5}, "/output_seconds/input", "is not an input"),
        ({"input": "files"}, "/output_seconds/input", "is not an input"),
        ({"input": "text"}, "/output_seconds/input", "is not always a number"),
        ({"input": "nullable"}, "/output_seconds/input", "is not always a number"),
        ({"input": "optional"}, "/output_seconds/input", "can be left out"),
        ({"input": "chosen"}, "/output_seconds/input", "can be below 0"),
        ({"input": "endless"}, "/output_seconds/input", "above 86400"),
        ({"input": "too_long"}, "/output_seconds/input", "above 86400"),
        ({"inputs": ["frames"], "table": [row(5, frames=1)]}, "/output_seconds/table", "frames 2"),
        (
            {"inputs": ["frames"], "table": [row(1.5, frames=1), row(1, frames=2)]},
            "/output_seconds/table/0/seconds",
            "must be whole seconds",
        ),
        (
            {"inputs": ["frames"], "table": [{"when": {"frames": 1}, "microcredits": 5}], "otherwise": 1},
            "/output_seconds/table/0",
            "when and seconds",
        ),
    ],
)
def test_what_cannot_be_counted_for_every_valid_body_is_refused_when_it_loads(
    declaration: Any, pointer: str, reason: str
) -> None:
    with pytest.raises(ModelError) as refused:
        declaring(declaration)
    assert [(one.pointer, reason in one.reason) for one in refused.value.problems] == [(pointer, True)]
