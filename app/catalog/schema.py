"""A model's input schema in RunComfy's dialect, compiled to strict JSON Schema and a list of media inputs."""

from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from app.catalog.compiler import walk
from app.catalog.findings import Finding, pointer
from app.catalog.media.rules import MediaKind, MediaRule
from app.catalog.standard import JsonObject, build_validator, strict


@dataclass(frozen=True, slots=True)
class MediaInput:
    """A place in a request body that holds a file; None in `path` stands for every element there.

    `types` are the media types that are accepted; an empty set accepts every type of that `kind`.
    """

    path: tuple[str | None, ...]
    kind: MediaKind
    rules: tuple[MediaRule, ...]
    types: frozenset[str]

    @property
    def pointer(self) -> str:
        """The path as a template: `/image_urls/*`."""
        return "".join(pointer([token]) if token is not None else "/*" for token in self.path)


@dataclass(frozen=True, slots=True)
class CompiledSchema:
    """A model's input schema, ready to validate bodies.

    `schema` holds constraints only. `published` is the same schema with its texts, defaults and
    `x-validations`: standard JSON Schema 2020-12, for an OpenAPI 3.1 document.
    """

    schema: JsonObject
    published: JsonObject
    media: tuple[MediaInput, ...]
    warnings: tuple[Finding, ...]
    validator: jsonschema_rs.Draft202012Validator


class SchemaError(ValueError):
    """The schema cannot be compiled; `problems` lists everything that is wrong with it."""

    def __init__(self, problems: tuple[Finding, ...]) -> None:
        super().__init__("; ".join(f"{problem.pointer or '/'}: {problem.reason}" for problem in problems))
        self.problems = problems


def compile_schema(input_schema: Any, at: tuple[str | int, ...] = ("input_schema",)) -> CompiledSchema:
    """Compiles an input schema that stands at the path `at` of its file.

    Raises:
        SchemaError: the schema cannot be compiled.

    """
    walked = walk(input_schema, at)
    if walked.problems:
        raise SchemaError(tuple(sorted(set(walked.problems))))
    schema = strict(walked.published)
    try:
        validator = build_validator(schema)
    except ValueError as error:  # a fault that the walk does not detect
        reason = f"is not a schema that can be compiled: {error}"[:300]
        raise SchemaError((Finding(pointer(at), reason),)) from error
    return CompiledSchema(
        schema=schema,
        published=walked.published,
        media=tuple(MediaInput(path, one.kind, one.rules, one.types) for path, one in walked.media.items()),
        warnings=tuple(sorted(set(walked.warnings))),
        validator=validator,
    )


def standard_json_schema(input_schema: Any) -> JsonObject:
    """Returns an input schema as standard JSON Schema with its documentation.

    Raises:
        SchemaError: the schema cannot be compiled.

    """
    return compile_schema(input_schema).published
