"""References: `rg-file:` and an id, which stand in an input in place of the URL of an uploaded file. Pure."""

from typing import Final

from app.kit.ids import is_id

PREFIX: Final = "rg-file:"


def is_reference(value: str) -> bool:
    """Returns whether the value of a media input names an uploaded file, by its id or by what is no id."""
    return value.startswith(PREFIX)


def id_in(value: str) -> str | None:
    """Returns the id in a reference, or None where there is none in it."""
    found = value.removeprefix(PREFIX)
    return found if found != value and is_id(found) else None


def reference_to(file_id: str) -> str:
    """Returns the reference to a file."""
    return PREFIX + file_id
