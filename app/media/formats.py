"""Recognises a media file by its bytes and reads a picture's dimensions. Pure; nothing is decoded.

A reader is a generator: it asks for the bytes that it needs next and is sent them, so that what lies between
(colour profiles, thumbnails, Content Credentials) need not be fetched. It reads on to where the image data
begins, because a file that was cut off before would fail at RunComfy.

Type, width and height are those that Pillow reports for any JPEG, PNG, WebP or GIF that it can load, because
the software behind RunComfy that judges the file is most likely Pillow too. Hence some rules that are in no
standard.
"""

import re
import struct
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from app.media.heif import primary_size

_JPEG, _PNG, _GIF, _WEBP = "image/jpeg", "image/png", "image/gif", "image/webp"
_BMP, _TIFF = "image/bmp", "image/tiff"
_HEIC, _AVIF, _MP4, _MATROSKA = "image/heic", "image/avif", "video/mp4", "video/x-matroska"

MAX_HEADER_BYTES: Final = 8_388_608  # of a file, within which its image data must begin
_MAX_STEPS: Final = 20_000  # parts of a file: no honest header has so many, and each takes time
_WINDOW: Final = 4_096  # bytes that a reader of a whole file is sent at a time

_SURE: Final = 64  # bytes, enough to match every signature here; brand lists may need more
_LISTS_END: Final = 1_024  # bytes within which brands and document types are looked for

# A JPEG marker that begins a segment. Escaped and padded markers, and those without a segment, are skipped
# like any other bytes between segments.
_MARKER = re.compile(rb"\xff[^\x00\xc8\xd0-\xd9\xf0-\xfd\xff]")
_FRAMES: Final = frozenset({*range(0xC0, 0xD0), 0xDE}) - {0xC4, 0xC8, 0xCC}
_SCAN: Final = 0xDA
_LOWEST_MARKER: Final = 0xC0
_FRAME: Final = struct.Struct(">xxBHHB")  # length, precision, height, width, layers
_PRECISION: Final = 8
_LAYERS: Final = frozenset({1, 3, 4})

_CHUNK: Final = struct.Struct(">I4s")
_CHUNK_NAME = re.compile(rb"[A-Za-z0-9_]{4}")
_ANCILLARY: Final = 0x20
_HEADER: Final = struct.Struct(">II2sBBB")  # width, height, depth and colour, compression, filter, interlace
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PIXELS: Final = frozenset(bytes((depth, colour)) for colour, depths in _DEPTHS.items() for depth in depths)

_SCREEN: Final = struct.Struct("<6xHHBxx")  # width, height, flags
_HAS_PALETTE: Final = 0x80
_IMAGE: Final = struct.Struct("<4HB")  # left, top, width, height, flags
_BLOCK = re.compile(rb"[!,;]")  # the first byte of a GIF block; bytes between blocks are skipped
_COMMENT, _APPLICATION = 0xFE, 0xFF
_LOOPS: Final = b"NETSCAPE2.0"

_DEFLATE: Final = 8  # zlib's number of its one method
_WEBP_FRAMES: Final = frozenset({b"VP8 ", b"VP8L", b"ANMF", b"ALPH"})
_SHOWN_KEY_FRAME: Final = (0x19, 0x10)  # mask and value of the bits: key frame, known profile, shown
_LOSSLESS: Final = 0x2F
_MAX_CANVAS: Final = 2**32

_CORE: Final = 12  # bytes of the oldest header of a BMP, which has short numbers
_BITS: Final = frozenset({1, 2, 4, 8, 16, 24, 32})  # of a pixel of a BMP
_PLAIN_CODINGS, _OTHER_CODINGS = frozenset({0, 3, 6}), frozenset({4, 5})  # as they are; a JPEG or PNG inside
_TIFF_MAGIC: Final = 42  # of a BigTIFF, it is 43
_MAX_ENTRIES: Final = 65_535  # of a TIFF's description of a picture
_SHORT, _LONG_8, _TIFF_WIDTH, _TIFF_HEIGHT = 3, 16, 256, 257  # two types of values, and two tags

_BRANDS: Final = {
    **dict.fromkeys((b"avif", b"avis"), _AVIF),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), _HEIC),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), "audio/mp4"),
    b"qt  ": "video/quicktime",
}
# Major brands that HEIC and AVIF files share: the compatible brands tell which of the two it is.
_PICTURE_BRANDS: Final = frozenset({b"mif1", b"msf1", b"miaf", b"MiHB"})
_DOCUMENT = re.compile(rb"\x42\x82(?:[\x84-\xa0]|\x40[\x04-\x20]|\x01\0{6}[\x04-\x20])(webm|matroska)")

