"""How many seconds of output a request orders, from a declaration in its model's file. Pure. Whole seconds.

They are known before a request costs anything, so a quota can hold them. A model whose output has no length
says 0; one that says nothing is not counted, and limits on seconds refuse it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.catalog.findings import Finding, shown
from app.catalog.schema import CompiledSchema
from app.catalog.tables import Kind, Table, TableCompiler, constant, types_of, values_of

MAX_SECONDS: Final = 86_400  # a day of video: more is a slip of the pen
_SECONDS: Final = Kind("output_seconds", "seconds", "seconds", "counted", MAX_SECONDS)
_TABLE_KEYS: Final = frozenset({"inputs", "table", "otherwise"})


class OutputSecondsError(ValueError):
    """The declaration cannot be used; `problems` has everything that is wrong with it."""

    def __init__(self, problems: tuple[Finding, ...]) -> None:
        super().__init__("; ".join(f"{problem.pointer}: {problem.reason}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class InputSeconds:
    """The seconds are an input's own value, or its default; a fraction counts as one more second."""

    name: str
    default: Any

    def amount(self, body: Mapping[str, Any]) -> int | None:
        """The seconds that a body orders; None for one that the schema refuses."""
        value = body.get(self.name, self.default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SECONDS:
            return None
        return math.ceil(value)


OutputSeconds = Table | InputSeconds


def compile_output_seconds(document: Any, schema: CompiledSchema) -> OutputSeconds:
    """Check a declaration against the compiled input schema. Raises `OutputSecondsError`."""
    compiler = _Compiler(schema)
    found = compiler.output_seconds(document)
    if found is None or compiler.problems:
        raise OutputSecondsError(tuple(sorted(compiler.problems)))
    return found


class _Compiler(TableCompiler):
    def __init__(self, schema: CompiledSchema) -> None:
        super().__init__(schema, _SECONDS)

    def output_seconds(self, document: Any) -> OutputSeconds | None:
        if not isinstance(document, dict):
            return constant(self.amount(document))
        if document.keys() == {"input"}:
            return self.from_input(document["input"])
        if "table" in document and document.keys() <= _TABLE_KEYS:
            return self.table(document)
        self.problem(
            'must be whole seconds, {"input": NAME}, or inputs and a table with, where needed, otherwise,'
            f" is {shown(document)}"
        )
        return None

    def from_input(self, name: Any) -> InputSeconds | None:
        schema = self.properties.get(name) if isinstance(name, str) else None
        if schema is None or name in self.media:
            self.problem(f"is not an input of the model that has a value: {shown(name)}", "input")
            return None
        types, default = set(types_of(schema)), schema.get("default")
        if not types or not types <= {"integer", "number"}:
            self.problem(f"is not always a number, so a table is needed: {shown(name)}", "input")
        elif default is None and name not in self.required:
            self.problem(f"can be left out and has no default, so a table is needed: {shown(name)}", "input")
        else:
            ends = [*(values_of(schema) or _ends(schema)), *([] if default is None else [default])]
            if not all(_is_seconds(value) for value in ends):
                self.problem(
                    f"can be below 0 or above {MAX_SECONDS}, so a table is needed: {shown(name)}",
                    "input",
                )
        return InputSeconds(name, default)


def _ends(schema: Mapping[str, Any]) -> list[Any]:
    """The least and the greatest value that a number can have; None for one without."""
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    return [low, schema.get("maximum", schema.get("exclusiveMaximum"))]


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_SECONDS
