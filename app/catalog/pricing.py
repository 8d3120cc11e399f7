"""Prices of requests, from the price list in a model's file: integer micro-credits, 1,000,000 to a credit.

By convention 1 credit is 1 US dollar. Every model has a price list, and loading checks that the list has a
price for every valid body, so that no request is free because a row was forgotten.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from app.catalog.dialect import is_names
from app.catalog.findings import Finding, pointer, shown
from app.catalog.schema import CompiledSchema

_MAX_PRICE: Final = 10**12  # a million credits: more is surely a mistake, and sums must stay within 64 bits
_MAX_COMBINATIONS: Final = 10_000
_MAX_VERSION: Final = 64
_SHOWN_MISSING: Final = 5
_KEYS: Final = frozenset({"version", "note", "currency", "inputs", "table", "otherwise", "free", "flat"})
_FORMS: Final = ("table", "flat", "free")

# A JSON scalar with its type, because True == 1 in Python but not in JSON. 121 and 121.0 are the same number.
_Scalar: TypeAlias = tuple[str, Any]
_ABSENT: Final[_Scalar] = ("null", None)


class PricingError(ValueError):
    """The price list cannot be used; `problems` lists everything that is wrong with it."""

    def __init__(self, problems: tuple[Finding, ...]) -> None:
        super().__init__("; ".join(f"{problem.pointer}: {problem.reason}" for problem in problems))
        self.problems = problems


class NoPriceError(LookupError):
    """The price list has no price for this body, which therefore violates the model's schema."""


@dataclass(frozen=True, slots=True)
class Pricing:
    """A checked price table.

    `inputs` are the inputs that the price depends on, and `table` the price for each combination of their
    values. `otherwise` is the price of every combination that the table has no row for, None if it has all of
    them.
    """

    version: str
    inputs: tuple[str, ...]
    defaults: Mapping[str, Any]
    table: Mapping[tuple[_Scalar, ...], int]
    otherwise: int | None

    @property
    def lowest(self) -> int:
        """The lowest price that a request can have."""
        prices = [*self.table.values(), *([] if self.otherwise is None else [self.otherwise])]
        return min(prices)


def price(pricing: Pricing, body: Mapping[str, Any]) -> int:
    """Returns the price of a body in micro-credits.

    An input that the body leaves out counts as its schema's default; the body itself is not changed.

    Raises:
        NoPriceError: there is no price, because the model's schema refuses the body.

    """
    values = tuple(_scalar(body.get(name, pricing.defaults.get(name))) for name in pricing.inputs)
    found = pricing.table.get(values, pricing.otherwise)
    if found is None:
        raise NoPriceError(f"no row for {', '.join(pricing.inputs)}")
    return found


def compile_pricing(document: Any, schema: CompiledSchema) -> Pricing:
    """Checks a price list against the compiled input schema.

    Raises:
        PricingError: the price list cannot be used.

    """
    compiler = _Compiler(schema)
    pricing = compiler.pricing(document)
    if pricing is None or compiler.problems:
        raise PricingError(tuple(sorted(compiler.problems)))
    return pricing


def _scalar(value: Any) -> _Scalar:
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, int | float):
        return "number", value
    if isinstance(value, str):
        return "string", value
    return _ABSENT if value is None else ("other", None)


