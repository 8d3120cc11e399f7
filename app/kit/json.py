"""Reading and writing JSON: strict with callers' bodies, compact in the database.

Strict means that no two parsers can understand one document differently: it is UTF-8 and a single value, with
no duplicate keys, no NUL, no lone surrogates, no NaN or infinity, and bounded nesting (RFC 8259 leaves these
open, RFC 7493 closes them).
"""

import json
import math
from typing import Any, NoReturn

import orjson

MAX_DEPTH = 32
MAX_VALUES = 10_000  # no model accepts a hundredth of it; checking 60,000 blocked the event loop for 0.6 s


class JSONRefused(ValueError):  # noqa: N818 - named after what happened
    """The document is not acceptable. The message says why, in words that callers may be shown."""


def parse_strict(raw: bytes) -> Any:
    """Parses a JSON document and returns its value.

    Raises:
        JSONRefused: for whatever is wrong with the document; no other exception is raised.

    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JSONRefused(f"The body is not UTF-8 (byte {error.start}).") from error
    if text.startswith("\ufeff"):
        raise JSONRefused("The body starts with a byte order mark.")
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise JSONRefused(f"{error.msg} (line {error.lineno}, column {error.colno}).") from error
    except RecursionError as error:
        raise JSONRefused(f"The body is nested deeper than {MAX_DEPTH} levels.") from error
    if not _is_simple(text):
        _check_all(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise JSONRefused(f"The key {key[:60]!a} occurs twice in one object.")
            seen.add(key)
    return result


def _constant(name: str) -> NoReturn:
    raise JSONRefused(f"{name} is not JSON.")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise JSONRefused("A number is too large.")
    return number


_MAX_INTEGER = 400  # digits: more than any double has, and int() takes quadratic time for longer ones


def _int(text: str) -> int:
    if len(text) > _MAX_INTEGER:
        raise JSONRefused("A number is too large.")
    return int(text)


# Made once: that takes longer than decoding a short document.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
)


def _is_simple(text: str) -> bool:
    """Returns whether nothing in a document can fail `_check_all`, as its text shows at once.

    NULs and lone surrogates can only be written as escapes, and nothing is nested deeper than there are
    brackets.
    """
    openings = text.count("{") + text.count("[")
    return openings <= MAX_DEPTH and openings + text.count(",") < MAX_VALUES and "\\u" not in text


def _check_all(document: Any) -> None:
    """Checks the nesting depth, the number of values and every text of a document, level by level."""
    level, count = [document], 0
    for depth in range(MAX_DEPTH + 1):
        count += len(level)
        if count > MAX_VALUES:
            raise JSONRefused(f"The body contains more than {MAX_VALUES} values.")
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
        raise JSONRefused("A string contains a NUL character.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise JSONRefused("A string contains half of a surrogate pair.") from error


def dumps(value: Any, *, sort_keys: bool = False) -> bytes:
    """Returns the value as compact UTF-8 JSON, its keys in their own order or, with `sort_keys`, sorted."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort_keys else None)
    except TypeError:  # integers beyond 64 bits, which orjson does not write
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=sort_keys)
        return text.encode()


def to_column(value: Any) -> str | None:
    """Returns a value as the JSON text of a database column; None stays NULL.

    A NUL character stays escaped, because PostgreSQL's text cannot hold one.
    """
    return None if value is None else dumps(value).decode()


def from_column(text: str | None) -> Any:
    """Returns the value that a column written with `to_column` holds."""
    return None if text is None else json.loads(text)