# MPEG audio's layer I is left out, because its sync bytes are also the byte order mark of UTF-16.
_SOUND_RATES: Final = bytes(b for b in range(0xF0) if b >> 2 & 3 != 3)  # noqa: PLR2004 - reserved
_ADTS_RATES: Final = bytes(b for b in range(256) if b >> 2 & 15 <= 12)  # noqa: PLR2004 - the rest is reserved
_MAGICS: Final = tuple(
    (re.compile(magic, re.DOTALL), media_type)
    for magic, media_type in (
        (rb"\0\0\0\x08wide|.{4}(?:moov|mdat)", "video/quicktime"),  # files older than `ftyp` brands
        (rb"RIFF.{4}AVI ", "video/x-msvideo"),
        (rb"\0\0\x01[\xb3\xba]", "video/mpeg"),
        (rb"(?:RIFF|RF64).{4}WAVE", "audio/wav"),
        (rb"OggS", "audio/ogg"),
        (rb"fLaC", "audio/flac"),
        (rb"FORM.{4}AIF[FC]", "audio/aiff"),
        (rb"ID3", "audio/mpeg"),
        (rb"\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd][" + re.escape(_SOUND_RATES) + rb"]", "audio/mpeg"),
        (rb"\xff[\xf0\xf1\xf8\xf9][" + re.escape(_ADTS_RATES) + rb"]", "audio/aac"),
    )
)

_WEB_PAGE: Final = "is a web page, not a media file (a link for sharing? the file has an address of its own)"
_XML: Final = "is XML, not a media file (an error message of its server?)"
_BASE64: Final = "is a picture in Base64, which has to be decoded first"
_OTHERS: Final = (
    *((begins, _WEB_PAGE) for begins in (b"<!doctype html", b"<html", b"<head", b"<script", b"<!--")),
    (b"<svg", "is an SVG drawing, not a picture of pixels"),
    *((begins, _XML) for begins in (b"<?xml", b"<error")),
    (b"{", "is JSON, not a media file (an error message of its server?)"),
    (b"%pdf", "is a PDF document, not a media file"),
    (b"pk\x03\x04", "is a ZIP archive or an office document, not a media file"),
    (b"\x1f\x8b", "is compressed with gzip, not a media file"),
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file that it stands for"),
    *((begins, _BASE64) for begins in (b"/9j/", b"ivborw0kggo", b"r0lgod", b"uklgr", b"data:")),
    *((begins, "is a JPEG XL, which is no type that we know") for begins in (b"\xff\x0a", b"\0\0\0\x0cjxl ")),
    (b"\0\0\0\x0cjp  ", "is a JPEG 2000, which is no type that we know"),
    (b"8bps", "is a Photoshop document, not a picture to be shown"),
    (b"\0\0\1\0", "is an icon (ICO), not a picture"),
)

_Size: TypeAlias = tuple[int, int] | None


class FormatError(ValueError):
    """The bytes are no media file of a known type, or a broken one. The message may be shown to callers."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a file's bytes tell.

    `type` is a media type such as image/jpeg. Width and height are in pixels as stored, whatever orientation
    EXIF asks for (of a HEIC, as every decoder shows it); None for types whose dimensions are not read.
    """

    type: str
    width: int | None = None
    height: int | None = None


Reading: TypeAlias = Generator[tuple[int, int], bytes, Seen]
"""Yields an offset and a number of bytes, and wants the bytes from there: that many, or more, or fewer where
the file ends before. The offset never goes back. Returns what was seen; raises FormatError."""


def see(data: bytes) -> Seen:
    """Identifies a file by all of its bytes.

    Raises:
        FormatError: it is no media file, or a broken one.

    """
    reader = reading(len(data))
    try:
        at, length = next(reader)
        while True:
            at, length = reader.send(data[at : at + max(length, _WINDOW)])
    except StopIteration as done:
        seen: Seen = done.value
        return seen


def reading(size_bytes: int | None) -> Reading:
    """Returns the reader of a file of that size; None where the size is not known."""
    reader = _identify(size_bytes)
    at, length = next(reader)
    for _ in range(_MAX_STEPS):
        if size_bytes is not None:
            length = max(0, min(length, size_bytes - at))
        if length and at + length > MAX_HEADER_BYTES:
            raise FormatError(f"has a header that is longer than the {MAX_HEADER_BYTES:,} bytes that we read")
        data = (yield at, length) if length else b""
        try:
            at, length = reader.send(data)
        except StopIteration as done:
            seen: Seen = done.value
            return seen
    raise _unreadable("it has too many parts")


