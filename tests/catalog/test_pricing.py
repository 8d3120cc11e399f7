"""A price is what the table says, for every body that the schema accepts."""

import itertools
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog.catalog import SHIPPED, load_catalog
from app.catalog.model import Model, ModelError, NoPriceError, build_model
from app.documents.generations.models import model as public

SEED = load_catalog(SHIPPED).models["bytedance/dreamina-3-0/image-to-video"]
PROPERTIES: dict[str, Any] = {
    "frames": {"type": "integer", "enum": [1, 2], "default": 1},
    "hd": {"type": "boolean"},
    "seconds": {"type": "integer", "minimum": 4, "maximum": 5, "default": 4},
    "text": {"type": "string"},
    "files": {"type": "array", "format": "image_uris"},
}


def priced(pricing: Any) -> Model:
    schema = {"type": "object", "properties": PROPERTIES}
    return build_model({"input_schema": schema, "pricing": pricing}, "a/b")


def row(amount: Any, **when: Any) -> dict[str, Any]:
    return {"when": when, "microcredits": amount}


@pytest.mark.parametrize(
    ("frames", "resolution", "expected"),
    [(121, "720P", 150_000), (121, "1080P", 300_000), (241, "720P", 300_000), (241, "1080P", 600_000)],
)
def test_the_seeds_example_table(frames: int, resolution: str, expected: int) -> None:
    assert SEED.price({"number_of_frames": frames, "resolution": resolution}) == expected
    assert SEED.price({"number_of_frames": float(frames), "resolution": resolution}) == expected


def test_left_out_inputs_count_as_their_defaults_and_the_body_is_left_alone() -> None:
    body: dict[str, Any] = {}
    assert SEED.price(body) == 150_000
    assert SEED.price({"resolution": "1080P"}) == 300_000
    assert body == {}


@pytest.mark.parametrize("missing", [{}, {"pricing": None}])
def test_a_model_without_pricing_is_refused_with_what_to_add(missing: dict[str, Any]) -> None:
    with pytest.raises(ModelError) as refused:
        build_model({"input_schema": {"type": "object", "properties": PROPERTIES}, **missing}, "a/b")
    (problem,) = refused.value.problems
    assert problem.pointer == ""
    assert problem.reason.startswith("has no pricing: add ")
    hint = re.search(r'"pricing": (\{.*\})', problem.reason)
    assert hint is not None
    assert priced(json.loads(hint[1])).price({}) == 0  # what it says to add is what works


def test_free_and_flat() -> None:
    free = priced({"version": "1", "free": True})
    assert (free.price({}), public(free)["base_price_usd"]) == (0, 0)
    flat = priced({"version": "1", "flat": 2_500_000})
    assert (flat.price({"text": "x"}), public(flat)["base_price_usd"]) == (2_500_000, 2.5)


def test_the_files_own_base_price_and_unit_are_shown_and_else_those_of_the_price_list() -> None:
    source = {"input_schema": {"type": "object"}, "pricing": {"version": "1", "flat": 250_000}}
    document = public(build_model(source, "a/b"))
    assert (document["base_price_usd"], document["price_unit"]) == (0.25, "output")
    document = public(build_model({**source, "base_price_usd": 0.4, "price_unit": "video"}, "a/b"))
    assert (document["base_price_usd"], document["price_unit"]) == (0.4, "video")


@given(
    st.fixed_dictionaries(
        {},
        optional={"frames": st.sampled_from([1, 2]), "hd": st.booleans(), "seconds": st.sampled_from([4, 5])},
    )
)
def test_the_price_is_the_row_of_the_values_with_defaults_and_absence(body: dict[str, Any]) -> None:
    domain = list(itertools.product([1, 2], [True, False, None], [4, 5]))
    rows = [row(index, frames=f, hd=h, seconds=s) for index, (f, h, s) in enumerate(domain)]
    model = priced({"version": "1", "inputs": ["frames", "hd", "seconds"], "table": rows})
    wanted = (body.get("frames", 1), body.get("hd"), body.get("seconds", 4))
    assert model.price(body) == domain.index(wanted)


