"""Operations: how a use case of this package is called over HTTP, and by a command on another machine.

An operation names the function that it calls, and what HTTP needs beside: method, path, scope, and the
document of its result. Its parameters are those of the function: one that stands in the path is taken from
there, the others from the query (GET) or from the JSON body. A parameter that is a dataclass is sent as its
fields; one of bytes is a file, which is the body, and then the others are in the query. So there is one
description for the server, the contract and the commands.
"""

import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import date
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, TypeVar, get_args, get_origin
from urllib.parse import quote

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, create_model
from sqlalchemy import Connection

from app.admin.session import AdminGateway
from app.auth.admin_keys import AdminScope
from app.errors import Fault

D = TypeVar("D")

REASON: Final = "reason"
_CREATED: Final = 201
_DATES: Final = (date, AwareDatetime)
_DATE: Final = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_GIVEN: Final = ("gateway", "actor")  # by whoever calls the function


class Parameter(NamedTuple):
    """A parameter of an operation: its type, its default (`...`: none), and where it is sent."""

    name: str
    form: Any
    default: Any
    place: Literal["path", "query", "body", "file"]


class Sent(NamedTuple):
    """A call as it is sent: its path with the query's members, and its JSON body or file (None: neither)."""

    path: str
    query: list[tuple[str, str]]
    body: dict[str, Any] | None
    file: bytes | None = None


class Upload(NamedTuple):
    """The media type of an operation's body where that is a file, and the most bytes that it may have."""

    media_type: str
    max_bytes: int


