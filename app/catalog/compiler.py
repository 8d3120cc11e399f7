"""Compiles a schema of RunComfy's dialect in one walk over it; `schema` is the public interface."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import unquote

from app.catalog import dialect
from app.catalog.findings import Finding, pointer, shown
from app.catalog.media.rules import MalformedRuleError, MediaKind, MediaRule, parse_rule
from app.catalog.media.types import types_named
from app.catalog.standard import CONSTRAINING, JsonObject, build_validator, is_closed, strict

_MAX_NODES: Final = 5_000  # schemas visited: a chain of `$ref`s may double their number at each step
_MAX_DEPTH: Final = 64
_KINDS: Final[dict[str, MediaKind]] = {"image": "image", "video": "video", "audio": "audio"}


@dataclass(frozen=True, slots=True)
class Media:
    """What a schema says of the files in one place; empty `types` accept every type of that kind."""

    kind: MediaKind
    rules: tuple[MediaRule, ...] = ()
    types: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Walked:
    """The result of a walk over a schema; `published` is meaningful only where there are no `problems`."""

    published: JsonObject
    media: dict[tuple[str | None, ...], Media]
    problems: list[Finding]
    warnings: list[Finding]


def walk(root: Any, at: tuple[str | int, ...]) -> Walked:
    """Compiles the input schema that stands at the path `at` of its file; never raises."""
    compiler = _Compiler(root, at)
    published = compiler.root_object()
    return Walked(published, compiler.media, compiler.problems, compiler.warnings)


@dataclass(frozen=True, slots=True)
class _Place:
    """A position of the walk: `at` is its path in the file, `where` its path in a request body.

    `branch` is true inside a condition on a value that another schema judges too (such as `anyOf`); `known`
    are then the property names that the value may have, None if any. `negated` is true inside `not` and `if`,
    where no constraint may be dropped. `media` is what an array of media says of its elements. `refs` are the
    `$ref`s that the walk is inside of, so that recursion is found.
    """

    at: tuple[str | int, ...]
    where: tuple[str | None, ...] = ()
    branch: bool = False
    negated: bool = False
    known: frozenset[str] | None = None
    media: Media | None = None
    refs: frozenset[str] = frozenset()

    def inner(self, *tokens: str | int) -> "_Place":
        return replace(self, at=(*self.at, *tokens))

    def child(self, tokens: tuple[str | int, ...], step: str | None) -> "_Place":
        """Returns the place of a value within this value, which is judged by its own schema alone."""
        return replace(
            self, at=(*self.at, *tokens), where=(*self.where, step), branch=False, known=None, media=None
        )


class _Compiler:
    """One walk over one schema. It goes on after a problem, so that all of them are reported together."""

    def __init__(self, root: Any, at: tuple[str | int, ...]) -> None:
        self.root = root
        self.at = at
        self.problems: list[Finding] = []
        self.warnings: list[Finding] = []
        self.media: dict[tuple[str | None, ...], Media] = {}
        self.nodes = 0

    def root_object(self) -> JsonObject:
        place = _Place(self.at)
        out = self.node(self.root, place)
        if isinstance(self.root, dict) and not self.problems:
            if out.get("type", "object") != "object":
                self.problem(place.inner("type"), "must be object: a request body is one")
            out = {"type": "object", **out}
            if not is_closed(out):
                self.warn(place, "names no properties or allows others: any further field is accepted")
        return out

    def node(self, raw: Any, place: _Place) -> JsonObject:
        if not isinstance(raw, dict):
            self.problem(place, f"must be a schema (an object), is {shown(raw)}")
            return {}
        self.nodes += 1
        if self.nodes > _MAX_NODES or len(place.at) > _MAX_DEPTH:
            if self.nodes <= _MAX_NODES + 1:
                self.problem(place, "is too large or too deep a schema")
            return {}
        if "$ref" in raw:
            return self.reference(raw, place)
        types = self.types(raw, place)
        media, types = self.media_node(raw, types, place)
        if types is None and not place.branch:
            types = self.inferred(raw, place)
        out: JsonObject = {}
        self.put_type(raw, types, place, out)
        for key, value in raw.items():
            self.keyword(key, value, raw, place, out)
        self.subschemas(raw, media, place, out)
        self.close(raw, place, out)
        if media is not None:
            self.put_media(media, types or [], place, out)
        self.check_sense(raw, types, place, out)
        if "default" in raw and media is None and not place.branch:
            self.check_default(raw["default"], place, out)
        return out

    # --- references

    def reference(self, raw: JsonObject, place: _Place) -> JsonObject:
        ref = raw["$ref"]
        beside = {key: value for key, value in raw.items() if key != "$ref"}
        found = self.resolve(ref)
        if found is None:
            self.problem(place.inner("$ref"), f"must name a schema of this file (#/…), is {shown(ref)}")
        elif ref in place.refs:
            self.problem(place.inner("$ref"), "is recursive: such a schema is not understood")
        elif beside.keys() & (
            dialect.CONSTRAINTS.keys() | CONSTRAINING | {*dialect.BRANCHES, *dialect.BRANCH_LISTS}
        ):
            self.problem(place.inner("$ref"), "stands beside other constraints: use allOf for that")
        else:
            target, tokens = found
            inner = replace(place, at=(*self.at, *tokens), refs=place.refs | {ref})
            return self.node({**target, **beside} if isinstance(target, dict) else target, inner)
        return {}

    def resolve(self, ref: Any) -> tuple[Any, tuple[str | int, ...]] | None:
        if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
            return None
        target, tokens = self.root, []
        for part in unquote(ref[1:]).split("/")[1:]:
            token = part.replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and token.isdecimal() and int(token) < len(target):
                target = target[int(token)]
            elif isinstance(target, dict) and token in target:
                target = target[token]
            else:
                return None
            tokens.append(token)
        return target, tuple(tokens)

    # --- types

    def types(self, raw: JsonObject, place: _Place) -> list[str] | None:
        if "type" not in raw:
            return None
        given = raw["type"]
        names = given if isinstance(given, list) else [given]
        unknown = [name for name in names if not isinstance(name, str) or name not in dialect.TYPES]
        if unknown or not names:
            wrong = unknown[0] if unknown else given
            self.problem(
                place.inner("type"), f"is not a known type: {shown(wrong)}; one of {', '.join(dialect.TYPES)}"
            )
            return None
        types = list(dict.fromkeys(dialect.TYPES[name] for name in names))
        if raw.get("nullable") is True and "null" not in types:
            types.append("null")
        return types

    def inferred(self, raw: JsonObject, place: _Place) -> list[str] | None:
        """Returns the types that a schema without `type` means, by its other keywords; None where unclear."""
        if raw.keys() & {"enum", "const", *dialect.BRANCH_LISTS, *dialect.BRANCHES}:
            return None
        spoken = {dialect.SPEAKS_OF[key]: key for key in raw if key in dialect.SPEAKS_OF}
        if len(spoken) == 1:
            ((name, key),) = spoken.items()
            self.warn(place, f"has no type: taken as {name}, because of {key}")
            return [name, "null"] if raw.get("nullable") is True else [name]
        self.warn(place, "has no type: any value is accepted")
        return None

    def put_type(self, raw: JsonObject, types: list[str] | None, place: _Place, out: JsonObject) -> None:
        if types is None:
            return
        enum = raw.get("enum")
        if isinstance(enum, list) and enum:
            unfit = [value for value in enum if not dialect.has_type(value, types)]
            if len(unfit) == len(enum):
                self.warn(
                    place.inner("enum"),
                    f"has no value of type {' or '.join(types)}: its own values are accepted",
                )
                return
            if unfit:
                self.warn(place.inner("enum"), f"has values of another type, never accepted: {shown(unfit)}")
        out["type"] = types[0] if len(types) == 1 else types

    # --- keywords

    def keyword(self, key: str, value: Any, raw: JsonObject, place: _Place, out: JsonObject) -> None:
        if key in dialect.CONSTRAINTS:
            reason = dialect.CONSTRAINTS[key](value)
            if reason is not None:
                self.problem(place.inner(key), reason)
            elif key == "format":
                self.format(value, place, out)
            elif key == "required":
                self.required(value, raw, place, out)
            elif key != "nullable":
                out[key] = int(value) if key in dialect.COUNTS else value
        elif key in dialect.REFUSED:
            self.problem(place.inner(key), "constrains in a way that the catalogue does not understand")
        elif key == "validations":
            out["x-validations"] = value
        elif key not in _WALKED and key not in dialect.DROPPED:
            out[key] = value
            if key not in dialect.ANNOTATIONS:
                self.unknown(key, place)

    def unknown(self, key: str, place: _Place) -> None:
        near = difflib.get_close_matches(key[:40], [*dialect.CONSTRAINTS, *_WALKED, "type"], n=1, cutoff=0.8)
        hint = f"; did you mean {near[0]}?" if near else ""
        self.warn(
            place.inner(key), f"is not a keyword of the dialect: kept as an annotation, has no effect{hint}"
        )

    def format(self, value: str, place: _Place, out: JsonObject) -> None:
        out["format"] = value
        if value not in dialect.CHECKED_FORMATS and not dialect.MEDIA_FORMAT.fullmatch(value):
            self.warn(place.inner("format"), f"is not checked: {shown(value)}")

    def required(self, names: list[str], raw: JsonObject, place: _Place, out: JsonObject) -> None:
        """Copies `required`, without names that no property has (except inside `not` and `if`).

        Extra fields are refused, so no request could satisfy such a requirement.
        """
        allowed = place.known if place.branch else self.allowed(raw)
        kept = []
        for index, name in enumerate(names):
            if allowed is None or name in allowed or place.negated:
                kept.append(name)
            else:
                self.warn(place.inner("required", index), f"names no property: {shown(name)} is not demanded")
        if kept or not names:
            out["required"] = list(dict.fromkeys(kept))

    # --- schemas within schemas

    def subschemas(self, raw: JsonObject, media: "_Media | None", place: _Place, out: JsonObject) -> None:
        if "properties" in raw:
            self.properties(raw["properties"], place, out)
        if "items" in raw or (media is not None and media.array):
            self.items(raw.get("items", {"type": "string"}), media, place, out)
        extra = raw.get("additionalProperties")
        if isinstance(extra, bool):
            out["additionalProperties"] = extra
        elif "additionalProperties" in raw:
            out["additionalProperties"] = self.node(extra, place.child(("additionalProperties",), None))
        self.branches(raw, place, out)

    def properties(self, value: Any, place: _Place, out: JsonObject) -> None:
        if not isinstance(value, dict):
            self.problem(place.inner("properties"), f"must be an object, is {shown(value)}")
            return
        out["properties"] = {
            name: self.node(child, place.child(("properties", name), name)) for name, child in value.items()
        }

    def items(self, value: Any, media: "_Media | None", place: _Place, out: JsonObject) -> None:
        if value is True:
            value = {}
        child = place.child(("items",), None)
        if media is not None and media.array:
            child = replace(child, media=media.what)
        out["items"] = self.node(value, child)

    def branches(self, raw: JsonObject, place: _Place, out: JsonObject) -> None:
        known = place.known if place.branch else self.allowed(raw)
        inner = replace(place, branch=True, known=known, media=None)
        for key in dialect.BRANCH_LISTS:
            if key in raw and isinstance(raw[key], list) and raw[key]:
                out[key] = [self.node(child, inner.inner(key, index)) for index, child in enumerate(raw[key])]
            elif key in raw:
                self.problem(place.inner(key), f"must be a list of at least one schema, is {shown(raw[key])}")
        for key in dialect.BRANCHES:
            if key in raw:
                negated = place.negated or key in ("not", "if")
                out[key] = self.node(raw[key], replace(inner.inner(key), negated=negated))

    def allowed(self, raw: JsonObject) -> frozenset[str] | None:
        """Returns the property names that an object may have; None when it may have any."""
        extra = raw.get("additionalProperties", False)
        lists = list(self.in_place(raw, frozenset()))
        if extra is not False or not any("properties" in part for part in lists):
            return None
        return frozenset(
            name for part in lists if isinstance(part.get("properties"), dict) for name in part["properties"]
        )

    def in_place(self, raw: Any, seen: frozenset[str]) -> Iterator[JsonObject]:
        """Yields the schema and all its branches, which judge the same value."""
        if not isinstance(raw, dict):
            return
        ref = raw.get("$ref")
        if isinstance(ref, str) and ref not in seen and (found := self.resolve(ref)) is not None:
            yield from self.in_place(found[0], seen | {ref})
        yield raw
        for key in dialect.BRANCH_LISTS:
            for child in raw[key] if isinstance(raw.get(key), list) else []:
                yield from self.in_place(child, seen)
        for key in dialect.BRANCHES:
            yield from self.in_place(raw.get(key), seen)

    def close(self, raw: JsonObject, place: _Place, out: JsonObject) -> None:
        """Makes the schema refuse fields that neither it nor one of its branches names."""
        if place.branch or place.negated or "additionalProperties" in raw:
            return
        if any(key in out for key in (*dialect.BRANCH_LISTS, *dialect.BRANCHES)):
            if self.allowed(raw) is not None:
                out["unevaluatedProperties"] = False
        elif "properties" in out:
            out["additionalProperties"] = False

    # --- media

    def media_node(
        self, raw: JsonObject, types: list[str] | None, place: _Place
    ) -> tuple["_Media | None", list[str] | None]:
        """Decides whether a value is a media input; returns what is known of it, and the value's types.

        Its format says so, its `validations`, or the array that it is in.
        """
        given = raw.get("format")
        named = dialect.MEDIA_FORMAT.fullmatch(given) if isinstance(given, str) else None
        if named is None and "validations" not in raw and place.media is None:
            return None, types
        inherited = place.media or Media("any")
        kind = _KINDS.get(named[1], "any") if named else inherited.kind
        if named and named[1] not in _KINDS:
            self.warn(place.inner("format"), f"is an unknown kind of media, any is accepted: {shown(given)}")
        if types is None:
            plural = bool(named and named[2]) or "items" in raw
            types = ["array"] if plural else ["string"]
            if place.media is None:
                self.warn(place, f"has no type: taken as {types[0]}, because it is a media input")
        texts = (raw.get("title"), raw.get("description"))
        what = Media(
            kind,
            (*inherited.rules, *self.rules(raw, place)),
            types_named(texts, kind) or inherited.types,
        )
        if not {"array", "string"} & set(types):
            self.warn(
                place, f"is of type {' or '.join(types)}: its media format and validations are not understood"
            )
            return None, types
        return _Media(what, array="array" in types, string="string" in types), types

    def rules(self, raw: JsonObject, place: _Place) -> list[MediaRule]:
        given = raw.get("validations", [])
        if not isinstance(given, list):
            self.problem(place.inner("validations"), f"must be a list, is {shown(given)}")
            return []
        rules = []
        for index, document in enumerate(given):
            try:
                rule, odd = parse_rule(document, (*place.at, "validations", index))
            except MalformedRuleError as error:
                self.problems.append(error.finding)
            else:
                rules.append(rule)
                self.warnings += odd
        return rules

    def put_media(self, media: "_Media", types: list[str], place: _Place, out: JsonObject) -> None:
        if not media.string or place.negated:
            return
        if "array" not in types:
            out["format"] = "media_uri" if media.what.kind == "any" else f"{media.what.kind}_uri"
        said = self.media.get(place.where, Media(media.what.kind))
        self.media[place.where] = Media(
            said.kind if said.kind == media.what.kind else "any",
            (*said.rules, *(rule for rule in media.what.rules if rule not in said.rules)),
            said.types | media.what.types,
        )

    # --- constraints that contradict each other or have no effect

    def check_sense(self, raw: JsonObject, types: list[str] | None, place: _Place, out: JsonObject) -> None:
        for low, high, strictly in dialect.BOUNDS:
            if low in out and high in out and (out[low] > out[high] or (strictly and out[low] == out[high])):
                self.problem(
                    place.inner(low), f"contradicts {high}: {shown(out[low])} and {shown(out[high])}"
                )
        if types is None:
            return
        for key in raw:
            about = dialect.SPEAKS_OF.get(key)
            if about and about not in types and not (about == "number" and "integer" in types):
                self.warn(place.inner(key), f"has no effect on a value of type {' or '.join(types)}")

    def check_default(self, default: Any, place: _Place, out: JsonObject) -> None:
        try:
            fits = build_validator(strict(out)).is_valid(default)
        except ValueError:  # the schema itself is broken, which is reported elsewhere
            return
        if not fits:
            self.warn(place.inner("default"), f"is not a value that its own schema accepts: {shown(default)}")

    def problem(self, place: _Place, reason: str) -> None:
        self.problems.append(Finding(pointer(place.at), reason))

    def warn(self, place: _Place, reason: str) -> None:
        self.warnings.append(Finding(pointer(place.at), reason))


@dataclass(frozen=True, slots=True)
class _Media:
    what: Media
    array: bool
    string: bool


_WALKED: Final = frozenset(
    {"type", "properties", "items", "additionalProperties", *dialect.BRANCH_LISTS, *dialect.BRANCHES}
)
