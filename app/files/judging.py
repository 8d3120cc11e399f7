"""What is demanded of an uploaded file: to be of media, and to meet the rules of the model it is for."""

from app.catalog.media.judge import faults_of
from app.catalog.model import Model
from app.errors import INVALID_FILE, FieldError, Problem
from app.media.facts import Facts, UnreadableError

_POINTER = "#/file"


def refuse_unreadable(error: UnreadableError) -> Problem:
    """Returns the refusal of what is no file of media."""
    return _problem("The file is no picture, video or sound.", [("media_unreadable", str(error))])


def refuse_too_large(size_bytes: int, announced: int) -> Problem:
    """Returns the refusal of a direct upload of more bytes than its form was made for."""
    text = f"has {size_bytes:,} bytes, and {announced:,} were announced"
    return _problem(f"The file {text}. Begin a new upload with its `size_bytes`.", [("too_large", text)])


def check(facts: Facts, model: Model, place: str | None) -> None:
    """Refuses a file that a model takes nowhere, or not in the place that is named.

    `place` is a media input as the model's document names it, such as `/image_urls/*`; None: any.

    Raises:
        Problem: INVALID_FILE.

    """
    inputs = [one for one in model.compiled.media if place is None or one.pointer == place]
    if not inputs:
        known = ", ".join(one.pointer for one in model.compiled.media) or "none"
        what = "a place for a file" if place is None else f"the place {place!r}"
        detail = f"The model {model.model_id} has not {what}; it has {known}."
        raise _problem(detail, [("place", f"does not fit: places for files are {known}")])
    faults = min((faults_of(one, facts) for one in inputs), key=len)
    if faults:
        raise _problem(f"The file breaks the rules of {model.model_id}; see `errors`.", faults)


def _problem(detail: str, faults: list[tuple[str, str]]) -> Problem:
    return Problem(INVALID_FILE, detail, errors=[FieldError(_POINTER, code, text) for code, text in faults])
