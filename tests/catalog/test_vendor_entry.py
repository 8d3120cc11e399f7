"""A model's public entry has what RunComfy's own clients read, whether the file names it or not."""

from typing import Any

import pytest

from app.catalog.model import build_model
from app.documents.generations.models import listed_model, model

FILE: dict[str, Any] = {
    "input_schema": {
        "type": "object",
        "required": ["prompt", "missing"],
        "properties": {"prompt": {"type": "string"}, "duration": {"type": "integer"}},
    },
    "pricing": {"version": "1", "flat": 250_000},
}


@pytest.mark.parametrize(
    ("model_id", "categories"),
    [
        ("kling/kling-video-o3/4K/reference-to-video", ["reference-to-video"]),
        ("a/first-last-frame-to-video/1080p", ["first-last-frame-to-video"]),
        ("wan-ai/wan-2.7/edit", []),
        ("a/to-video", []),
        ("a/Text-to-Video", []),
    ],
)
def test_a_file_without_categories_has_those_that_its_id_reads_like(
    model_id: str, categories: list[str]
) -> None:
    assert model(build_model(FILE, model_id))["categories"] == categories


def test_a_file_with_categories_has_just_those() -> None:
    entry = model(build_model({**FILE, "categories": ["edit-video", "edit-video"]}, "a/b/text-to-image"))
    assert entry["categories"] == ["edit-video"]
    assert model(build_model({**FILE, "categories": []}, "a/b/text-to-image"))["categories"] == []


def test_an_entry_pasted_from_runcomfy_is_shown_as_it_is_but_for_what_the_schema_says() -> None:
    pasted = {
        "kind": "workflow",
        "categories": ["text-to-image"],
        "base_price_usd": 0.04,
        "price_unit": "output",
        "model_url": "https://www.runcomfy.com/elsewhere",
        "pricing_note": "from",
        "inputs": ["old"],
        "required_inputs": ["old"],
    }
    entry = dict(model(build_model({**FILE, **pasted}, "a/b")))
    assert entry == {**entry, **pasted, "inputs": ["prompt", "duration"], "required_inputs": ["prompt"]}


def test_without_a_base_price_of_its_own_an_entry_has_the_lowest_price_of_an_output() -> None:
    for none in ({}, {"base_price_usd": None, "price_unit": None}):
        entry = model(build_model({**FILE, **none}, "a/b"))
        assert (entry["base_price_usd"], entry["price_unit"]) == (0.25, "output")


def test_a_listed_model_is_the_model_without_its_schemas() -> None:
    one = build_model({**FILE, "output_schema": {}}, "a/b")
    whole = dict(model(one))
    assert dict(listed_model(one)) == {
        name: value for name, value in whole.items() if name not in {"input_schema", "output_schema"}
    }


@pytest.mark.parametrize(
    ("text", "found"), [("A/B", True), ("DREAM", True), ("straße", True), ("STRASSE", True), ("x", False)]
)
def test_a_search_looks_at_id_name_and_description_whatever_the_case(text: str, found: bool) -> None:
    one = build_model({**FILE, "display_name": "Dream", "description": "Eine Straße"}, "a/b")
    assert one.matches(text) is found
