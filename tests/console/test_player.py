"""Videos of the store in a real browser, from a page of another origin: it seeks to the end and plays it."""

from typing import Any

import pytest
from playwright.async_api import Browser
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from tests.console.network import HOST, served
from tests.files.test_uploads import uploaded
from tests.harness import World
from tests.storage.conftest import endpoints as endpoints  # noqa: PLC0414 - for the tests
from tests.storage.servers import store_at

pytestmark = pytest.mark.anyio

_PLAY_THE_END = """
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


@pytest.mark.parametrize("kind", ["disk", "seaweedfs"])
async def test_a_player_of_another_origin_seeks_to_the_end_of_a_linked_video(
    world: World, browser: Browser, endpoints: dict[str, str], kind: str
) -> None:
    storage = world.gateway.storage
    if kind != "disk":
        object.__setattr__(storage, "store", store_at(endpoints[kind], storage.threads))
    edge: Any = world.client._transport
    file_id = await uploaded(world, await a_video(world))
    link = (await world.client.post(f"/v1/files/{file_id}/links")).json()["url"]
    path = link.removeprefix("http://gateway.test")
    assert path.startswith("/f/")
    async with served(edge.app) as port:

        async def page_of(_request: Request) -> HTMLResponse:
            return HTMLResponse(f'<video muted src="http://{HOST}:{port}{path}"></video>')

        async with served(Starlette(routes=[Route("/", page_of)])) as other_port:
            page = await browser.new_page()
            await page.goto(f"http://{HOST}:{other_port}/")
            assert await page.evaluate(_PLAY_THE_END) == [True, True]
            await page.close()
    if kind != "disk":
        await storage.store.close()
