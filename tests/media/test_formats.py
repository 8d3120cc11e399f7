"""Pillow is the oracle: wherever it loads a JPEG, PNG, WebP or GIF, the parser tells the same of it."""

import io
import random
import struct
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, PngImagePlugin

from app.media.formats import MAX_HEADER_BYTES, FormatError, Seen, reading, see
from tests.profiles import examples

HEAD = MAX_HEADER_BYTES
PARSED = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
SOI, PNG_MAGIC = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"


def oracle(data: bytes, formats: tuple[str, ...] = FORMATS) -> Seen | None:
    """What Pillow tells; None where it does not open the file as one of the four formats."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=formats) as picture:
                if picture.format not in PARSED:
                    return None
                return Seen(PARSED[picture.format], *picture.size)
        except Exception:  # noqa: BLE001  whatever it raises on broken files, it does not open them
            return None


def loads(data: bytes) -> bool:
    """Whether Pillow also decodes the picture that it opens."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                picture.load()
        except Exception:  # noqa: BLE001  as above
            return False
    return True


def told(data: bytes) -> Seen | None:
    """What the parser tells; None where it refuses. Nothing but its own error may come out."""
    try:
        return see(data)
    except FormatError as error:
        message = str(error)
    assert message[:3] in {"is ", "has"}
    return None


def check(data: bytes) -> bool:
    """Assert that the parser agrees with Pillow, or refuses what it cannot load; whether Pillow opened it."""
    expected, got = oracle(data), told(data)
    agrees = expected is None or got == expected or (got is None and not loads(data))
    assert agrees, f"{expected} is seen as {got}: {data[:2_000].hex()}"
    return expected is not None


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  what is broken, not secrets


def picture(mode: str, size: tuple[int, int] = (23, 17), seed: int = 1) -> Image.Image:
    chance = dice(seed)
    if mode == "I;16":
        return Image.frombytes(mode, size, chance.randbytes(size[0] * size[1] * 2))
    if mode in {"1", "P"}:
        return Image.frombytes("L", size, chance.randbytes(size[0] * size[1])).convert(mode)
    channels = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, size, chance.randbytes(size[0] * size[1] * channels))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def header(width: int, height: int, rest: bytes = b"\x08\x02\0\0\0") -> bytes:
    return chunk(b"IHDR", struct.pack(">II", width, height) + rest)


def segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def frame(width: int, height: int, *, marker: int = 0xC0, precision: int = 8, layers: int = 3) -> bytes:
    layer = b"\1\x11\0" * layers
    return segment(marker, struct.pack(">BHHB", precision, height, width, layers) + layer)


def scan() -> bytes:
    return segment(0xDA, b"\1\1\0\0\x3f\0") + b"\0" * 80


def pixels() -> bytes:
    return chunk(b"IDAT", zlib.compress(bytes(9)))


def webp(name: bytes, data: bytes) -> bytes:
    body = b"WEBP" + name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jumbf(data: bytes, size: int) -> bytes:
    """A JPEG with so many bytes of Content Credentials, as cameras and image editors write them."""
    parts = [segment(0xEB, b"JP\0\1" + bytes(min(65_000, size - at))) for at in range(0, size, 65_000)]
    return data[:20] + b"".join(parts) + data[20:]


