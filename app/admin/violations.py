"""Violations of bad input: finding them in texts, and refusing all of them at once."""

from collections.abc import Sequence

from app.errors import Fault, FieldError, Problem
from app.kit.redaction import redactor


def refuse(fault: Fault, errors: Sequence[FieldError]) -> None:
    """Raises the problem of these violations; does nothing where there are none.

    The problem's detail is the violation itself where there is one, else how many there are.

    Raises:
        Problem: of `fault`.

    """
    if len(errors) == 1:
        raise Problem(fault, errors[0].detail, errors=errors)
    if errors:
        raise Problem(fault, f"{len(errors)} violations; see `errors`.", errors=errors)


def faults_of_text(
    pointer: str, noun: str, text: str, *, min_length: int = 0, max_length: int
) -> list[FieldError]:
    """Returns what is wrong with a text that is stored as it is given, such as a note, if anything is.

    Its length is within the bounds, its characters are printable, so that it stays on one line, and it shows
    no secret: tables that are append-only would keep it for ever. `noun` names it in the message.
    """
    if not min_length <= len(text) <= max_length or not text.isprintable():
        bounds = f"{min_length} to {max_length}" if min_length else f"at most {max_length}"
        return [FieldError(pointer, "pattern", f"{noun} is {bounds} printable characters.")]
    if text != text.strip():
        return [FieldError(pointer, "pattern", f"{noun} neither begins nor ends with a blank.")]
    if redactor.finds_secret(text):
        return [FieldError(pointer, "secret", f"{noun} has no key, token or other secret in it.")]
    return []