def test_otherwise_prices_what_has_no_row() -> None:
    model = priced({"version": "1", "inputs": ["text"], "table": [row(1, text="a")], "otherwise": 9})
    assert [model.price(body) for body in ({"text": "a"}, {"text": "b"}, {}, {"text": ["a"]})] == [1, 9, 9, 9]


def test_a_body_that_the_schema_refuses_is_never_free() -> None:
    for value in (122, "121", True, [121], 10**400):
        with pytest.raises(NoPriceError):
            SEED.price({"number_of_frames": value})


FRAMES = {"version": "1", "inputs": ["frames"]}
REFUSED: list[tuple[Any, str, str]] = [
    ("free", "/pricing", "must be an object"),
    ({"version": "1"}, "/pricing", "exactly one of table, flat, free"),
    ({"version": "1", "free": True, "flat": 1}, "/pricing", "exactly one of"),
    ({"free": True}, "/pricing/version", "must be a text"),
    ({"version": 1, "free": True}, "/pricing/version", "must be a text"),
    ({"version": "1", "free": False}, "/pricing/free", "must be true"),
    ({"version": "1", "flat": -1}, "/pricing/flat", "whole micro-credits"),
    ({"version": "1", "flat": 0.5}, "/pricing/flat", "whole micro-credits"),
    ({"version": "1", "flat": True}, "/pricing/flat", "whole micro-credits"),
    ({"version": "1", "flat": 10**13}, "/pricing/flat", "whole micro-credits"),
    ({"version": "1", "flat": 1, "inputs": ["frames"]}, "/pricing/inputs", "belongs to a table"),
    ({"version": "1", "flat": 1, "flatt": 1}, "/pricing/flatt", "not a part of a price list"),
    ({"version": "1", "flat": 1, "note": 1}, "/pricing/note", "must be a string"),
    ({"version": "1", "table": [row(1)]}, "/pricing/inputs", "list of different input names"),
    ({"version": "1", "inputs": ["frames", "frames"], "table": []}, "/pricing/inputs", "different"),
    ({"version": "1", "inputs": ["ghost"], "table": [row(1, ghost=1)]}, "/pricing/inputs/0", "not an input"),
    (
        {"version": "1", "inputs": ["files"], "table": [row(1, files=1)]},
        "/pricing/inputs/0",
        "cannot be priced",
    ),
    (
        {"version": "1", "inputs": ["text"], "table": [row(1, text="a")]},
        "/pricing/inputs/0",
        "no end of values",
    ),
    ({**FRAMES, "table": []}, "/pricing/table", "at least one row"),
    ({**FRAMES, "table": [row(1, frames=1)]}, "/pricing/table", "has no row for frames 2"),
    (
        {**FRAMES, "table": [row(1, frames=1), row(2, frames=2), row(3, frames=1)]},
        "/pricing/table/2",
        "second row",
    ),
    (
        {**FRAMES, "table": [row(1, frames=1), row(2, frames=3)]},
        "/pricing/table/1/when/frames",
        "not a value",
    ),
    (
        {**FRAMES, "table": [row(1, frames=True), row(2, frames=2)]},
        "/pricing/table/0/when/frames",
        "not a value",
    ),
    ({**FRAMES, "table": [row(1, frames=1, hd=True)]}, "/pricing/table/0/when", "a value for each of frames"),
    ({**FRAMES, "table": [row("1", frames=1)]}, "/pricing/table/0/microcredits", "whole micro-credits"),
    ({**FRAMES, "table": [{"when": {"frames": 1}}]}, "/pricing/table/0", "when and microcredits"),
    (
        {"version": "1", "inputs": ["hd"], "table": [row(1, hd=True), row(1, hd=False)]},
        "/pricing/table",
        "hd null (null: not given)",
    ),
]


@pytest.mark.parametrize(("pricing", "pointer", "reason"), REFUSED)
def test_a_price_list_that_cannot_be_used_is_refused(pricing: Any, pointer: str, reason: str) -> None:
    with pytest.raises(ModelError) as refused:
        priced(pricing)
    assert any(
        problem.pointer == pointer and reason in problem.reason for problem in refused.value.problems
    ), refused.value