def jpegs() -> Iterator[tuple[str, bytes]]:
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x0128] = 6, 300.0, 3
    rgb = picture("RGB")
    for mode in ("L", "RGB", "CMYK", "YCbCr", "1"):
        yield f"jpeg-{mode}", saved(picture(mode), "JPEG")
    yield "jpeg-progressive", saved(rgb, "JPEG", progressive=True)
    yield "jpeg-restarts", saved(rgb, "JPEG", restart_marker_rows=1)
    yield "jpeg-exif", saved(rgb, "JPEG", exif=exif, dpi=(72, 72))
    yield "jpeg-icc", saved(rgb, "JPEG", icc_profile=bytes(150))
    yield "jpeg-icc-in-parts", saved(rgb, "JPEG", icc_profile=bytes(70_000))
    yield "jpeg-comment", saved(rgb, "JPEG", comment=b"\xff\xc0" * 9)
    yield "jpeg-big-comment", saved(rgb, "JPEG", comment=b"\xff\xda" * 30_000)
    yield "jpeg-content-credentials", jumbf(saved(rgb, "JPEG"), 700_000)
    yield "jpeg-xmp", saved(rgb, "JPEG", xmp=b"<x/>" * 9)
    yield "mpo", saved(rgb, "MPO", save_all=True, append_images=[picture("RGB", (31, 8))])
    yield "jpeg-arithmetic-frames", SOI + frame(5, 6, marker=0xC9) + scan()
    yield "jpeg-two-frames", SOI + frame(5, 6) + frame(7, 8, marker=0xC2) + scan()
    yield "jpeg-padded", SOI + b"\xff" * 9 + frame(5, 6)[1:] + b"junk\xff\0\xff\xd0\xff\xff" + scan()
    yield "jpeg-empty-segments", SOI + b"\xff\xe1\0\0\xff\xe2\0\1\xff\xe3\0\2" + frame(5, 6) + scan()


def pngs() -> Iterator[tuple[str, bytes]]:
    for mode in ("1", "L", "LA", "I;16", "P", "RGB", "RGBA"):
        yield f"png-{mode}", saved(picture(mode), "PNG")
    yield "png-one-bit-palette", saved(picture("L").quantize(2), "PNG", bits=1)
    text = PngImagePlugin.PngInfo()
    text.add_text("IHDR", "IDAT" * 9)
    text.add_itxt("bbox", "\N{GREEK SMALL LETTER ALPHA}", zip=True)
    yield "png-text", saved(picture("RGB"), "PNG", pnginfo=text, dpi=(72, 72))
    yield "png-icc", saved(picture("RGB"), "PNG", icc_profile=bytes(150))
    yield "png-big-profile", big_profile()
    yield "png-transparent", saved(picture("P"), "PNG", transparency=3)
    frames = [picture("RGB", (9, 9), seed) for seed in range(3)]
    yield "apng", saved(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=40)
    yield "apng-default", saved(frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=True)
    data = chunk(b"IDAT", zlib.compress(bytes(400)))
    end = chunk(b"IEND", b"")
    yield "png-interlaced", PNG_MAGIC + header(9, 8, b"\x08\x02\0\0\1") + data + end
    yield "png-16-bit", PNG_MAGIC + header(9, 8, b"\x10\x06\0\0\0") + data + end
    yield "png-two-headers", PNG_MAGIC + header(9, 8) + header(7, 6) + data + end
    yield "png-data-first", PNG_MAGIC + data + header(9, 8) + data + end
    yield "png-odd-kind-first", PNG_MAGIC + header(9, 8, b"\3\2\0\0\0") + data + header(7, 6) + data + end
    yield "png-odd-kind-last", PNG_MAGIC + header(9, 8) + header(7, 6, b"\3\2\0\0\0") + data + end
    yield "png-odd-names", PNG_MAGIC + header(9, 8) + chunk(b"_0a9", b"x") + data + end


def big_profile() -> bytes:
    """A PNG whose colour profile and XMP are longer than a megabyte."""
    data = saved(picture("RGB"), "PNG")
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(dice(1).randbytes(700_000)))
    return data[:33] + profile + chunk(b"eXIf", bytes(1_200_000)) + data[33:]


