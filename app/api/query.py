"""Query parameters are as strict as bodies: what an address does not take is refused, never ignored.

A misspelt filter that were ignored would show everything. So an unknown name, a name that is sent twice and
an empty value are errors; a parameter that takes a list may be repeated, and one whose default is an empty
text may be sent so.
"""

import difflib
import functools
import inspect
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, get_args, get_origin

from fastapi import params
from fastapi.dependencies.utils import get_dependant, get_flat_params
from starlette.requests import Request
from starlette.responses import Response

from app.catalog.findings import clipped, fragment
from app.errors import INVALID_PARAMETER, FieldError, Problem

Handler = Callable[..., Awaitable[Response]]

_MAX_ERRORS: Final = 20
# A `+` that was sent as it is has become a blank.
_MOMENT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[-+ ][0-9]{2}:[0-9]{2})"
)
_MAX_NEAR_CHARS: Final = 64  # finding similar names takes time
_MAX_NAME: Final = 100
_REQUEST: Final = "request"


class Takes(NamedTuple):
    """What a parameter takes: many values, and no value."""

    many: bool = False
    nothing: bool = False


def strict(handler: Handler, *more: str, path: str = "") -> Handler:
    """Returns the handler of a route that refuses every query parameter that the route does not take.

    It takes those in the handler's signature and its dependencies', except those that stand in the route's
    `path`, and those named in `more`, which the handler reads from the request itself. The check comes after
    authentication. What the route takes is found out when the first query comes: FastAPI has looked through
    the same signatures at the start, and doing it for all routes again took a tenth of that.
    """
    signature = inspect.signature(handler)
    takes_request = _REQUEST in signature.parameters

    @functools.cache
    def names() -> dict[str, Takes]:
        return _declared(handler, path) | dict.fromkeys(more, Takes())

    @functools.wraps(handler)
    async def checked(*args: Any, **kwargs: Any) -> Response:
        request: Request = args[0] if args else kwargs[_REQUEST]
        if not takes_request:
            del kwargs[_REQUEST]
        if request.scope.get("query_string") and (errors := faults_in(request, names())):
            raise problem_of(errors)
        return await handler(*args, **kwargs)

    if not takes_request:
        own = inspect.Parameter(_REQUEST, inspect.Parameter.KEYWORD_ONLY, annotation=Request)
        signature = signature.replace(parameters=[*signature.parameters.values(), own])
    checked.__signature__ = signature  # type: ignore[attr-defined]  # which FastAPI reads
    checked.query_names = names  # type: ignore[attr-defined]  # for `unknown_too`
    return checked


def unknown_too(request: Request, invalid: list[FieldError]) -> Problem:
    """Returns the refusal of parameters with invalid values, which also names all that its route refuses."""
    names: Mapping[str, Takes] = getattr(request.scope.get("endpoint"), "query_names", dict)()
    told = hinted(request, [name for name, takes in names.items() if takes.many], invalid)
    strange = {one.pointer: one for one in (*told, *faults_in(request, names))}
    return problem_of(list(strange.values()))


def hinted(request: Request, many: Collection[str], errors: Sequence[FieldError]) -> list[FieldError]:
    """Returns errors that say how several values are sent, where one of `many` was sent with commas."""
    lists = {
        fragment(("query", name)): name
        for name, text in request.query_params.multi_items()
        if "," in text and name in many
    }
    return [
        replace(one, detail=f"{one.detail}; send several values as `{name}=…&{name}=…`")
        if (name := lists.get(one.pointer)) is not None
        else one
        for one in errors
    ]


def moment_ms(name: str, text: str | None) -> int | None:
    """Returns the moment in a parameter as milliseconds since 1970; None where it was not sent.

    A moment is in RFC 3339, with its offset from UTC. One between two milliseconds is the later of them, so
    that what was made before it does not match.

    Raises:
        Problem: INVALID_PARAMETER.

    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+")) if _MOMENT.fullmatch(text) else None
        since = (moment or datetime.fromisoformat("")) - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        detail = "is not a moment such as 2026-11-30T13:00:00Z (RFC 3339, with `Z` or an offset)"
        raise problem_of([_error(name, "moment", detail)]) from error
    us = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return max(0, -(-us // 1000))


def _declared(handler: Handler, path: str) -> dict[str, Takes]:
    """Returns the names of the query parameters in a handler's signature, and what each takes."""
    fields = get_flat_params(get_dependant(path=path.replace(":path", ""), call=handler))
    return {
        field.alias: Takes(_is_list(field.field_info.annotation), field.field_info.default == "")
        for field in fields
        if isinstance(field.field_info, params.Query)
    }


def _is_list(annotation: Any) -> bool:
    return any(get_origin(one) is list for one in (annotation, *get_args(annotation)))


def faults_in(request: Request, names: Mapping[str, Takes]) -> list[FieldError]:
    """Returns what is wrong with the names of a query's parameters, where these may be sent."""
    if not request.scope.get("query_string"):
        return []
    sent = request.query_params.multi_items()
    counts = Counter(name for name, _ in sent)
    empty = {name for name, value in sent if not value}
    errors: list[FieldError] = []
    for name in counts:
        if len(errors) >= _MAX_ERRORS:
            break
        if name not in names:
            errors.append(_error(name, "unknown_parameter", _unknown(name, list(names))))
        elif counts[name] > 1 and not names[name].many:
            errors.append(_error(name, "repeated", f"was sent {counts[name]} times; send it once"))
        elif name in empty and not names[name].nothing:
            errors.append(_error(name, "empty", "is empty; leave it out instead"))
    return errors


def _unknown(name: str, names: list[str]) -> str:
    if not names:
        return "is not known: this address takes no query parameters"
    lowered = {known.lower().replace("_", ""): known for known in names}
    plain = name[:_MAX_NEAR_CHARS].lower().replace("_", "").replace("-", "")
    near = difflib.get_close_matches(plain, lowered, n=1)
    hint = f" (did you mean `{lowered[near[0]]}`?)" if near else ""
    return f"is not a parameter of this address{hint}; parameters: {', '.join(names)}"


def _error(name: str, code: str, detail: str) -> FieldError:
    return FieldError(fragment(("query", clipped(name, _MAX_NAME))), code, detail)


def problem_of(errors: list[FieldError]) -> Problem:
    """Returns the refusal of a query, of which at least one thing is wrong."""
    first = f"`{errors[0].pointer.rpartition('/')[2]}` {errors[0].detail}"
    rest = "" if len(errors) == 1 else " `errors` has all."
    return Problem(INVALID_PARAMETER, f"{first}.{rest}", errors=errors)
