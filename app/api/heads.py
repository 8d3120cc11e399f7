"""What a request's head must be, beyond what the parser demands. Pure.

Everything here is about one danger: that a proxy in front and this server understand one request differently.
"""

import re
from collections.abc import Sequence
from typing import Final

# Twice even with one value: another reader may take the first, the last, or join them.
_ONCE: Final = frozenset(
    {b"host", b"content-length", b"content-type", b"transfer-encoding", b"authorization", b"idempotency-key"}
)
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")
_TARGET: Final = re.compile(rb"(?:https?://[^\x00-\x20/?#\x7f-\xff]+)?/[\x21-\x7e]*")
_VERSIONS: Final = frozenset({"1.0", "1.1"})


def fault_of_head(version: str, target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """Why this head is refused, in public words that repeat nothing of it; None where it is fine.

    `version` is as in `HTTP/1.1`, `target` as in the request line, `headers` have their names in lower case.
    """
    if version not in _VERSIONS:
        return "Only HTTP/1.0 and HTTP/1.1 are spoken here."
    if not _TARGET.fullmatch(target):
        return "The address is not a path of printable ASCII; everything else in it is percent-encoded."
    named: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in named and name in _ONCE:
            return f"The header {name.decode('ascii')} stands twice."
        if not value.isascii() or b"\0" in value:
            return "A header holds bytes that are not ASCII."
        named[name] = value
    return _fault_of_host(version, named) or _fault_of_length(version, named)


def _fault_of_host(version: str, named: dict[bytes, bytes]) -> str | None:
    host = named.get(b"host")
    if host is None:
        return "There is no Host header." if version == "1.1" else None
    return None if _HOST.fullmatch(host) else "The Host header is not a host, or a host and a port."


def _fault_of_length(version: str, named: dict[bytes, bytes]) -> str | None:
    coding = named.get(b"transfer-encoding")
    if coding is None:
        return None
    if version != "1.1":
        return "HTTP/1.0 has no Transfer-Encoding."
    if coding.lower() != b"chunked":
        return "The only Transfer-Encoding that is taken is chunked."
    if b"content-length" in named:
        return "There are two lengths: Transfer-Encoding and Content-Length."
    return None
