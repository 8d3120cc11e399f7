"""Functions on compiled schemas, which are standard JSON Schema 2020-12 without references."""

from collections.abc import Mapping
from typing import Any, Final

import jsonschema_rs

from app.catalog import dialect

JsonObject = dict[str, Any]

CONSTRAINING: Final = frozenset(
    {*dialect.CONSTRAINTS, "type", "items", "additionalProperties", "unevaluatedProperties"}
)


def build_validator(schema: JsonObject) -> jsonschema_rs.Draft202012Validator:
    """Returns a validator that also checks formats.

    Raises:
        ValueError: the schema is not valid.

    """
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


def strict(node: JsonObject) -> JsonObject:
    """Returns the constraints of a published schema, without its annotations."""
    out: JsonObject = {}
    for key, value in node.items():
        if key == "properties":
            out[key] = {name: strict(child) for name, child in value.items()}
        elif key in dialect.BRANCH_LISTS:
            out[key] = [strict(child) for child in value]
        elif isinstance(value, dict) and key in ("items", "additionalProperties", *dialect.BRANCHES):
            out[key] = strict(value)
        elif key in CONSTRAINING:
            out[key] = value
    return out


def is_closed(schema: Mapping[str, Any]) -> bool:
    """Returns whether an object schema refuses the fields that it does not name."""
    return schema.get("additionalProperties") is False or schema.get("unevaluatedProperties") is False


def known_fields(schema: Mapping[str, Any]) -> list[str]:
    """Returns the property names of a compiled object schema and its branches, in the order of the file."""
    names: dict[str, None] = dict.fromkeys(schema.get("properties", ()))
    branches = [child for key in dialect.BRANCH_LISTS for child in schema.get(key, ())]
    branches += [schema[key] for key in dialect.BRANCHES if key in schema]
    for child in branches:
        names |= dict.fromkeys(known_fields(child))
    return list(names)
