"""Files at servers that do ranges well, badly or not at all: always the same facts, by few bytes."""

import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from app.egress.client import Egress, EgressError, Reach
from app.kit.clock import SystemClock
from app.kit.tasks import Tasks
from app.media.facts import Facts, UnreadableError
from app.media.formats import MAX_HEADER_BYTES
from app.media.probe import Prober, UnreachableError
from app.media.remote import FIRST_BYTES, RemoteFile
from tests.gallery import Gallery, Picture, open_gallery
from tests.pictures import jpeg, png, png_with_profile

pytestmark = pytest.mark.anyio

LIMIT = 4_700_000
LONG = 700_000


@pytest.fixture
async def gallery() -> AsyncIterator[Gallery]:
    async with open_gallery() as opened:
        yield opened


async def look(gallery: Gallery, picture: Picture, size_up_to: int | None = LIMIT) -> Facts:
    """The facts of a picture in the gallery."""
    reach = Reach(hosts=frozenset({gallery.host}))
    prober = Prober(
        Egress(), SystemClock(), Tasks(), {"live": reach}, deadline_s=20, believed_ms=0, per_tenant=4
    )
    return await prober.probe(
        gallery.hang("a", picture), tenant_id="t", mode="live", size_up_to=size_up_to, within_s=20
    )


def part(data: bytes, begin: int, end: int, *, said: str = "", status: int = 206, more: str = "") -> bytes:
    """An answer to a range, with what it says of itself."""
    body = data[begin:end]
    said = said or f"bytes {begin}-{begin + len(body) - 1}/{len(data)}"
    head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\nContent-Range: {said}\r\n{more}\r\n"
    return head.encode() + body


def refusal(status: int, more: str = "") -> bytes:
    return f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\n{more}\r\n".encode()


def no_range(data: bytes, begin: int, end: int) -> bytes:
    body = data[begin:end]
    return f"HTTP/1.1 206 x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def broken_off(data: bytes, begin: int, end: int) -> bytes:
    return part(data, begin, end)[:-1]


def small_parts(data: bytes, begin: int, _end: int) -> bytes:
    return part(data, begin, min(begin + 60_000, len(data)))


def refused(_data: bytes, _begin: int, _end: int, *, status: int) -> bytes:
    return refusal(status)


