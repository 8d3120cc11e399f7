"""JSON in and out: strict towards callers, compact on disk.

Strict means that two readers cannot understand one document differently: UTF-8, one value, no duplicate
keys, no NUL, no lone surrogate, no NaN or infinity, nesting bounded (RFC 8259 leaves these open, RFC 7493
closes them).
"""

import json
import math
from typing import Any, NoReturn

import orjson

MAX_DEPTH = 32
MAX_VALUES = 10_000  # no model takes a hundredth; judging 60,000 took 0.6 s of the event loop


class JSONRefused(ValueError):  # noqa: N818 - reads as what happened, as elsewhere in the catalogue
    """The document is not acceptable; the message says why, in public words."""


def parse_strict(raw: bytes) -> Any:
    """The value of a JSON document.

    Raises:
        JSONRefused: whatever is wrong with it; no other exception leaves.

    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JSONRefused(f"The body is not UTF-8 (byte {error.start}).") from error
    if text.startswith("\ufeff"):
        raise JSONRefused("The body starts with a byte order mark.")
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
        )
    except json.JSONDecodeError as error:
        raise JSONRefused(f"{error.msg} (line {error.lineno}, column {error.colno}).") from error
    except RecursionError as error:
        raise JSONRefused(f"The body is nested deeper than {MAX_DEPTH} levels.") from error
    _check_all(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise JSONRefused(f"The key {key[:60]!a} stands twice in one object.")
            seen.add(key)
    return result


def _constant(name: str) -> NoReturn:
    raise JSONRefused(f"{name} is not JSON.")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise JSONRefused("A number is too large.")
    return number


_MAX_INTEGER = 400  # more digits than any double has; int() is quadratic beyond


def _int(text: str) -> int:
    if len(text) > _MAX_INTEGER:
        raise JSONRefused("A number is too large.")
    return int(text)


def _check_all(document: Any) -> None:
    """Depth, number and texts of all values, level by level."""
    level, count = [document], 0
    for depth in range(MAX_DEPTH + 1):
        count += len(level)
        if count > MAX_VALUES:
            raise JSONRefused(f"The body holds more than {MAX_VALUES} values.")
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                _check_text(value)
            elif depth == MAX_DEPTH and isinstance(value, dict | list):
                raise JSONRefused(f"The body is nested deeper than {MAX_DEPTH} levels.")
            elif isinstance(value, dict):
                for key in value:
                    _check_text(key)
                below += value.values()
            elif isinstance(value, list):
                below += value
        level = below


def _check_text(text: str) -> None:
    if "\0" in text:
        raise JSONRefused("A string holds a NUL character.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise JSONRefused("A string holds half of a surrogate pair.") from error


def dumps(value: Any, *, sort_keys: bool = False) -> bytes:
    """Compact UTF-8 JSON in the value's own order of keys, or in a canonical one."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort_keys else None)
    except TypeError:  # integers beyond 64 bits, which orjson does not write
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=sort_keys)
        return text.encode()


def to_column(value: Any) -> str | None:
    """A value as the text of a database column; None stays NULL. NUL stays escaped, as PostgreSQL needs."""
    return None if value is None else dumps(value).decode()


def from_column(text: str | None) -> Any:
    """The value of such a column."""
    return None if text is None else json.loads(text)
