"""Findings: what is wrong or odd in a document, and the JSON pointers (RFC 6901) that say where."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

# Characters that a URI fragment may hold unescaped (RFC 3986, section 3.5), except the slash between tokens.
_FRAGMENT_SAFE = "!$&'()*+,;=:@?-._~"
_MAX_SHOWN = 60
# json.dumps raises for a longer integer: Python converts integers of up to 4,300 digits to text.
_MAX_INT_BITS = 10_000


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One finding: `pointer` is a JSON pointer (RFC 6901) into the document, `reason` is for people."""

    pointer: str
    reason: str


def pointer(tokens: Iterable[str | int]) -> str:
    """Returns the JSON pointer of a path: `/a~1b/0`; the empty string for the whole document."""
    return "".join(f"/{_escaped(token)}" for token in tokens)


def fragment(tokens: Iterable[str | int]) -> str:
    """Returns the JSON pointer of a path in its URI fragment form: `#/image_urls/0`.

    Lone surrogates are percent-encoded as they stand.
    """
    return "#" + "".join(
        f"/{quote(_escaped(token), safe=_FRAGMENT_SAFE, errors='surrogatepass')}" for token in tokens
    )


def _escaped(token: str | int) -> str:
    return str(token).replace("~", "~0").replace("/", "~1")


def shown(value: Any) -> str:
    """Returns a JSON value as a short, printable text of at most 60 characters."""
    if isinstance(value, int) and value.bit_length() > _MAX_INT_BITS:
        return "a very large integer"
    if isinstance(value, str):
        value = value[: _MAX_SHOWN * 2]
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return f"a value of type {type(value).__name__}"
    return clipped(text)


def clipped(text: str, limit: int = _MAX_SHOWN) -> str:
    """Returns the text cut to `limit` characters, with unprintable characters replaced."""
    printable = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[:limit])
    return printable if len(text) <= limit else printable[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def listed(options: Iterable[str], limit: int = 300) -> str:
    """Returns the options, comma separated; beyond about `limit` characters, how many more there are."""
    parts = list(options)
    used = 0
    for count, part in enumerate(parts):
        used += len(part) + 2
        if used > limit and count:
            return f"{', '.join(parts[:count])} and {len(parts) - count} more"
    return ", ".join(parts)
