"""Bounds: which values of a model's inputs a client token accepts. Pure.

A bound applies to one top-level input and has one or more of `enum`, `minimum`, `maximum` and `max_length`.
An input that a request leaves out counts as its default; one without a default is refused, because nobody
here knows what value RunComfy would use.
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
MAX_VALUES: Final = 100  # each is validated against the model's whole schema, in some 70 microseconds
_KEYWORDS: Final = ("enum", *_OF_NUMBERS, "max_length")
_LEFT_OUT: Final = {True: "left out, it counts as its default", False: "it was left out, and has no default"}

Bounds = Mapping[str, Mapping[str, Any]]


def faults_of_bounds(model: Model, bounds: Bounds) -> list[Violation]:
    """Returns what is wrong with a token's bounds for this model; the pointers begin with `#/bounds`."""
    values = sum(len(one["enum"]) for one in bounds.values() if isinstance(one.get("enum"), list))
    if values > MAX_VALUES:
        return [
            Violation("#/bounds", "enum", f"has {values} values in all; at most {MAX_VALUES} are allowed")
        ]
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
                faults.append(Violation(place, "minimum", "has a minimum that exceeds its maximum"))
    return [one for one in faults if one is not None]


def violations_of_bounds(model: Model, bounds: Bounds, body: Mapping[str, Any]) -> list[Violation]:
    """Returns a violation for each input of a body that is out of bounds, sorted by the input's name.

    Values of `enum` are compared as JSON compares them.
    """
    inputs = _inputs(model)
    found = []
    for name in sorted(bounds):
        value = body.get(name, inputs.get(name, {}).get("default"))
        reason = _violation_of_bound(bounds[name], value)
        if reason is not None:
            is_known = "default" in inputs.get(name, {})
            left_out = "" if name in body else f" ({_LEFT_OUT[is_known]})"
            found.append(Violation(fragment((name,)), CODE, reason + left_out))
    return found


def _inputs(model: Model) -> Mapping[str, Any]:
    properties: Mapping[str, Any] = model.compiled.published.get("properties", {})
    return properties


def _types(schema: Any) -> frozenset[str]:
    """Returns the types in the schema's own `type`; an empty set where it has none."""
    named = schema.get("type") if isinstance(schema, dict) else None
    return frozenset([named] if isinstance(named, str) else named or ())


def _fault_of(model: Model, name: str, keyword: str, value: Any) -> Violation | None:
    place = ("bounds", name, keyword)
    if keyword not in _KEYWORDS:
        return Violation(
            fragment(place), "unknown_field", f"is not a bound; the bounds are {', '.join(_KEYWORDS)}"
        )
    if keyword == "enum":
        if not isinstance(value, list) or not value:
            return Violation(fragment(place), "type", "must be a list of the values that are allowed")
        wrong = [reason for one in value if (reason := _refusal(model, name, one))]
        return Violation(fragment(place), "enum", wrong[0]) if wrong else None
    types = _types(_inputs(model)[name])
    if types and types.isdisjoint(_TYPES[keyword]):
        wanted = " or ".join(sorted(_TYPES[keyword]))
        return Violation(
            fragment(place), "type", f"applies to {wanted} only, and {name} is {listed(sorted(types))}"
        )
    minimum = 0 if keyword == "max_length" else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (minimum is not None and (not isinstance(value, int) or value < minimum)):
        kind = "a number" if minimum is None else "a whole number of at least 0"
        return Violation(fragment(place), "type", f"must be {kind}, is {shown(value)}")
    return None


def _refusal(model: Model, name: str, value: Any) -> str | None:
    """Returns why the model's own schema refuses this value for this input, or None.

    Only violations at this input count, whatever else the rest of the body lacks.
    """
    pointer = fragment((name,))
    for one in violations(model, {name: value}):
        if one.pointer == pointer or one.pointer.startswith(pointer + "/"):
            return f"{shown(value)} {one.detail}"
    return None


def _violation_of_bound(bound: Mapping[str, Any], value: Any) -> str | None:
    if "enum" in bound and not any(_same(value, one) for one in bound["enum"]):
        return f"must be {_any_of(bound['enum'])} with this client token, is {shown(value)}"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    for keyword in _OF_NUMBERS:
        if keyword not in bound:
            continue
        within = is_number and (value >= bound[keyword] if keyword == "minimum" else value <= bound[keyword])
        if not within:
            minimum = "at least" if keyword == "minimum" else "at most"
            return f"must be {minimum} {bound[keyword]} with this client token, is {shown(value)}"
    if "max_length" not in bound or value is None:  # an input that is absent has no length
        return None
    length = len(value) if isinstance(value, str | list) else math.inf
    if length > bound["max_length"]:
        told = length if isinstance(length, int) else shown(value)
        return f"must be at most {bound['max_length']} long with this client token, is {told}"
    return None


def _any_of(values: Sequence[Any]) -> str:
    return shown(values[0]) if len(values) == 1 else f"one of {listed([shown(one) for one in values])}"


def _same(left: Any, right: Any) -> bool:
    """Returns whether two values are equal in JSON: 121 and 121.0 are, true and 1 are not."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)