def _identify(size_bytes: int | None) -> Reading:
    head = yield 0, _SURE
    if not head:
        raise FormatError("is empty")
    for magic, read in _READERS:
        if magic.match(head):
            return (yield from read(size_bytes))
    for magic, media_type in _MAGICS:
        if magic.match(head):
            return Seen(media_type)
    raise FormatError(_other(head))


def _other(head: bytes) -> str:
    """Returns what a file is that is no media file, in words that help whoever sent its address."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for begins, name in _OTHERS:
        if text.startswith(begins):
            return name
    return "is not a media file of a known type"


def _unreadable(reason: str) -> FormatError:
    return FormatError(f"is not a picture that can be read: {reason}")


def _cut() -> FormatError:
    return _unreadable("it ends before its image data, as after a broken upload")


def _told(media_type: str, size: _Size) -> Seen:
    if size is None:
        raise _unreadable("it does not tell its size")
    if not all(size):
        raise _unreadable("it has no pixels")
    return Seen(media_type, *size)


def _jpeg(_size_bytes: int | None) -> Reading:
    """Reads a JPEG's dimensions from the last frame header before the first scan."""
    size: _Size = None
    at = 2
    while True:
        data = yield at, 4
        found = _MARKER.search(data)
        if found is None:
            if len(data) < 4:  # noqa: PLR2004 - as many as were wanted
                raise _cut()
            at += len(data) - data.endswith(b"\xff")
            continue
        at += found.end()
        marker = found[0][1]
        if marker < _LOWEST_MARKER:
            raise _unreadable("it has an unknown marker")
        length = max(2, int.from_bytes((yield at, 2)[:2], "big"))
        if marker == _SCAN:
            if len((yield at, length + 1)) <= length:
                raise _cut()
            return _told(_JPEG, size)
        if marker in _FRAMES:
            size = _frame((yield at, length)[:length])
        at += length


def _frame(segment: bytes) -> tuple[int, int]:
    if len(segment) < _FRAME.size or (len(segment) - _FRAME.size) % 3:
        raise _unreadable("its frame header is broken")
    precision, height, width, layers = _FRAME.unpack_from(segment)
    if precision != _PRECISION or layers not in _LAYERS:
        raise _unreadable(f"it has {layers} layers of {precision} bits")
    return width, height


def _png(_size_bytes: int | None) -> Reading:
    """Reads a PNG's dimensions from the last header before the first image data that it could describe."""
    size: _Size = None
    drawable = is_apples = False
    at = 8
    while True:
        head = yield at, _CHUNK.size
        if len(head) < _CHUNK.size:
            raise _cut()
        length, name = _CHUNK.unpack_from(head)
        start, at = at + _CHUNK.size, at + _CHUNK.size + length + 4
        if not _CHUNK_NAME.fullmatch(name):
            raise _unreadable("it has a broken chunk")
        if name == b"IEND":
            raise _unreadable("it has no image data")
        if name == b"fdAT" or (name == b"IDAT" and drawable):
            if name == b"IDAT":
                yield from _to_pixels(start, length, is_apples=is_apples)
            return _told(_PNG, size if drawable else None)
        if not name[0] & _ANCILLARY:
            data = yield from _critical(start, length)
            is_apples = is_apples or name == b"CgBI"
            if name == b"IHDR":
                size, known = _header(data)
                drawable = drawable or known


def _critical(at: int, length: int) -> Generator[tuple[int, int], bytes, bytes]:
    """Returns the data of a chunk that must be understood, whose checksum must be right."""
    chunk = (yield at - 4, length + 8)[: length + 8]
    if len(chunk) < length + 8:
        raise _cut()
    if zlib.crc32(chunk[:-4]) != int.from_bytes(chunk[-4:], "big"):
        raise _unreadable("a checksum is wrong")
    return chunk[4:-4]


def _to_pixels(at: int, length: int, *, is_apples: bool) -> Generator[tuple[int, int], bytes, None]:
    """Checks the first bytes of a PNG's image data, which are a zlib stream."""
    while not length:
        head = (yield at + 4, _CHUNK.size)[: _CHUNK.size]
        if head[4:] == b"fdAT":
            return
        if head[4:] != b"IDAT":
            raise _unreadable("it has no image data")
        at, length = at + 4 + _CHUNK.size, int.from_bytes(head[:4], "big")
    start = (yield at, 2)[: min(length, 2)]
    if not start:
        raise _cut()
    if start[0] & 15 == _DEFLATE and (len(start) == 1 or int.from_bytes(start, "big") % 31 == 0):
        return
    if is_apples:
        raise _unreadable("it is a PNG from inside an iPhone app (CgBI), which only Apple's software reads")
    raise _unreadable("its image data is broken")


