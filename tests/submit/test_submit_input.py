"""POST /v1/models/{model_id}, 422 invalid_input: every violation at once, and nothing stored or sent."""

import random
from typing import Any

import pytest

from app.catalog.validate import MAX_VIOLATIONS, MORE
from app.kit.json import dumps
from tests.contract.published import problem_of
from tests.harness import SUBMIT, World
from tests.pictures import data_uri, png

pytestmark = pytest.mark.anyio

MISSING = object()
PICTURE = data_uri(png())
Faults = tuple[tuple[Any, frozenset[tuple[str, str]]], ...]


def _faulty(pointer: str, *wrong: tuple[Any, str]) -> Faults:
    return tuple((value, frozenset({(pointer, code)})) for value, code in wrong)


# Independent of one another: a wrong value in one field changes nothing about the others.
FAULTS: dict[str, Faults] = {
    "prompt": _faulty(
        "#/prompt",
        (MISSING, "required"),
        (None, "type"),
        (1, "type"),
        (True, "type"),
        (["a boat"], "type"),
        ({"text": "a boat"}, "type"),
        ("x" * 801, "too_long"),
        ("🚤" * 801, "too_long"),
    ),
    "image_urls": (
        *_faulty(
            "#/image_urls",
            (MISSING, "required"),
            (None, "type"),
            (PICTURE, "type"),
            ({"0": PICTURE}, "type"),
            ([], "too_few_items"),
            ([PICTURE, PICTURE], "too_many_items"),
        ),
        *_faulty(
            "#/image_urls/0",
            ([None], "type"),
            ([1], "type"),
            ([[PICTURE]], "type"),
            ([""], "media_uri"),
            (["a.jpg"], "media_uri"),
            (["//pictures.example/a.jpg"], "media_uri"),
            (["http://pictures.example/a.jpg"], "media_uri"),
            (["https://"], "media_uri"),
            (["https:///a.jpg"], "media_uri"),
            (["https://user:word@pictures.example/a.jpg"], "media_uri"),
            (["https://pictures.example/a b.jpg"], "media_uri"),
            (["https://pictures.example\\@127.0.0.1/"], "media_uri"),
            (["https://pictures.example:99999/"], "media_uri"),
            (["ftp://pictures.example/a.jpg"], "media_uri"),
            (["file:///etc/passwd"], "media_uri"),
            (["javascript:alert(1)"], "media_uri"),
            (["data:text/html;base64,AAAA"], "media_uri"),
            (["data:image/png;base64,"], "media_uri"),
            (["data:image/png;base64,***"], "media_uri"),
            ([f"https://pictures.example/{'x' * 5000}"], "media_uri"),
        ),
        # One picture is allowed, so the second one is not judged.
        ([1, "a.jpg"], frozenset({("#/image_urls", "too_many_items"), ("#/image_urls/0", "type")})),
    ),
    "number_of_frames": _faulty(
        "#/number_of_frames",
        (None, "type"),
        ("121", "type"),
        (121.5, "type"),
        (True, "type"),
        ([121], "type"),
        (120, "enum"),
        (0, "enum"),
        (-121, "enum"),
        (2**80, "enum"),
    ),
    "resolution": _faulty(
        "#/resolution",
        (None, "type"),
        (720, "type"),
        (["720P"], "type"),
        ("720p", "enum"),
        ("4K", "enum"),
        ("", "enum"),
        ("720P ", "enum"),
    ),
    "seed": _faulty(
        "#/seed",
        (None, "type"),
        ("1", "type"),
        (1.5, "type"),
        (True, "type"),
        (False, "type"),
        ({}, "type"),
        ([], "type"),
    ),
    "Prompt": _faulty("#/Prompt", ("a boat", "unknown_field")),
    "image_url": _faulty("#/image_url", (PICTURE, "unknown_field")),
    "input": _faulty("#/input", ({"prompt": "a boat"}, "unknown_field")),
    "a/b~c%": _faulty("#/a~1b~0c%25", (1, "unknown_field")),
    "größe": _faulty("#/gr%C3%B6%C3%9Fe", (None, "unknown_field")),
    "": _faulty("#/", ("", "unknown_field")),
    "__proto__": _faulty("#/__proto__", ({}, "unknown_field")),
    "x" * 300: _faulty("#/" + "x" * 300, (1, "unknown_field")),
}
FITTING: dict[str, Any] = {"prompt": "a boat", "image_urls": [PICTURE]}


def _combined(
    chosen: dict[str, tuple[Any, frozenset[tuple[str, str]]]],
) -> tuple[dict[str, Any], set[tuple[str, str]]]:
    body = FITTING | {name: value for name, (value, _) in chosen.items()}
    expected = {one for _, violations in chosen.values() for one in violations}
    return {name: value for name, value in body.items() if value is not MISSING}, expected


def _bodies() -> list[tuple[dict[str, Any], set[tuple[str, str]]]]:
    """Each fault alone, then combinations of two to all of the fields' faults, the same in every run."""
    dice = random.Random(20_240_501)  # noqa: S311 - not a secret
    alone = [_combined({name: fault}) for name, faults in FAULTS.items() for fault in faults]
    together = [
        _combined({name: dice.choice(FAULTS[name]) for name in dice.sample(sorted(FAULTS), count)})
        for count in range(2, len(FAULTS) + 1)
        for _ in range(20)
    ]
    return alone + together


async def test_every_violation_is_named_and_nothing_is_stored_or_sent(world: World) -> None:
    bodies = _bodies()
    assert len(bodies) > 250
    calls = world.sandbox.ledger()["calls"]
    for body, expected in bodies:
        answer = await world.client.post(
            SUBMIT, content=dumps(body), headers={"Content-Type": "application/json"}
        )
        problem = problem_of(answer, 422, "invalid_input")
        named = [(error["pointer"], error["code"]) for error in problem["errors"]]
        assert sorted(named) == sorted(expected), body
        assert all(error["detail"] for error in problem["errors"])
        count = len(expected)
        assert problem["detail"].startswith("1 violation " if count == 1 else f"{count} violations ")
    assert world.sandbox.ledger()["calls"] == calls
    assert (await world.get("/v1/requests"))["requests"] == []


async def test_pointers_lead_to_the_value_and_a_near_name_is_suggested(world: World) -> None:
    answer = await world.submit(resolutoin="720P", seed="7")
    errors = {one["pointer"]: one for one in problem_of(answer, 422, "invalid_input")["errors"]}
    assert set(errors) == {"#/resolutoin", "#/seed"}
    assert "did you mean resolution?" in errors["#/resolutoin"]["detail"]
    assert errors["#/seed"]["detail"] == "must be an integer, is a string"


async def test_thousands_of_violations_are_answered_briefly(world: World) -> None:
    body = {**FITTING, **{f"field {number}": number for number in range(2_000)}}
    answer = await world.client.post(SUBMIT, json=body)
    problem = problem_of(answer, 422, "invalid_input")
    assert len(problem["errors"]) == MAX_VIOLATIONS
    assert (problem["errors"][-1]["pointer"], problem["errors"][-1]["code"]) == ("#", MORE)
    assert "100 violations or more" in problem["detail"]


@pytest.mark.parametrize("world_settings", [{"data_uris": False}])
async def test_pictures_by_value_can_be_switched_off(world: World) -> None:
    answer = await world.submit(image_urls=["data:image/png;base64,iVBORw0KGgo="])
    (error,) = problem_of(answer, 422, "invalid_input")["errors"]
    assert (error["pointer"], error["code"]) == ("#/image_urls/0", "media_uri")
    assert world.received() == []
