r"""JSON Schema (2020-12, as OpenAPI 3.1 has it) of TypedDicts and of the types of their fields. Pure.

| Type | Schema |
|---|---|
| `str`, `int`, `float`, `bool` | `type` |
| `Literal["a", "b"]`, a `StrEnum` | a string's `enum` |
| `list[X]` | an array's `items` |
| `dict[str, X]`, `Mapping[str, X]` | an object whose members are all of the schema of `X` |
| a TypedDict | an object; `NotRequired` fields are left out of `required` |
| `X \| None` | `null` as another `type`, or `anyOf` with it for an object: generators want that |
| `X \| Y` | an `anyOf` |
| `Any` | anything |
| `Annotated[X, keywords(...)]` | that of `X`, with these keywords |

A type that is published under its own name is referred to by that name. A type that is not in this table is a
TypeError, so that whoever adds one finds out when the contract is built.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

Schema = dict[str, Any]

_SCALARS: Final = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}
_REFERENCE: Final = "#/components/schemas/"


@dataclass(frozen=True, slots=True, eq=False)  # by identity: a union's members have to be hashable
class Keywords:
    """Keywords of a schema that a type cannot express, in the order in which they are published."""

    members: Mapping[str, Any]


CLOSED: Final = Keywords({"additionalProperties": False})
"""For a TypedDict that allows no further members."""


def keywords(description: str = "", **members: Any) -> Keywords:
    """Returns keywords for `Annotated`, such as `keywords("When it ended.", format="date-time")`."""
    return Keywords(members | ({"description": description} if description else {}))


def components(shapes: Sequence[Any]) -> dict[str, Schema]:
    """Returns the schemas of these types by their names; they refer to one another.

    A type may be `Annotated` with further keywords.
    """
    parts = [get_args(shape) if get_origin(shape) is Annotated else (shape,) for shape in shapes]
    named = [shape for shape, *_ in parts]
    return {
        shape.__name__: _with_keywords(
            _object(shape, named, closed=True) if CLOSED in metadata else _inline(shape, named), metadata
        )
        for shape, *metadata in parts
    }


def schema_of(form: Any, named: Collection[Any] = ()) -> Schema:
    """Returns the schema of a type; a reference where the type is one of `named`.

    Raises:
        TypeError: the type has no schema.

    """
    if any(form is one for one in named):
        return {"$ref": _REFERENCE + form.__name__}
    origin, arguments = get_origin(form), get_args(form)
    if origin is Annotated:
        return _with_keywords(schema_of(arguments[0], named), arguments[1:])
    if origin in {NotRequired, Required}:
        return schema_of(arguments[0], named)
    return _inline(form, named)


def _inline(form: Any, named: Collection[Any]) -> Schema:
    origin, arguments = get_origin(form), get_args(form)
    if is_typeddict(form):
        return _object(form, named)
    if origin in {Union, UnionType}:
        return _union(arguments, named)
    if origin is list:
        return {"type": "array", "items": schema_of(arguments[0], named)}
    if origin in {dict, Mapping} and arguments[0] is str:
        # Without `additionalProperties`, some generators take an object for one that has no members.
        members = True if arguments[1] is Any else schema_of(arguments[1], named)
        return {"type": "object", "additionalProperties": members}
    return _leaf(form, origin, arguments)


def _leaf(form: Any, origin: Any, arguments: tuple[Any, ...]) -> Schema:
    if form is Any:
        return {}
    if form in _SCALARS:
        return {"type": _SCALARS[form]}
    if isinstance(form, type) and issubclass(form, StrEnum):
        return {"type": "string", "enum": [one.value for one in form]}
    if origin is Literal and all(isinstance(one, str) for one in arguments):
        return {"type": "string", "enum": list(arguments)}
    raise TypeError(f"{form!r} has no JSON schema")


def _object(shape: Any, named: Collection[Any], *, closed: bool = False) -> Schema:
    fields = get_type_hints(shape, include_extras=True)
    required = [name for name in fields if name in shape.__required_keys__]
    return {
        "type": "object",
        **(CLOSED.members if closed else {}),
        **({"required": required} if required else {}),
        "properties": {name: schema_of(form, named) for name, form in fields.items()},
    }


def _union(arguments: tuple[Any, ...], named: Collection[Any]) -> Schema:
    others = [one for one in arguments if one is not NoneType]
    if len(others) != 1:
        return {"anyOf": [schema_of(one, named) for one in arguments]}
    schema = schema_of(others[0], named)
    if "$ref" in schema or "anyOf" in schema or schema.get("type") == "object":
        return {"anyOf": [schema, {"type": "null"}]}
    if "type" in schema:
        schema = {**schema, "type": [schema["type"], "null"]}
    return {**schema, "enum": [*schema["enum"], None]} if "enum" in schema else schema


def _with_keywords(schema: Schema, metadata: Sequence[Any]) -> Schema:
    for one in metadata:
        if isinstance(one, Keywords):
            schema = {**schema, **one.members}
    return schema