def _header(data: bytes) -> tuple[tuple[int, int], bool]:
    """Returns the width and height, and whether depth and colour type are a known combination."""
    if len(data) < _HEADER.size:
        raise _unreadable("its header is broken")
    width, height, pixels, _, filters, _ = _HEADER.unpack_from(data)
    if filters:
        raise _unreadable("it has an unknown filter")
    return (width, height), pixels in _PIXELS


def _gif(_size_bytes: int | None) -> Reading:
    """Reads a GIF's dimensions: its screen, enlarged to contain the first picture."""
    screen = yield 0, _SCREEN.size
    if len(screen) < _SCREEN.size:
        raise _cut()
    width, height, flags = _SCREEN.unpack_from(screen)
    at = _SCREEN.size + _palette(flags)
    while True:
        data = yield at, 1
        found = _BLOCK.search(data)
        if found is None:
            if not data:
                raise _cut()
            at += len(data)
            continue
        at += found.end()
        if found[0] == b";":
            raise _unreadable("it has no picture")
        if found[0] == b"!":
            at = yield from _past_extension(at)
            continue
        head = yield at, _IMAGE.size
        if len(head) < _IMAGE.size:
            raise _cut()
        left, top, wide, high, flags = _IMAGE.unpack_from(head)
        if len((yield at + _IMAGE.size + _palette(flags), 2)) < 2:  # noqa: PLR2004 - as many as were wanted
            raise _cut()
        return _told(_GIF, (max(width, left + wide), max(height, top + high)))


def _palette(flags: int) -> int:
    return 6 << (flags & 7) if flags & _HAS_PALETTE else 0


def _past_extension(at: int) -> Generator[tuple[int, int], bytes, int]:
    """Returns the offset behind an extension's last block.

    Outside comments, the first block may be empty without being the last: Pillow reads it so.
    """
    head = yield at, 2 + len(_LOOPS)
    if len(head) < 2:  # noqa: PLR2004 - a label and a length
        raise _cut()
    label, at = head[0], at + 1
    if label != _COMMENT:
        at += head[1] + 1
        if label == _APPLICATION and head[2 : 2 + head[1]].startswith(_LOOPS):
            at += yield from _block(at)
    while (length := (yield from _block(at))) > 1:
        at += length
    return at + 1


def _block(at: int) -> Generator[tuple[int, int], bytes, int]:
    """Returns the length of the block at an offset, with the byte that states it."""
    head = yield at, 1
    if not head:
        raise _cut()
    return head[0] + 1


def _webp(size_bytes: int | None) -> Reading:
    """Reads a WebP's dimensions: its canvas, or its only frame where it has none."""
    head = yield 0, 30
    (length,) = struct.unpack_from("<I", head, 4)
    if size_bytes is not None and size_bytes < length + 8:
        raise _cut()
    chunk = head[12:16]
    size: _Size = None
    try:
        if chunk == b"VP8 ":
            mask, wanted = _SHOWN_KEY_FRAME
            if head[20] & mask == wanted and head[23:26] == b"\x9d\x01\x2a":
                width, height = struct.unpack_from("<HH", head, 26)
                size = width & 0x3FFF, height & 0x3FFF
        elif chunk == b"VP8L":
            (bits,) = struct.unpack_from("<I", head, 21)
            if head[20] == _LOSSLESS and not bits >> 29:
                size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        elif chunk == b"VP8X":
            low, high, height, top = struct.unpack_from("<HBHB", head, 24)
            width, height = (low | high << 16) + 1, (height | top << 16) + 1
            size = (width, height) if width * height < _MAX_CANVAS else None
            yield from _to_frame(30)
    except (IndexError, struct.error):
        raise _cut() from None
    return _told(_WEBP, size)


def _to_frame(at: int) -> Generator[tuple[int, int], bytes, None]:
    """Skips the chunks of a WebP before its first frame: a colour profile, the loops of an animation."""
    while True:
        head = yield at, 8
        name, length = struct.unpack_from("<4sI", head)
        if name in _WEBP_FRAMES:
            return
        at += 8 + length + (length & 1)


