"""Files of an input: judged by the model's own rules before any money moves, and noted in the record."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx2
import pytest

from app.auth import tenants
from tests.client_tokens.pages import page
from tests.contract.published import problem_of
from tests.gallery import Gallery, Picture, open_gallery
from tests.harness import MORE_MODELS, SUBMIT, World, until
from tests.loops import skipped
from tests.pictures import data_uri, jpeg, png, png_with_profile
from tests.sandbox.harness import DREAMINA

pytestmark = pytest.mark.anyio

QUOTE = f"/v1/quotes/{DREAMINA}"
SIZE = "File size must be less than 4.7 MB."
RESOLUTION = "Maximum resolution is 4096×4096."  # noqa: RUF001 - the vendor's own sign
SHORTEST = "The shortest side must be at least 320 px."
WIDE = "The long-to-short side ratio must be within 3:1."
TALL = "The long-to-short side ratio must be greater than 0.33."
LIMIT_BYTES = 4_700_000
UNREACHABLE = "could not be reached: its address must be public, and a server must answer there"


@pytest.fixture
async def gallery() -> AsyncIterator[Gallery]:
    async with open_gallery() as opened:
        yield opened


@pytest.fixture
def more_settings() -> dict[str, Any]:
    return {}


@pytest.fixture
def world_settings(gallery: Gallery, more_settings: dict[str, Any]) -> dict[str, Any]:
    return {"http_media_hosts": gallery.host, "max_body_bytes": 8_000_000, **more_settings}


async def refused(world: World, url: str, code: str = "invalid_input") -> list[dict[str, Any]]:
    """What is wrong with a body of this picture, by submit and quote alike; nothing is stored or sent."""
    body, before = world.body(image_urls=[url]), (await world.get("/v1/requests"))["requests"]
    problem = problem_of(await world.client.post(SUBMIT, json=body), 422, code)
    quoted = (await world.client.post(QUOTE, json=body)).json()
    assert quoted["errors"] == problem["errors"]
    assert quoted["admissible"] is False
    assert world.received() == []
    assert (await world.get("/v1/requests"))["requests"] == before
    errors: list[dict[str, Any]] = problem["errors"]
    assert {one["pointer"] for one in errors} == {"#/image_urls/0"}
    return errors


async def seen(world: World, url: str) -> dict[str, Any]:
    """What the record of a submit says of its picture."""
    record = await world.get(f"/v1/requests/{await world.submitted(image_urls=[url])}")
    (file,) = record["media"]
    assert isinstance(file, dict)
    return file


EDGES = [
    (640, 480, None, []),
    (640, 480, LIMIT_BYTES - 1, []),
    (640, 480, LIMIT_BYTES, [SIZE]),
    (640, 480, LIMIT_BYTES + 1, [SIZE]),
    (4096, 4096, None, []),
    (4097, 4096, None, [RESOLUTION]),
    (4096, 4097, None, [RESOLUTION]),
    (4097, 4097, None, [RESOLUTION]),
    (320, 320, None, []),
    (319, 320, None, [SHORTEST]),
    (320, 319, None, [SHORTEST]),
    (960, 320, None, []),
    (961, 320, None, [WIDE]),
    (4096, 1366, None, []),
    (4096, 1365, None, [WIDE]),
    (330, 1000, None, [TALL]),
    (331, 1000, None, []),
    (1320, 4000, None, [TALL]),
    (1321, 4000, None, []),
    (1, 1, None, [SHORTEST]),
    (5000, 10, LIMIT_BYTES, [SIZE, RESOLUTION, SHORTEST, WIDE]),
    (10, 5000, None, [RESOLUTION, SHORTEST, TALL]),
]


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("form", ["png", "jpeg"])
async def test_the_seeds_rules_hold_at_their_very_edges_in_the_vendors_own_words(
    world: World, gallery: Gallery, edge: tuple[int, int, int | None, list[str]], form: str
) -> None:
    width, height, size_bytes, expected = edge
    data = (png if form == "png" else jpeg)(width, height, size_bytes=size_bytes)
    if not expected:
        facts = {"type": f"image/{form}", "size_bytes": len(data), "width": width, "height": height}
        for url in (gallery.hang("a", Picture(data)), data_uri(data, f"image/{form}")):
            assert await seen(world, url) == {"pointer": "#/image_urls/0", **facts, "errors": []}
        return
    for url in (gallery.hang("a", Picture(data)), data_uri(data, f"image/{form}")):
        errors = await refused(world, url)
        assert [(one["code"], one["detail"]) for one in errors] == [("media_rule", one) for one in expected]


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (
            b"GIF89a\x80\x02\xe0\x01\0\0\0,\0\0\0\0\x80\x02\xe0\x01\0\2" + b"\0" * 100,
            "media_type",
            "must be JPEG or PNG, is GIF",
        ),
        (
            b"BM" + struct.pack("<IIIIiiHH", 306, 0, 54, 40, 9, 9, 1, 24) + b"\0" * 276,
            "media_type",
            "must be JPEG or PNG, is BMP",
        ),
        (b"\0\0\0\x18ftypisom" + b"\0" * 100, "media_type", "must be JPEG or PNG, is MP4"),
        (b"<html><body>not found</body></html>", "media_unreadable", "is a web page, not a media file"),
        (b"%PDF-1.7 " + b"\0" * 100, "media_unreadable", "is a PDF document"),
        (b"", "media_unreadable", "is empty"),
        (b"\xff\xd8\xff\xe0", "media_unreadable", "it ends before its image data"),
        (png()[:20], "media_unreadable", "it ends before its image data"),
    ],
)
async def test_a_file_of_another_type_is_refused_by_its_bytes_whatever_its_name_says(
    world: World, gallery: Gallery, data: bytes, code: str, words: str
) -> None:
    url = gallery.hang("picture.png", Picture(data, headers=("Content-Type: image/png",)))
    (error,) = await refused(world, url)
    assert error["code"] == code
    assert words in error["detail"]


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("total", [True, False])
async def test_however_a_server_serves_the_facts_are_the_same(
    world: World, gallery: Gallery, ranges: bool, length: bool, total: bool
) -> None:
    data = jpeg(1000, 800, size_bytes=300_000, before=100_000)
    url = gallery.hang("a", Picture(data, ranges=ranges, length=length, total=total))
    facts = {"type": "image/jpeg", "size_bytes": 300_000, "width": 1000, "height": 800}
    assert await seen(world, url) == {"pointer": "#/image_urls/0", **facts, "errors": []}
    too_large = gallery.hang(
        "b", Picture(jpeg(size_bytes=LIMIT_BYTES), ranges=ranges, length=length, total=total)
    )
    assert [one["detail"] for one in await refused(world, too_large)] == [SIZE]


async def test_no_more_is_fetched_than_is_needed(world: World, gallery: Gallery) -> None:
    await seen(world, gallery.hang("a", Picture(png(size_bytes=4_000_000))))
    assert gallery.sent_bytes == 65_536
    await seen(world, gallery.hang("b", Picture(jpeg(before=200_000, size_bytes=4_000_000))))
    assert gallery.sent_bytes <= 2 * 65_536 + 524_288
    sent_bytes = gallery.sent_bytes
    await seen(world, gallery.hang("p", Picture(png_with_profile(1_500_000))))
    assert gallery.sent_bytes <= sent_bytes + 65_536 + 524_288 + 1_024  # and where its pixels begin
    gallery.sent_bytes = 0
    # Without ranges or a length it is read as far as the largest size that a rule is about, and not kept.
    bomb = Picture(png(size_bytes=50_000_000), ranges=False, length=False)
    await refused(world, gallery.hang("c", bomb))
    assert gallery.sent_bytes < 40_000_000


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/a.png",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::ffff:127.0.0.1]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://localhost/",
        "https://10.0.0.1/",
        "https://name.invalid/",
    ],
)
async def test_a_forbidden_address_answers_like_one_that_does_not(world: World, url: str) -> None:
    problem = problem_of(await world.submit(image_urls=[url]), 422, "media_unreachable")
    assert [one["detail"] for one in problem["errors"]] == [UNREACHABLE]
    assert problem["retryable"] is False


async def test_another_port_of_an_allowed_host_is_refused_by_its_text(world: World) -> None:
    problem = problem_of(await world.submit(image_urls=["https://127.0.0.1:22/a"]), 422, "invalid_input")
    (error,) = problem["errors"]
    assert error["detail"] == "must be a URL on port 80, 443, is on port 22"


async def test_the_sandboxs_pictures_are_for_test_keys_alone(world: World) -> None:
    """RunComfy cannot fetch them: a live submit of one would be paid for and fail."""
    live = world.with_key(await world.another_key(mode="live"))
    answer = await world.client.post(QUOTE, json=world.body(), headers=live)
    problem_of(answer, 503, "upstream_not_configured")
    policies = world.gateway.submitter.inspector.policies
    own = world.sandbox.options.public_url.removeprefix("http://")
    assert (own in policies["test"].http_hosts, own in policies["live"].http_hosts) == (True, False)


async def test_everything_that_is_wrong_is_named_at_once(world: World, gallery: Gallery) -> None:
    url = gallery.hang("a", Picture(png(100, 100)))
    answer = await world.submit(image_urls=[url], resolution="4K", sed=1)
    errors = problem_of(answer, 422, "invalid_input")["errors"]
    assert {(one["pointer"], one["code"]) for one in errors} == {
        ("#/resolution", "enum"),
        ("#/sed", "unknown_field"),
        ("#/image_urls/0", "media_rule"),
    }


class TestPolicy:
    async def _set(self, world: World, checks: tenants.MediaChecks | None) -> None:
        await world.gateway.db.write(tenants.set_media_checks, world.tenant_id, checks)
        world.clock.advance(2)

    async def test_a_tenant_may_be_warned_only(self, world: World, gallery: Gallery) -> None:
        await self._set(world, "warn")
        url = gallery.hang("a", Picture(png(5000, 100)))
        answer = await world.submit(image_urls=[url])
        assert answer.status_code == 200
        assert answer.headers["Reelgate-Media-Warnings"] == "3"
        (file,) = (await world.get(f"/v1/requests/{answer.json()['request_id']}"))["media"]
        assert (file["width"], file["height"]) == (5000, 100)
        assert [one["detail"] for one in file["errors"]] == [RESOLUTION, SHORTEST, WIDE]
        assert len(world.received()) == 1
        quoted = (await world.client.post(QUOTE, json=world.body(image_urls=[url]))).json()
        assert (quoted["admissible"], quoted["errors"]) == (True, [])
        assert quoted["media"] == [file]

    async def test_a_warned_tenants_unreachable_file_is_noted(self, world: World, gallery: Gallery) -> None:
        await self._set(world, "warn")
        answer = await world.submit(image_urls=[f"http://{gallery.host}/nothing"])
        assert answer.headers["Reelgate-Media-Warnings"] == "1"
        (file,) = (await world.get(f"/v1/requests/{answer.json()['request_id']}"))["media"]
        assert file["type"] is None
        assert [one["code"] for one in file["errors"]] == ["media_not_served"]

    async def test_a_tenant_may_be_left_alone(self, world: World, gallery: Gallery) -> None:
        await self._set(world, "off")
        answer = await world.submit(image_urls=[gallery.hang("a", Picture(png(1, 1)))])
        assert answer.status_code == 200
        assert "Reelgate-Media-Warnings" not in answer.headers
        assert (await world.get(f"/v1/requests/{answer.json()['request_id']}"))["media"] is None
        assert gallery.heads == []

    @pytest.mark.parametrize("more_settings", [{"media_checks": "off"}])
    async def test_a_tenants_own_rule_is_stronger_than_the_settings(
        self, world: World, gallery: Gallery
    ) -> None:
        url = gallery.hang("a", Picture(png(1, 1)))
        assert (await world.submit(image_urls=[url])).status_code == 200
        await self._set(world, "enforce")
        problem_of(await world.submit(image_urls=[url]), 422, "invalid_input")
        await self._set(world, None)
        assert (await world.submit(image_urls=[url])).status_code == 200


class TestMemory:
    async def test_what_was_seen_is_believed_for_a_while_and_then_asked_for_by_its_tag(
        self, world: World, gallery: Gallery
    ) -> None:
        url = gallery.hang("a", Picture(png(), etag='"one"'))
        await seen(world, url)
        world.clock.advance(29)
        await seen(world, url)
        assert len(gallery.asked("a")) == 1
        world.clock.advance(2)
        await seen(world, url)
        assert len(gallery.asked("a")) == 2
        assert 'If-None-Match: "one"' in gallery.asked("a")[1]
        assert gallery.sent_bytes == len(png())
        gallery.pictures["a"] = Picture(png(100, 100), etag='"two"')
        world.clock.advance(31)
        assert [one["detail"] for one in await refused_quote(world, url)] == [SHORTEST]

    async def test_one_tenants_looks_are_not_anothers(self, world: World, gallery: Gallery) -> None:
        url = gallery.hang("a", Picture(png()))
        await seen(world, url)
        other = world.with_key(await world.another_key(tenant="another"))
        body = world.body(image_urls=[url])
        assert (await world.client.post(QUOTE, json=body, headers=other)).json()["errors"] == []
        assert len(gallery.asked("a")) == 2

    async def test_a_hundred_at_once_look_once(self, world: World, gallery: Gallery) -> None:
        gate = asyncio.Event()
        url = gallery.hang("a", Picture(png(), gate=gate))
        posts = [
            asyncio.ensure_future(world.client.post(QUOTE, json=world.body(image_urls=[url])))
            for _ in range(100)
        ]
        await until(lambda: gallery.heads)
        gate.set()
        answers = await asyncio.gather(*posts)
        assert {one.status_code for one in answers} == {200}
        assert len(gallery.heads) == 1


async def refused_quote(world: World, url: str) -> list[dict[str, Any]]:
    quoted = (await world.client.post(QUOTE, json=world.body(image_urls=[url]))).json()
    errors: list[dict[str, Any]] = quoted["errors"]
    return errors


async def _past_the_deadline(
    world: World, call: Coroutine[Any, Any, httpx2.Response], once: Callable[[], object]
) -> httpx2.Response:
    return await skipped(call, world.gateway.settings.media_deadline_s, once=once)


class TestMany:
    """Files of one request, side by side."""

    @pytest.fixture
    def more_settings(self) -> dict[str, Any]:
        return {"catalog_dir": MORE_MODELS, "media_fetches_per_tenant": 8}

    async def quote(self, world: World, urls: list[str]) -> httpx2.Response:
        body = {"prompt": "x", "image_urls": urls}
        return await world.client.post("/v1/quotes/wan-ai/wan-2.7/edit", json=body)

    async def test_all_are_looked_at_at_once_within_one_deadline(
        self, world: World, gallery: Gallery
    ) -> None:
        gate = asyncio.Event()
        urls = [gallery.hang(f"{n}", Picture(png(400 + n, 400), gate=gate)) for n in range(4)]
        post = asyncio.ensure_future(self.quote(world, urls))
        await until(lambda: len(gallery.heads) == 4)
        gate.set()
        document = (await post).json()
        assert [one["width"] for one in document["media"]] == [400, 401, 402, 403]
        hanging = [gallery.hang(f"h{n}", Picture(png(), hangs=True)) for n in range(4)]
        # Had each a deadline of its own, one would be over and three would be sat out.
        quote = self.quote(world, hanging)
        answer = await _past_the_deadline(world, quote, lambda: len(gallery.heads) == 8)
        assert [one["code"] for one in answer.json()["errors"]] == ["media_unavailable"] * 4

    async def test_a_tenant_fetches_so_many_at_a_time(self, world: World, gallery: Gallery) -> None:
        urls = [gallery.hang(f"{n}", Picture(png())) for n in range(40)]
        await asyncio.gather(*(self.quote(world, [url]) for url in urls))
        assert 1 < gallery.max_at_once <= 8

    async def test_kinds_and_types_of_other_models_are_their_own(
        self, world: World, gallery: Gallery
    ) -> None:
        mp4 = b"\0\0\0\x18ftypisom" + b"\0" * 100
        video = gallery.hang("film", Picture(mp4))
        picture = gallery.hang("picture", Picture(png()))
        (error,) = (await self.quote(world, [video])).json()["errors"]
        assert error["detail"] == "must be a picture, is MP4"
        body = {"prompt": "x", "audio_urls": [picture]}
        answer = await world.client.post("/v1/quotes/bytedance/seed-audio-1.0/text-to-audio", json=body)
        (error,) = answer.json()["errors"]
        assert error["detail"] == "must be audio, is PNG"


async def test_a_page_leaves_room_for_the_files_of_others(world: World, gallery: Gallery) -> None:
    gate = asyncio.Event()
    slow, other = await page(world), await page(world)
    urls = [gallery.hang(f"slow{number}", Picture(jpeg(), gate=gate)) for number in range(20)]
    quotes = [
        asyncio.create_task(slow.post(f"/v1/quotes/{DREAMINA}", world.body() | {"image_urls": [url]}))
        for url in urls
    ]
    await until(lambda: gallery.at_once == 4)
    answer = await other.submit(image_urls=[gallery.hang("good", Picture(jpeg()))])
    assert answer.status_code == 200, answer.text
    assert gallery.max_at_once == 5
    gate.set()
    assert {one.status_code for one in await asyncio.gather(*quotes)} == {200}
