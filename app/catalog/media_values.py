"""What a media input may hold: an https URL or a base64 `data:` URI, judged by its text alone."""

import binascii
import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from app.catalog.media_rules import MediaKind

MAX_URL_CHARS: Final = 2_048
_MAX_HOST_CHARS: Final = 253
_MAX_PORT: Final = 65_535
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
# Underscores occur in the host names of stores, though not in RFC 1123.
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\.?")
_DATA_HEAD = re.compile(
    r"data:([a-z]+)/[a-z0-9!#$&^_.+-]+(;[a-z0-9-]+=[a-z0-9!#$&^_.+-]+)*;base64", re.IGNORECASE
)
_MAX_DATA_HEAD: Final = 256


def media_fault(value: str, kind: MediaKind, http_hosts: frozenset[str], *, data_uris: bool) -> str | None:
    """What is wrong with the value as a media reference, or None."""
    if value[:5].lower() == "data:":
        return (
            _data_fault(value, kind)
            if data_uris
            else f"must be {_allowed('any', data_uris=False)}, not a data: URI"
        )
    scheme = _SCHEME.match(value)
    name = scheme[1].lower() if scheme else ""
    if name not in ("https", "http"):
        return f"must be {_allowed(kind, data_uris=data_uris)}"
    if len(value) > MAX_URL_CHARS:
        return f"must be a URL of at most {MAX_URL_CHARS:,} characters, has {len(value):,}"
    if any(char.isspace() or not char.isprintable() for char in value):
        return "must be a URL without spaces and control characters"
    if "\\" in value or not value[len(name) + 1 :].startswith("//"):
        return f"must be an absolute URL ({name}://host/path), without backslashes"
    return _authority_fault(value, name, http_hosts)


def _allowed(kind: MediaKind, *, data_uris: bool) -> str:
    wanted = "" if kind == "any" else f"{kind}/"
    return "an absolute https:// URL" + (f" or a base64 data:{wanted}… URI" if data_uris else "")


def _authority_fault(value: str, scheme: str, http_hosts: frozenset[str]) -> str | None:
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "must be a URL with a valid host and port"
    if "@" in parts.netloc:
        return "must be a URL without user name and password"
    if not _is_host(host, parts.netloc) or port == 0:
        return "must be a URL with a valid host (ASCII; an international name in its xn-- form) and port"
    if scheme == "http":
        shown = f"[{host}]" if ":" in host else host
        if f"{shown}:{port or 80}" not in http_hosts:
            return "must be an https:// URL: plain http is not allowed for this host"
    return None


def _is_host(host: str, netloc: str) -> bool:
    if netloc.startswith("["):
        try:
            return ipaddress.IPv6Address(host).scope_id is None
        except ValueError:
            return False
    port = netloc[len(host) :]
    return (
        len(host) <= _MAX_HOST_CHARS
        and _HOST.fullmatch(host) is not None
        and re.fullmatch(r"(:\d{0,5})?", port) is not None
    )


def _data_fault(value: str, kind: MediaKind) -> str | None:
    comma = value.find(",", 0, _MAX_DATA_HEAD)
    head = _DATA_HEAD.fullmatch(value[:comma]) if comma >= 0 else None
    if head is None:
        return (
            f"must be a data: URI of the form data:{'image' if kind == 'any' else kind}/<type>;base64,<data>"
        )
    given = head[1].lower()
    if given not in (("image", "video", "audio") if kind == "any" else (kind,)):
        wanted = "an image, a video or audio" if kind == "any" else kind
        return f"must be a data: URI of {wanted}, is of another kind"
    payload = value[comma + 1 :]
    try:
        decoded = binascii.a2b_base64(payload, strict_mode=True)
    except (binascii.Error, ValueError):
        return "must be a data: URI whose data is valid base64"
    return None if decoded else "must be a data: URI with data in it"
