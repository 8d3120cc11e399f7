"""`GET /v1/models` takes the parameters that RunComfy's CLI, MCP server and Zapier app send."""

from pathlib import Path
from typing import Any

import pytest

from tests.harness import MORE_MODELS, World
from tests.sandbox.harness import DREAMINA

pytestmark = pytest.mark.anyio
AUDIO = "bytedance/seed-audio-1.0/text-to-audio"


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """Of one kind only: the catalogue is read from files."""
    path = tmp_path / "reelgate.db"
    path.write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"catalog_dir": MORE_MODELS}


async def _ids(world: World, query: str) -> list[str]:
    page = await world.get(f"/v1/models?{query}")
    assert page["total"] == len(page["models"])
    return [one["model_id"] for one in page["models"]]


async def test_a_list_can_be_searched_and_filtered(world: World) -> None:
    everything = await _ids(world, "limit=500&offset=0")
    assert await _ids(world, "search=DREAMINA") == [DREAMINA]
    assert await _ids(world, "search=text%20rendering") == [DREAMINA]  # in the description alone
    assert await _ids(world, "category=image-to-video") == [DREAMINA]
    assert await _ids(world, "category=image-to-video&search=audio") == []
    assert await _ids(world, "search=bytedance&category=text-to-audio") == [AUDIO]
    assert await _ids(world, "kind=model") == everything
    assert await _ids(world, "kind=workflow") == []
    # So does a form whose fields are left blank.
    assert await _ids(world, "search=&category=") == everything


async def test_a_page_is_of_what_matches(world: World) -> None:
    page = await world.get("/v1/models?search=bytedance&limit=1&offset=1")
    assert (page["total"], page["limit"], page["offset"]) == (4, 1, 1)
    assert [one["model_id"] for one in page["models"]] == (await _ids(world, "search=bytedance"))[1:2]


async def test_schemas_are_in_a_list_only_where_they_are_asked_for(world: World) -> None:
    for query, asked in (("", False), ("?include_schema=false", False), ("?include_schema=true", True)):
        for entry in (await world.get(f"/v1/models{query}"))["models"]:
            assert ("input_schema" in entry) is asked
            assert ("output_schema" in entry) is asked
            assert entry["inputs"]
            assert set(entry["required_inputs"]) <= set(entry["inputs"])


async def test_categories_are_those_of_the_models_that_the_key_may_use(world: World) -> None:
    found = await world.get("/v1/models/categories")
    assert found == {
        "categories": ["image-to-image", "image-to-video", "reference-to-video", "text-to-audio"]
    }
    narrow = world.with_key(await world.another_key(models=[AUDIO]))
    answer = await world.client.get("/v1/models/categories", headers=narrow)
    assert answer.json() == {"categories": ["text-to-audio"]}


async def test_a_kind_that_is_none_is_refused_by_name(world: World) -> None:
    answer = await world.client.get("/v1/models?kind=image-to-video")
    assert answer.status_code == 400
    assert [one["pointer"] for one in answer.json()["errors"]] == ["#/query/kind"]


async def test_the_shipped_model_is_one_that_zapier_shows(world: World) -> None:
    """Zapier shows models with a category that ends in `-to-image` or `-to-video`."""
    (entry,) = (await world.get(f"/v1/models?search={DREAMINA}"))["models"]
    assert any(one.endswith(("-to-image", "-to-video")) for one in entry["categories"])