def gifs() -> Iterator[tuple[str, bytes]]:
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield f"gif-{mode}", saved(picture(mode), "GIF")
    frames = [picture("P", (9, 9), seed) for seed in range(3)]
    yield "gif-animated", saved(frames[0], "GIF", save_all=True, append_images=frames[1:], loop=0, duration=9)
    yield "gif-comment", saved(picture("L"), "GIF", comment=b",;!" * 200)
    plain = saved(picture("L", (4, 4)), "GIF", optimize=False)
    at = plain.index(b",\0\0\0\0\4\0\4\0")
    for name, between in (
        ("junk", b"junk\0\0\xff"),
        ("empty-extension", b"!\xf9\0\1x\0"),
        ("empty-comment", b"!\xfe\0"),
        ("loops", b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0"),
        ("loops-cut", b"!\xff\x0bNETSCAPE2.0\0\1x\0"),
        ("short-loops", b"!\xff\x03NET\x08SCAPE2.0\0"),
        ("plain-text", b"!\1\x0c" + b"x" * 12 + b"\1,\0"),
    ):
        yield f"gif-{name}", plain[:at] + between + plain[at:]
    yield "gif-enlarged", plain[:at] + b",\7\0\3\0" + plain[at + 5 :]
    yield "gif-no-screen", plain[:6] + bytes(4) + plain[10:]
    yield "gif-local-palette", plain[: at + 9] + b"\x81" + bytes(range(12)) + plain[at + 10 :]


def webps() -> Iterator[tuple[str, bytes]]:
    for mode in ("RGB", "RGBA"):
        yield f"webp-{mode}", saved(picture(mode), "WEBP")
        yield f"webp-lossless-{mode}", saved(picture(mode), "WEBP", lossless=True)
    frames = [picture("RGBA", (9, 9), seed) for seed in range(3)]
    yield "webp-animated", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=40)
    yield (
        "webp-icc",
        saved(picture("RGB"), "WEBP", icc_profile=bytes(150), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"),
    )
    yield "webp-big-icc", saved(picture("RGB"), "WEBP", icc_profile=dice(2).randbytes(900_000))
    yield "webp-pixel", saved(Image.new("RGB", (1, 1)), "WEBP", lossless=True)
    yield "webp-wide", saved(Image.new("RGB", (16_383, 1)), "WEBP", lossless=True)


@cache
def files() -> dict[str, bytes]:
    return dict([*jpegs(), *pngs(), *gifs(), *webps()])


NAMES = tuple(files())
SMALL = tuple(data for data in files().values() if len(data) < 6_000)
# What a broken file may hold by accident, and a parser may take for what it looks for.
BITS = (
    *(
        b"\xff\xd8",
        b"\xff\xd9",
        b"\xff\xda",
        b"\xff\xff",
        b"\xff\0",
        b"\xff\x01",
        b"\xff\xc0\0\x11",
        b"\xff\xe0\0\x02",
    ),
    *(
        frame(3, 4),
        frame(0, 4),
        frame(3, 4, precision=12),
        frame(3, 4, layers=1),
        segment(0xFE, b"x"),
        scan(),
    ),
    *(
        header(3, 4),
        header(0, 4),
        chunk(b"IDAT", b""),
        chunk(b"IEND", b""),
        chunk(b"tEXt", b"a\0b"),
        PNG_MAGIC,
    ),
    *(
        b"!",
        b",",
        b";",
        b"!\xf9\4\0\0\0\0\0",
        b"!\xfe\0",
        b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0",
        b"GIF89a\3\0\4\0\0\0\0",
    ),
    *(
        b",\0\0\0\0\x20\0\x20\0\0\2",
        b"VP8 ",
        b"VP8L",
        b"VP8X",
        b"ALPH",
        b"RIFF",
        b"WEBP",
        b"\x9d\x01\x2a",
        b"\x2f",
    ),
)


def mended(data: bytes) -> bytes:
    """The file with right checksums, if it is a PNG: else every change ends at the first of them."""
    if not data.startswith(PNG_MAGIC):
        return data
    out, at = [PNG_MAGIC], 8
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            break
        out.append(chunk(name, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return b"".join(out) + data[at:]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The file with some changes; most of them in the head, where the answer stands."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        # Never the magic alone: what does not begin as a picture is none to either.
        reach = chance.choice((40, 80, 200, 700, len(data) + 1))
        at = min(chance.randrange(2, max(3, reach)), len(data))
        end = at + chance.choice((1, 1, 2, 3, 4, 9, 30, 300))
        at_byte = data[at : at + 1] or b"\0"
        match chance.randrange(9):
            case 0:
                middle = bytes((at_byte[0] ^ 1 << chance.randrange(8),))
                end = at + 1
            case 1:
                middle = bytes((chance.choice((0, 1, 2, 3, 8, 0x7F, 0x80, 0xFF, chance.randrange(256))),))
                end = at + 1
            case 2:
                middle = b""
            case 3:
                middle, end = chance.randbytes(end - at), at
            case 4:
                middle, end = chance.choice(BITS), at
            case 5:
                middle = chance.choice(BITS)
                end = at + len(middle)
            case 6:
                other = chance.choice(SMALL)
                cut = chance.randrange(len(other))
                middle = other[cut : cut + chance.choice((20, 200, 9_000))]
                end = chance.choice((at, len(data)))
            case 7:
                middle = data[at:end] * 2
            case _:
                middle, end = b"", chance.choice((at + 1, len(data)))
        data = data[:at] + middle + data[end:]
    return mended(data) if chance.random() < 0.7 else data


EXTENSIONS = (
    *(b"", b"\4\0\0\0\0", b"\1,", b"\5;;;;;", b"\0", b"\x0bNETSCAPE2.0", b"\x0bNETSCAPE2.0\3\1\0\0"),
    *(b"\x0cNETSCAPE2.0x", b"\x0aNETSCAPE2.0", b"\x0bNETSCAPE9.9\0\x0c"),
)


def composed(chance: random.Random) -> bytes:
    """A file of parts that are right each by itself, in an order that no writer has."""
    make = chance.choice((composed_jpeg, composed_png, composed_gif, composed_webp))
    return make(chance, chance.choice((b"", b"", b"x", chance.randbytes(3))))


def length(chance: random.Random) -> int:
    return chance.choice((0, 1, 2, 5, 9, 40, 300, 20_000))


def composed_jpeg(chance: random.Random, junk: bytes) -> bytes:
    parts = [b""]
    for _ in range(chance.randrange(1, 12)):
        marker = chance.choice((*range(0xC0, 0x100), 0xC4, 0xFE, 0xE1))
        parts.append(
            chance.choice(
                (
                    frame(length(chance), length(chance), marker=marker, layers=chance.choice((1, 3, 4))),
                    segment(marker, chance.randbytes(chance.randrange(9))),
                    bytes((0xFF, marker, 0, chance.randrange(3))),
                )
            )
        )
    return SOI + (junk + b"\xff" * chance.choice((0, 0, 1))).join([*parts, scan()])


def composed_png(chance: random.Random, junk: bytes) -> bytes:
    parts = [PNG_MAGIC, *([header(3, 4)] if chance.random() < 0.5 else [])]
    number = 0
    for _ in range(chance.randrange(1, 12)):
        control = struct.pack(">5I3H", number, 1, 1, 0, 0, 1, 1, 0)
        pixels = chance.choice((b"\x08\2\0\0\0", b"\x08\3\0\0\1", b"\7\2\0\0\0", b"\x10\3\0\0\0"))
        name, data = chance.choice(
            (
                (b"IHDR", struct.pack(">II", length(chance), length(chance)) + pixels),
                (b"IHDR", struct.pack(">II", 9, 8) + pixels + junk),
                (b"IDAT", junk),
                (b"tEXt", b"bbox\0x"),
                (b"acTL", b"\0\0\0\2" * 2),
                (b"fcTL", control),
                (b"fdAT", control[:4] + junk),
                (b"PLTE", bytes(6)),
                (b"abCD", junk),
            )
        )
        number += name in {b"fcTL", b"fdAT"}
        parts.append(chunk(name, data))
    return b"".join([*parts, chunk(chance.choice((b"IDAT", b"IEND")), b"")])


def composed_gif(chance: random.Random, junk: bytes) -> bytes:
    flags = chance.choice((0, 0, 0x80, 0x91, 0xF7))
    palette = chance.randbytes(6 << (flags & 7)) if flags & 0x80 else b""
    blocks = [b""]
    for _ in range(chance.randrange(12)):
        label = bytes((chance.choice((1, 0xF9, 0xFE, 0xFF)),))
        blocks.append(b"!" + label + chance.choice(EXTENSIONS) + chance.choice((b"\0", b"\0\0", b"\1x\0")))
    image = b"," + struct.pack("<4HB", *(length(chance) for _ in range(4)), 0) + b"\2" + bytes(40)
    start = b"GIF89a" + struct.pack("<HHBBB", length(chance), length(chance), flags, 0, 0)
    return start + palette + junk.join([*blocks, image])


def composed_webp(chance: random.Random, junk: bytes) -> bytes:
    data = bytearray(chance.choice([data for data in SMALL if data[:4] == b"RIFF"]))
    for _ in range(chance.randrange(1, 3)):
        at = chance.choice((*range(12, 34), len(data) - 1))
        data[at] = chance.choice((data[at] ^ 1 << chance.randrange(8), chance.randrange(256)))
    return bytes(data) + junk


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_seen_as_pillow_sees_it(name: str) -> None:
    assert check(files()[name])


@pytest.mark.parametrize("name", NAMES)
def test_the_size_is_that_of_the_file_whatever_formats_pillow_tries(name: str) -> None:
    data = files()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data)) as opened:
            assert told(data) == Seen(PARSED[str(opened.format)], *opened.size)


def test_the_oracle_is_pillow_as_it_comes() -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_every_truncation_is_told_as_pillow_tells_it_or_refused() -> None:
    opened = 0
    for data in SMALL:
        for end in range(min(len(data), 1_000)):
            opened += check(data[:end])
    assert opened > 1_000


@pytest.mark.parametrize("part", range(8))
def test_a_broken_file_is_seen_as_pillow_sees_it_or_refused(part: int) -> None:
    chance = dice(part)
    opened = sum(check(mutated(chance.choice(SMALL), chance)) for _ in range(6_000))
    assert opened > 1_500


@pytest.mark.parametrize("part", range(4))
def test_a_file_in_odd_order_is_seen_as_pillow_sees_it_or_refused(part: int) -> None:
    chance = dice(part)
    opened = sum(check(composed(chance)) for _ in range(5_000))
    assert opened > 500


def test_files_after_and_before_others_are_what_they_begin_as() -> None:
    for one in SMALL:
        for other in SMALL:
            assert check(one + other)
            assert told(one + other) == told(one)
            check(one[:3] + other)
            check(one[:20] + other)
    assert told(b" " + SMALL[0]) is None


@pytest.mark.parametrize(
    "magic", [b"", b"\xff\xd8\xff", PNG_MAGIC, b"GIF89a", b"GIF87a", b"RIFF\x99\0\0\0WEBP"]
)
def test_random_bytes_raise_nothing_unforeseen(magic: bytes) -> None:
    chance = dice(7)
    for _ in range(500):
        check(magic + chance.randbytes(chance.randrange(300)))


@settings(max_examples=examples(300), derandomize=True, database=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_told_or_refused(data: bytes) -> None:
    with suppress(FormatError):
        assert see(data).type


def piecewise(data: bytes, *, sized: bool, more: int) -> tuple[Seen | None, int]:
    """What a reader tells that is sent what it asks for and so many bytes more; and how many it was sent."""
    reader, sent, before = reading(len(data) if sized else None), 0, 0
    try:
        at, length = next(reader)
        while True:
            assert at >= before, "what was passed is not asked for again"
            before = at
            piece = data[at : at + length + more]
            sent += len(piece)
            at, length = reader.send(piece)
    except StopIteration as done:
        return done.value, sent
    except FormatError:
        return None, sent


def test_a_file_that_is_sent_in_pieces_is_seen_as_the_whole() -> None:
    chance = dice(3)
    for data in [*files().values(), *(data + bytes(2_000) for data in MAGICS)]:
        for broken in (
            data,
            data[: chance.randrange(len(data))],
            *(mutated(data, chance) for _ in range(20)),
        ):
            pieces = {piecewise(broken, sized=True, more=more)[0] for more in (0, 1, 7, 300, 70_000)}
            assert pieces == {told(broken)}
            unsized = piecewise(broken, sized=False, more=chance.randrange(9))[0]
            assert unsized == told(broken) or b"WEBP" in broken[:20], broken[:2_000].hex()


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_before_the_image_data_is_not_asked_for(name: str) -> None:
    data = files()[name]
    seen, sent = piecewise(data, sized=True, more=0)
    assert seen == oracle(data)
    assert sent < 3_000


def _doc(name: bytes) -> bytes:
    return b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81\1\x42\xf7\x81\1\x42\xf2\x81\4\x42\xf3\x81\x08\x42\x82" + name


def _ftyp(*brands: bytes) -> bytes:
    body = b"ftyp" + brands[0] + b"\0\0\2\0" + b"".join(brands[1:])
    return struct.pack(">I", len(body) + 4) + body


MAGICS = {
    b"MM\0*\0\0\0\x08": "image/tiff",
    b"II+\0\x08\0\0\0": "image/tiff",
    _ftyp(b"avif", b"mif1", b"miaf"): "image/avif",
    _ftyp(b"mif1", b"avif", b"miaf"): "image/avif",
    _ftyp(b"mif1", *[b"miaf"] * 60, b"avif"): "image/avif",
    _ftyp(b"heic", b"mif1"): "image/heic",
    _ftyp(b"mif1", b"heic"): "image/heic",
    _ftyp(b"isom", b"iso2", b"avc1", b"mp41"): "video/mp4",
    _ftyp(b"mp42", b"M4A "): "video/mp4",
    _ftyp(b"qt  ", b"qt  "): "video/quicktime",
    b"\0\0\0\x08wide\0\0\1\0mdat": "video/quicktime",
    b"\0\0\1\0moov": "video/quicktime",
    _doc(b"\x84webm\x42\x87\x81\2"): "video/webm",
    _doc(b"\x88matroska\x42\x87\x81\2"): "video/x-matroska",
    _doc(b"\x01\0\0\0\0\0\0\x04webm"): "video/webm",
    b"\x1a\x45\xdf\xa3\x42\x10\xec\x43\xe8" + bytes(500) + b"\x42\x82\x84webm": "video/webm",
    b"RIFF\0\1\0\0AVI LIST": "video/x-msvideo",
    b"\0\0\1\xba\x44": "video/mpeg",
    b"\0\0\1\xb3\x14": "video/mpeg",
    b"ID3\4\0": "audio/mpeg",
    b"\xff\xfb\x90\x64": "audio/mpeg",
    b"\xff\xf3\x40\xc0": "audio/mpeg",
    b"RIFF\0\1\0\0WAVEfmt ": "audio/wav",
    b"OggS\0\2": "audio/ogg",
    b"fLaC\0\0\0\x22": "audio/flac",
    b"\xff\xf1\x50\x80": "audio/aac",
    b"\xff\xf9\x4c\x80": "audio/aac",
    _ftyp(b"M4A ", b"mp42"): "audio/mp4",
    b"FORM\0\1\0\0AIFFCOMM": "audio/aiff",
    b"FORM\0\1\0\0AIFCFVER": "audio/aiff",
}


@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_a_bmp_and_a_tiff_are_as_large_as_pillow_says(kind: str, mode: str) -> None:
    for size in ((23, 17), (300, 2), (1, 1)):
        data = saved(picture(mode, size), kind)
        assert told(data) == Seen(f"image/{kind.lower()}", *size)
        assert piecewise(data, sized=False, more=0)[0] == told(data)


def test_odd_bitmaps_and_tiffs_are_told_as_far_as_they_tell() -> None:
    bmp = saved(picture("RGB", (23, 17)), "BMP")
    upside_down = bmp[:22] + struct.pack("<i", -17) + bmp[26:]
    assert told(upside_down) == oracle(upside_down, ("BMP",)) or told(upside_down) == Seen(
        "image/bmp", 23, 17
    )
    assert told(bmp[:14] + struct.pack("<IHHHH", 12, 9, 8, 1, 24) + bytes(999)) == Seen("image/bmp", 9, 8)
    for broken in (bmp[:25], bmp[:18] + bytes(4) + bmp[22:], bmp[:18] + b"\xff" * 4 + bmp[22:]):
        assert told(broken) is None
    big_endian = (
        b"MM\0*"
        + struct.pack(">IH", 8, 2)
        + struct.pack(">HHIHHHHI", 256, 3, 1, 23, 0, 257, 4, 1)
        + b"\0\0\0\x11"
    )
    assert told(big_endian) == Seen("image/tiff", 23, 17)
    for head in (
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"II*\0",
        b"II+\0\x08\0\0\0" + bytes(99),
    ):
        assert told(head) == Seen("image/tiff")


def box(name: bytes, data: bytes, *, wide: bool = False) -> bytes:
    if wide:
        return struct.pack(">I4sQ", 1, name, len(data) + 16) + data
    return struct.pack(">I4s", len(data) + 8, name) + data


def heif(
    size: tuple[int, int], *, brand: bytes, version: int = 0, first: int = 0, wide: bool = False
) -> bytes:
    """A picture of two items, the second being the primary one, behind so many bytes of data."""
    number = ">I" if version else ">H"
    small, large = (box(b"ispe", struct.pack(">4x2I", *one)) for one in ((7, 7), size))
    table = struct.pack(">B2xBI", version, version, 2)
    for item, index in ((1, 1), (2, 3)):
        link = struct.pack(">H", 0x8000 | index) if version else bytes((0x80 | index,))
        table += struct.pack(number, item) + b"\1" + link
    properties = box(b"ipco", small + box(b"irot", b"\1") + large) + box(b"ipma", table)
    primary = box(b"pitm", struct.pack(">B3x", version) + struct.pack(number, 2))
    meta = box(b"meta", bytes(4) + box(b"hdlr", bytes(24)) + primary + box(b"iprp", properties), wide=wide)
    return _ftyp(brand, b"mif1") + box(b"mdat", bytes(first), wide=wide) + meta


@pytest.mark.parametrize("size", [(23, 17), (64, 64), (1, 9)])
def test_an_avif_is_as_large_as_pillow_says(size: tuple[int, int]) -> None:
    for mode in ("RGB", "RGBA", "L"):
        data = saved(picture(mode, size), "AVIF")
        assert told(data) == Seen("image/avif", *size)
        assert piecewise(data, sized=False, more=0)[0] == Seen("image/avif", *size)


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("first", [0, 50, 3_000_000])
def test_the_primary_picture_of_a_heic_is_found_wherever_it_is_described(
    first: int, wide: bool, version: int
) -> None:
    data = heif((4032, 3024), brand=b"heic", version=version, first=first, wide=wide)
    seen, sent = piecewise(data, sized=True, more=0)
    assert seen == told(data) == Seen("image/heic", 4032, 3024)
    assert sent < 2_000


def test_a_picture_whose_description_is_out_of_reach_or_broken_is_of_unknown_size() -> None:
    chance = dice(2)
    assert told(heif((9, 9), brand=b"heic", first=MAX_HEADER_BYTES)) == Seen("image/heic")
    whole = heif((9, 9), brand=b"avif")
    for _ in range(2_000):
        at, end = sorted(chance.randrange(28, len(whole)) for _ in range(2))
        broken = chance.choice((whole[:at], whole[:at] + chance.randbytes(end - at) + whole[end:]))
        seen = told(broken)
        assert seen is not None
        assert seen.type == "image/avif"


@pytest.mark.parametrize("data", MAGICS, ids=lambda data: f"{data[:12]!r}")
def test_other_media_are_told_by_their_magic_alone(data: bytes) -> None:
    assert told(data) == Seen(MAGICS[data])
    assert told(data + bytes(3_000)) == Seen(MAGICS[data])


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"GIF88a" + bytes(99),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<!DOCTYPE html><html>",
        b"%PDF-1.7",
        b"PK\3\4",
        b'{"error": "expired"}',
        b"BMW is no bitmap, nor is it a picture",
        "a text".encode("utf-16"),
        b"RIFF\0\1\0\0WEBPjunk" + bytes(99),
        _doc(b"\x84what"),
        SOI + b"\xff\xd9",
        SOI + frame(5, 6) + b"\xff\xd9",
        SOI + frame(5, 6) + b"\xff\xe1\x7f\xff" + b"x" * 99,
        SOI + frame(5, 6) + segment(0xDA, b"\1\1\0\0\x3f\0"),
        SOI + frame(0, 4) + scan(),
        SOI + frame(4, 4, precision=12) + scan(),
        SOI + frame(4, 4, layers=2) + scan(),
        SOI + frame(4, 4)[:-1],
        SOI + segment(0xC0, b"\x08\0\4\0\4\3\1\x11") + scan(),
        SOI + frame(4, 4) + b"\xff\x01" + scan(),
        SOI + frame(4, 4) + b"\xff\xbf" + scan(),
        PNG_MAGIC,
        PNG_MAGIC + header(9, 8) + chunk(b"IEND", b""),
        PNG_MAGIC + header(9, 8) + chunk(b"IDAT", b"") + chunk(b"IEND", b""),
        PNG_MAGIC + header(5, 6) + b"\0\0\x7f\xfftEXt",
        PNG_MAGIC + chunk(b"CgBI", b"P\0 \2") + header(9, 8) + chunk(b"IDAT", b"\x63\x60\0"),
        PNG_MAGIC + header(9, 8) + chunk(b"IDAT", b"\x78\x9d"),
        PNG_MAGIC + header(9, 8) + b"\0\0\0\x09IDAT",
        PNG_MAGIC + header(4, 0) + pixels(),
        PNG_MAGIC + header(4, 4)[:-1] + b"\0" + pixels(),
        PNG_MAGIC + header(4, 4, b"\x08\2\0\1\0") + pixels(),
        PNG_MAGIC + header(4, 4, b"\7\2\0\0\0") + pixels(),
        PNG_MAGIC + pixels(),
        PNG_MAGIC + header(4, 4) + chunk(b"te t", b"") + pixels(),
        b"GIF89a",
        b"GIF89a\5\0\6\0\0\0\0!\xfe\xffx",
        b"GIF89a\4\0\4\0\0\0\0,\0\0\0\0\4\0\4\0\0\2",
        b"GIF89a\4\0\4\0\0\0\0;",
        b"GIF89a\0\0\4\0\0\0\0,\0\0\0\0\0\0\1\0\0\2",
        webp(b"VP8 ", b"\x11\0\0\x9d\x01\x2a\4\0\4\0" + bytes(9)),
        webp(b"VP8 ", b"\x10\0\0\x9d\x01\x2a\0\0\4\0" + bytes(9)),
        webp(b"VP8L", b"\x2e\0\0\0\0" + bytes(9)),
        webp(b"VP8L", b"\x2f\0\0\0\x20" + bytes(9)),
        webp(b"VP8X", bytes(4) + b"\xff" * 6),
        webp(b"VP8X", b"\x20\0\0\0\4\0\0\4\0\0ICCP\4\0\0\0abcd"),
        webp(b"VP8X", bytes(4)),
    ],
)
def test_what_no_decoder_reads_is_refused(data: bytes) -> None:
    assert not loads(data)
    assert told(data) is None


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(FormatError, match=r"^is empty$"):
        see(b"")


