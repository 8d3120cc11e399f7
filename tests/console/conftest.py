from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from tests.console.bench import FLAGS, Bench, browser_path, open_bench
from tests.harness import World


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """Of one kind only: what a page sees does not depend on it."""
    path = tmp_path / "reelgate.db"
    path.write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    path = browser_path()
    if path is None:
        pytest.skip("no browser here: install the package `chromium`, or name one in REELGATE_TEST_BROWSER")
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield launched
        await launched.close()


@pytest.fixture
async def bench(world: World, browser: Browser) -> AsyncIterator[Bench]:
    async with open_bench(world, browser) as opened:
        yield opened