class Form(NamedTuple):
    """Another media type that an operation's result can be had in: a file, written in pieces."""

    media_type: str
    write: Callable[[AdminGateway, Any], AsyncIterator[bytes]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Operation(Generic[D]):
    """One operation of the admin API.

    `command` is the command that does the same, as it is typed after `reelgate`. `document` makes the answer
    of the function's result, whose shape is `shape`. `current` reads, and locks, what a change is of, and
    returns its document: an edit is refused where the document has another tag than the caller read.
    `reveals` is the member of the answer that is a secret: it is shown once, and is never stored. `forms` are
    what the parameter `format` can ask for in place of the document, by their names. With `upload` the body
    is a file, which is read and not kept: the operation changes nothing. One that is done `in_steps` writes
    more than once, and can be repeated without harm: its answer is recorded when all is done.
    """

    name: str
    command: str
    method: Literal["GET", "POST", "PUT"]
    path: str
    scope: AdminScope
    tag: str
    text: str
    function: Callable[..., Awaitable[Any]]
    document: Callable[[AdminGateway, Any], D]
    shape: Any
    faults: tuple[Fault, ...] = ()
    status: int = 200
    current: Callable[[AdminGateway, Connection, Mapping[str, Any]], Mapping[str, Any]] | None = None
    reveals: str | None = None
    forms: Mapping[str, Form] = field(default_factory=dict)
    upload: Upload | None = None
    in_steps: bool = False

    @property
    def changes(self) -> bool:
        """Whether it is a change: it needs an actor, a reason and an Idempotency-Key."""
        return self.method != "GET" and self.upload is None

    @property
    def edits(self) -> bool:
        """Whether it replaces something that the caller must have read: it needs `If-Match`."""
        return self.method == "PUT"

    @property
    def compares(self) -> bool:
        """Whether it is of something that is there, and that `If-Match` may name a version of."""
        return self.changes and self.current is not None and self.status != _CREATED

    @property
    def tagged(self) -> bool:
        """Whether its answer has an entity tag: it is one thing, which can be edited."""
        return self.current is not None and self.reveals is None

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters, in the function's order, with those that are dataclasses taken apart."""
        found = []
        for name, one in inspect.signature(self.function).parameters.items():
            if name in _GIVEN:
                continue
            if is_dataclass(one.annotation):
                for each in fields(one.annotation):
                    default = ... if each.default is MISSING else each.default
                    found.append(self._parameter(each.name, each.type, default))
            else:
                default = ... if one.default is one.empty or name == REASON else one.default
                found.append(self._parameter(name, str if name == REASON else one.annotation, default))
        return tuple(found)

    def _parameter(self, name: str, form: Any, default: Any) -> Parameter:
        if f"{{{name}}}" in self.path:
            return Parameter(name, str, ..., "path")
        if form is bytes:
            return Parameter(name, bytes, ..., "file")
        if self.changes:
            return Parameter(name, _listed(form), default, "body")
        return Parameter(name, _listed(form, dated=True), default, "query")

    @cached_property
    def model(self) -> type[BaseModel]:
        """What checks the members of the body or of the query."""
        members: dict[str, Any] = {
            one.name: (one.form, one.default) for one in self.parameters if one.place in {"query", "body"}
        }
        config = ConfigDict(extra="forbid", strict=self.changes)
        return create_model(self.name, __config__=config, **members)

    def arguments(self, members: Mapping[str, Any], *, of_path: Mapping[str, str]) -> dict[str, Any]:
        """Returns the function's arguments for checked members of a body or query, and those of the path."""
        values = {**members, **of_path}
        given: dict[str, Any] = {}
        for name, one in inspect.signature(self.function).parameters.items():
            if name in _GIVEN:
                continue
            if is_dataclass(one.annotation) and isinstance(one.annotation, type):
                names = [each.name for each in fields(one.annotation)]
                given[name] = one.annotation(**{each: values[each] for each in names if each in values})
            elif name in values:
                given[name] = values[name]
        return given

    def sent(self, arguments: Mapping[str, Any]) -> Sent:
        """Returns the call with these arguments of the function, as it is sent."""
        values: dict[str, Any] = {}
        for name, value in arguments.items():
            if is_dataclass(value) and not isinstance(value, type):
                values |= {one.name: getattr(value, one.name) for one in fields(value)}
            else:
                values[name] = value
        path, query, body, file = self.path, [], {}, None
        for one in self.parameters:
            if one.place == "file":
                file = values[one.name]
                continue
            value = _plain(values.get(one.name))
            if one.place == "path":
                path = path.replace(f"{{{one.name}}}", quote(str(value), safe=""))
            elif one.place == "body" and (value is not None or one.default is ...):
                body[one.name] = value
            elif one.place == "query" and value is not None:
                several = value if isinstance(value, list) else [value]
                query += [(one.name, _word(each)) for each in several]
        return Sent(path, query, body if self.changes else None, file)


def _dated(value: Any) -> Any:
    """Returns a day or moment as it was sent; pydantic would take a number for the seconds since 1970."""
    if isinstance(value, str) and _DATE.match(value) is None:
        raise ValueError("must begin with a day, such as 2026-11-30")
    return value


def _listed(form: Any, *, dated: bool = False) -> Any:
    """Returns a type as it is sent: a sequence is a list and, where `dated`, a day or moment no number.

    In a body, which is checked strictly, that is so in any case.
    """
    origin, arguments = get_origin(form), get_args(form)
    if origin is Sequence:
        return list[arguments]  # type: ignore[valid-type]  # made of a type that is known when it runs
    if dated and form in _DATES:
        return Annotated[form, BeforeValidator(_dated)]
    if arguments and any(get_origin(one) is Sequence or one in _DATES for one in arguments):
        made = _listed(arguments[0], dated=dated)
        for one in arguments[1:]:
            made |= _listed(one, dated=dated)
        return made
    return form


def _plain(value: Any) -> Any:
    """Returns an argument as JSON has it."""
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, (list, tuple, frozenset, set)):
        return [_plain(one) for one in value]
    return value


def _word(value: Any) -> str:
    """Returns a member of a query as it is sent."""
    return str(value).lower() if isinstance(value, bool) else str(value)
