"""Files by value: `data:` URIs, read as browsers read them (the Fetch standard), and written in one form.

Forms and scripts make them with line breaks, without padding, percent-encoded, or with file names in them.
All that Chromium shows is read here; what is sent on is `data:<type>;base64,<data>`, the type being that of
the bytes.
"""

import binascii
import re
from dataclasses import dataclass
from typing import Final

from app.media.facts import Facts, UnreadableError, facts_of

_CONTROLS: Final = "".join(map(chr, range(33)))  # and the blank: not part of a URL at its ends
_BASE64 = re.compile(r";\s*base64\s*\Z", re.IGNORECASE | re.ASCII)
_TYPE = re.compile(r"\s*([a-z]+/[a-z0-9!#$&^_.+-]+)", re.IGNORECASE | re.ASCII)
_FORM = re.compile(r"data:[a-z]+/[a-z0-9!#$&^_.+-]+;base64,", re.IGNORECASE | re.ASCII)
_ABRIDGED_OVER: Final = 1_000  # characters
_ESCAPES = re.compile(rb"%[0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2})*")
_PERCENT: Final = ord("%")
_URL_SAFE = re.compile(r"[A-Za-z0-9_=-]*")
_PIECE: Final = 262_144  # characters decoded at once, so that other threads get their turn between them


class DataURIRefused(ValueError):  # noqa: N818 - named after what happened
    """The text is no `data:` URI with data in it. The message says what it must be, in words for callers."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A file that was sent by value.

    `uri` is the one form in which it is sent on. `declared` is the media type that its sender named, in lower
    case and empty where none was named; `seen` is what its bytes tell.
    """

    uri: str
    declared: str
    seen: Facts | UnreadableError


def is_data_uri(value: str) -> bool:
    """Returns whether the value is a `data:` URI, which holds the file itself."""
    return not value.startswith("http") and _bare(value[:64])[:5].lower() == "data:"


def unpack(value: str) -> Unpacked:
    """Reads a `data:` URI. It takes some 10 ms for each megabyte.

    Raises:
        DataURIRefused: a browser would not read it either.

    """
    head, comma, body = value.partition(",")
    data = _decoded(body) if _FORM.fullmatch(head + comma) is not None else None
    if data is None:  # in one of the many other ways of writing it
        head, body, data = _read(value)
    found = _TYPE.match(head, 5)
    declared = found[1].lower() if found is not None else ""
    if not data:
        raise DataURIRefused("must be a data: URI with data in it")
    seen: Facts | UnreadableError
    try:
        seen = facts_of(data)
    except UnreadableError as error:
        seen = error
    media_type = seen.type if isinstance(seen, Facts) else declared or "application/octet-stream"
    start = f"data:{media_type};base64,"
    if len(value) == len(start) + len(body) and value.startswith(start) and _is_canonical(body):
        return Unpacked(value, declared, seen)
    return Unpacked(start + binascii.b2a_base64(data, newline=False).decode(), declared, seen)


def _read(value: str) -> tuple[str, str, bytes]:
    """Returns what stands before the comma, what stands behind it, and the bytes of that."""
    head, comma, body = _bare(value).partition("#")[0].partition(",")
    if not comma:
        raise DataURIRefused("must be a data: URI with a comma before its data")
    try:
        return head, body, _of_base64(body) if _BASE64.search(head) is not None else _unescaped(body)
    except UnicodeEncodeError:
        raise DataURIRefused("must be a data: URI in valid text: it has a lone surrogate") from None


def abridged(document: str) -> str:
    """Returns a JSON document without the data of long `data:` URIs, of which it says how long they were.

    The URIs must be in the one form of `unpack`; others stay as they are.
    """
    parts, at = [], 0
    while (begin := document.find('"data:', at)) >= 0:
        end = document.find('"', begin + 1)
        found = _FORM.match(document, begin + 1, end)
        if found is None or end - begin < _ABRIDGED_OVER or document[end - 1] == "\\":
            parts.append(document[at : end + 1] if end >= 0 else document[at:])
        else:
            parts += [document[at : found.end()], f"({end - begin - 1} characters)", '"']
        at = end + 1 if end >= 0 else len(document)
    return "".join([*parts, document[at:]]) if parts else document


def is_abridged(document: str) -> bool:
    """Returns whether a document may be one from which `abridged` left something out."""
    return ";base64,(" in document


def _bare(value: str) -> str:
    """Returns a URL without what browsers leave out: line breaks, tabs, and blanks at its ends."""
    return value.strip(_CONTROLS).replace("\n", "").replace("\r", "").replace("\t", "")


def _unescaped(text: str) -> bytes:
    """Decodes percent-escapes run by run, which urllib does one by one, at ten times the price."""
    data, parts, at = text.encode(), [], 0
    while at < len(data):
        end = at + _PIECE
        end -= next((back for back in (1, 2) if end < len(data) and data[end - back] == _PERCENT), 0)
        parts.append(_ESCAPES.sub(lambda run: binascii.unhexlify(run[0].replace(b"%", b"")), data[at:end]))
        at = end
    return b"".join(parts)


def _is_canonical(body: str) -> bool:
    """Returns whether base64 that was read is written as we would: whole, and without blanks and escapes."""
    return len(body) % 4 == 0 and not ("%" in body or " " in body or "\f" in body) and _ends_in_zeros(body)


def _ends_in_zeros(body: str) -> bool:
    """Returns whether the bits behind the last byte are zeros, which decoders need not check."""
    last = body[-4:]
    return binascii.b2a_base64(binascii.a2b_base64(last), newline=False).decode() == last


def _of_base64(body: str) -> bytes:
    """Decodes what the standard calls forgiving base64: with all padding or none, blanks left out."""
    if "%" in body:
        body = _unescaped(body).decode("latin-1")
    if " " in body or not body.isascii() or any(blank in body for blank in "\n\r\t\f"):
        body = "".join(re.split(r"[ \t\n\f\r]+", body))
    if len(body) % 4 == 0:
        body = body.removesuffix("=").removesuffix("=")
    if len(body) % 4 == 1 or body.endswith("="):
        raise DataURIRefused("must be a data: URI whose data is valid base64: some of it is missing")
    body += "=" * (-len(body) % 4)
    data = _decoded(body)
    if data is not None:
        return data
    if _URL_SAFE.fullmatch(body):
        raise DataURIRefused("must be a data: URI in the usual base64, with + and / instead of - and _")
    raise DataURIRefused("must be a data: URI whose data is valid base64")


def _decoded(body: str) -> bytes | None:
    """Returns the bytes of base64 that is padded and has nothing else in it; None where it is not so."""
    try:
        return b"".join(
            binascii.a2b_base64(body[at : at + _PIECE], strict_mode=True)
            for at in range(0, len(body), _PIECE)
        )
    except (binascii.Error, ValueError):
        return None
