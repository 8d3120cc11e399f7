"""The console and the portal as somebody uses them: in a real browser, over real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser, ConsoleMessage, Page, Request, expect

from app.server.protocol import GuardedProtocol, Limits
from tests.console.network import HOST, served
from tests.harness import World
from tests.patience import PATIENCE_S

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
"""A text of a stranger's, wherever one can be written."""


@dataclass
class Visit:
    """Somebody's browser, what it asked for, and what its console said."""

    url: str
    page: Page
    in_process: World | None = None
    said: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    @property
    def world(self) -> World:
        """The gateway, where it is in this process."""
        assert self.in_process is not None
        return self.in_process

    def watch(self) -> None:
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", self._note_request)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.said.append(message.text)

    def _note_request(self, request: Request) -> None:
        path = request.url.removeprefix(self.url)
        if path.startswith(("/v1/", "/admin/v1/")):
            self.calls.append(f"{request.method} {path}")

    async def sign_in(self, site: str, key: str) -> None:
        await self.page.goto(f"{self.url}/{site}")
        await self.page.get_by_label("key").fill(key)
        await self.page.keyboard.press("Enter")
        await self.page.locator("nav.ways").wait_for()

    async def go(self, place: str) -> None:
        """Shows a page, and waits until it has its data."""
        self.calls.clear()
        await self.page.evaluate("place => { location.hash = place }", f"#/{place}")
        await self.settled()

    async def settled(self) -> None:
        await self.page.locator("main #title").wait_for()
        await expect(self.page.locator("main .skeleton")).to_have_count(0, timeout=PATIENCE_S * 1000)

    async def text(self, selector: str = "main") -> str:
        return await self.page.locator(selector).inner_text()

    @property
    def complaints(self) -> list[str]:
        """What the console said, but for the statuses of refusals that a test asks for."""
        return [one for one in self.said if not one.startswith("Failed to load resource")]

    async def violations(self) -> list[str]:
        """What axe finds, of any impact; and nothing may be wider than the window."""
        found = (await Axe().run(self.page)).response["violations"]
        told = [f"{one['id']}: {[node['target'] for node in one['nodes']]}" for one in found]
        return told + await self.too_wide()

    async def too_wide(self) -> list[str]:
        wide = await self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        return [] if wide <= 0 else [f"{wide} pixels too wide"]


@asynccontextmanager
async def visiting(world: World, browser: Browser, **looks: Any) -> AsyncIterator[Visit]:
    """A browser at a gateway in this process."""
    edge: Any = world.client._transport
    protocol = partial(GuardedProtocol, Limits.of(world.gateway.settings))
    async with (
        served(edge.app, http=protocol) as port,
        browsing(browser, f"http://{HOST}:{port}", **looks) as one,
    ):
        one.in_process = world
        yield one
    world.gateway.following.watch.close()


@asynccontextmanager
async def browsing(browser: Browser, url: str, **looks: Any) -> AsyncIterator[Visit]:
    """A browser at whatever gateway answers at an address."""
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | looks)
    context.set_default_timeout(PATIENCE_S * 1000)
    visit = Visit(url, await context.new_page())
    visit.watch()
    try:
        yield visit
        assert await visit.page.title() != "owned"
    finally:
        await context.close()
    assert visit.complaints == []
