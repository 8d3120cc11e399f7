"""Cursors of lists sorted newest first: the time and id of the last entry shown, opaque to callers."""

import base64
import binascii
from collections.abc import Callable, Sequence

import orjson

from app.errors import INVALID_PARAMETER, FieldError, Problem

_MAX_DIGITS = 15  # of a time in milliseconds since 1970: some 30,000 years


def encode_cursor(created_at_ms: int, name: str) -> str:
    """Returns the cursor of the page after the entry with that time and id."""
    return base64.urlsafe_b64encode(f"{created_at_ms}.{name}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str, is_name: Callable[[str], bool]) -> tuple[int, str]:
    """Returns the time (milliseconds since 1970) and the id in a cursor.

    Raises:
        Problem: INVALID_PARAMETER, where it is no cursor of this list; `is_name` says whether an id can be
            one.

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


def encode_key(values: Sequence[int | str]) -> str:
    """Returns the cursor of the page after the row with this key."""
    return base64.urlsafe_b64encode(orjson.dumps([*values])).decode().rstrip("=")


def decode_key(cursor: str) -> tuple[int | str, ...]:
    """Returns the key in a cursor; whether it is one of the listing is the caller's to judge.

    Raises:
        Problem: INVALID_PARAMETER.

    """
    try:
        values = orjson.loads(
            base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        )
    except (binascii.Error, ValueError):
        values = None
    if not isinstance(values, list) or not all(type(one) in {int, str} for one in values):
        error = FieldError("#/query/cursor", "cursor", "is not a `next_cursor` of this listing")
        raise Problem(INVALID_PARAMETER, "The cursor is not one of ours.", errors=[error])
    return tuple(values)