WAYS: dict[str, Callable[[bytes, int, int], bytes]] = {
    "416-with-star": lambda data, _b, _e: refusal(416, f"Content-Range: bytes */{len(data)}\r\n"),
    "416-bare": lambda _d, _b, _e: refusal(416),
    **{
        f"{status}": partial(refused, status=status)
        for status in (400, 403, 405, 406, 412, 500, 501, 502, 503)
    },
    "206-without-range": no_range,
    "206-odd-unit": lambda data, b, e: part(data, b, e, said="items 0-1/2"),
    "206-other-part": lambda data, b, e: part(data, b, e, said=f"bytes 7-99/{len(data)}"),
    "206-reversed": lambda data, b, e: part(data, b, e, said=f"bytes {b}--1/{len(data)}"),
    "206-multipart": lambda data, b, e: part(data, b, e, said="", more="X: y\r\n").replace(
        b"Content-Range", b"Content-Type: multipart/byteranges; boundary=x\r\nX-Range"
    ),
    "206-broken-off": broken_off,
    "206-small-parts": small_parts,
    "first-only": lambda data, b, e: part(data, b, e) if b == 0 else refusal(500),
    "first-then-whole": lambda data, b, e: (
        part(data, b, e)
        if b == 0
        else f"HTTP/1.1 200 x\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data
    ),
    "compressed-parts": lambda data, b, e: part(gzip.compress(data), b, e, more="Content-Encoding: gzip\r\n"),
    "whole-of-unknown-size": lambda data, b, e: (
        part(data, b, e, said=f"bytes {b}-{min(e, len(data)) - 1}/*") if b < len(data) else refusal(416)
    ),
}
FILES = {
    "small": jpeg(1000, 800),
    "long-header": jpeg(1000, 800, before=LONG),
    "content-credentials": jpeg(1000, 800, before=3_000_000, size_bytes=3_200_000),
    "long-profile": png_with_profile(LONG, 1000, 800),
    "long-profile-and-file": png_with_profile(LONG, 1000, 800) + bytes(900_000),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("way", WAYS)
async def test_however_a_server_does_ranges_the_facts_are_the_same(
    gallery: Gallery, way: str, name: str
) -> None:
    data = FILES[name]
    picture = Picture(data, to_ranges=lambda begin, end: WAYS[way](data, begin, end))
    media_type = "image/png" if "profile" in name else "image/jpeg"
    assert await look(gallery, picture) == Facts(media_type, len(data), 1000, 800)


@pytest.mark.parametrize(
    ("last", "is_whole"), [("4095/4096", True), ("4095/5000", False), ("99/4096", False), ("4095/*", False)]
)
async def test_a_part_for_which_nobody_asked_counts_where_it_is_the_whole_file(
    gallery: Gallery, last: str, is_whole: bool
) -> None:
    data = jpeg(1000, 800, size_bytes=4096)
    always = Picture(
        data,
        status=206,
        headers=(f"Content-Range: bytes 0-{last}",),
        to_ranges=lambda _begin, _end: refusal(416),
    )
    if is_whole:
        assert await look(gallery, always) == Facts("image/jpeg", 4096, 1000, 800)
    else:
        with pytest.raises(UnreachableError, match="answered 206"):
            await look(gallery, always)


@pytest.mark.parametrize("status", [401, 404, 410, 429])
async def test_a_status_that_has_nothing_to_do_with_ranges_is_asked_for_once(
    gallery: Gallery, status: int
) -> None:
    with pytest.raises(UnreachableError, match=f"answered {status}"):
        await look(gallery, Picture(png(), status=status))
    assert len(gallery.heads) == 1


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("form", ["jpeg", "png"])
async def test_a_header_as_long_as_the_limit_is_read_and_a_longer_one_is_named(
    gallery: Gallery, form: str, ranges: bool, length: bool
) -> None:
    def made(before: int) -> Picture:
        data = jpeg(before=before) if form == "jpeg" else png_with_profile(before // 2)
        return Picture(data, ranges=ranges, length=length)

    assert (await look(gallery, made(MAX_HEADER_BYTES - 1_000), None)).width == 640
    gallery.sent_bytes = 0
    with pytest.raises(
        UnreadableError, match="a header that is longer than the 8,388,608 bytes that we read"
    ):
        await look(gallery, made(MAX_HEADER_BYTES + 1_000), None)
    assert gallery.sent_bytes < MAX_HEADER_BYTES * 1.5


async def test_what_a_length_skips_is_not_fetched(gallery: Gallery) -> None:
    await look(gallery, Picture(png_with_profile(3_000_000) + bytes(1_000_000)))
    assert len(gallery.heads) == 3
    assert gallery.sent_bytes < FIRST_BYTES + 2 * 600_000 + 2_200_000


def raw_deflate(data: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-15)
    return squeezer.compress(data) + squeezer.flush()


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("length", [True, False])
async def test_a_compressed_body_counts_by_what_is_in_it(gallery: Gallery, coding: str, length: bool) -> None:
    data = jpeg(1000, 800, before=LONG, size_bytes=900_000)
    sent = CODINGS[coding](data)
    picture = Picture(sent, ranges=False, length=length, headers=(f"Content-Encoding: {coding}",))
    assert await look(gallery, picture) == Facts("image/jpeg", 900_000, 1000, 800)


async def test_a_compressed_body_that_breaks_off_is_one_to_try_again(gallery: Gallery) -> None:
    for cut in (0, 1, 5, 30):
        sent = gzip.compress(png(size_bytes=500))[: cut or -1]
        with pytest.raises(UnreachableError, match="broke off its answer") as caught:
            await look(gallery, Picture(sent, ranges=False, headers=("Content-Encoding: gzip",)))
        assert caught.value.code == "media_unavailable"


async def test_a_bomb_is_unpacked_no_further_than_a_rule_needs(gallery: Gallery) -> None:
    bomb = gzip.compress(png(size_bytes=400_000_000 // 8), compresslevel=1)
    picture = Picture(bomb, ranges=False, headers=("Content-Encoding: gzip",))
    facts = await look(gallery, picture)
    assert facts.size_bytes is not None
    assert LIMIT < facts.size_bytes < LIMIT + 200_000


@pytest.mark.parametrize(
    ("coding", "words"),
    [
        ("br", "is sent with Content-Encoding 'br', which was not asked for"),
        ("zstd", "'zstd'"),
        ("gzip, br", "'gzip, br'"),
        ("gzip", "a broken Content-Encoding 'gzip'"),
        ("deflate", "a broken Content-Encoding 'deflate'"),
    ],
)
async def test_a_coding_that_cannot_be_read_is_named(gallery: Gallery, coding: str, words: str) -> None:
    picture = Picture(png(), ranges=False, headers=(f"Content-Encoding: {coding}",))
    with pytest.raises(UnreadableError, match=words):
        await look(gallery, picture)


async def test_a_file_that_changes_while_it_is_read_is_read_again_as_a_whole(gallery: Gallery) -> None:
    old, new = jpeg(8, 8, before=LONG), jpeg(9, 9, before=LONG, size_bytes=LONG * 2)

    def answer(begin: int, end: int) -> bytes:
        return part(old if begin == 0 else new, begin, end)

    facts = await look(gallery, Picture(new, to_ranges=answer))
    assert facts == Facts("image/jpeg", LONG * 2, 9, 9)
    assert [("Range:" in head) for head in gallery.heads] == [True, True, False]
    facts = await look(gallery, Picture(new, to_ranges=lambda b, e: answer(b, e) if b == 0 else refusal(500)))
    assert facts == Facts("image/jpeg", LONG * 2, 9, 9)


async def test_servers_that_do_not_agree_on_a_files_tag_are_no_obstacle(gallery: Gallery) -> None:
    data = jpeg(before=LONG)
    picture = Picture(data, to_ranges=lambda b, e: part(data, b, e, more=f'ETag: "{b}"\r\n'))
    assert await look(gallery, picture) == Facts("image/jpeg", len(data), 640, 480)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("total", [True, False])
async def test_a_file_that_was_cut_off_says_so_wherever_it_was_cut(
    gallery: Gallery, ranges: bool, total: bool
) -> None:
    whole = jpeg(before=200_000)
    for end in (0, 1, 3, 30, 65_535, 65_536, 65_537, 150_000, len(whole) - 4):
        with pytest.raises(UnreadableError, match=r"is empty|ends before its image data|is not a media file"):
            await look(gallery, Picture(whole[:end], ranges=ranges, total=total))


async def test_reading_backwards_is_not_needed_and_pieces_are_those_of_the_file(gallery: Gallery) -> None:
    data = bytes(range(256)) * 10_000
    url = gallery.hang("a", Picture(data))
    async with RemoteFile(Egress(), url, Reach(hosts=frozenset({gallery.host}))) as file:
        await file.open({})
        for at, length in (
            (0, 9),
            (70_000, 9),
            (70_005, 100_000),
            (1_000_000, 5),
            (2_559_999, 9),
            (3_000_000, 1),
        ):
            piece = await file.read(at, length)
            assert piece == data[at : at + len(piece)]
            assert len(piece) >= min(length, max(0, len(data) - at))


async def test_what_a_hidden_server_sends_instead_of_a_file_is_not_told(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RemoteFile, "is_candid", False)
    for data in (b"<html>", b"{}", b"", jpeg()[:9]):
        with pytest.raises(UnreadableError, match=r"^is not a media file that can be read$"):
            await look(gallery, Picture(data))


async def test_an_error_of_a_hidden_server_tells_nothing() -> None:
    told: dict[bool, Any] = {}
    for candid in (True, False):
        for reason in ("http_404", "http_500", "certificate", "too_many_redirects", "read_error", "http_403"):
            error = UnreachableError.of(EgressError(reason, candid=candid))
            told.setdefault(candid, set()).add((error.code, str(error)))
    assert len(told[True]) == 6
    assert len(told[False]) == 1
