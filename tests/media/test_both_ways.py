"""A file is judged alike by URL and by value: pictures of every format, whole and cut, and what is none."""

import io
import random
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import pytest
from PIL import Image

from app.egress.client import Egress, Reach
from app.kit.clock import SystemClock
from app.kit.tasks import Tasks
from app.media.data_uri import unpack
from app.media.facts import Facts, UnreadableError
from app.media.formats import MAX_HEADER_BYTES
from app.media.probe import Prober
from tests.gallery import Gallery, Picture, open_gallery
from tests.pictures import data_uri, jpeg, png_with_profile

pytestmark = pytest.mark.anyio

SIZE = (640, 400)
LONG = random.Random(3).randbytes(600_000)  # noqa: S311 - a colour profile that does not compress


def saved(kind: str, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize(SIZE).convert(mode).save(out, kind, **options)
    return out.getvalue()


@cache
def pictures() -> dict[str, bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "jpeg": saved("JPEG", exif=exif),
        "jpeg-progressive-profile": saved("JPEG", progressive=True, icc_profile=LONG),
        "jpeg-grey": saved("JPEG", "L"),
        "jpeg-cmyk": saved("JPEG", "CMYK"),
        "jpeg-content-credentials": jpeg(*SIZE, before=2_000_000),
        "png": saved("PNG", "RGBA"),
        "png-palette": saved("PNG", "P"),
        "png-profile": saved("PNG", icc_profile=LONG),
        "png-profile-and-text": png_with_profile(1_000_000, *SIZE),
        "webp": saved("WEBP"),
        "webp-profile": saved("WEBP", icc_profile=LONG, exif=exif),
        "gif": saved("GIF", "P"),
        "avif": saved("AVIF"),
        "bmp": saved("BMP"),
        "tiff": saved("TIFF"),
    }


NO_PICTURES = {
    "nothing": b"",
    "page": b"<!doctype html><title>Sign in</title>" + bytes(70_000),
    "json": b'{"error": "expired"}',
    "noise": LONG[:100_000],
    "jpeg-of-a-longer-header": jpeg(before=MAX_HEADER_BYTES),
    "png-of-a-longer-header": png_with_profile(MAX_HEADER_BYTES),
}


@pytest.fixture
async def gallery() -> AsyncIterator[Gallery]:
    async with open_gallery() as opened:
        yield opened


def by_value(data: bytes) -> Facts | str:
    if not data:
        return "is empty"  # as a data: URI it is refused for its text
    seen = unpack(data_uri(data)).seen
    return seen if isinstance(seen, Facts) else str(seen)


async def by_url(gallery: Gallery, data: bytes, **how: Any) -> Facts | str:
    reaches = {"live": Reach(hosts=frozenset({gallery.host}))}
    prober = Prober(Egress(), SystemClock(), Tasks(), reaches, deadline_s=30, believed_ms=0, per_tenant=4)
    url = gallery.hang("a", Picture(data, **how))
    try:
        return await prober.probe(url, tenant_id="t", mode="live", size_up_to=len(data) + 1, within_s=30)
    except UnreadableError as error:
        return str(error)


WAYS: tuple[dict[str, bool], ...] = (
    {},
    {"ranges": False},
    {"total": False},
    {"ranges": False, "length": False},
)


@pytest.mark.parametrize("name", list(pictures()))
async def test_a_picture_is_the_same_by_url_and_by_value(gallery: Gallery, name: str) -> None:
    data = pictures()[name]
    for how in WAYS:
        assert await by_url(gallery, data, **how) == by_value(data)
    facts = by_value(data)
    assert isinstance(facts, Facts)
    assert (facts.type, facts.size_bytes) == (f"image/{name.partition('-')[0]}", len(data))
    assert (facts.width, facts.height) == SIZE


@pytest.mark.parametrize("name", list(pictures()))
async def test_a_picture_that_was_cut_off_is_the_same_by_url_and_by_value(
    gallery: Gallery, name: str
) -> None:
    data, chance = pictures()[name], random.Random(name)  # noqa: S311 - draws cases, guards nothing
    for end in (9, 20, 100, *(chance.randrange(len(data)) for _ in range(6))):
        assert await by_url(gallery, data[:end]) == by_value(data[:end])
        # Of a WebP or BMP whose size its server does not state, nobody can say that it is too short.
        if not name.startswith(("webp", "bmp")):
            assert await by_url(gallery, data[:end], ranges=False, length=False) == by_value(data[:end])


@pytest.mark.parametrize("name", NO_PICTURES)
async def test_what_is_no_picture_is_told_in_the_same_words(gallery: Gallery, name: str) -> None:
    data = NO_PICTURES[name]
    told = by_value(data)
    assert isinstance(told, str)
    for how in WAYS:
        assert await by_url(gallery, data, **how) == told
