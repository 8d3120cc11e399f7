"""The keywords of RunComfy's schema dialect: what the value of each must be, and which are refused."""

import math
import re
from collections.abc import Callable
from typing import Any, Final

import jsonschema_rs

from app.catalog.findings import shown

# Type names of the dialect, and JSON Schema's names for them: only `float` is RunComfy's own.
TYPES: Final = {
    "string": "string",
    "number": "number",
    "float": "number",
    "integer": "integer",
    "boolean": "boolean",
    "array": "array",
    "object": "object",
    "null": "null",
}

# Formats that the validator checks. All others, except the media formats, are annotations.
CHECKED_FORMATS: Final = frozenset(
    {
        "date",
        "date-time",
        "time",
        "duration",
        "email",
        "idn-email",
        "hostname",
        "idn-hostname",
        "ipv4",
        "ipv6",
        "uri",
        "uri-reference",
        "iri",
        "iri-reference",
        "uuid",
        "regex",
        "json-pointer",
        "relative-json-pointer",
        "uri-template",
    }
)
MEDIA_FORMAT: Final = re.compile(r"([a-z0-9-]+)_uri(s?)")

# Annotations that are known, and so cause no warning.
ANNOTATIONS: Final = frozenset({"title", "description", "default", "deprecated", "$comment", "$schema"})
# Keywords that are not copied: definitions replace the `$ref`s that name them.
DROPPED: Final = frozenset({"$schema", "$defs", "definitions", "nullable", "$ref"})
# Keywords whose values are schemas that judge the same value; the compiler walks into them.
BRANCH_LISTS: Final = ("allOf", "anyOf", "oneOf")
BRANCHES: Final = ("not", "if", "then", "else")

# Keywords whose constraints are not compiled here. A file with one is refused: ignoring the constraint would
# accept requests that RunComfy refuses.
REFUSED: Final = frozenset(
    {
        "$dynamicRef",
        "$recursiveRef",
        "$dynamicAnchor",
        "patternProperties",
        "propertyNames",
        "prefixItems",
        "additionalItems",
        "contains",
        "minContains",
        "maxContains",
        "unevaluatedItems",
        "unevaluatedProperties",
        "dependentSchemas",
        "dependencies",
        "extends",
        "disallow",
        "divisibleBy",
    }
)

# The type that a keyword applies to: used to infer a missing `type`, and to warn of keywords without effect.
SPEAKS_OF: Final = {
    "properties": "object",
    "required": "object",
    "additionalProperties": "object",
    "minProperties": "object",
    "maxProperties": "object",
    "dependentRequired": "object",
    "items": "array",
    "minItems": "array",
    "maxItems": "array",
    "uniqueItems": "array",
    "minLength": "string",
    "maxLength": "string",
    "pattern": "string",
    "minimum": "number",
    "maximum": "number",
    "exclusiveMinimum": "number",
    "exclusiveMaximum": "number",
    "multipleOf": "number",
}

# Pairs of a lower and an upper bound, and whether equal values contradict each other too.
BOUNDS: Final = (
    ("minItems", "maxItems", False),
    ("minLength", "maxLength", False),
    ("minProperties", "maxProperties", False),
    ("minimum", "maximum", False),
    ("exclusiveMinimum", "maximum", True),
    ("minimum", "exclusiveMaximum", True),
    ("exclusiveMinimum", "exclusiveMaximum", True),
)


def is_number(value: Any) -> bool:
    """Returns whether the value is a finite JSON number; a Python boolean is not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def is_names(value: Any) -> bool:
    """Returns whether the value is a list of strings."""
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _count(value: Any) -> str | None:
    fine = is_number(value) and value >= 0 and value == int(value)
    return None if fine else f"must be an integer of at least 0, is {shown(value)}"


def _number(value: Any) -> str | None:
    return None if is_number(value) else f"must be a number, is {shown(value)}"


def _positive(value: Any) -> str | None:
    return None if is_number(value) and value > 0 else f"must be a number greater than 0, is {shown(value)}"


def _boolean(value: Any) -> str | None:
    return None if isinstance(value, bool) else f"must be true or false, is {shown(value)}"


def _string(value: Any) -> str | None:
    return None if isinstance(value, str) else f"must be a string, is {shown(value)}"


def _names(value: Any) -> str | None:
    return None if is_names(value) else f"must be a list of property names, is {shown(value)}"


def _dependent(value: Any) -> str | None:
    fine = isinstance(value, dict) and all(is_names(names) for names in value.values())
    return None if fine else f"must map property names to lists of property names, is {shown(value)}"


def _enum(value: Any) -> str | None:
    return (
        None
        if isinstance(value, list) and value
        else f"must be a list of at least one value, is {shown(value)}"
    )


def _pattern(value: Any) -> str | None:
    if not isinstance(value, str):
        return _string(value)
    try:
        jsonschema_rs.Draft202012Validator({"pattern": value}, validate_formats=True)
    except ValueError:
        return f"is not a regular expression that the validator supports: {shown(value)}"
    return None


def _anything(_value: Any) -> str | None:
    return None


# Keywords that constrain, each with a check of its value that returns what is wrong, or None. A keyword whose
# value passes is copied into the compiled schema (`format`, `required` and `nullable` are treated apart).
CONSTRAINTS: Final[dict[str, Callable[[Any], str | None]]] = {
    "enum": _enum,
    "const": _anything,
    "format": _string,
    "pattern": _pattern,
    "minLength": _count,
    "maxLength": _count,
    "minimum": _number,
    "maximum": _number,
    "exclusiveMinimum": _number,
    "exclusiveMaximum": _number,
    "multipleOf": _positive,
    "minItems": _count,
    "maxItems": _count,
    "uniqueItems": _boolean,
    "minProperties": _count,
    "maxProperties": _count,
    "required": _names,
    "dependentRequired": _dependent,
    "nullable": _boolean,
}
COUNTS: Final = frozenset(name for name, check in CONSTRAINTS.items() if check is _count)


def has_type(value: Any, types: list[str]) -> bool:
    """Returns whether a JSON value is of one of the (standard) types; 121.0 is an integer."""
    return any(_TYPE_TESTS[name](value) for name in types)


_TYPE_TESTS: Final[dict[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "number": is_number,
    "integer": lambda value: is_number(value) and value == int(value),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}