def _filled(start: bytes, *parts: bytes) -> Callable[[], bytes]:
    part = b"".join(parts)
    return lambda: (start + part * (HEAD // len(part) + 1))[:HEAD]


_GIF_START = b"GIF89a\4\0\4\0\0\0\0"


@pytest.mark.parametrize(
    "make",
    [
        _filled(SOI, b"\xff"),
        _filled(SOI, SOI),
        _filled(SOI, b"\xff\0"),
        _filled(SOI + b"\xff", b"\0"),
        _filled(SOI, b"\xff\xe0\0\0"),
        _filled(SOI, b"\xff\xfe\0\2"),
        _filled(SOI, frame(4, 4)),
        _filled(PNG_MAGIC + header(4, 4), chunk(b"tEXt", b"")),
        _filled(PNG_MAGIC + header(4, 4), chunk(b"PLTE", b"")),
        _filled(PNG_MAGIC, header(4, 4)),
        _filled(_GIF_START, b"x"),
        _filled(_GIF_START, b"!\xfe\0"),
        _filled(_GIF_START, b"!\xf9\0\0"),
        _filled(_GIF_START + b"!\xfe", b"\1x"),
        _filled(_GIF_START, b"!\xff\x0bNETSCAPE2.0\1x\0"),
        _filled(b"RIFF\0\1\0\0WEBP", b"VP8X"),
        _filled(b"\x1a\x45\xdf\xa3", b"\x42\x82"),
        _filled(b"\xff\xff\xff\xffftypmif1", b"abcd"),
        _filled(b"BM", b"\0"),
    ],
)
def test_a_head_made_to_be_slow_is_not(make: Callable[[], bytes]) -> None:
    data = make()
    started = time.process_time()
    told(data)
    assert (
        time.process_time() - started < 1
    )  # it takes some 15 ms; what looks at each byte for itself, seconds
