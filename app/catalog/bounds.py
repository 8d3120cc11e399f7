"""Bounds on inputs: which values of a model's inputs a client token lets through. Pure.

A bound is of one top-level input: `enum`, `minimum`, `maximum`, `max_length`. An input that a body leaves out
counts as its default; where it has none, nobody here knows what the vendor would take, and it is refused.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.catalog.findings import fragment, listed, shown
from app.catalog.model import Model
from app.catalog.validate import Violation, violations

CODE: Final = "out_of_bounds"
_OF_NUMBERS: Final = ("minimum", "maximum")
_TYPES: Final = {
    **dict.fromkeys(_OF_NUMBERS, frozenset({"integer", "number"})),
    "max_length": frozenset({"array", "string"}),
}
MAX_VALUES: Final = 100  # each is judged by the model's whole schema, in some 70 microseconds
_KEYWORDS: Final = ("enum", *_OF_NUMBERS, "max_length")
_LEFT_OUT: Final = {True: "left out, it counts as its default", False: "it was left out, and has no default"}

Bounds = Mapping[str, Mapping[str, Any]]


def faults_of_bounds(model: Model, bounds: Bounds) -> list[Violation]:
    """What is wrong with bounds for this model; their pointers begin with `#/bounds`."""
    values = sum(len(one["enum"]) for one in bounds.values() if isinstance(one.get("enum"), list))
    if values > MAX_VALUES:
        return [Violation("#/bounds", "enum", f"has {values} values, and may have {MAX_VALUES} in all")]
    faults: list[Violation | None] = []
    inputs = _inputs(model)
    for name, bound in bounds.items():
        place = fragment(("bounds", name))
        if name not in inputs:
            known = f"is not an input of {model.model_id}; inputs: {listed(list(inputs))}"
            faults.append(Violation(place, "unknown_field", known))
        elif not bound:
            faults.append(Violation(place, "type", f"must be an object of {', '.join(_KEYWORDS)}"))
        else:
            own = [_fault_of(model, name, keyword, value) for keyword, value in bound.items()]
            faults += own
            if not any(own) and bound.get("minimum", -math.inf) > bound.get("maximum", math.inf):
                faults.append(Violation(place, "minimum", "has a minimum above its maximum"))
    return [one for one in faults if one is not None]


def beyond(model: Model, bounds: Bounds, body: Mapping[str, Any]) -> list[Violation]:
    """The inputs of a body that are out of bounds, by name; `enum` compares as JSON does."""
    inputs = _inputs(model)
    found = []
    for name in sorted(bounds):
        value = body.get(name, inputs.get(name, {}).get("default"))
        reason = _excess(bounds[name], value)
        if reason is not None:
            is_known = "default" in inputs.get(name, {})
            left_out = "" if name in body else f" ({_LEFT_OUT[is_known]})"
            found.append(Violation(fragment((name,)), CODE, reason + left_out))
    return found


def _inputs(model: Model) -> Mapping[str, Any]:
    properties: Mapping[str, Any] = model.compiled.published.get("properties", {})
    return properties


def _types(schema: Any) -> frozenset[str]:
    """The types that an input may have, as far as its schema says at once; none where it does not."""
    named = schema.get("type") if isinstance(schema, dict) else None
    return frozenset([named] if isinstance(named, str) else named or ())


def _fault_of(model: Model, name: str, keyword: str, value: Any) -> Violation | None:
    place = ("bounds", name, keyword)
    if keyword not in _KEYWORDS:
        return Violation(fragment(place), "unknown_field", f"is no bound; bounds are {', '.join(_KEYWORDS)}")
    if keyword == "enum":
        if not isinstance(value, list) or not value:
            return Violation(fragment(place), "type", "must be a list of the values that are allowed")
        wrong = [reason for one in value if (reason := _refusal(model, name, one))]
        return Violation(fragment(place), "enum", wrong[0]) if wrong else None
    types = _types(_inputs(model)[name])
    if types and types.isdisjoint(_TYPES[keyword]):
        wanted = " or ".join(sorted(_TYPES[keyword]))
        return Violation(
            fragment(place), "type", f"is a bound of {wanted}, and {name} is {listed(sorted(types))}"
        )
    least = 0 if keyword == "max_length" else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (least is not None and (not isinstance(value, int) or value < least)):
        kind = "a number" if least is None else "a whole number of at least 0"
        return Violation(fragment(place), "type", f"must be {kind}, is {shown(value)}")
    return None


def _refusal(model: Model, name: str, value: Any) -> str | None:
    """Why the model's own schema refuses the value for this input, whatever else the body holds."""
    pointer = fragment((name,))
    for one in violations(model, {name: value}):
        if one.pointer == pointer or one.pointer.startswith(pointer + "/"):
            return f"{shown(value)} {one.detail}"
    return None


def _excess(bound: Mapping[str, Any], value: Any) -> str | None:
    if "enum" in bound and not any(_same(value, one) for one in bound["enum"]):
        return f"must be {_any_of(bound['enum'])} with this client token, is {shown(value)}"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    for keyword in _OF_NUMBERS:
        if keyword not in bound:
            continue
        within = is_number and (value >= bound[keyword] if keyword == "minimum" else value <= bound[keyword])
        if not within:
            least = "at least" if keyword == "minimum" else "at most"
            return f"must be {least} {bound[keyword]} with this client token, is {shown(value)}"
    if "max_length" not in bound or value is None:  # what is not there has no length
        return None
    length = len(value) if isinstance(value, str | list) else math.inf
    if length > bound["max_length"]:
        told = length if isinstance(length, int) else shown(value)
        return f"may be {bound['max_length']} long at most with this client token, is {told}"
    return None


def _any_of(values: Sequence[Any]) -> str:
    return shown(values[0]) if len(values) == 1 else f"one of {listed([shown(one) for one in values])}"


def _same(left: Any, right: Any) -> bool:
    """As JSON compares: 121 and 121.0 are one number, true and 1 are not one value."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)
