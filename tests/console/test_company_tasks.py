"""Everything that an operator and a tenant's person can do on their pages, done on a real server.

Each change is made in its dialog, as somebody makes it, and asked for with its reason; the audit log has it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from tests.console.house import House, furnished_house
from tests.console.site import Visit
from tests.sandbox.harness import Running

pytestmark = pytest.mark.anyio
REASON = "a ticket of a test's"
each_look = pytest.mark.parametrize(
    ("width", "color_scheme"), [(390, "dark"), (1280, "light"), (1920, "dark")], ids=str
)


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: str,
    postgres_template: str,
    live_sandbox: Running,
) -> Iterator[House]:
    folder, url = tmp_path_factory.mktemp("tasks"), live_sandbox.options.public_url
    with furnished_house(folder, postgres_server, postgres_template, url, tenants=8, requests=400) as one:
        yield one


@dataclass
class Hands:
    """Somebody who makes changes; an operator says why."""

    visit: Visit
    says_why: bool

    @property
    def page(self) -> Page:
        return self.visit.page

    async def change(
        self, button: str, verb: str, *, row: str = "", card: str = "", secret: bool = False, **fields: Any
    ) -> str:
        """Opens a dialog by its button, fills it in and sends it; returns the secret that came, if any."""
        place = self.page.locator("main")
        if row or card:
            place = place.locator("tbody tr" if row else "section.card", has_text=row or card).first
        await place.get_by_role("button", name=button, exact=True).first.click()
        dialog = self.page.locator("dialog")
        await dialog.evaluate("one => one.querySelectorAll('details').forEach((each) => (each.open = true))")
        for label, value in fields.items():
            field = dialog.get_by_label(label.replace("_", " "), exact=False).first
            if await field.evaluate("one => one.tagName") == "SELECT":
                await field.select_option(value)
            else:
                await field.fill(value)
        if self.says_why:
            await dialog.get_by_label("Reason").fill(REASON)
        await dialog.get_by_role("button", name=verb, exact=True).click()
        text = ""
        if secret:
            text = await dialog.locator(".secret code").inner_text()
            await dialog.get_by_label("I have kept it").check()
            await dialog.get_by_role("button", name="Done").click()
        await dialog.wait_for(state="detached")
        await self.visit.settled()
        return text

    async def sees(self, text: str) -> None:
        await self.page.locator("main").get_by_text(text).first.wait_for()


def _done(house: House) -> set[str]:
    """The actions that the audit log has with our reason."""
    audited = house.get("/admin/v1/audit?limit=100")["entries"]
    return {one["action"] for one in audited if one["reason"] == REASON}


@each_look
async def test_an_operator_resolves_and_manages_money_limits_and_keys_of_a_tenant(
    house: House, browser: Browser, width: int, color_scheme: str
) -> None:
    looks = {"viewport": {"width": width, "height": 860}, "color_scheme": color_scheme}
    async with house.visited(browser, "console", **looks) as visit:
        hands = Hands(visit, says_why=True)
        await visit.go("requests?state=unknown")
        await visit.page.locator("[data-row]").first.click()
        await visit.page.locator("aside.panel").get_by_text("Timeline").wait_for()
        await hands.change("Resolve", "Resolve", What_was_found="free")
        await visit.page.locator("aside.panel .pill.bad", has_text="lost").first.wait_for()

        await visit.go("tenants/acme")
        await hands.change("Top up", "Top up", Credits="12.5", Reference=f"invoice {width}")
        await hands.sees(f"invoice {width}")
        await visit.go("tenants/acme")
        await hands.change("Set", "Set", Limits="credits-day=100000")
        await hands.change("Override a limit", "Override", Limit="credits-day=200000", Hours="1")
        await hands.change("End", "End")
        await hands.change("Set", "Set", Limits="in-flight=3", End_user=f"user-of-{width}")
        await hands.change("Remove", "Remove", row=f"user-of-{width}")
        await hands.change("Remove", "Remove")
        await visit.go("tenants/acme?tab=ledger")
        await hands.change("Adjust", "Adjust", Credits="-0.5", Note=f"of task {width}")
        await hands.sees(f"of task {width}")
        await visit.go("tenants/acme?tab=keys")
        key = await hands.change("New key", "Create", secret=True, Name=f"of task {width}")
        assert re.fullmatch(r"rg_live_\w+", key)
        kid = key.split("_")[2]
        await hands.change("Rotate", "Rotate", row=kid, secret=True)
        await hands.change("Change", "Change", row=kid, Name=f"narrow {width}", Copies="off", Requests="true")
        await hands.sees(f"narrow {width}")
        link = await hands.change("Portal link", "Make", row=f"of task {width}", secret=True)
        assert "/portal#link=" in link
        await hands.change("Revoke", "Revoke", row=kid)
        done = _done(house)
        assert len(done) >= 12, done


@each_look
async def test_an_operator_sets_a_tenant_up_erases_and_revokes_a_client_token(
    house: House, browser: Browser, width: int, color_scheme: str
) -> None:
    looks = {"viewport": {"width": width, "height": 860}, "color_scheme": color_scheme}
    async with house.visited(browser, "console", **looks) as visit:
        hands = Hands(visit, says_why=True)
        await visit.go("tenants")
        await hands.change("New tenant", "Create", Name=f"newcomer{width}")
        await hands.sees(f"newcomer{width}")
        await hands.change("Disable", "Disable")
        await hands.change("Enable", "Enable")
        await visit.go(f"tenants/newcomer{width}?tab=settings")
        await hands.change("Time zone", "Set", IANA_time_zone="Europe/Berlin")
        await hands.change("Rename", "Rename", New_name=f"comer{width}")
        await visit.go(f"tenants/comer{width}?tab=settings")
        origin = "https://app.example"
        await hands.change("Change", "Replace", card="Web origins", One_in_each_line=origin)
        await hands.change("Change", "Set", card="Queueing", Requests_that_cannot="true", Weight="3")
        await hands.change("Change", "Set", card="Checks of files", Files_that_break="warn")
        await hands.change("Change", "Set", card="Copies of outputs", Copies="beside", Days="30")
        await hands.sees("30 d 0 h")
        await hands.change("Pause dispatch", "Pause dispatch")
        await hands.change("Resume dispatch", "Resume dispatch")
        await hands.change("Erase", "Erase", End_user="ada", Type_the=f"comer{width}")
        await hands.sees(origin)
        token = house.token()
        await visit.go("tenants/acme?tab=tokens")
        await hands.change("Revoke", "Revoke", row=token)
        done = _done(house)
        assert len(done) >= 10, done


@each_look
async def test_an_operator_pauses_sends_again_and_makes_operators(
    house: House, browser: Browser, width: int, color_scheme: str
) -> None:
    looks = {"viewport": {"width": width, "height": 860}, "color_scheme": color_scheme}
    async with house.visited(browser, "console", **looks) as visit:
        hands = Hands(visit, says_why=True)
        await visit.go("queue")
        await hands.change("Pause dispatch of all tenants", "Pause")
        await visit.go("")
        await hands.sees("Dispatch is paused")
        await visit.go("queue")
        await hands.change("Resume dispatch of all tenants", "Resume")

        await visit.go("webhooks?state=delivered")
        await visit.page.locator("[data-row]").first.click()
        await hands.change("Send again", "Send")
        await visit.go("webhooks?tab=endpoints")
        await hands.change(
            "New endpoint", "Create", secret=True, Tenant="acme", Address=f"https://new{width}.example/"
        )
        for button, verb in (("Test", "Send"), ("Pause", "Pause"), ("Enable", "Enable")):
            await hands.change(button, verb, row=f"new{width}.example")
        await hands.change("Edit", "Save", row=f"new{width}.example", Note=f"edited {width}", Events="none")
        await hands.sees(f"edited {width}")
        await hands.change("Replay", "Replay", row=f"new{width}.example", Since="2020-01-01T00:00")
        await hands.change("Rotate", "Rotate", row=f"new{width}.example", secret=True)
        await hands.change("End the old secret", "End the old secret", row=f"new{width}.example")
        await hands.change("Delete", "Delete", row=f"new{width}.example")
        await visit.go("webhooks?tab=replays")
        await visit.page.locator("main tbody tr").first.wait_for()

        await visit.go("system")
        await hands.change("New admin key", "Create", secret=True, Whose_it_is=f"helper {width}")
        await hands.change("Rotate", "Rotate", row=f"helper {width}", secret=True)
        await hands.change("Revoke", "Revoke", row=f"helper {width}")
        await hands.change("Close months", "Close months")
        for books in ("the ledger", "statements", "the audit log", "files"):
            await visit.page.get_by_role("button", name=f"Verify {books}").click()
            await visit.page.locator("dialog .facts").wait_for()
            await visit.page.locator("dialog").get_by_role("button", name="Close").click()
        await visit.go("models?mode=live&open=bytedance%2Fdreamina-3-0%2Fimage-to-video")
        await visit.page.get_by_role("button", name="Correct what was charged").click()
        form = visit.page.locator("dialog form")
        await form.get_by_label("Reason").fill(REASON)
        await form.get_by_role("button", name="Go on").click()
        await visit.page.get_by_role("dialog", name="What was charged").wait_for()
        done = _done(house)
        assert len(done) >= 13, done


@each_look
async def test_a_person_does_whatever_the_portal_offers(
    house: House, browser: Browser, width: int, color_scheme: str
) -> None:
    looks = {"viewport": {"width": width, "height": 860}, "color_scheme": color_scheme}
    async with house.visited(browser, "portal", **looks) as visit:
        hands = Hands(visit, says_why=False)
        await visit.go("keys")
        key = await hands.change("New key", "Create", secret=True, Name=f"of task {width}")
        kid = key.split("_")[2]
        await hands.change("Narrow", "Narrow", row=kid, Name="narrower")
        await hands.change("Rotate", "Rotate", row=kid, secret=True)
        await hands.change("Revoke", "Revoke", row=kid, Type_the_kid=kid)
        await hands.change("Change", "Replace", One_in_each_line="https://app.example")
        await hands.sees("https://app.example")
        assert "/portal#link=" in await hands.change("Link for a colleague", "Make", secret=True)
        token = await hands.change("New token", "Create", secret=True, End_user=f"of-{width}")
        assert token.startswith("rg_client_")
        await visit.page.locator("tr", has_text=f"of-{width}").get_by_role("button", name="Show").click()
        await visit.page.locator("dialog").get_by_text("Expires").wait_for()
        await visit.page.locator("dialog").get_by_role("button", name="Close").click()
        await hands.change("Revoke", "Revoke", row=f"of-{width}")

        await visit.go("webhooks?tab=endpoints")
        await hands.change("New endpoint", "Create", secret=True, Address=f"https://own{width}.example/")
        for button, verb in (("Test", "Send"), ("Pause", "Pause"), ("Enable", "Enable")):
            await hands.change(button, verb, row=f"own{width}.example")
        await hands.change("Rotate", "Rotate", row=f"own{width}.example", secret=True)
        await visit.go("webhooks")
        await visit.page.locator("tr", has_text="webhook.test").locator("[data-row]").first.click()
        await hands.change("Send again", "Send")
        await visit.go("webhooks?tab=endpoints")
        await hands.change("Delete", "Delete", row=f"own{width}.example")

        await visit.go("usage")
        async with visit.page.expect_download() as saving:
            await visit.page.get_by_role("button", name="CSV of what is on screen").click()
        assert (await (await saving.value).path()).read_text().splitlines()[-1].startswith("sum,")
        await visit.go("statements")
        async with visit.page.expect_download() as saving:
            await visit.page.get_by_role("link", name="CSV", exact=True).first.click()
        assert (await saving.value).suggested_filename.endswith(".csv")
        await visit.page.goto(f"{visit.url}/portal-playground")
        await visit.page.locator("main[data-ready]").wait_for()
        assert "Real requests" in await visit.text("body"), "of live keys"
