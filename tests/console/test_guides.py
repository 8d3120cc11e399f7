"""The home page and the guides: all that they link to is there, below any path, under strict policies."""

import re
from typing import Any
from urllib.parse import urldefrag, urljoin

import httpx2
import pytest
from playwright.async_api import Browser
from starlette.types import ASGIApp, Receive, Scope, Send

from app.console.guides import SHOWN, Guides, home
from app.server.edge import Edge
from tests.console.network import HOST, served
from tests.console.play import KID, give_its_key
from tests.contract.published import problem_of
from tests.harness import World
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Authorization": ""}
_LINK = re.compile(r'(?:href|src)="([^"]*)"')


def below(app: ASGIApp, prefix: str) -> ASGIApp:
    """The application behind a proxy that serves it below a path, and strips that path."""

    async def stripped(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        assert path.startswith(f"{prefix}/"), f"{path} is not below {prefix}"
        rest = path[len(prefix) :]
        await app({**scope, "path": rest, "raw_path": rest.encode()}, receive, send)

    return stripped


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"playground_kid": KID, "public_url": "http://127.0.0.1"}


async def test_from_the_home_page_on_every_link_leads_to_something(world: World) -> None:
    async def get(url: str) -> httpx2.Response:
        return await world.client.get(url.removeprefix("http://gateway.test/video"), headers=HTML)

    waiting, pages = ["http://gateway.test/video/"], dict[str, str]()
    anchors: list[tuple[str, str]] = []
    while waiting:
        url = waiting.pop()
        if url in pages:
            continue
        assert url.startswith("http://gateway.test/video/"), "a link leaves the path that the gateway has"
        answer = await get(url)
        assert answer.status_code == 200, url
        is_guide = "/guides/" in url or url.endswith("/video/")
        pages[url] = answer.text if answer.headers["content-type"].startswith("text/html") else ""
        for link in _LINK.findall(pages[url]) if is_guide else ():
            target, anchor = urldefrag(urljoin(url, link))
            if target.startswith("http://gateway.test/"):
                waiting.append(target)
                anchors.append((target, anchor))
            else:
                assert re.match(r"https?:", target), f"{link} in {url}"
    guides = {url.partition("/guides/")[2] for url in pages if "/guides/" in url}
    assert {name for names in SHOWN.values() for name in names} <= guides
    assert "http://gateway.test/video/playground" in pages
    for target, anchor in anchors:
        assert not anchor or f'id="{anchor}"' in pages[target], f"{target}#{anchor}"


async def test_every_guide_is_rendered_without_markup_that_its_policy_drops(world: World) -> None:
    for name in Guides.found().files:
        answer = await world.client.get(f"/guides/{name}", headers=HTML)
        assert answer.status_code == 200
        assert not re.search(r"<script|\sstyle=|\son[a-z]+=|<!--", answer.text), name
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert "camera=()" in answer.headers["permissions-policy"]


async def test_no_page_allows_styles_or_scripts_in_the_document(world: World) -> None:
    for path in ("/", "/docs", "/playground", "/guides/api"):
        answer = await world.client.get(path, headers=HTML)
        assert "unsafe-inline" not in answer.headers["content-security-policy"]
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"


async def test_a_client_that_asks_for_no_page_finds_none_at_the_root(world: World) -> None:
    for accept in ("*/*", "application/json"):
        problem_of(await world.client.get("/", headers={"accept": accept}), 404, "route_not_found")
    assert "accept" in (await world.client.get("/", headers=HTML)).headers["vary"].lower()


@pytest.mark.parametrize("name", ["nothing", "..%2fREADME", "%2e%2e/pyproject", "/etc/passwd", "api/"])
async def test_only_the_documents_are_served(world: World, name: str) -> None:
    problem_of(await world.client.get(f"/guides/{name}", headers=HTML), 404, "route_not_found")


async def test_an_installation_without_documents_has_a_home_page_without_guides() -> None:
    text = home(Guides({}))
    assert "guides/" not in text
    assert 'href="playground"' not in text
    assert 'href="docs"' in text


async def test_the_pages_work_below_a_path_in_a_browser(world: World, browser: Browser) -> None:
    await give_its_key(world)
    edge = Edge(world.app, "http://gateway.test")
    async with (
        served(below(edge, "/video")) as port,
        await browser.new_context() as context,
    ):
        context.set_default_timeout(PATIENCE_S * 1000)
        page = await context.new_page()
        failed: list[str] = []
        page.on(
            "response", lambda one: failed.append(f"{one.status} {one.url}") if one.status >= 400 else None
        )
        page.on("console", lambda one: failed.append(one.text) if one.type == "error" else None)
        page.on("pageerror", lambda one: failed.append(str(one)))
        for path, shown in (
            ("/", ".doors"),
            ("/docs", ".opblock"),
            ("/playground", "main[data-ready] #price:not(.stale)"),
            ("/guides/operating", "#commands"),
        ):
            await page.goto(f"http://{HOST}:{port}/video{path}")
            await page.locator(shown).first.wait_for()
        assert failed == []


async def test_the_guides_are_searched_by_words_and_a_strangers_text_stays_a_text(world: World) -> None:
    answer = await world.client.get("/docs/guides", params={"q": "idempotency key replayed"}, headers=HTML)
    assert "form-action 'self'" in answer.headers["content-security-policy"]
    links = re.findall(r'<li><a href="\.\./guides/([^"#]+)#([^"]+)"', answer.text)
    assert links
    for name, anchor in links:
        page = await world.client.get(f"/guides/{name}", headers=HTML)
        assert f'id="{anchor}"' in page.text, f"{name}#{anchor}"
    hostile = await world.client.get(
        "/docs/guides", params={"q": '"><script>alert(1)</script>'}, headers=HTML
    )
    assert "<script" not in hostile.text
    assert "0 sections" in hostile.text
    assert "<li>" not in (await world.client.get("/docs/guides", headers=HTML)).text
