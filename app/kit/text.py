"""Texts that people give: whether a database can hold them, and how a message repeats them."""

from typing import Final

_MAX_SHOWN: Final = 60


def is_storable(text: str) -> bool:
    """Returns whether both databases can hold the text: it has no NUL and no lone surrogate.

    A lone surrogate is what Python makes of an argument that is not UTF-8.
    """
    return "\0" not in text and (text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text))


def printable(text: str) -> str:
    """Returns the text with every character escaped that a terminal or a table may not show as it is.

    These are line breaks, control characters, and those that are invisible or turn the direction of writing.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def quoted(text: str) -> str:
    """Returns a text as a message repeats it: quoted, in printable characters, and cut after 60."""
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…")
