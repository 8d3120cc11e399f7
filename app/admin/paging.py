"""Lists in pages: what a use case that lists returns, and the last entry of the page before."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import Field

from app.errors import INVALID_PARAMETER, FieldError, Problem
from app.kit.json import dumps, parse_strict

T = TypeVar("T")

MAX_PAGE: Final = 100
_MAX_INT: Final = 2**53
PageSize = Annotated[int, Field(ge=1, le=MAX_PAGE)]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some entries of a list, and the cursor of those that follow; None where these are the last."""

    entries: Sequence[T]
    next_cursor: str | None


def page_of(found: Sequence[T], limit: int, cursor_of: Callable[[T], str]) -> Page[T]:
    """Returns the first `limit` of what was found; whoever searched for one more knows whether any follow."""
    shown = found[:limit]
    return Page(shown, cursor_of(shown[-1]) if len(found) > limit else None)


def cursor_of(*place: str | int) -> str:
    """Returns the cursor of the page after the entry at this place of the list, opaque to callers."""
    return base64.urlsafe_b64encode(dumps(place)).decode().rstrip("=")


def place_in(cursor: str, *forms: type) -> tuple[Any, ...]:
    """Returns the place in a cursor, whose parts have these types.

    Raises:
        Problem: INVALID_PARAMETER, where it is no cursor of this list.

    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        place = parse_strict(raw)
    except (binascii.Error, ValueError):  # a JSONRefused among them
        place = None
    if not isinstance(place, list) or [type(one) for one in place] != list(forms):
        raise unknown_cursor()
    if any(isinstance(one, int) and abs(one) > _MAX_INT for one in place):
        raise unknown_cursor()
    return tuple(place)


def unknown_cursor() -> Problem:
    """Returns the refusal of a cursor that is not of this list."""
    error = FieldError("#/query/cursor", "cursor", "is not a `next_cursor` of this listing")
    return Problem(INVALID_PARAMETER, "The cursor is not one of ours.", errors=[error])
