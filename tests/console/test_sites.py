"""The console and the portal in a real browser: tasks, hostile texts, keyboard, sessions, looks."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from app.auth import permits
from app.auth.keys import SCOPES
from tests.console.site import HOSTILE, Visit, visiting
from tests.harness import SUBMIT, World, until
from tests.sessions.browsing import admin_key

pytestmark = pytest.mark.anyio
# The others: 1280 in `test_company`, all widths in both themes in `test_company_in_full`.
LOOKS = [(390, "light")]
OPERATORS = [
    *("?mode=test", "requests?mode=test", "requests?mode=test&open={request_id}", "tenants"),
    *("tenants/acme?mode=test", "tenants/acme?mode=test&tab=keys", "tenants/acme?tab=users&mode=test"),
    *("tenants/acme?tab=tokens", "tenants/acme?tab=ledger", "tenants/acme?tab=statements"),
    *("tenants/acme?tab=settings", "tenants?tab=refused", "usage?mode=test", "queue?mode=test"),
    *("models?mode=test", "credentials", "audit", "audit?open=1", "system"),
    *("webhooks", "webhooks?tab=endpoints", "webhooks?tab=replays"),
]
PERSONS = ["", "requests", "requests?open={request_id}", "usage", "webhooks", "keys", "statements"]
MOST_CALLS = 4


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"admin_api": True, "console": True, "portal": True}


@pytest.fixture
async def furnished(world: World) -> World:
    """A world in which strangers have written what they could, and in which something needs a decision."""
    await world.gateway.db.write(lambda one: one.exec_driver_sql("UPDATE tenants SET name = 'acme'") and None)
    world.clock.advance(2)
    await world.another_key(scopes=SCOPES)
    done = await world.client.post(
        SUBMIT,
        json=world.body("canned", prompt=f"boats {HOSTILE} [sandbox:canned]"),
        headers={"User-Agent": HOSTILE, "Idempotency-Key": HOSTILE},
    )
    await world.finish(done.json()["request_id"])
    await world.submit("html")  # an answer that proves nothing: unknown
    await world.submit("reject=422")
    terms = {"end_user": "ada"}
    await world.client.post("/v1/client-tokens", json=terms)
    return world


@pytest.fixture
async def visit(furnished: World, browser: Browser) -> AsyncIterator[Visit]:
    async with visiting(furnished, browser) as opened:
        yield opened


async def test_an_operator_sees_what_needs_a_decision_and_makes_it(visit: Visit) -> None:
    page = visit.page
    await visit.sign_in("console", await admin_key(visit.world))
    await visit.go("?mode=test")
    await page.get_by_role("link", name="1 request is unknown").click()
    await visit.settled()
    assert "state=unknown" in page.url
    await page.locator("[data-row]").click()
    panel = page.locator("aside.panel")
    await panel.get_by_text("Timeline").wait_for()
    assert await visit.violations() == []
    await panel.get_by_role("button", name="Resolve").click()
    dialog = page.locator("dialog")
    await dialog.get_by_label("What was found").select_option("free")
    await dialog.get_by_role("button", name="Resolve").click()
    assert await dialog.is_visible(), "a change needs a reason"
    await dialog.get_by_label("Reason").fill("nothing is there")
    await dialog.get_by_role("button", name="Resolve").click()
    await panel.locator(".pill.bad", has_text="lost").first.wait_for()
    await visit.go("audit")
    assert "request.close" in await visit.text()
    assert "nothing is there" in await visit.text()


async def test_who_floods_what_was_spent_and_on_which_model_is_told_in_a_click_or_two(visit: Visit) -> None:
    await visit.sign_in("console", await admin_key(visit.world, "read"))
    await visit.world.gateway.access.refusals.run_once()
    await visit.go("tenants?tab=refused")
    assert re.search(r"acme\s.*upstream_rejected", await visit.text())
    await visit.go("usage?mode=test&group=tenant%2Cmodel")
    assert re.search(r"acme\s+bytedance/dreamina", await visit.text())
    assert "Sum" in await visit.text()
    async with visit.page.expect_download() as saving:
        await visit.page.get_by_role("button", name="CSV of what is on screen").click()
    rows = (await (await saving.value).path()).read_text().split()
    assert rows[0].startswith("period,tenant,model_id,spent_microcredits")
    assert rows[-1].startswith("sum,")
    assert await visit.page.get_by_role("button", name="Top up").count() == 0, "this key may only read"


async def test_a_person_enters_by_a_link_sees_their_video_and_makes_a_key(visit: Visit) -> None:
    world, page = visit.world, visit.page
    manager = await world.another_key(scopes=SCOPES)
    made = await world.client.post("/v1/portal-links", json={}, headers=world.with_key(manager))
    await page.goto(f"{visit.url}/portal#{made.json()['url'].partition('#')[2]}")
    await visit.settled()
    assert "link=" not in page.url
    await visit.go("requests")
    await page.locator("tr", has_text="completed").locator("[data-row]").click()
    await page.locator("aside video").wait_for()
    assert await visit.violations() == []
    assert "<script>" in await visit.text("aside")
    before = len(visit.calls)
    await world.submit("canned")
    await page.locator("[data-row]").nth(3).wait_for()
    assert len(visit.calls) - before < 6, "the stream says when to ask again"
    await visit.go("keys")
    await page.get_by_role("button", name="New key").click()
    await page.locator("dialog").get_by_label("Name").fill(HOSTILE)
    await page.locator("dialog").get_by_role("button", name="Create").click()
    secret = page.locator(".secret code")
    await secret.wait_for()
    key = await secret.inner_text()
    for _ in range(2):
        await page.keyboard.press("Escape")  # a browser closes a dialog at the second one
    await expect(secret).to_be_visible()
    assert (await world.client.get("/v1/quota", headers=world.with_key(key))).status_code == 200
    assert await page.get_by_role("button", name="Done").is_disabled()
    await page.locator("dialog").get_by_label("I have kept it").check()
    await page.get_by_role("button", name="Done").click()
    assert key not in await page.content()
    assert (
        await page.evaluate(
            "[document.cookie, JSON.stringify(localStorage), JSON.stringify(sessionStorage)].join()"
        )
        == ",{},{}"
    )


async def test_what_happens_is_on_an_operators_page_by_one_stream_while_somebody_looks(visit: Visit) -> None:
    page, watch = visit.page, visit.world.gateway.following.watch
    await page.clock.install()
    await visit.sign_in("console", await admin_key(visit.world, "read"))
    await until(lambda: watch.watchers == 1)
    await visit.go("requests?mode=test")
    rows = page.locator("[data-row]")
    known = await rows.count()
    await visit.world.submit("canned")
    await rows.nth(known).wait_for()
    hidden = "Object.defineProperty(document, 'hidden', { get: () => window.away, configurable: true })"
    await page.evaluate(hidden)
    await _look(page, away=True)
    await until(lambda: watch.watchers == 0)
    await visit.world.submit("canned")
    visit.calls.clear()
    await _look(page, away=False)
    await rows.nth(known + 1).wait_for()
    listed = [one for one in visit.calls if "v1/events" not in one]
    assert (len(listed), len(visit.calls)) == (1, 2), visit.calls
    async with page.expect_request("**/admin/v1/requests?*"):
        await page.clock.fast_forward("01:01")  # whatever became of the stream
    await page.clock.fast_forward("30:00")
    await until(lambda: watch.watchers == 0)
    await page.keyboard.press("Shift")
    await page.clock.fast_forward("00:06")
    await until(lambda: watch.watchers == 1)
    await visit.world.gateway.db.write(lambda one: one.exec_driver_sql("DELETE FROM sessions") and None)
    visit.world.clock.advance(permits._SWEEP_S)
    await page.locator("dialog").get_by_text("The session has ended").wait_for()
    assert watch.watchers == 0


async def _look(page: Page, *, away: bool) -> None:
    script = "away => { window.away = away; document.dispatchEvent(new Event('visibilitychange')) }"
    await page.evaluate(script, away)


async def test_a_session_that_ends_is_said_and_the_page_goes_on_after_a_sign_in(visit: Visit) -> None:
    page, key = visit.page, await admin_key(visit.world)
    await visit.sign_in("console", key)
    await visit.go("requests?mode=test&state=completed")
    await visit.world.gateway.db.write(lambda one: one.exec_driver_sql("DELETE FROM sessions") and None)
    await page.get_by_role("link", name="Queue").click()
    dialog = page.locator("dialog")
    await dialog.get_by_label("Admin key").fill(key)
    await page.keyboard.press("Enter")
    await dialog.wait_for(state="detached")
    await page.go_back()
    await visit.settled()
    assert "state=completed" in page.url
    await visit.world.gateway.db.write(lambda one: one.exec_driver_sql("DELETE FROM sessions") and None)
    await page.context.clear_cookies()  # both as another tab does that signs out
    await page.get_by_role("link", name="Audit").click()
    await dialog.get_by_label("Admin key").fill(key)
    await page.keyboard.press("Enter")
    await dialog.wait_for(state="detached")
    await visit.settled()
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_label("Admin key").wait_for()
    assert not await visit.world.gateway.db.read(
        lambda one: one.exec_driver_sql("SELECT * FROM sessions").all()
    )


async def test_the_keyboard_reaches_everything_of_a_list_and_its_address_brings_it_back(visit: Visit) -> None:
    page = visit.page
    await visit.sign_in("console", await admin_key(visit.world))
    await visit.go("requests?mode=test")
    await page.keyboard.press("f")
    assert await page.evaluate("document.activeElement.closest('div').innerText") == "Tenant"
    await page.keyboard.type("acme")
    await page.wait_for_url("**tenant=acme**")
    await visit.settled()
    await page.keyboard.press("Escape")
    await page.keyboard.press("/")
    assert await page.evaluate("document.activeElement.type") == "search"
    await page.keyboard.press("Escape")
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await page.locator("aside.panel").wait_for()
    chosen = await page.locator("aside.panel code").first.inner_text()
    await page.keyboard.press("k")
    await expect(page.locator("aside.panel code").first).not_to_have_text(chosen)
    await page.reload()
    await page.locator("aside.panel").wait_for()
    assert await page.locator("[data-filter]").input_value() == "acme"
    await page.keyboard.press("Escape")
    await page.locator("aside.panel").wait_for(state="detached")


@pytest.mark.parametrize(("width", "color_scheme"), LOOKS)
async def test_no_page_is_closed_to_anybody_or_too_wide_or_asks_too_often(
    furnished: World, browser: Browser, width: int, color_scheme: str
) -> None:
    """Every page: axe finds nothing, nothing is wider than the window, and it makes at most four calls.

    All of a site's pages follow one stream.
    """
    looks = {"viewport": {"width": width, "height": 900}, "color_scheme": color_scheme}
    (done,) = (await furnished.get("/v1/requests?state=completed"))["requests"]
    found: dict[str, list[str]] = {}
    keys = {"console": await admin_key(furnished), "portal": await furnished.another_key(scopes=SCOPES)}
    for site, places in (("console", OPERATORS), ("portal", PERSONS)):
        async with visiting(furnished, browser, **looks) as visit:
            await visit.page.goto(f"{visit.url}/{site}")
            await visit.page.get_by_label("key").wait_for()
            found[f"{site} door"] = await visit.violations()
            await visit.sign_in(site, keys[site])
            streams = 0
            for place in places:
                await visit.go(place.format_map(done))
                asked = [one for one in visit.calls if "v1/events" not in one]
                streams += len(visit.calls) - len(asked)
                found[f"{site} {place}"] = await visit.violations()
                if len(asked) > MOST_CALLS:
                    found[f"{site} {place}"].append(f"{len(asked)} calls: {asked}")
            assert streams <= 2, "all pages have one; a browser opens it again where it was cut"
    assert {place: faults for place, faults in found.items() if faults} == {}
