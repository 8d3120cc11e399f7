"""The playground's page as a test uses it: opened in a real browser, heard, watched and judged."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, Request
from sqlalchemy import Connection, text

from app.server.protocol import GuardedProtocol, Limits
from tests.console.bench import HURRY
from tests.console.network import Relay, relaying, served
from tests.harness import World
from tests.patience import PATIENCE_S
from tests.sandbox.harness import DREAMINA

KID = "P" * 12
DESKTOP = (1280, 900)


@dataclass
class Play:
    """The page, what it asked for, and what its console said."""

    world: World
    relay: Relay
    page: Page
    said: list[str] = field(default_factory=list)
    bodies: list[tuple[str, Any]] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", self._note_request)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.said.append(message.text)

    def _note_request(self, request: Request) -> None:
        is_file = "/v1/files" in request.url
        if request.method == "POST" and not is_file and request.post_data is not None:
            self.bodies.append((request.url, json.loads(request.post_data)))

    # --- the page

    async def open(self, model: str = DREAMINA) -> None:
        await self.page.goto("about:blank")
        await self.page.goto(f"{self.relay.url}/playground#{model}")
        await self.quoted()

    async def quoted(self) -> None:
        """Wait until the page has the price of what stands in the form now."""
        await self.page.wait_for_timeout(100)  # the page itself waits for a moment: is there more to come?
        await self.page.locator("main[data-ready] #price:not(.stale)").wait_for()

    async def shows(self, phase: str) -> None:
        await self.page.locator(f'#stage[data-phase="{phase}"]').wait_for()

    async def text(self, selector: str) -> str:
        return await self.page.locator(selector).inner_text()

    async def generate(self, directive: str = "") -> None:
        if directive:
            box = self.page.get_by_label("Prompt")
            await box.fill(f"{await box.input_value()} [sandbox:{directive}]")
            await self.quoted()
        await self.page.locator("#go").click()

    async def generate_again(self) -> None:
        """Press the button once more, later than the second half of a double click can come."""
        await self.page.wait_for_timeout(800)
        await self.page.locator("#go").click()

    async def ended(self, phase: str) -> None:
        """Let the job run, and end."""
        await self.shows("queued")
        self.pass_time(self.world.sandbox.options.queue_s)
        await self.shows("running")
        self.pass_time(self.world.sandbox.options.run_s)
        await self.shows(phase)

    def pass_time(self, seconds: float) -> None:
        """For the sandbox alone; the gateway's time passes by itself."""
        self.world.sandbox.clock.now += seconds

    def choices(self, name: str) -> Locator:
        return self.page.locator(f'[data-name="{name}"]')

    async def focused(self) -> str:
        """The id of what has the focus, or its text."""
        found = await self.page.evaluate("document.activeElement.id || document.activeElement.innerText")
        return str(found)

    @property
    def complaints(self) -> list[str]:
        """What the console said, but for the statuses of refusals that a test asks for."""
        return [one for one in self.said if not one.startswith("Failed to load resource")]

    async def violations(self) -> list[str]:
        """What axe finds, of any impact; and nothing may be wider than the window."""
        found = (await Axe().run(self.page)).response["violations"]
        wide = await self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        told = [f"{one['id']}: {[node['target'] for node in one['nodes']]}" for one in found]
        return told if wide <= 0 else [*told, f"{wide} pixels too wide"]


@asynccontextmanager
async def _time_passes(world: World) -> AsyncIterator[None]:
    """Time that flows for the gateway, five times as fast as for us."""

    async def flow() -> None:
        while True:
            await asyncio.sleep(0.02)
            world.clock.advance(0.1)

    task = asyncio.create_task(flow())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def playing(world: World, browser: Browser, **looks: Any) -> AsyncIterator[Play]:
    await give_its_key(world)
    edge: Any = world.client._transport
    protocol = partial(GuardedProtocol, Limits.of(world.gateway.settings))
    width, height = looks.pop("size", DESKTOP)
    async with served(edge.app, http=protocol) as port, relaying(port) as relay:
        context = await browser.new_context(viewport={"width": width, "height": height}, **looks)
        context.set_default_timeout(PATIENCE_S * 1000)
        await context.add_init_script(HURRY)
        play = Play(world, relay, await context.new_page())
        play.watch()
        try:
            async with _time_passes(world):
                yield play
        finally:
            await context.close()
        assert play.complaints == []
        assert world.key not in relay.text
        assert "rg_test_" not in relay.text
        world.gateway.following.watch.close()


async def give_its_key(world: World) -> None:
    """Make a key with the kid that the settings name, so that the playground has tokens."""
    key = await world.another_key()

    def rename(connection: Connection) -> None:
        names = {"new": KID, "old": key.split("_")[2]}
        connection.execute(text("UPDATE api_keys SET kid = :new WHERE kid = :old"), names)

    await world.gateway.db.write(rename)
