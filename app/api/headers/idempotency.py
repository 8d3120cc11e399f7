"""The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header): quoted or bare."""

from starlette.datastructures import Headers

from app.errors import INVALID_IDEMPOTENCY_KEY, Problem

HEADER = "Idempotency-Key"
REPLAYED = {"Idempotent-Replayed": "true"}
MAX_LENGTH = 255


def key_of(headers: Headers) -> str | None:
    """Returns the idempotency key, or None where none was sent.

    `"abc"` (a structured field string) and `abc` are the same key.

    Raises:
        Problem: INVALID_IDEMPOTENCY_KEY.

    """
    values = headers.getlist(HEADER)
    if not values:
        return None
    if len(values) > 1:
        raise _invalid("was sent more than once")
    text = values[0].strip()
    if text.startswith('"'):
        text = _unquote(text)
    if not 1 <= len(text) <= MAX_LENGTH:
        raise _invalid(f"has {len(text)} characters; 1 to {MAX_LENGTH} are allowed")
    if not all(" " <= character <= "~" for character in text):
        raise _invalid("may contain only printable ASCII characters")
    return text


def _unquote(text: str) -> str:
    """Returns the content of a structured field string (RFC 8941); a backslash escapes itself and quotes."""
    if len(text) < 2 or not text.endswith('"'):  # noqa: PLR2004 - the two quotes
        raise _invalid("starts with a quote but does not end with one")
    content, escaped = "", False
    for character in text[1:-1]:
        if escaped and character not in '"\\':
            raise _invalid("has a backslash before a character that must not be escaped")
        if not escaped and character == '"':
            raise _invalid("has a quote inside its quotes")
        escaped = not escaped and character == "\\"
        content += "" if escaped else character
    if escaped:
        raise _invalid("ends in the middle of an escape")
    return content


def _invalid(why: str) -> Problem:
    return Problem(INVALID_IDEMPOTENCY_KEY, f"The {HEADER} {why}.")
