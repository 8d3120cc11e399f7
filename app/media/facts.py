"""The facts of a media file that its first bytes tell. Pure: the caller supplies the bytes."""

from dataclasses import dataclass

from app.media.formats import FormatError, see


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a file: its media type by its first bytes, its size and a picture's dimensions.

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


def facts_of(head: bytes, *, whole: bool) -> Facts:
    """Returns the facts of a file by its first bytes.

    `whole` says that `head` is all of the file, or all that will be read of it; its length then counts as the
    size.

    Raises:
        UnreadableError: it is no media file.
        NeedMoreError: more bytes could change the answer; never where `whole`.

    """
    try:
        seen = see(head, whole=whole)
    except FormatError as error:
        raise UnreadableError(str(error)) from error
    return Facts(seen.type, len(head) if whole else None, seen.width, seen.height)
