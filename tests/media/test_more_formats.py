"""Pictures of other kinds than JPEG, PNG, WebP and GIF: their size as those see it who open them."""

import struct

import pytest

from app.media.facts import UnreadableError, facts_of
from tests.media.test_formats import box, picture, saved

TURNED = box(b"irot", b"\1")
HALF_A_TURN = box(b"irot", b"\2")


def _heif(brand: bytes, *properties: bytes, backwards: bool = False) -> bytes:
    """A picture of 64 x 100 pixels with these properties, which it names behind its size, or before it."""
    size = box(b"ispe", struct.pack(">4x2I", 64, 100))
    numbers = bytes(range(1, len(properties) + 2))
    table = struct.pack(">4xIHB", 1, 1, len(numbers)) + (numbers[::-1] if backwards else numbers)
    described = box(b"ipco", size + b"".join(properties)) + box(b"ipma", table)
    primary = box(b"pitm", struct.pack(">4xH", 1))
    return box(b"ftyp", brand + bytes(4) + brand) + box(b"meta", bytes(4) + primary + box(b"iprp", described))


def _clap(width: tuple[int, int], height: tuple[int, int]) -> bytes:
    return box(b"clap", struct.pack(">8I", *width, *height, 0, 1, 0, 1))


def _size(data: bytes) -> tuple[int | None, int | None]:
    facts = facts_of(data)
    return facts.width, facts.height


@pytest.mark.parametrize(
    ("properties", "size"),
    [
        ((), (64, 100)),
        ((TURNED,), (100, 64)),
        ((HALF_A_TURN,), (64, 100)),
        ((_clap((29, 1), (100, 1)),), (29, 100)),
        ((_clap((59, 2), (199, 2)), TURNED), (100, 30)),
        ((TURNED, TURNED), (64, 100)),
        ((_clap((29, 0), (100, 1)),), (64, 100)),  # what makes no sense is passed over
        ((_clap((65, 1), (100, 1)),), (64, 100)),
        ((_clap((0, 1), (100, 1)),), (64, 100)),
        ((box(b"irot", b""), box(b"clap", b"\0\0")), (64, 100)),
    ],
)
def test_a_heic_is_as_large_as_it_is_shown_and_an_avif_as_it_is_stored(
    properties: tuple[bytes, ...], size: tuple[int, int]
) -> None:
    assert _size(_heif(b"heic", *properties)) == size
    assert _size(_heif(b"avif", *properties)) == (64, 100)


def test_the_turn_of_a_heic_may_be_told_before_its_size_as_cameras_do() -> None:
    assert _size(_heif(b"heic", TURNED, backwards=True)) == (100, 64)


@pytest.mark.parametrize(("order", "mark"), [("<", b"II"), (">", b"MM")])
@pytest.mark.parametrize("kind", [3, 4, 16])
def test_a_tiff_for_large_files_tells_its_size_too(order: str, mark: bytes, kind: int) -> None:
    value = {3: "H6x", 4: "I4x", 16: "Q"}[kind]
    entries = b"".join(
        struct.pack(f"{order}HHQ{value}", tag, kind, 1, side) for tag, side in ((256, 640), (257, 480))
    )
    start = struct.pack(f"{order}2sHHHQ", mark, 43, 8, 0, 16)
    assert _size(start + struct.pack(f"{order}Q", 2) + entries + bytes(8)) == (640, 480)
    assert _size(start + struct.pack(f"{order}Q", 2**63) + entries) == (640, 480)
    assert _size(start[:12]) == (None, None)


def test_a_bitmap_that_no_decoder_shows_is_no_picture() -> None:
    bmp = saved(picture("RGB", (23, 17)), "BMP")
    assert _size(bmp) == (23, 17)
    assert _size(bmp[:-1]) == (23, 17)  # nobody misses the padding of the last row
    for broken, why in (
        (bmp[:28] + struct.pack("<H", 30_000) + bmp[30:], "30000 bits a pixel"),
        (bmp[:30] + struct.pack("<I", 5) + bmp[34:], "coding 5"),
        (bmp[:-4], "ends before its image data"),
        (bmp[:18] + struct.pack("<ii", 3_000_000, 2_000_000) + bmp[26:], "ends before its image data"),
    ):
        with pytest.raises(UnreadableError, match=why):
            facts_of(broken)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"<Error><Code>AccessDenied</Code></Error>", "is XML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS"),
        (b"\x1f\x8b\x08" + bytes(20), "compressed with gzip"),
        (b"/9j/4AAQSkZJRgABAQAAAQABAAD", "in Base64"),
        (b"data:image/png;base64,iVBORw0KGgo=", "in Base64"),
        (b"\xff\x0a\xfa\x2b", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"8BPS\0\1", "Photoshop"),
        (b"\0\0\1\0\1\0", "an icon"),
    ],
)
def test_what_is_no_picture_to_us_is_named(data: bytes, name: str) -> None:
    with pytest.raises(UnreadableError, match=name):
        facts_of(data)
