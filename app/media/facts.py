"""The facts of a media file that its bytes tell. Pure: the caller supplies the bytes, or part after part."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.media.formats import FormatError, Seen, reading, see

_PART = 65_536  # bytes that are asked for at a time, at least
_WINDOW = 4_096  # bytes that the reader is sent at a time, at least
_MAX_SIDE = 2**31 - 1  # pixels that a row of the database can say


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a file: its media type by its bytes, its size and a picture's dimensions.

    `size_bytes` is None where the server did not state it and nobody needed it. Where the bytes were counted
    no further than a limit, the file has at least that many. Width and height are in pixels as stored,
    whatever orientation EXIF asks for.
    """

    type: str
    size_bytes: int | None = None
    width: int | None = None
    height: int | None = None


class UnreadableError(ValueError):
    """The file exists and is no media file. The message is in words that callers may be shown."""


def facts_of(data: bytes) -> Facts:
    """Returns the facts of a file by all of its bytes.

    Raises:
        UnreadableError: it is no media file.

    """
    try:
        seen = see(data)
    except FormatError as error:
        raise UnreadableError(str(error)) from error
    return Facts(seen.type, len(data), seen.width, seen.height)


async def facts_by_parts(size_bytes: int, part: Callable[[int, int], Awaitable[bytes]]) -> Facts:
    """Returns the facts of a file of which `part(at, length)` returns what is there, or less at its end.

    Only its header is asked for, some kilobytes at a time.

    Raises:
        UnreadableError: it is no media file.

    """
    reader = reading(size_bytes)
    held_from, held = 0, b""
    try:
        at, length = next(reader)
        while True:
            if not held_from <= at <= at + length <= held_from + len(held):
                held_from, held = at, await part(at, max(length, _PART))
            begin = at - held_from
            at, length = reader.send(held[begin : begin + max(length, _WINDOW)])
    except StopIteration as done:
        seen: Seen = done.value
        if max(seen.width or 0, seen.height or 0) > _MAX_SIDE:
            raise UnreadableError("is not a picture that can be read: no picture is that large") from None
        return Facts(seen.type, size_bytes, seen.width, seen.height)
    except FormatError as error:
        raise UnreadableError(str(error)) from error
