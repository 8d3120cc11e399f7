"""`reelgate doctor` names the models that RunComfy's own clients would hide or refuse."""

import json
from pathlib import Path

import pytest

from app.admin.checks.database_checks import Check
from app.admin.checks.doctor import Configured, examine
from tests.harness import settings_for

pytestmark = pytest.mark.anyio
NOWHERE = "http://127.0.0.1:1"
VIDEO = {
    "input_schema": {"type": "object", "properties": {"prompt": {"type": "string"}}},
    "pricing": {"version": "1", "flat": 1},
}


async def _clients(folder: Path, **files: dict[str, object]) -> list[Check]:
    catalogue = folder / "models"
    catalogue.mkdir()
    for name, more in files.items():
        (catalogue / f"{name}.json").write_text(json.dumps({"model_id": f"a/b/{name}", **VIDEO, **more}))
    settings = settings_for(f"sqlite:///{folder / 'none.db'}", folder, NOWHERE, catalog_dir=catalogue)
    return [one for one in await examine(Configured(settings)) if one.name == "clients"]


async def test_a_video_model_without_a_price_per_second_and_one_without_categories_are_named(
    tmp_path: Path,
) -> None:
    (check,) = await _clients(
        tmp_path,
        video={"categories": ["text-to-video"]},
        nothing={},
        sound={"categories": ["text-to-audio"], "base_price_usd": 1, "price_unit": "output"},
        good={"categories": ["text-to-video"], "base_price_usd": 1, "price_unit": "second"},
        image={"categories": ["text-to-image"]},
    )
    assert check.level == "note"
    assert "a/b/video (no base_price_usd per second)" in check.finding
    assert "a/b/nothing (no categories)" in check.finding
    assert "a/b/sound (no base_price_usd per second)" in check.finding
    assert "a/b/good" not in check.finding
    assert "a/b/image" not in check.finding


async def test_nothing_is_said_of_the_shipped_model(tmp_path: Path) -> None:
    assert await _clients(tmp_path) == []
