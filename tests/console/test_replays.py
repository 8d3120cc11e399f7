"""Replays of webhooks on the page: begun, watched and cancelled, while nothing but the page changes them."""

from typing import Any

import pytest
from playwright.async_api import Browser

from app.auth.keys import SCOPES
from tests.console.site import visiting
from tests.harness import World

pytestmark = pytest.mark.anyio


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"portal": True, "webhook_key": "a-key-of-a-test-0123456789abcdefghijkl"}


async def test_a_running_replay_is_cancelled_on_the_page_after_a_question(
    world: World, browser: Browser
) -> None:
    """No loop runs in this world: what is begun goes on until somebody ends it."""
    key = await world.another_key(scopes=SCOPES)
    own = world.with_key(key)
    made = await world.client.post(
        "/v1/webhooks/endpoints", json={"url": "https://shop.example/hooks"}, headers=own
    )
    at = f"/v1/webhooks/endpoints/{made.json()['endpoint_id']}/replays"
    begun = await world.client.post(at, json={"since": "2020-01-01T00:00:00Z"}, headers=own)
    assert begun.status_code in {200, 201, 202}, begun.text
    async with visiting(world, browser) as visit:
        await visit.sign_in("portal", key)
        await visit.go("webhooks?tab=replays")
        await visit.page.get_by_role("button", name="Cancel").click()
        dialog = visit.page.locator("dialog")
        await dialog.get_by_role("button", name="Cancel it").click()
        await dialog.wait_for(state="detached")
        await visit.page.locator("main tbody .pill", has_text="cancelled").wait_for()
    (replay,) = (await world.client.get("/v1/webhooks/replays", headers=own)).json()["replays"]
    assert replay["state"] == "cancelled"