class _Compiler:
    def __init__(self, schema: CompiledSchema) -> None:
        self.problems: list[Finding] = []
        self.properties: Mapping[str, Any] = schema.published.get("properties", {})
        self.required = frozenset(schema.published.get("required", ()))
        self.media = {media.path[0] for media in schema.media if media.path}

    def problem(self, reason: str, *at: str | int) -> None:
        self.problems.append(Finding(pointer(("pricing", *at)), reason))

    def pricing(self, document: Any) -> Pricing | None:
        if not isinstance(document, dict):
            self.problem(f"must be an object, is {shown(document)}")
            return None
        for key in document.keys() - _KEYS:
            self.problem(f"is not a part of a price list; known: {', '.join(sorted(_KEYS))}", key)
        for key in ("note", "currency"):
            if key in document and not isinstance(document[key], str):
                self.problem(f"must be a string, is {shown(document[key])}", key)
        version = document.get("version")
        if not isinstance(version, str) or not 0 < len(version) <= _MAX_VERSION:
            self.problem(f"must be a text of 1 to {_MAX_VERSION} characters, is {shown(version)}", "version")
        forms = [form for form in _FORMS if form in document]
        if len(forms) != 1:
            self.problem(f"must have exactly one of {', '.join(_FORMS)}, has {', '.join(forms) or 'none'}")
            return None
        if forms != ["table"]:
            return self.same_for_all(document, forms[0])
        return self.from_table(document)

    def same_for_all(self, document: Mapping[str, Any], form: str) -> Pricing | None:
        for key in ("inputs", "otherwise"):
            if key in document:
                self.problem(f"belongs to a table, not to {form}", key)
        if form == "free" and document["free"] is not True:
            self.problem(f"must be true, is {shown(document['free'])}", "free")
        amount = 0 if form == "free" else self.amount(document["flat"], "flat")
        return Pricing(str(document.get("version")), (), {}, {}, amount)

    def amount(self, value: Any, *at: str | int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_PRICE:
            self.problem(f"must be whole micro-credits from 0 to {_MAX_PRICE}, is {shown(value)}", *at)
            return 0
        return value

    def from_table(self, document: Mapping[str, Any]) -> Pricing | None:
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
            self.check_input(name, index)
        rows = document["table"]
        if not isinstance(rows, list) or not rows:
            self.problem(f"must be a list of at least one row, is {shown(rows)}", "table")
            return None
        otherwise = self.amount(document["otherwise"], "otherwise") if "otherwise" in document else None
        if self.problems:
            return None
        table: dict[tuple[_Scalar, ...], int] = {}
        for index, row in enumerate(rows):
            self.row(row, index, inputs, table)
        defaults = {name: self.properties[name].get("default") for name in inputs}
        if otherwise is None and not self.problems:
            self.check_covered(inputs, table)
        return Pricing(str(document["version"]), tuple(inputs), defaults, table, otherwise)

    def check_input(self, name: str, index: int) -> None:
        if name not in self.properties:
            self.problem(f"is not an input of the model: {shown(name)}", "inputs", index)
        elif name in self.media or {"array", "object"} & set(_types(self.properties[name])):
            self.problem(
                f"is a file, a list or an object, which cannot be priced by its value: {shown(name)}",
                "inputs",
                index,
            )

    def row(self, row: Any, index: int, inputs: list[str], table: dict[tuple[_Scalar, ...], int]) -> None:
        if not isinstance(row, dict) or row.keys() != {"when", "microcredits"}:
            self.problem(f"must be an object with when and microcredits, is {shown(row)}", "table", index)
            return
        when = row["when"]
        amount = self.amount(row["microcredits"], "table", index, "microcredits")
        if not isinstance(when, dict) or when.keys() != set(inputs):
            self.problem(
                f"must give a value for each of {', '.join(inputs)}, is {shown(when)}", "table", index, "when"
            )
            return
        values = tuple(_scalar(when[name]) for name in inputs)
        for name, value in zip(inputs, values, strict=True):
            domain = self.domain(name)
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

    def domain(self, name: str) -> set[_Scalar] | None:
        """Returns the values that an input can have in a valid body; None if they cannot be enumerated.

        The default is one of them, and so is the input's absence where it is neither required nor has a
        default.
        """
        schema = self.properties[name]
        default = schema.get("default")
        values = _values(schema)
        if values is None:
            return None
        domain = {_scalar(value) for value in values}
        if default is not None:
            domain.add(_scalar(default))
        elif name not in self.required:
            domain.add(_ABSENT)
        return domain

    def check_covered(self, inputs: list[str], table: Mapping[tuple[_Scalar, ...], int]) -> None:
        domains = []
        for index, name in enumerate(inputs):
            domain = self.domain(name)
            if domain is None:
                self.problem(
                    f"has no end of values: give otherwise, a price for the rest: {shown(name)}",
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
                f"has no row for {names}" + (" (null: not given)" if _ABSENT in values else ""), "table"
            )
        if len(missing) > _SHOWN_MISSING:
            self.problem(f"has no row for {len(missing) - _SHOWN_MISSING} more combinations", "table")


def _types(schema: Mapping[str, Any]) -> list[str]:
    types = schema.get("type", [])
    return types if isinstance(types, list) else [types]


def _values(schema: Mapping[str, Any]) -> list[Any] | None:
    """Returns all values that a constant, an enum, a boolean or a bounded integer can have; else None."""
    types = _types(schema)
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
