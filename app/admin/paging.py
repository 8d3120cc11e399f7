"""Lists in pages: what a use case that lists returns, and the last entry of the page before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Generic, TypeVar

from pydantic import Field

from app.errors import INVALID_PARAMETER, FieldError, Problem

T = TypeVar("T")

MAX_PAGE: Final = 100
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


def unknown_cursor() -> Problem:
    """Returns the refusal of a cursor that is not of this list."""
    error = FieldError("#/query/cursor", "cursor", "is not a `next_cursor` of this listing")
    return Problem(INVALID_PARAMETER, "The cursor is not one of ours.", errors=[error])
