"""The settings in effect are shown, with what set each, and never a secret."""

from typing import Any

import pytest

from app.config import Settings
from tests.harness import World
from tests.sessions.browsing import admin_key

pytestmark = pytest.mark.anyio
SECRET = "a-token-that-nobody-may-see"


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"admin_api": True, "upstream_token": SECRET, "default_limits": ["in-flight=7"]}


async def test_every_setting_is_shown_and_of_a_secret_that_it_is_set(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELGATE_PORT", "8703")
    key = await admin_key(world, "read")
    answer = await world.client.get("/admin/v1/settings", headers=world.with_key(key))
    assert answer.status_code == 200, answer.text
    found = {one["setting"]: one for one in answer.json()["settings"]}
    assert set(found) == {f"REELGATE_{name.upper()}" for name in Settings.model_fields}
    assert found["REELGATE_UPSTREAM_TOKEN"]["value"] == "(set)"
    assert found["REELGATE_UPSTREAM_CREDENTIALS"]["value"] is None
    assert found["REELGATE_DEFAULT_LIMITS"] | {"origin": ""} == {
        "setting": "REELGATE_DEFAULT_LIMITS",
        "value": ["in-flight=7"],
        "origin": "",
        "reloads": True,
    }
    assert found["REELGATE_PORT"]["origin"] == "REELGATE_PORT"
    assert found["REELGATE_HOST"]["origin"] == "default"
    assert SECRET not in answer.text
