"""What can be told of a file. Pure: the bytes come from wherever."""

from dataclasses import dataclass

from app.media.formats import FormatError, see


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file is: its media type by its first bytes, and what could be told of the rest.

    `size_bytes` is None where the server did not say and nobody needed it; one that was counted no further
    than needed is at least that. Width and height are in pixels, as stored.
    """

    type: str
    size_bytes: int | None = None
    width: int | None = None
    height: int | None = None


class UnreadableError(ValueError):
    """The file is there and is no media file; the message is public words."""


def facts_of(head: bytes, *, whole: bool) -> Facts:
    """The facts of a file by its first bytes; its size where these are all of them.

    Raises:
        UnreadableError: it is no media file.
        NeedMoreError: more bytes could change the answer; not where `whole`.

    """
    try:
        seen = see(head, whole=whole)
    except FormatError as error:
        raise UnreadableError(str(error)) from error
    return Facts(seen.type, len(head) if whole else None, seen.width, seen.height)
