"""What the head of a request must satisfy beyond what the parser demands. Pure.

All rules here guard against one danger: that a proxy in front and this server understand a request
differently.
"""

import re
from collections.abc import Sequence
from typing import Final

Headers = Sequence[tuple[bytes, bytes]]

# Headers that may occur only once, even with equal values: parsers may use the first, the last, or both.
_ONCE: Final = frozenset(
    {b"host", b"content-length", b"content-type", b"transfer-encoding", b"authorization", b"idempotency-key"}
)
READ: Final = _ONCE | {
    *(b"accept", b"access-control-request-method", b"connection", b"content-encoding", b"expect"),
    *(
        b"http2-settings",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"last-event-id",
        b"origin",
    ),
    *(
        b"prefer",
        b"range",
        b"reelgate-keep-output",
        b"reelgate-start-deadline",
        b"sec-fetch-site",
        b"traceparent",
        b"upgrade",
    ),
}
"""The headers that something here reads. They must be ASCII; bytes of all others are opaque (RFC 9110)."""

_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")
# A target with a fragment is refused, because some parsers cut the fragment off and others do not.
_TARGET: Final = re.compile(rb"(?:https?://([^\x00-\x20/?#@\x7f-\xff]+))?/[!\"$-~]*", re.IGNORECASE)
_VERSIONS: Final = frozenset({"1.0", "1.1"})
_OF_UPGRADE: Final = frozenset({b"upgrade", b"http2-settings"})


def fault_of_head(version: str, target: bytes, headers: Headers) -> str | None:
    """Returns why this head is refused, in words for callers, repeating nothing of it; None if it is fine.

    `version` is as in `HTTP/1.1`, `target` as in the request line, and the names in `headers` are in lower
    case.
    """
    if version not in _VERSIONS:
        return "Only HTTP/1.0 and HTTP/1.1 are supported."
    place = _TARGET.fullmatch(target)
    if place is None:
        return "The address is not a path of printable ASCII characters; percent-encode all others."
    if not b"".join([value for _, value in headers]).isascii():  # the parser refuses control characters
        wrong = next((name for name, value in headers if name in READ and not value.isascii()), None)
        if wrong is not None:
            return f"The header {wrong.decode('ascii')} contains bytes that are not ASCII."
    named = dict(headers)
    if len(named) < len(headers) and (name := _repeated(headers)):
        return f"The header {name} was sent twice."
    return _fault_of_host(version, place[1], named) or _fault_of_length(version, named)


def without_upgrade(method: bytes, version: str, target: bytes, headers: Headers) -> bytes:
    """Returns the same head as bytes, without the request to switch to another protocol."""
    lines = [b"%s %s HTTP/%s" % (method, target, version.encode())]
    for name, value in headers:
        if name in _OF_UPGRADE:
            continue
        if name == b"connection":
            tokens = [token.strip() for token in value.split(b",")]
            kept = b", ".join([token for token in tokens if token.lower() not in _OF_UPGRADE])
            lines.append(name + b": " + kept)
        else:
            lines.append(name + b": " + value)
    return b"\r\n".join([*lines, b"", b""])


def _repeated(headers: Headers) -> str | None:
    seen = set()
    for name, _ in headers:
        if name in seen and name in _ONCE:
            return name.decode("ascii")
        seen.add(name)
    return None


def _fault_of_host(version: str, place: bytes | None, named: dict[bytes, bytes]) -> str | None:
    host = named.get(b"host")
    if host is None:
        return "There is no Host header." if version == "1.1" else None
    if not _HOST.fullmatch(host):
        return "The Host header is not a valid host, with or without a port."
    if place is not None and place.lower() != host.lower():
        return "The address and the Host header name different hosts."
    return None


def _fault_of_length(version: str, named: dict[bytes, bytes]) -> str | None:
    coding = named.get(b"transfer-encoding")
    if coding is None:
        return None
    if version != "1.1":
        return "HTTP/1.0 does not support Transfer-Encoding."
    if coding.lower() != b"chunked":
        return "The only Transfer-Encoding that is supported is chunked."
    if b"content-length" in named:
        return "Transfer-Encoding and Content-Length must not be sent together."
    return None
