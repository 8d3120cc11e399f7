"""An operator signs in to the console by the company's own sign-in, in a real browser at a real provider."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.console.site import Visit, browsing
from tests.processes import free_port, place_for, started
from tests.sandbox.harness import Running
from tests.sessions.real_provider import SECRET, installed, providing

pytestmark = pytest.mark.anyio


@pytest.fixture
def console_url(database_url: str, tmp_path: Path, sandbox: Running) -> Iterator[str]:
    """A server whose console is on a port of its own, and the provider that it believes."""
    node, admin_port = installed(), free_port()
    url = f"http://localhost:{admin_port}"
    with providing(node, free_port(), f"{url}/console/oidc/callback") as issuer:
        place = place_for(
            tmp_path,
            database_url,
            sandbox.options.public_url,
            ADMIN_API="true",
            ADMIN_PORT=str(admin_port),
            CONSOLE="true",
            OIDC_ISSUER=issuer,
            OIDC_CLIENT_ID="reelgate",
            OIDC_CLIENT_SECRET=SECRET,
            OIDC_ROLES="operators=operate,platform=root",
        )
        with started(place):
            yield url


async def _sign_in(visit: Visit, name: str) -> None:
    page = visit.page
    await page.get_by_role("button", name="Sign in with OpenID Connect").click()
    await page.locator("input[name=login]").fill(name)
    await page.locator("input[name=password]").fill("any")
    await page.locator("button[type=submit]").click()
    await page.get_by_role("button", name="Continue").click()  # it asks whether the console may know


async def test_an_operator_comes_back_to_where_they_began_and_is_named(
    console_url: str, browser: Browser
) -> None:
    async with browsing(browser, console_url) as visit:
        page = visit.page
        await page.goto(f"{console_url}/console#/usage?group=tenant")
        await page.get_by_label("Admin key").wait_for()
        assert await visit.violations() == []
        await _sign_in(visit, "platform")
        await page.locator(".who", has_text="platform@company.test (platform)").wait_for()
        assert page.url == f"{console_url}/console#/usage?group=tenant"
        await visit.settled()
        assert await page.evaluate("document.cookie + JSON.stringify(localStorage)") == "{}"
        await visit.go("audit")
        assert "person platform@company.test (platform)" in await visit.text()
        await visit.go("system")
        assert "says that it is that issuer" in await visit.text()
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_label("Admin key").wait_for()


async def test_somebody_without_a_role_is_told_so_and_can_still_use_a_key(
    console_url: str, browser: Browser
) -> None:
    async with browsing(browser, console_url) as visit:
        await visit.page.goto(f"{console_url}/console")
        await _sign_in(visit, "mallory")
        await visit.page.get_by_text("You are known, but have no role here.").wait_for()
        assert await visit.page.get_by_label("Admin key").is_visible()
        assert await visit.violations() == []