def _boxes(_size_bytes: int | None) -> Reading:
    """Identifies a file of the ISO base media format by its brands; of a picture, reads its dimensions too.

    They are left open where they cannot be found: a file may be right in more ways than are known here.
    """
    head = yield 0, 16
    brand = head[8:12]
    media_type = _BRANDS.get(brand, _MP4)
    if brand in _PICTURE_BRANDS:
        end = min(int.from_bytes(head[:4], "big"), _LISTS_END)
        head = yield 0, end
        others = {_BRANDS.get(head[at : at + 4]) for at in range(16, end, 4)}
        media_type = _AVIF if _AVIF in others else _HEIC
    if media_type not in {_AVIF, _HEIC}:
        return Seen(media_type)
    size = primary_size((yield from _meta()), as_shown=media_type == _HEIC)
    return Seen(media_type) if size is None or not all(size) else Seen(media_type, *size)


def _meta() -> Generator[tuple[int, int], bytes, bytes]:
    """Returns what is in the box that describes the pictures; empty where there is none within reach.

    It may stand behind the pictures themselves, which are skipped.
    """
    at = 0
    while at + 16 <= MAX_HEADER_BYTES:
        head = yield at, 16
        length, begin = int.from_bytes(head[:4], "big"), 12
        if length == 1:
            length, begin = int.from_bytes(head[8:16], "big"), 20
        if head[4:8] == b"meta" and at + length <= MAX_HEADER_BYTES:
            return (yield at, length)[begin:length]
        if length < 8:  # noqa: PLR2004 - a box has a length and a name; 0 is a box up to the end
            break
        at += length
    return b""


def _bmp(size_bytes: int | None) -> Reading:
    """Reads a BMP's dimensions, at fixed offsets; the height is negative where the rows run downwards."""
    head = yield 0, 34
    old = head[14] == _CORE
    if len(head) < (26 if old else 34):
        raise _cut()
    width, height, bits = struct.unpack_from("<18xHHxxH" if old else "<18xiixxH", head)
    coding = 0 if old else int.from_bytes(head[30:34], "little")
    size = width, abs(height)
    if bits not in _BITS or coding in _OTHER_CODINGS:
        raise _unreadable(f"it has {bits} bits a pixel in coding {coding}")
    if size_bytes is not None and coding in _PLAIN_CODINGS and width > 0 and height:
        row = width * bits
        begin = int.from_bytes(head[10:14], "little")
        if begin + (row + 31) // 32 * 4 * (size[1] - 1) + (row + 7) // 8 > size_bytes:
            raise _cut()
    return _told(_BMP, size if width > 0 else None)


def _tiff(_size_bytes: int | None) -> Reading:
    """Reads the dimensions of a TIFF's first picture; they are left open where they cannot be found.

    Its description may stand anywhere, and usually stands at the end.
    """
    head = yield 0, 16
    order: Literal["little", "big"] = "little" if head[:1] == b"I" else "big"
    # A BigTIFF, for files beyond 4 GB, has the same fields with more bytes for each number.
    wide = int.from_bytes(head[2:4], order) != _TIFF_MAGIC
    at = int.from_bytes(head[8:16] if wide else head[4:8], order)
    begin, entry_bytes, value_at = (8, 20, 12) if wide else (2, 12, 8)
    sides = {}
    if at + begin + _MAX_ENTRIES * entry_bytes <= MAX_HEADER_BYTES:
        count = min(int.from_bytes((yield at, begin)[:begin], order), _MAX_ENTRIES)
        table = (yield at, begin + count * entry_bytes)[begin : begin + count * entry_bytes]
        for place in range(0, len(table), entry_bytes):
            entry = table[place : place + entry_bytes]
            kind = int.from_bytes(entry[2:4], order)
            value = entry[value_at : value_at + {_SHORT: 2, _LONG_8: 8}.get(kind, 4)]
            sides[int.from_bytes(entry[:2], order)] = int.from_bytes(value, order)
    width, height = sides.get(_TIFF_WIDTH, 0), sides.get(_TIFF_HEIGHT, 0)
    return Seen(_TIFF, width, height) if width and height else Seen(_TIFF)


def _ebml(_size_bytes: int | None) -> Reading:
    """Identifies Matroska, or its subset WebM, by the document type."""
    found = _DOCUMENT.search((yield 0, _LISTS_END), 4, _LISTS_END)
    if found is None:
        raise FormatError("is not a media file of a known type")
    return Seen("video/webm" if found[1] == b"webm" else _MATROSKA)


_READERS: Final[tuple[tuple[re.Pattern[bytes], Callable[[int | None], Reading]], ...]] = (
    (re.compile(rb"\xff\xd8\xff"), _jpeg),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    (re.compile(rb"GIF8[79]a"), _gif),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), _webp),
    (re.compile(rb".{4}ftyp.{4}", re.DOTALL), _boxes),
    (re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL), _bmp),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), _tiff),
    (re.compile(rb"\x1a\x45\xdf\xa3"), _ebml),
)
