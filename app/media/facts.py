"""The facts of a media file that its bytes tell. Pure: the caller supplies the bytes."""

from dataclasses import dataclass

from app.media.formats import FormatError, see


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
