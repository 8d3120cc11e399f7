"""Judges the text of a media input: an https URL or a base64 `data:` URI, nothing fetched."""

import binascii
import re
from dataclasses import dataclass
from typing import Final

from app.catalog.media.rules import MediaKind
from app.egress.urls import NotWebURLRefused, URLRefused, parse_url

_DATA_HEAD = re.compile(
    r"data:([a-z]+)/[a-z0-9!#$&^_.+-]+(;[a-z0-9-]+=[a-z0-9!#$&^_.+-]+)*;base64", re.IGNORECASE
)
_MAX_DATA_HEAD: Final = 256


@dataclass(frozen=True, slots=True)
class MediaPolicy:
    """Which media values a request body may hold.

    `http_hosts` are host:port in lower case, whose URLs are accepted over http and https alike. Any other URL
    must be https, on one of `ports` (None: any port). `data_uris` says whether `data:` URIs are accepted.
    """

    http_hosts: frozenset[str] = frozenset()
    ports: frozenset[int] | None = None
    data_uris: bool = True


def media_fault(value: str, kind: MediaKind, policy: MediaPolicy) -> str | None:
    """Returns what is wrong with the value as a media reference, or None."""
    if is_data_uri(value):
        refused = "must be an absolute https:// URL, not a data: URI"
        return _data_fault(value, kind) if policy.data_uris else refused
    try:
        url = parse_url(value)
    except NotWebURLRefused:
        wanted = "" if kind == "any" else f"{kind}/"
        also = f" or a base64 data:{wanted}… URI" if policy.data_uris else ""
        return f"must be an absolute https:// URL{also}"
    except URLRefused as error:
        return str(error)
    fits = policy.ports is None or url.port in policy.ports
    if (fits and url.scheme == "https") or url.authority in policy.http_hosts:
        return None
    if url.scheme == "http":
        return "must be an https:// URL: plain http is not allowed for this host"
    allowed = ", ".join(map(str, sorted(policy.ports or ())))
    return f"must be a URL on port {allowed}, is on port {url.port}"


def is_data_uri(value: str) -> bool:
    """Returns whether the value is a `data:` URI, which holds the file itself."""
    return value[:5].lower() == "data:"


def data_of(value: str) -> bytes:
    """Returns the bytes of a `data:` URI in which `media_fault` found nothing wrong."""
    return binascii.a2b_base64(value[value.index(",") + 1 :], strict_mode=True)


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
