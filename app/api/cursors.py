"""Cursors of listings, newest first: the moment and the id of the last one shown, opaque to callers."""

import base64
import binascii
from collections.abc import Callable

from app.errors import INVALID_PARAMETER, FieldError, Problem

_MAX_DIGITS = 15  # of milliseconds since 1970: some 30,000 years


def encode_cursor(created_at_ms: int, name: str) -> str:
    """The cursor after the entry of that moment and id."""
    return base64.urlsafe_b64encode(f"{created_at_ms}.{name}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str, is_name: Callable[[str], bool]) -> tuple[int, str]:
    """Moment and id in a cursor.

    Raises:
        Problem: INVALID_PARAMETER, it is none of ours.

    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode(
            "ascii"
        )
        created, _, name = raw.partition(".")
        at_ms = int(created) if created.isdigit() and len(created) <= _MAX_DIGITS else -1
    except (binascii.Error, ValueError):
        at_ms, name = -1, ""
    if at_ms < 0 or not is_name(name):
        error = FieldError("#/query/cursor", "cursor", "is not a `next_cursor` of this listing")
        raise Problem(INVALID_PARAMETER, "The cursor is not one of ours.", errors=[error])
    return at_ms, name
