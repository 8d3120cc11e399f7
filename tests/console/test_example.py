"""The example of the documentation, as it stands there: its backend is run, and its page is used."""

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.async_api import Browser

from app.auth import tenants
from tests.console.network import HOST, served
from tests.harness import PEPPER, World
from tests.processes import bare_environment, eventually, free_port
from tests.sandbox.harness import TOKEN
from tests.streams import moving

pytestmark = pytest.mark.anyio
FOLDER = Path(__file__).parents[2] / "docs" / "examples" / "browser"
BROWSERS = (FOLDER.parents[1] / "browsers.md").read_text(encoding="utf-8")


@contextmanager
def backend(gateway: str, key: str) -> Iterator[str]:
    """The command of the documentation, on another port."""
    (command,) = re.findall(r"^\.venv/bin/uvicorn (.*) --port 5173$", BROWSERS, re.MULTILINE)
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", *command.split(), "--port", str(port), "--log-level", "warning"],
        cwd=FOLDER.parents[2],
        env=bare_environment() | {"REELGATE_KEY": key, "REELGATE_URL": gateway},
    )
    url = f"http://{HOST}:{port}"
    try:
        eventually(lambda: _answers(url))
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False


async def test_the_examples_page_makes_a_video(world: World, browser: Browser) -> None:
    edge: Any = world.client._transport
    async with served(edge.app) as port:
        gateway = f"http://{HOST}:{port}"
        with backend(gateway, world.key) as url:
            await world.gateway.db.write(tenants.set_origins, world.tenant_id, [url])
            world.clock.advance(2)
            context = await browser.new_context()
            page = await context.new_page()
            seen: list[str] = []
            page.on("request", lambda one: seen.append(f"{one.url} {one.headers} {one.post_data}"))
            await page.goto(url)
            await page.fill("#picture", f"{world.sandbox.options.public_url}/samples/harbour.jpg")
            await page.click("button")
            await page.wait_for_function("document.querySelector('output').value.startsWith('in_queue')")
            world.sandbox.clock.now += world.sandbox.options.queue_s + world.sandbox.options.run_s
            said: list[str] = []

            async def look() -> None:
                while not said:
                    value = await page.evaluate("document.querySelector('output').value")
                    if value and not value.startswith(("in_", "completed")):
                        said.append(value)

            looking = asyncio.create_task(look())
            await moving(world, lambda: said, step_s=0.2)
            await looking
            assert said == ["Done."]
            await page.wait_for_function("document.querySelector('video').readyState >= 2")
            assert await page.evaluate("document.querySelector('video').videoWidth") == 1280
            told = "\n".join(seen)
            assert "rg_client_" in told
            assert [
                one[:12] for one in (world.key, TOKEN, PEPPER) if one in told + await page.content()
            ] == []
            (made,) = (await world.get("/v1/requests"))["requests"]
            assert made["end_user"] == "visitor-1"
            await context.close()
        world.gateway.following.watch.close()


def test_the_page_has_thirty_lines_at_most() -> None:
    lines = (FOLDER / "page.html").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) <= 30
