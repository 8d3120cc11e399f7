"""How a use case refuses bad input: every violation at once."""

from collections.abc import Sequence

from app.errors import Fault, FieldError, Problem


def refuse(fault: Fault, errors: Sequence[FieldError]) -> None:
    """Raise the problem of these violations, if there are any.

    Its detail is the violation itself where there is one, else how many there are.
    """
    if len(errors) == 1:
        raise Problem(fault, errors[0].detail, errors=errors)
    if errors:
        raise Problem(fault, f"{len(errors)} violations; see `errors`.", errors=errors)
