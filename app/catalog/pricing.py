"""Prices of a model's requests, from a price list in its file. Integer micro-credits, 1,000,000 to a credit.

By convention 1 credit is 1 US dollar. Every model has a price list, and every price that a valid body can
need is in it when it loads, so that no request is served for nothing because a row was forgotten.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.catalog.findings import Finding, shown
from app.catalog.schema import CompiledSchema
from app.catalog.tables import Kind, Table, TableCompiler, constant

# A million credits: more is a slip of the pen, and sums must stay within 64 bits.
_PRICES: Final = Kind("pricing", "microcredits", "micro-credits", "priced", 10**12)
_MAX_VERSION: Final = 64
_KEYS: Final = frozenset({"version", "note", "currency", "inputs", "table", "otherwise", "free", "flat"})
_FORMS: Final = ("table", "flat", "free")


class PricingError(ValueError):
    """The pricing document cannot be used; `problems` has everything that is wrong with it."""

    def __init__(self, problems: tuple[Finding, ...]) -> None:
        super().__init__("; ".join(f"{problem.pointer}: {problem.reason}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Pricing:
    """A checked price list."""

    version: str
    table: Table

    @property
    def lowest(self) -> int:
        """The least that a request can cost."""
        return min(self.table.amounts)

    @property
    def highest(self) -> int:
        """The most that a request can cost."""
        return max(self.table.amounts)


def compile_pricing(document: Any, schema: CompiledSchema) -> Pricing:
    """Check a pricing document against the compiled input schema. Raises `PricingError`."""
    compiler = _Compiler(schema)
    pricing = compiler.pricing(document)
    if pricing is None or compiler.problems:
        raise PricingError(tuple(sorted(compiler.problems)))
    return pricing


class _Compiler(TableCompiler):
    def __init__(self, schema: CompiledSchema) -> None:
        super().__init__(schema, _PRICES)

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
        table = self.table(document)
        return None if table is None else Pricing(str(document.get("version")), table)

    def same_for_all(self, document: Mapping[str, Any], form: str) -> Pricing | None:
        for key in ("inputs", "otherwise"):
            if key in document:
                self.problem(f"belongs to a table, not to {form}", key)
        if form == "free" and document["free"] is not True:
            self.problem(f"must be true, is {shown(document['free'])}", "free")
        amount = 0 if form == "free" else self.amount(document["flat"], "flat")
        return Pricing(str(document.get("version")), constant(amount))
