"""Videos of the store in a browser, from a page of another origin: it seeks, plays, and its link ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser, Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from app.storage.disk import DiskStore
from tests.console.long_video import spread
from tests.console.network import HOST, served
from tests.files.test_uploads import uploaded
from tests.harness import World
from tests.storage.conftest import endpoints as endpoints  # noqa: PLC0414 - for the tests
from tests.storage.servers import store_at

pytestmark = pytest.mark.anyio

MEDIA_ERR_NETWORK = 2
PLAY_THE_END = """
async () => {
  const video = document.querySelector("video");
  const heard = (name) => new Promise((yes, no) => {
    video.addEventListener(name, yes, { once: true });
    video.addEventListener("error", () => no(video.error.message), { once: true });
    if (video.error) no(video.error.message);
  });
  if (video.readyState < HTMLMediaElement.HAVE_METADATA) await heard("loadedmetadata");
  const sought = heard("seeked");
  video.currentTime = video.duration - 0.1;
  await sought;
  const ended = heard("ended");
  await video.play();
  await ended;
  return [video.videoWidth > 0, video.currentTime === video.duration];
}
"""


async def a_video(world: World) -> bytes:
    request_id = await world.submitted()
    url = (await world.finish(request_id))["output"]["video"]
    return world.sandbox.client.get(url).content


BEGIN = """
async () => {
  const video = document.querySelector("video");
  if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) {
    await new Promise((yes) => video.addEventListener("loadeddata", yes, { once: true }));
  }
  await video.play();
  video.pause();
  const ranges = video.buffered.length;
  return ranges === 0 || video.buffered.end(ranges - 1) < video.duration;
}
"""
_GO_ON = """
async (link) => {
  const video = document.querySelector("video");
  const heard = (name) => new Promise((yes) => video.addEventListener(name, yes, { once: true }));
  const at = video.duration - 0.2;
  const failed = heard("error");
  video.currentTime = at;
  await failed;
  const code = video.error.code;
  video.src = link;
  await heard("loadedmetadata");
  video.currentTime = at;
  await heard("seeked");
  const ended = heard("ended");
  await video.play();
  await ended;
  return code;
}
"""


@asynccontextmanager
async def at_a_page(world: World, browser: Browser, path: str) -> AsyncIterator[tuple[Page, str]]:
    """A page of another origin that has a player of this path; and the gateway's own address."""
    edge: Any = world.client._transport
    async with served(edge.app) as port:
        here = f"http://{HOST}:{port}"

        async def page_of(_request: Request) -> HTMLResponse:
            return HTMLResponse(f'<video muted src="{here}{path}"></video>')

        async with served(Starlette(routes=[Route("/", page_of)])) as other_port:
            page = await browser.new_page()
            await page.goto(f"http://{HOST}:{other_port}/")
            yield page, here
            await page.close()


@asynccontextmanager
async def kept_in(world: World, endpoints: dict[str, str], kind: str) -> AsyncIterator[None]:
    """The store is of this kind."""
    storage = world.gateway.storage
    if kind == "disk":
        yield
        return
    object.__setattr__(storage, "store", store_at(endpoints[kind], storage.threads))
    yield
    await storage.store.close()


async def linked(world: World, file_id: str) -> str:
    """The path of a link of a minute."""
    made = (await world.client.post(f"/v1/files/{file_id}/links?expires_in_s=60")).json()
    return str(made["url"]).removeprefix("http://gateway.test")


@pytest.mark.parametrize("kind", ["disk", "seaweedfs"])
async def test_a_player_of_another_origin_seeks_to_the_end_of_a_linked_video(
    world: World, browser: Browser, endpoints: dict[str, str], kind: str
) -> None:
    async with kept_in(world, endpoints, kind):
        path = await linked(world, await uploaded(world, await a_video(world)))
        async with at_a_page(world, browser, path) as (page, _):
            assert await page.evaluate(PLAY_THE_END) == [True, True]


async def test_a_link_that_ends_during_play_fails_at_the_next_range_and_a_new_one_goes_on(
    world: World, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = await uploaded(world, spread(await a_video(world), apart=1_000_000))
    path = await linked(world, file_id)
    is_over, go = asyncio.Event(), asyncio.Event()
    read = DiskStore.read

    async def slowly(self: DiskStore, *place: Any) -> AsyncIterator[bytes]:
        left = 1_000_000_000 if is_over.is_set() else 8_000_000
        async with aclosing(read(self, *place)) as chunks:
            async for chunk in chunks:
                left -= len(chunk)
                if left < 0:
                    await go.wait()
                yield chunk

    monkeypatch.setattr(DiskStore, "read", slowly)
    async with at_a_page(world, browser, path) as (page, here):
        assert await page.evaluate(BEGIN), "there is more to read than the player has"
        world.clock.advance(61)
        is_over.set()
        over = await world.client.get(path)
        assert (over.status_code, over.json()["code"]) == (410, "link_expired")
        assert await page.evaluate(_GO_ON, here + await linked(world, file_id)) == MEDIA_ERR_NETWORK
        go.set()
