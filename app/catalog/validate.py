"""Validates a request body against its model: all violations at once, each with a pointer, code and text."""

import difflib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind

from app.catalog.excess import Cut, Excess, within_bounds
from app.catalog.findings import clipped, fragment, listed, shown
from app.catalog.media.policy import MediaPolicy, media_fault
from app.catalog.model import Model
from app.catalog.schema import MediaInput
from app.catalog.standard import known_fields
from app.media.data_uri import Unpacked

MAX_VIOLATIONS: Final = 100
MORE: Final = "more_violations"
"""The code of a last violation, which says that there are more than are listed."""
_MAX_DEPTH: Final = 200  # the validator gives up at 255
_MAX_INT_BITS: Final = 10_000  # Python converts integers of up to 4,300 digits, some 14,000 bits, to text
_MAX_SUGGESTIONS: Final = 20  # similar names take time to find, and a hostile body may have thousands
_MAX_NEAR_CHARS: Final = 64

_ANY_HTTPS: Final = MediaPolicy()
Path: TypeAlias = tuple[str | int, ...]
_NAMES: Final = {
    "string": "a string",
    "number": "a number",
    "integer": "an integer",
    "boolean": "a boolean",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
# Of several faults of one value, only the first by this order is reported; other codes come last, together.
_FIRST: Final = ("not_text", "not_json", "too_deep", "type", "enum", "const")


@dataclass(frozen=True, slots=True)
class Violation:
    """One violation; `pointer` is RFC 6901 in fragment form (`#/image_urls/0`).

    The pointer of a missing or unknown field is the field's own.
    """

    pointer: str
    code: str
    detail: str


_MORE: Final = Violation("#", MORE, f"has more violations; {MAX_VIOLATIONS - 1} are listed")


@dataclass(frozen=True, slots=True)
class _Fault:
    path: Path
    code: str
    detail: str

    @property
    def order(self) -> tuple[tuple[tuple[int, int, str], ...], str, str]:
        steps = tuple((0, step, "") if isinstance(step, int) else (1, 0, step) for step in self.path)
        return steps, self.code, self.detail


@dataclass(frozen=True, slots=True)
class Read:
    """What is judged of a body: the body without what is too much, and the values of its media inputs."""

    cut: Cut
    texts: list[tuple[MediaInput, Path, str]]


def read(model: Model, body: Any) -> Read:
    """Returns what is judged of a body. Items beyond the number that their array may have are left out."""
    cut = within_bounds(model.compiled.schema, body)
    texts = [
        (media, path, value)
        for media in (model.compiled.media if isinstance(cut.body, dict) else ())
        for path, value in _strings_at(cut.body, media.path)
    ]
    return Read(cut, texts)


def violations(
    model: Model,
    body: Any,
    policy: MediaPolicy = _ANY_HTTPS,
    unpacked: Mapping[Path, Unpacked] = MappingProxyType({}),
    there: Read | None = None,
) -> list[Violation]:
    """Returns all that the model's schema and the media policy forbid in the body.

    There are at most `MAX_VIOLATIONS`; where there would be more, the last one says so. They are sorted by
    place, elements of arrays by number. Of an array that is too long, only so many items are judged as it may
    have. `unpacked` are files by value, by their paths, that need not be unpacked again, and `there` is what
    `read` has returned for this body. Never raises, whatever the body is.
    """
    there = there or read(model, body)
    faults = [_too_many(one) for one in there.cut.found[: MAX_VIOLATIONS + 1]]
    faults += _schema_faults(model.compiled.validator, model.compiled.schema, there.cut.body)
    wrong = {fault.path for fault in faults if fault.code in _FIRST or fault.code == "too_long"}
    for media, path, value in there.texts:
        reason = None if path in wrong else media_fault(value, media.kind, policy, unpacked.get(path))
        if reason is not None:
            faults.append(_Fault(path, "media_uri", reason))
        if len(faults) > MAX_VIOLATIONS * 2:
            break
    if not faults:
        return []
    ordered = sorted(_one_per_cause(faults), key=lambda fault: fault.order)[: MAX_VIOLATIONS + 1]
    found = [Violation(fragment(fault.path), fault.code, fault.detail) for fault in ordered]
    return found if len(found) <= MAX_VIOLATIONS else [*found[: MAX_VIOLATIONS - 1], _MORE]


def media_texts(model: Model, body: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yields the value of each media input that the body fills, with its path, as `read` has them."""
    return ((path, value) for _, path, value in read(model, body).texts)


def with_texts(body: dict[str, Any], texts: Mapping[Path, str]) -> dict[str, Any]:
    """Returns a copy of the body that has these texts at these paths, which lead to texts in it."""
    copy = deepcopy(body) if texts else body
    for path, text in texts.items():
        place: Any = copy
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = text
    return copy


def _strings_at(body: Any, template: tuple[str | None, ...]) -> Iterator[tuple[Path, str]]:
    """Returns the strings at the places that a media input's path names; it ignores all other values."""
    found: list[tuple[Path, Any]] = [((), body)]
    for step in template:
        inner: list[tuple[Path, Any]] = []
        for path, value in found:
            if step is None and isinstance(value, list):
                inner += [((*path, index), item) for index, item in enumerate(value)]
            elif step is None and isinstance(value, dict):
                inner += [((*path, key), item) for key, item in value.items()]
            elif step is not None and isinstance(value, dict) and step in value:
                inner.append(((*path, step), value[step]))
        found = inner
    return ((path, value) for path, value in found if isinstance(value, str))


def _too_many(excess: Excess) -> _Fault:
    code, unit = ("too_many_items", "item") if excess.is_array else ("too_many_fields", "field")
    whose = f"{_plural(excess.limit, unit)}"
    if excess.is_own:
        whose += " with all others whose number the model does not bound"
    return _Fault(excess.path, code, f"must have at most {whose}, has {excess.size:,}")


def _one_per_cause(faults: list[_Fault]) -> list[_Fault]:
    """Keeps the most basic faults of each value.

    A value of the wrong type is not also reported as outside its enum, nor one outside its enum as too long.
    """
    best: dict[Path, int] = {}
    for fault in faults:
        best[fault.path] = min(best.get(fault.path, len(_FIRST)), _rank(fault))
    kept = (fault for fault in faults if _rank(fault) <= best[fault.path])
    return list({(fault.path, fault.code): fault for fault in kept}.values())


def _rank(fault: _Fault) -> int:
    return _FIRST.index(fault.code) if fault.code in _FIRST else len(_FIRST)


# --- the validator's errors, translated


def _schema_faults(
    validator: jsonschema_rs.Draft202012Validator, schema: Mapping[str, Any], body: Any
) -> list[_Fault]:
    faults: list[_Fault] = []
    if not _is_plain(body):
        body, faults = _cleaned(body)
    if not faults and validator.is_valid(body):  # which takes microseconds
        return []
    errors = validator.iter_errors(body)
    spoilt = {fault.path for fault in faults}
    told = _Told(schema)
    for error in errors:
        faults += (fault for fault in told.faults(error) if fault.path not in spoilt)
        if len(faults) > MAX_VIOLATIONS * 2:
            break
    return faults


class _Told:
    """Translates the validator's errors for one body."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema
        self.suggestions = 0

    def faults(self, error: jsonschema_rs.ValidationError) -> Iterator[_Fault]:
        path, kind, name = tuple(error.instance_path), error.kind, error.kind.name
        if name == "required":
            yield _Fault((*path, _attribute(kind, "property")), "required", "is required")
        elif name in ("additionalProperties", "unevaluatedProperties"):
            yield from self.unknown_fields(path, error)
        elif isinstance(kind, ValidationErrorKind.AnyOf | ValidationErrorKind.OneOfNotValid):
            yield from self.no_branch(path, error)
        else:
            yield self.simple(path, error)

    def simple(self, path: Path, error: jsonschema_rs.ValidationError) -> _Fault:
        name = error.kind.name
        code, text = _TEXTS.get(name, (name, lambda _kind, _value: "is not what the model's schema allows"))
        return _Fault(path, code, text(error.kind, error.instance))

    def unknown_fields(self, path: Path, error: jsonschema_rs.ValidationError) -> Iterator[_Fault]:
        names = known_fields(self.parent(error))
        fields = f"fields: {listed(map(clipped, names)) or 'none'}"
        whole = "this model" if not path else "this object"
        for name in _attribute(error.kind, "unexpected")[: MAX_VIOLATIONS + 1]:
            # When a branch fails, the validator reports its fields as unknown too; they are known.
            if name not in names:
                near = self.near(name, names)
                hint = f" (did you mean {near}?)" if near else ""
                yield _Fault((*path, name), "unknown_field", f"is not a field of {whole}{hint}; {fields}")

    def near(self, name: str, names: list[str]) -> str | None:
        self.suggestions += 1
        if self.suggestions > _MAX_SUGGESTIONS or len(name) > _MAX_NEAR_CHARS:
            return None
        lowered = {known.lower(): known for known in names}
        found = difflib.get_close_matches(name.lower(), lowered, n=1)
        return clipped(lowered[found[0]]) if found else None

    def parent(self, error: jsonschema_rs.ValidationError) -> Mapping[str, Any]:
        """Returns the schema whose keyword failed.

        Compiled schemas hold no references, so the error's schema path leads to it.
        """
        node: Any = self.schema
        for step in list(error.schema_path)[:-1]:
            node = node[step]
        return node if isinstance(node, dict) else {}

    def no_branch(self, path: Path, error: jsonschema_rs.ValidationError) -> Iterator[_Fault]:
        """Translates a failed `anyOf` or `oneOf`.

        If only one branch accepts values of this type, that branch's errors say more than "none matches".
        """
        branches = _attribute(error.kind, "context")
        fitting = [errors for errors in branches if not any(_is_type_error(inner, path) for inner in errors)]
        if len(fitting) == 1 and fitting[0]:
            for inner in fitting[0]:
                yield from self.faults(inner)
        elif not fitting:
            types = dict.fromkeys(
                name
                for errors in branches
                for inner in errors
                if _is_type_error(inner, path)
                for name in inner.kind.value
            )
            yield _Fault(path, "type", _type_text(list(types), error.instance))
        else:
            yield _Fault(path, "no_match", f"matches none of the {len(branches)} forms that are allowed here")


def _is_type_error(error: jsonschema_rs.ValidationError, path: Path) -> bool:
    return error.kind.name == "type" and tuple(error.instance_path) == path


def _attribute(kind: Any, name: str) -> Any:
    return getattr(kind, name)


def _type_text(types: list[str], value: Any) -> str:
    wanted = [_NAMES.get(name, name) for name in types]
    return f"must be {' or '.join(wanted)}, is {_kind_of(value)}"


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    for types, name in (
        (bool, "a boolean"),
        (int, "an integer"),
        (float, "a number"),
        (str, "a string"),
        ((list, tuple), "an array"),
        (dict, "an object"),
    ):
        if isinstance(value, types):
            return name
    return "no JSON value"


def _enum_text(kind: Any, value: Any) -> str:
    options = kind.options if isinstance(kind.options, list) else json.loads(str(kind.options))
    hint = ""
    if isinstance(value, str) and len(value) <= _MAX_NEAR_CHARS:
        lowered = {option.lower(): option for option in options if isinstance(option, str)}
        near = difflib.get_close_matches(value.lower(), lowered, n=1)
        hint = f" (did you mean {shown(lowered[near[0]])}?)" if near else ""
    plain = all(isinstance(option, int | float) and not isinstance(option, bool) for option in options)
    is_text = isinstance(value, str) and plain
    return f"must be one of {listed(map(shown, options))}{hint}" + (
        ", as a number, not a string" if is_text else ""
    )


def _plural(count: int, unit: str) -> str:
    return f"{count:,} {unit}" if count == 1 else f"{count:,} {unit}s"


def _limit(text: str, unit: str) -> Callable[[Any, Any], str]:
    def told(kind: Any, value: Any) -> str:
        return f"{text.format(_plural(kind.limit, unit))}, has {len(value):,}"

    return told


def _bound(text: str) -> Callable[[Any, Any], str]:
    return lambda kind, _value: f"{text} {shown(kind.limit)}"


_FORBIDDEN: Final = ("not_allowed", lambda _kind, _value: "has a value that is not allowed here")
_TEXTS: Final[dict[str, tuple[str, Callable[[Any, Any], str]]]] = {
    "type": ("type", lambda kind, value: _type_text(list(kind.types), value)),
    "enum": ("enum", _enum_text),
    "const": ("const", lambda kind, _value: f"must be {shown(kind.expected_value)}"),
    "minimum": ("too_small", _bound("must be at least")),
    "exclusiveMinimum": ("too_small", _bound("must be greater than")),
    "maximum": ("too_large", _bound("must be at most")),
    "exclusiveMaximum": ("too_large", _bound("must be less than")),
    "multipleOf": ("multiple_of", lambda kind, _value: f"must be a multiple of {shown(kind.multiple_of)}"),
    "minLength": ("too_short", _limit("must be at least {} long", "character")),
    "maxLength": ("too_long", _limit("must be at most {} long", "character")),
    "minItems": ("too_few_items", _limit("must have at least {}", "item")),
    "maxItems": ("too_many_items", _limit("must have at most {}", "item")),
    "uniqueItems": ("not_unique", lambda _kind, _value: "must not have the same item twice"),
    "minProperties": ("too_few_fields", _limit("must have at least {}", "field")),
    "maxProperties": ("too_many_fields", _limit("must have at most {}", "field")),
    "pattern": (
        "pattern",
        lambda kind, _value: f"must match the pattern {clipped(str(getattr(kind, 'pattern', '')))}",
    ),
    "format": ("format", lambda kind, _value: f"must be a valid {clipped(str(kind.format))}"),
    "oneOf": ("no_match", lambda _kind, _value: "matches more than one of the forms of which one is allowed"),
    "not": _FORBIDDEN,
    "falseSchema": _FORBIDDEN,
}


# --- bodies that the validator would misread


def _is_plain(body: Any) -> bool:
    """Returns whether the validator sees the body as it is.

    The validator raises for deep nesting and for objects that are not JSON, reads NaN as null, and accepts
    lone surrogates and integers of thousands of digits. The HTTP layer refuses all of these much earlier;
    this check keeps the promise of `violations` without relying on that.
    """
    todo: list[tuple[Any, int]] = [(body, 0)]
    while todo:
        value, depth = todo.pop()
        if isinstance(value, dict):
            if not all(isinstance(name, str) and _is_text(name) for name in value):
                return False
            todo += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list):
            todo += [(item, depth + 1) for item in value]
        elif _scalar_fault(value) is not None:
            return False
        if depth > _MAX_DEPTH:
            return False
    return True


def _cleaned(body: Any) -> tuple[Any, list[_Fault]]:
    """Returns a copy that the validator can read, and a fault for each thing that had to be replaced."""
    faults: list[_Fault] = []
    root: list[Any] = [None]
    todo: list[tuple[Any, Any, Any, Path]] = [(body, root, 0, ())]
    while todo:
        value, into, key, path = todo.pop()
        if isinstance(value, dict | list) and len(path) > _MAX_DEPTH:
            faults.append(_Fault(path, "too_deep", f"must not be nested deeper than {_MAX_DEPTH} levels"))
        elif isinstance(value, dict):
            into[key] = {}
            for name, item in value.items():
                if isinstance(name, str) and _is_text(name):
                    todo.append((item, into[key], name, (*path, name)))
                else:
                    step = name if isinstance(name, str) else shown(name)
                    faults.append(_Fault((*path, step), "not_text", "has a name that is not valid text"))
        elif isinstance(value, list):
            into[key] = [None] * len(value)
            todo += [(item, into[key], index, (*path, index)) for index, item in enumerate(value)]
        elif (found := _scalar_fault(value)) is not None:
            into[key] = None
            faults.append(_Fault(path, *found))
        else:
            into[key] = value
    return root[0], faults


def _scalar_fault(value: Any) -> tuple[str, str] | None:
    if isinstance(value, str):
        return None if _is_text(value) else ("not_text", "must be valid text: it has a lone surrogate")
    if isinstance(value, int):
        too_long = value.bit_length() > _MAX_INT_BITS
        return ("not_json", f"must be a number of at most {_MAX_INT_BITS:,} bits") if too_long else None
    if isinstance(value, float):
        return None if math.isfinite(value) else ("not_json", "must be a finite number")
    return None if value is None else ("not_json", "is not a JSON value")


def _is_text(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
