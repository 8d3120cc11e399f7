"""Recognises a media file by its first bytes and reads a picture's dimensions. Pure; nothing is decoded.

Type, width and height are those that Pillow reports for any JPEG, PNG, WebP or GIF that it opens, because the
software behind RunComfy that judges the file is most likely Pillow too. Hence some rules that are in no
standard.
"""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

_JPEG, _PNG, _GIF, _WEBP = "image/jpeg", "image/png", "image/gif", "image/webp"
_HEIC, _AVIF, _MP4, _MATROSKA = "image/heic", "image/avif", "video/mp4", "video/x-matroska"

_SURE: Final = 64  # bytes, enough to match every signature here; brand lists may need more
_LISTS_END: Final = 1_024  # bytes within which brands and document types are looked for
_MAX_PARTS: Final = 10_000  # segments, chunks or blocks: no honest header has so many

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

_SHOWN_KEY_FRAME: Final = (0x19, 0x10)  # mask and value of the bits: key frame, known profile, shown
_LOSSLESS: Final = 0x2F
_MAX_CANVAS: Final = 2**32

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
        (rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", "image/bmp"),
        (rb"II[*+]\0|MM\0[*+]", "image/tiff"),
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

_Size: TypeAlias = tuple[int, int] | None


class FormatError(ValueError):
    """The bytes are no media file of a known type, or a broken one. The message may be shown to callers."""


class NeedMoreError(Exception):
    """The head is too short to answer; nothing is wrong with the file so far."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a file's first bytes tell.

    `type` is a media type such as image/jpeg. Width and height are in pixels as stored, whatever orientation
    EXIF asks for; None for types whose dimensions are not read.
    """

    type: str
    width: int | None = None
    height: int | None = None


def see(head: bytes, *, whole: bool) -> Seen:
    """Identifies a file by its first bytes.

    `whole` says that these are all of its bytes, or all that will ever be read. A head that is whole and yet
    was cut short still gives an answer where the dimensions stand before the cut.

    Raises:
        FormatError: it is no media file, or a broken one.
        NeedMoreError: more bytes could change the answer; never where `whole`.

    """
    if not whole and len(head) < _SURE:
        raise NeedMoreError
    if not head:
        raise FormatError("is empty")
    for magic, read in _READERS:
        if magic.match(head):
            return read(head, whole=whole)
    for magic, media_type in _MAGICS:
        if magic.match(head):
            return Seen(media_type)
    raise FormatError("is not a media file of a known type")


def _unreadable(reason: str) -> FormatError:
    return FormatError(f"is not a picture that can be read: {reason}")


def _told(media_type: str, size: _Size) -> Seen:
    if size is None:
        raise _unreadable("it does not tell its size")
    if not all(size):
        raise _unreadable("it has no pixels")
    return Seen(media_type, *size)


def _cut(media_type: str, size: _Size, *, whole: bool) -> Seen:
    """Answers for a head that ends early: with the dimensions read so far, if no more bytes will come."""
    if not whole:
        raise NeedMoreError
    return _told(media_type, size)


def _jpeg(head: bytes, *, whole: bool) -> Seen:
    """Reads a JPEG's dimensions from the last frame header before the first scan."""
    size: _Size = None
    at = 2
    for _ in range(_MAX_PARTS):
        found = _MARKER.search(head, at)
        if found is None:
            return _cut(_JPEG, size, whole=whole)
        at = found.end()
        marker = head[at - 1]
        if marker == _SCAN:
            return _told(_JPEG, size)
        if marker < _LOWEST_MARKER:
            raise _unreadable("it has an unknown marker")
        end = at + max(2, head[at] << 8 | head[at + 1]) if at + 2 <= len(head) else len(head) + 1
        if end > len(head):
            return _cut(_JPEG, size, whole=whole)
        if marker in _FRAMES:
            size = _frame(head[at:end])
        at = end
    raise _unreadable("it has too many segments")


def _frame(segment: bytes) -> tuple[int, int]:
    if len(segment) < _FRAME.size or (len(segment) - _FRAME.size) % 3:
        raise _unreadable("its frame header is broken")
    precision, height, width, layers = _FRAME.unpack_from(segment)
    if precision != _PRECISION or layers not in _LAYERS:
        raise _unreadable(f"it has {layers} layers of {precision} bits")
    return width, height


def _png(head: bytes, *, whole: bool) -> Seen:
    """Reads a PNG's dimensions from the last header before the first image data that it could describe."""
    size: _Size = None
    drawable = False
    at = 8
    for _ in range(_MAX_PARTS):
        start = at + _CHUNK.size
        if start > len(head):
            break
        length, name = _CHUNK.unpack_from(head, at)
        if not _CHUNK_NAME.fullmatch(name):
            raise _unreadable("it has a broken chunk")
        if name in {b"IEND", b"fdAT"} or (name == b"IDAT" and drawable):
            return _told(_PNG, size if drawable else None)
        at = start + length + 4
        if at > len(head):
            break
        if not name[0] & _ANCILLARY:
            _check(head[start - 4 : at])
        if name == b"IHDR":
            size, known = _header(head[start : at - 4])
            drawable = drawable or known
    else:
        raise _unreadable("it has too many chunks")
    return _cut(_PNG, size if drawable else None, whole=whole)


def _check(chunk: bytes) -> None:
    if zlib.crc32(chunk[:-4]) != int.from_bytes(chunk[-4:], "big"):
        raise _unreadable("a checksum is wrong")


def _header(data: bytes) -> tuple[tuple[int, int], bool]:
    """Returns the width and height, and whether depth and colour type are a known combination."""
    if len(data) < _HEADER.size:
        raise _unreadable("its header is broken")
    width, height, pixels, _, filters, _ = _HEADER.unpack_from(data)
    if filters:
        raise _unreadable("it has an unknown filter")
    return (width, height), pixels in _PIXELS


def _gif(head: bytes, *, whole: bool) -> Seen:
    """Reads a GIF's dimensions: its screen, enlarged to contain the first picture."""
    if len(head) < _SCREEN.size:
        return _cut(_GIF, None, whole=whole)
    width, height, flags = _SCREEN.unpack_from(head)
    at = _SCREEN.size + (6 << (flags & 7) if flags & _HAS_PALETTE else 0)
    for _ in range(_MAX_PARTS):
        found = _BLOCK.search(head, at)
        if found is None:
            return _cut(_GIF, (width, height), whole=whole)
        at = found.end()
        if found[0] == b";":
            raise _unreadable("it has no picture")
        if found[0] == b",":
            if at + _IMAGE.size > len(head):
                return _cut(_GIF, (width, height), whole=whole)
            left, top, wide, high, _ = _IMAGE.unpack_from(head, at)
            return _told(_GIF, (max(width, left + wide), max(height, top + high)))
        try:
            at = _past_extension(head, at)
        except IndexError:
            return _cut(_GIF, (width, height), whole=whole)
    raise _unreadable("it has too many extensions")


def _past_extension(head: bytes, at: int) -> int:
    """Returns the offset behind an extension's last block.

    Outside comments, the first block may be empty without being the last: Pillow reads it so. Raises
    IndexError where the head ends before.
    """
    label, at = head[at], at + 1
    if label != _COMMENT:
        length = head[at]
        loops = label == _APPLICATION and head[at + 1 : at + 1 + length].startswith(_LOOPS)
        at += length + 1
        if loops:
            at += head[at] + 1
    while length := head[at]:
        at += length + 1
    return at + 1


def _webp(head: bytes, *, whole: bool) -> Seen:
    """Reads a WebP's dimensions, at fixed offsets: its canvas, or its only frame where it has none."""
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
    except (IndexError, struct.error):
        return _cut(_WEBP, None, whole=whole)
    return _told(_WEBP, size)


def _boxes(head: bytes, *, whole: bool) -> Seen:
    """Identifies a file of the ISO base media format by its brands."""
    brand = head[8:12]
    if brand not in _PICTURE_BRANDS:
        return Seen(_BRANDS.get(brand, _MP4))
    end = min(int.from_bytes(head[:4], "big"), _LISTS_END)
    if not whole and len(head) < end:
        raise NeedMoreError
    others = {_BRANDS.get(head[at : at + 4]) for at in range(16, end, 4)}
    return Seen(_AVIF if _AVIF in others else _HEIC)


def _ebml(head: bytes, *, whole: bool) -> Seen:
    """Identifies Matroska, or its subset WebM, by the document type."""
    found = _DOCUMENT.search(head, 4, _LISTS_END)
    if found is None:
        if not whole and len(head) < _LISTS_END:
            raise NeedMoreError
        raise FormatError("is not a media file of a known type")
    return Seen("video/webm" if found[1] == b"webm" else _MATROSKA)


_READERS: Final[tuple[tuple[re.Pattern[bytes], Callable[..., Seen]], ...]] = (
    (re.compile(rb"\xff\xd8\xff"), _jpeg),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    (re.compile(rb"GIF8[79]a"), _gif),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), _webp),
    (re.compile(rb".{4}ftyp.{4}", re.DOTALL), _boxes),
    (re.compile(rb"\x1a\x45\xdf\xa3"), _ebml),
)
