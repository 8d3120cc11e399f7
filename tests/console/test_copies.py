"""The copies of a request's output in the side panels of console and portal, in a real browser."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, expect
from sqlalchemy import update

from app.auth.keys import SCOPES
from app.db.schema.tables import assets
from tests.console.site import Visit, visiting
from tests.harness import World
from tests.mirror.worlds import completed, copy, mirrored
from tests.sessions.browsing import admin_key

pytestmark = pytest.mark.anyio


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"admin_api": True, "console": True, "portal": True}


@pytest.fixture
async def visit(world: World, browser: Browser) -> AsyncIterator[Visit]:
    async with visiting(world, browser, viewport={"width": 390, "height": 844}) as opened:
        yield opened


async def test_copies_are_shown_played_and_explained_to_persons_and_operators(visit: Visit) -> None:
    world, page = visit.world, visit.page
    await mirrored(world)
    stored = await completed(world)
    await visit.sign_in("portal", await world.another_key(scopes=SCOPES))
    await visit.go(f"requests?open={stored}")
    copies = page.locator(".copies")
    await expect(copies).to_contain_text("pending")
    assert await copies.get_by_role("button").count() == 0
    await copy(world)
    await expect(copies).to_contain_text("stored")  # by the stream of events
    failed = await completed(world)
    given_up = update(assets).where(assets.c.generation_id == failed)
    values = {"state": "failed", "last_error": "not_media", "finished_at_ms": world.clock.now_ms()}
    await world.gateway.db.write(lambda one: one.execute(given_up.values(values)) and None)
    (one,) = (await world.get(f"/v1/requests/{stored}/assets"))["assets"]

    await expect(copies).to_contain_text("/video")
    await expect(copies).to_contain_text(one["media_type"])
    async with page.expect_response(lambda answer: "/a/" in answer.url) as answered:
        await copies.get_by_role("button", name="Show").click()
    assert (await answered.value).status in {200, 206}
    link = await copies.get_by_role("link", name="Download").get_attribute("href")
    assert await copies.locator("video").get_attribute("src") == link
    assert await visit.violations() == []
    await visit.go(f"requests?open={failed}")
    await expect(copies).to_contain_text("not_media")
    assert await copies.get_by_role("button").count() == 0

    await visit.sign_in("console", await admin_key(world, "read"))
    await visit.go(f"requests?mode=test&open={stored}")
    await copies.get_by_role("button", name="Show").click()
    link = await copies.get_by_role("link", name="Download").get_attribute("href")
    shown = await world.client.get(
        str(link).removeprefix(world.gateway.base_url), headers={"Authorization": ""}
    )
    assert (shown.status_code, len(shown.content)) == (200, one["size_bytes"])
    assert await visit.violations() == []
