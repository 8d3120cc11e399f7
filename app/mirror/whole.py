"""What a copied file is, by its bytes, and whether its end is there. It is read here and there, never whole.

A length that its server stated proves nothing where the server stated that of a part: so the file's own
structure has to end where the file does. What lies behind the end of that structure does no harm.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from app.media.formats import FormatError, reading

_WINDOW: Final = 4_096
_TAIL: Final = 65_536
_MAX_BOXES: Final = 100_000
_BOX: Final = 8
_LONG_BOX: Final = 16
_RIFF_HEAD: Final = 8


class NotMediaError(Exception):
    """The file is neither a picture nor a video."""


class CutOffError(Exception):
    """The file ends before its own structure says."""


def examine(path: Path, size_bytes: int) -> str:
    """Returns the media type of a picture or video, by its bytes.

    Raises:
        NotMediaError: it is none.
        CutOffError: its end is missing.

    """
    with path.open("rb") as file:
        media_type = _type_of(file, size_bytes)
        check = _ENDS.get(media_type)
        if check is not None and not check(file, size_bytes):
            raise CutOffError
    return media_type


def _type_of(file: BinaryIO, size_bytes: int) -> str:
    reader = reading(size_bytes)
    try:
        at, length = next(reader)
        while True:
            file.seek(at)
            at, length = reader.send(file.read(max(length, _WINDOW)))
    except StopIteration as done:
        media_type: str = done.value.type
    except FormatError as error:
        raise NotMediaError(str(error)) from error
    if not media_type.startswith(("image/", "video/")):
        raise NotMediaError(media_type)
    return media_type


def _boxes(*needed: bytes) -> Callable[[BinaryIO, int], bool]:
    """Returns what goes along the boxes of a file, of which it has all that are needed."""

    def are_whole(file: BinaryIO, size_bytes: int) -> bool:
        at, missing = 0, set(needed)
        for _ in range(_MAX_BOXES):
            if size_bytes - at < _BOX:
                break
            file.seek(at)
            head = file.read(_LONG_BOX)
            missing.discard(head[4:_BOX])
            length = int.from_bytes(head[:4], "big")
            if length == 1 and len(head) < _LONG_BOX:
                return False
            if length == 1:
                length = int.from_bytes(head[_BOX:_LONG_BOX], "big")
            if length < _BOX:  # 0: up to the end of the file; else no box, but what lies behind the last one
                break
            at += length
            if at > size_bytes:
                return False
        return not missing

    return are_whole


def _riff(file: BinaryIO, size_bytes: int) -> bool:
    file.seek(4)
    return (
        int.from_bytes(file.read(4), "little") + _RIFF_HEAD <= size_bytes + 1
    )  # the padding may be left out


def _ending(mark: bytes) -> Callable[[BinaryIO, int], bool]:
    def has_it(file: BinaryIO, size_bytes: int) -> bool:
        file.seek(max(0, size_bytes - _TAIL), os.SEEK_SET)
        return mark in file.read(_TAIL)

    return has_it


_ENDS: Final[dict[str, Callable[[BinaryIO, int], bool]]] = {
    **dict.fromkeys(("video/mp4", "video/quicktime"), _boxes(b"moov", b"mdat")),
    **dict.fromkeys(("image/heic", "image/avif"), _boxes()),
    **dict.fromkeys(("image/webp", "video/x-msvideo"), _riff),
    "image/png": _ending(b"IEND"),
    "image/jpeg": _ending(b"\xff\xd9"),
    "image/gif": _ending(b"\x3b"),
}
