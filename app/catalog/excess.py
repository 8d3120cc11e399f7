"""Cuts what is more than a model's schema allows off a body, so that judging the rest has a bound. Pure.

Thousands of items in an array that may hold ten cost thousands of checks, of which each says the same. The
array is one violation, and only its first ten items are judged. Where the schema sets no bound, there is one
of ours. No time is spent on what is cut off.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from app.catalog.standard import is_closed, known_fields

MAX_ITEMS: Final = 1_000  # in all arrays and open objects of a body whose size the schema does not bound
MAX_UNKNOWN: Final = 101  # unknown fields of an object that are named, and one that shows that there are more
_MAX_DEPTH: Final = 200
_BRANCHING: Final = frozenset({"allOf", "anyOf", "oneOf"})
_NOTHING: Final[Mapping[str, Any]] = {}

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Excess:
    """An array or object that has more items or fields than the `limit`; `is_own` says that it is ours."""

    path: Path
    is_array: bool
    limit: int
    size: int
    is_own: bool


@dataclass(slots=True)
class Cut:
    """A body within bounds, and what was cut off."""

    body: Any
    found: list[Excess] = field(default_factory=list)


def within_bounds(schema: Mapping[str, Any], body: Any) -> Cut:
    """Returns the body without what is too much for a compiled schema. Never raises, whatever the body is."""
    cutter = _Cutter()
    return Cut(cutter.value(schema, body, ()), cutter.found)


class _Cutter:
    def __init__(self) -> None:
        self.found: list[Excess] = []
        self.left = MAX_ITEMS

    def value(self, node: Mapping[str, Any], value: Any, path: Path) -> Any:
        if len(path) > _MAX_DEPTH:
            return value
        if isinstance(value, list):
            return self.array(node, value, path)
        return self.object(node, value, path) if isinstance(value, dict) else value

    def array(self, node: Mapping[str, Any], value: list[Any], path: Path) -> list[Any]:
        kept = value[: self.limit(node, "maxItems", len(value), path)]
        if not any(isinstance(one, list | dict) for one in kept):
            return kept
        items = _schema_at(node, "items")
        return [self.value(items, one, (*path, index)) for index, one in enumerate(kept)]

    def object(self, node: Mapping[str, Any], value: dict[Any, Any], path: Path) -> dict[Any, Any]:
        properties = node.get("properties", _NOTHING)
        if value.keys() <= properties.keys():  # as nearly every body is: nothing can be too much here
            return {
                name: self.value(properties[name], one, (*path, name))
                if isinstance(one, list | dict)
                else one
                for name, one in value.items()
            }
        known = {name: one for name, one in value.items() if name in properties}
        others = [name for name in value if name not in known]
        if is_closed(node):
            branches = set(known_fields(node)) - known.keys() if others else set()
            strange = [name for name in others if name not in branches]
            # What such a field holds is not looked at: that it is there is the violation.
            more = {name: value[name] for name in others if name in branches} | dict.fromkeys(
                strange[:MAX_UNKNOWN]
            )
        else:
            limit = self.limit(node, "maxProperties", len(others), path) if others else 0
            more = {name: value[name] for name in others[:limit]}
        inner = _schema_at(node, "additionalProperties")
        return {
            name: self.value(properties.get(name, inner), one, (*path, name))
            for name, one in (known | more).items()
        }

    def limit(self, node: Mapping[str, Any], keyword: str, size: int, path: Path) -> int:
        """Returns how many items or fields are kept, and notes where there are more."""
        bound = _bound(node, keyword)
        limit = self.left if bound is None else bound
        if bound is None:
            self.left -= min(size, self.left)
        if size > limit:
            is_array = keyword == "maxItems"
            self.found.append(
                Excess(path, is_array, MAX_ITEMS if bound is None else limit, size, is_own=bound is None)
            )
        return limit


def _schema_at(node: Mapping[str, Any], keyword: str) -> Mapping[str, Any]:
    inner = node.get(keyword)
    return inner if isinstance(inner, dict) else _NOTHING


def _bound(node: Mapping[str, Any], keyword: str) -> int | None:
    """Returns the most that a schema and its branches allow of a value; None where they set no bound."""
    bounds = [node[keyword]] if keyword in node else []
    if _BRANCHING.isdisjoint(node):  # as nearly every schema is
        return int(bounds[0]) if bounds else None
    bounds += [one for child in node.get("allOf", ()) if (one := _bound(child, keyword)) is not None]
    for name in ("anyOf", "oneOf"):
        of_branches = [_bound(child, keyword) for child in node.get(name, ()) if _may_hold(child, keyword)]
        if of_branches and None not in of_branches:
            bounds.append(max(one for one in of_branches if one is not None))
    return int(min(bounds)) if bounds else None


def _may_hold(node: Mapping[str, Any], keyword: str) -> bool:
    """Returns whether a branch accepts arrays, or objects, at all."""
    types = node.get("type")
    wanted = "array" if keyword == "maxItems" else "object"
    return types is None or wanted in ([types] if isinstance(types, str) else types)
