"""A video of a bucket in a browser, from a page of another origin: the bucket's link ends during play."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.async_api import Browser

from app.api import serving
from app.kit.clock import SystemClock
from app.storage.s3 import S3Store
from tests.console.long_video import spread
from tests.console.network import HOST
from tests.console.test_player import BEGIN, PLAY_THE_END, a_video, at_a_page, linked
from tests.files.test_uploads import uploaded
from tests.harness import World
from tests.patience import PATIENCE_S
from tests.storage.conftest import endpoints as endpoints  # noqa: PLC0414 - for the tests
from tests.storage.servers import KEYS, bucket_at

pytestmark = pytest.mark.anyio

_BEGINNING = 8_000_000  # bytes that a player gets before its link ends
_STOPS = """
async () => {
  const video = document.querySelector("video");
  const sought = new Promise((yes) => video.addEventListener("seeked", () => yes("sought"), { once: true }));
  const failed = new Promise((yes) => video.addEventListener("error", () => yes("failed"), { once: true }));
  const waited = new Promise((yes) => setTimeout(() => yes("waiting"), 3000));
  video.currentTime = video.duration - 0.2;
  return await Promise.race([sought, failed, waited]);
}
"""


async def test_a_link_of_the_bucket_that_ends_during_play_fails_at_the_next_range_and_a_new_one_goes_on(
    world: World, browser: Browser, endpoints: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_REDIRECT_S", 5)  # by the bucket's own clock
    is_over = asyncio.Event()
    storage = world.gateway.storage
    async with slow_way(endpoints["seaweedfs"], is_over) as (public, asked):
        bucket = replace(bucket_at(endpoints["seaweedfs"]), public_endpoint=public)
        store = S3Store(bucket, KEYS, SystemClock(), storage.threads, pauses_s=())
        object.__setattr__(storage, "store", store)
        file_id = await uploaded(world, spread(await a_video(world), apart=1_000_000))
        async with at_a_page(world, browser, await linked(world, file_id)) as (page, here):
            assert await page.evaluate(BEGIN), "there is more to read than the player has"
            async with httpx2.AsyncClient(trust_env=False) as client, asyncio.timeout(PATIENCE_S):
                first = {"Range": "bytes=0-0", "Host": urlsplit(public).netloc}
                while (await client.get(endpoints["seaweedfs"] + asked[0], headers=first)).is_success:  # noqa: ASYNC110 - nobody tells when it ends
                    await asyncio.sleep(0.2)
            world.clock.advance(61)  # so that the gateway's link ends too, of which a player may ask again
            is_over.set()
            # The bucket's refusal is blocked for a page of another origin: Chromium asks for half a minute
            # before it says that it failed. No byte comes meanwhile.
            assert await page.evaluate(_STOPS) in {"waiting", "failed"}
            before = len(asked)
            link = here + await linked(world, file_id)
            await page.evaluate("(link) => { document.querySelector('video').src = link; }", link)
            assert await page.evaluate(PLAY_THE_END) == [True, True]
            assert asked[before:], "the end came from the bucket"
        await store.close()


@asynccontextmanager
async def slow_way(endpoint: str, is_over: asyncio.Event) -> AsyncIterator[tuple[str, list[str]]]:
    """An address on the way to a server, and the targets that were asked for there.

    All that is asked for before it `is_over` gets no more than the beginning of a film together, then nothing
    and breaks off once it is over. What is asked later is passed on.
    """
    asked: list[str] = []
    left = _BEGINNING
    tasks: set[asyncio.Task[None]] = set()

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(HOST, urlsplit(endpoint).port)
        is_late = is_over.is_set()

        async def questions() -> None:
            while piece := await reader.read(65_536):
                asked.append(piece.split(b" ", 2)[1].decode())
                far_writer.write(piece)

        async def answers() -> None:
            nonlocal left
            while (is_late or left > 0) and (piece := await far_reader.read(65_536)):
                left -= len(piece)
                writer.write(piece)
                await writer.drain()
            await is_over.wait()
            raise ConnectionError

        try:
            with suppress(OSError):
                await asyncio.gather(questions(), answers())
        finally:
            for one in (writer, far_writer):
                one.transport.abort()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(between(reader, writer)))

    server = await asyncio.start_server(begin, HOST, 0)
    try:
        yield f"http://{HOST}:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
