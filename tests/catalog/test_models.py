"""GET /v1/models and GET /v1/models/{model_id}: the catalogue in RunComfy's shape."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.catalog.catalog import SHIPPED
from tests.contract.published import problem_of
from tests.harness import MORE_MODELS, World
from tests.pictures import data_uri, png
from tests.sandbox.harness import DREAMINA

pytestmark = pytest.mark.anyio

"""Model files beside the shipped one."""


def _file(folder: Path, model_id: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / f"{model_id}.json").read_text())
    return document


# --- 200


async def test_a_model_has_its_schema_verbatim_and_its_price(world: World) -> None:
    document = await world.get(f"/v1/models/{DREAMINA}")
    source = _file(SHIPPED, DREAMINA)
    assert json.dumps(document["input_schema"]) == json.dumps(source["input_schema"])  # also in its order
    assert (document["model_id"], document["display_name"], document["kind"]) == (
        DREAMINA,
        "Dreamina 3.0",
        "model",
    )
    assert (document["base_price_usd"], document["price_unit"]) == (0.03, "second")
    assert document["pricing"] == source["pricing"]


async def test_media_rules_are_listed_with_whether_they_are_enforced(world: World) -> None:
    document = await world.get(f"/v1/models/{DREAMINA}")
    source = _file(SHIPPED, DREAMINA)["input_schema"]["properties"]["image_urls"]["validations"]
    assert [(one["rule"], one["value"], one["message"]) for one in document["media_rules"]] == [
        (one["validation_rule"], one["validation_value"], one["validation_error"]) for one in source
    ]
    listed = {(one["pointer"], one["enforced"], one["note"]) for one in document["media_rules"]}
    assert listed == {("/image_urls/*", True, None)}
    assert document["media_inputs"] == [
        {"pointer": "/image_urls/*", "kind": "image", "types": ["image/jpeg", "image/png"]}
    ]


async def test_a_model_is_found_under_the_same_spellings_as_for_a_submit(world: World) -> None:
    plain = await world.get(f"/v1/models/{DREAMINA}")
    for spelling in (DREAMINA.replace("/", "%2F"), f"{DREAMINA}/", f"/{DREAMINA}"):
        assert await world.get(f"/v1/models/{spelling}") == plain


class TestMany:
    @pytest.fixture
    def world_settings(self) -> dict[str, Any]:
        return {"catalog_dir": MORE_MODELS}

    async def test_the_listing_is_paged_by_limit_and_offset(self, world: World) -> None:
        expected = sorted(
            [DREAMINA, *(str(one.relative_to(MORE_MODELS))[:-5] for one in MORE_MODELS.rglob("*.json"))]
        )
        assert len(expected) >= 5
        whole = await world.get("/v1/models?include_schema=true")
        assert [one["model_id"] for one in whole["models"]] == expected
        assert (whole["total"], whole["limit"], whole["offset"]) == (len(expected), 50, 0)
        for limit in (1, 2, 500):
            for offset in (0, 1, len(expected) - 1, len(expected), 1_000_000):
                page = await world.get(f"/v1/models?include_schema=true&limit={limit}&offset={offset}")
                assert page == {
                    "models": whole["models"][offset : offset + limit],
                    "total": len(expected),
                    "limit": limit,
                    "offset": offset,
                }
        for entry in whole["models"]:
            assert await world.get(f"/v1/models/{entry['model_id']}") == entry

    async def test_a_keys_list_of_models_narrows_what_it_sees(self, world: World) -> None:
        allowed = "wan-ai/wan-2.7/edit"
        narrow = world.with_key(await world.another_key(models=[allowed, "nobody/has/this"]))
        listed = (await world.client.get("/v1/models", headers=narrow)).json()
        assert ([one["model_id"] for one in listed["models"]], listed["total"]) == ([allowed], 1)
        assert (await world.client.get(f"/v1/models/{allowed}", headers=narrow)).status_code == 200
        hidden = await world.client.get(f"/v1/models/{DREAMINA}", headers=narrow)
        missing = await world.client.get(f"/v1/models/{DREAMINA[:-1]}x", headers=narrow)
        said = [
            problem_of(one, 404, "model_not_found") | {"trace_id": "", "instance": ""}
            for one in (hidden, missing)
        ]
        assert said[0]["detail"].replace(DREAMINA, "") == said[1]["detail"].replace(f"{DREAMINA[:-1]}x", "")
        assert {**said[0], "detail": ""} == {**said[1], "detail": ""}

    @pytest.mark.parametrize(
        ("model_id", "more", "price"),
        [
            ("bytedance/seed-audio-1.0/text-to-audio", {}, 40_000),
            ("wan-ai/wan-2.7/edit", {"image_urls": [data_uri(png())]}, 0),
            ("kling/kling-video-o3/4K/reference-to-video", {}, 500_000),
            ("kling/kling-video-o3/4K/reference-to-video", {"sound": True}, 2_000_000),
        ],
    )
    async def test_every_kind_of_model_can_be_submitted_to(
        self, world: World, model_id: str, more: dict[str, Any], price: int
    ) -> None:
        answer = await world.client.post(
            f"/v1/models/{model_id}", json={"prompt": "[sandbox:queued] hello", **more}
        )
        assert answer.status_code == 200, answer.text
        record = await world.record(answer.json()["request_id"])
        assert (record["model_id"], record["price_microcredits"]) == (model_id, price)
        assert record["price_version"] == "1"


# --- 400 and 404


async def test_a_page_that_cannot_be_is_refused(world: World) -> None:
    for name, values in {
        "limit": ("0", "501", "-1", "x", "", "1.5", "9" * 40),
        "offset": ("-1", "1000001", "x", "", "%00"),
    }.items():
        for value in values:
            answer = await world.client.get(f"/v1/models?{name}={value}")
            (error,) = problem_of(answer, 400, "invalid_parameter")["errors"]
            assert error["pointer"] == f"#/query/{name}"


async def test_a_model_that_is_not_there_is_not_found(world: World) -> None:
    for model_id in (
        "x",
        f"{DREAMINA}x",
        DREAMINA.upper(),
        "%2e%2e/%2e%2e/config",
        f"{DREAMINA}.json",
        "%00",
    ):
        problem_of(await world.client.get(f"/v1/models/{model_id}"), 404, "model_not_found")
