"""Whole amounts by the values of a request's inputs, as a table in a model's file. Pure.

Every combination that a valid body can need is in a table when it loads, so that none is forgotten.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from app.catalog.dialect import is_names
from app.catalog.findings import Finding, pointer, shown
from app.catalog.schema import CompiledSchema

_MAX_COMBINATIONS: Final = 10_000
_SHOWN_MISSING: Final = 5

# A JSON scalar with its type: in Python True == 1, in JSON they differ. 121 and 121.0 are the same number.
Scalar: TypeAlias = tuple[str, Any]
ABSENT: Final[Scalar] = ("null", None)


@dataclass(frozen=True, slots=True)
class Table:
    """A checked table. `otherwise` is the amount of every combination that has no row."""

    inputs: tuple[str, ...]
    defaults: Mapping[str, Any]
    rows: Mapping[tuple[Scalar, ...], int]
    otherwise: int | None

    @property
    def amounts(self) -> list[int]:
        """Every amount that it can give."""
        return [*self.rows.values(), *([] if self.otherwise is None else [self.otherwise])]

    def amount(self, body: Mapping[str, Any]) -> int | None:
        """The amount of a body; None where there is none, which no valid body meets.

        An input that the body leaves out counts as its schema's default; the body itself is not changed.
        """
        values = tuple(scalar_of(body.get(name, self.defaults.get(name))) for name in self.inputs)
        return self.rows.get(values, self.otherwise)


def constant(amount: int) -> Table:
    """The table of one amount for every body."""
    return Table((), {}, {}, amount)


def scalar_of(value: Any) -> Scalar:
    """A JSON value as tables compare it; what is no scalar equals none."""
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, int | float):
        return "number", value
    if isinstance(value, str):
        return "string", value
    return ABSENT if value is None else ("other", None)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a table's amounts are: where it stands in the file, a row's key, and its words."""

    at: str
    key: str
    unit: str
    verb: str
    max_amount: int


class TableCompiler:
    """Checks one table against a compiled input schema; `problems` has everything that is wrong with it."""

    def __init__(self, schema: CompiledSchema, kind: Kind) -> None:
        self.kind = kind
        self.problems: list[Finding] = []
        self.properties: Mapping[str, Any] = schema.published.get("properties", {})
        self.required = frozenset(schema.published.get("required", ()))
        self.media = {media.path[0] for media in schema.media if media.path}

    def problem(self, reason: str, *at: str | int) -> None:
        """Note what is wrong at a place of the document."""
        self.problems.append(Finding(pointer((self.kind.at, *at)), reason))

    def amount(self, value: Any, *at: str | int) -> int:
        """A whole amount; 0 with a problem where it is none."""
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= self.kind.max_amount:
            self.problem(
                f"must be whole {self.kind.unit} from 0 to {self.kind.max_amount}, is {shown(value)}", *at
            )
            return 0
        return value

    def table(self, document: Mapping[str, Any]) -> Table | None:
        """The table of a document with `inputs`, `table` and, where they do not cover all, `otherwise`."""
        inputs = document.get("inputs")
        if (
            not is_names(inputs)
            or not isinstance(inputs, list)
            or not inputs
            or len(set(inputs)) < len(inputs)
        ):
            self.problem(f"must be a list of different input names, is {shown(inputs)}", "inputs")
            return None
        for index, name in enumerate(inputs):
            self._check_input(name, index)
        rows = document["table"]
        if not isinstance(rows, list) or not rows:
            self.problem(f"must be a list of at least one row, is {shown(rows)}", "table")
            return None
        otherwise = self.amount(document["otherwise"], "otherwise") if "otherwise" in document else None
        if self.problems:
            return None
        table: dict[tuple[Scalar, ...], int] = {}
        for index, row in enumerate(rows):
            self._row(row, index, inputs, table)
        defaults = {name: self.properties[name].get("default") for name in inputs}
        if otherwise is None and not self.problems:
            self._check_covered(inputs, table)
        return Table(tuple(inputs), defaults, table, otherwise)

    def _check_input(self, name: str, index: int) -> None:
        if name not in self.properties:
            self.problem(f"is not an input of the model: {shown(name)}", "inputs", index)
        elif name in self.media or {"array", "object"} & set(types_of(self.properties[name])):
            self.problem(
                "is a file, a list or an object, which cannot be"
                f" {self.kind.verb} by its value: {shown(name)}",
                "inputs",
                index,
            )

    def _row(self, row: Any, index: int, inputs: list[str], table: dict[tuple[Scalar, ...], int]) -> None:
        if not isinstance(row, dict) or row.keys() != {"when", self.kind.key}:
            self.problem(f"must be an object with when and {self.kind.key}, is {shown(row)}", "table", index)
            return
        when = row["when"]
        amount = self.amount(row[self.kind.key], "table", index, self.kind.key)
        if not isinstance(when, dict) or when.keys() != set(inputs):
            self.problem(
                f"must give a value for each of {', '.join(inputs)}, is {shown(when)}", "table", index, "when"
            )
            return
        values = tuple(scalar_of(when[name]) for name in inputs)
        for name, value in zip(inputs, values, strict=True):
            domain = self._domain(name)
            if value[0] == "other" or (domain is not None and value not in domain):
                self.problem(
                    f"is not a value that this input can have: {shown(when[name])}",
                    "table",
                    index,
                    "when",
                    name,
                )
        if values in table:
            self.problem(f"is a second row for {shown(when)}", "table", index)
        table[values] = amount

    def _domain(self, name: str) -> set[Scalar] | None:
        """The values an input can have in a valid body, default and absence included; None if endless."""
        schema = self.properties[name]
        default = schema.get("default")
        values = values_of(schema)
        if values is None:
            return None
        domain = {scalar_of(value) for value in values}
        if default is not None:
            domain.add(scalar_of(default))
        elif name not in self.required:
            domain.add(ABSENT)
        return domain

    def _check_covered(self, inputs: list[str], table: Mapping[tuple[Scalar, ...], int]) -> None:
        domains = []
        for index, name in enumerate(inputs):
            domain = self._domain(name)
            if domain is None:
                self.problem(
                    f"has no end of values: give otherwise, the {self.kind.unit} of the rest: {shown(name)}",
                    "inputs",
                    index,
                )
            else:
                domains.append(sorted(domain, key=repr))
        if len(domains) < len(inputs):
            return
        if math.prod(len(domain) for domain in domains) > _MAX_COMBINATIONS:
            self.problem(f"have more than {_MAX_COMBINATIONS} combinations: give otherwise", "inputs")
            return
        missing = [values for values in itertools.product(*domains) if values not in table]
        for values in missing[:_SHOWN_MISSING]:
            names = ", ".join(
                f"{name} {shown(value)}" for name, (_, value) in zip(inputs, values, strict=True)
            )
            self.problem(
                f"has no row for {names}" + (" (null: not given)" if ABSENT in values else ""), "table"
            )
        if len(missing) > _SHOWN_MISSING:
            self.problem(f"has no row for {len(missing) - _SHOWN_MISSING} more combinations", "table")


def types_of(schema: Mapping[str, Any]) -> list[str]:
    """The JSON types that a schema names; none where it names none."""
    types = schema.get("type", [])
    return types if isinstance(types, list) else [types]


def values_of(schema: Mapping[str, Any]) -> list[Any] | None:
    """All values that an enum, a boolean or a bounded integer can have."""
    types = types_of(schema)
    rest: list[Any] = [None] if "null" in types else []
    if "const" in schema:
        return [schema["const"]]
    if "enum" in schema:
        return list(schema["enum"])
    main = [name for name in types if name != "null"]
    if main == ["boolean"]:
        return [True, False, *rest]
    if main == ["integer"] and "minimum" in schema and "maximum" in schema:
        low, high = math.ceil(schema["minimum"]), math.floor(schema["maximum"])
        if high - low < _MAX_COMBINATIONS:
            return [*range(low, high + 1), *rest]
    return None
