"""Judges the text of a media input: an https URL, a `data:` URI or a reference, nothing fetched."""

from dataclasses import dataclass
from typing import Final

from app.catalog.media.rules import MediaKind
from app.egress.urls import URL, NotWebURLRefused, URLRefused, parse_url
from app.media.data_uri import DataURIRefused, Unpacked, is_data_uri, unpack
from app.media.facts import Facts
from app.media.references import id_in, is_reference

_OF_NO_KIND: Final = frozenset({"", "application/octet-stream", "binary/octet-stream"})


@dataclass(frozen=True, slots=True)
class MediaPolicy:
    """Which media values a request body may hold.

    `http_hosts` are host:port in lower case, whose URLs are accepted over http and https alike. Any other URL
    must be https, on one of `ports` (None: any port). `data_uris` says whether `data:` URIs are accepted.
    """

    http_hosts: frozenset[str] = frozenset()
    ports: frozenset[int] | None = None
    data_uris: bool = True


def media_fault(
    value: str, kind: MediaKind, policy: MediaPolicy, unpacked: Unpacked | None = None
) -> str | None:
    """Returns what is wrong with the value as a media reference, or None.

    `unpacked` is the file of a `data:` URI where it was unpacked already, which takes time.
    """
    if is_reference(value):
        return None if id_in(value) is not None else "must be rg-file: and the id of an uploaded file"
    if is_data_uri(value):
        refused = "must be an absolute https:// URL, not a data: URI"
        return _data_fault(value, kind, unpacked) if policy.data_uris else refused
    try:
        url = parse_url(value)
    except NotWebURLRefused:
        wanted = "" if kind == "any" else f"{kind}/"
        also = f" or a base64 data:{wanted}… URI" if policy.data_uris else ""
        return f"must be an absolute https:// URL{also}"
    except URLRefused as error:
        return str(error)
    return _place_fault(url, policy)


def _place_fault(url: URL, policy: MediaPolicy) -> str | None:
    fits = policy.ports is None or url.port in policy.ports
    if (fits and url.scheme == "https") or url.authority in policy.http_hosts:
        return None
    if url.scheme == "http":
        return "must be an https:// URL: plain http is not allowed for this host"
    allowed = ", ".join(map(str, sorted(policy.ports or ())))
    return f"must be a URL on port {allowed}, is on port {url.port}"


def _data_fault(value: str, kind: MediaKind, unpacked: Unpacked | None) -> str | None:
    try:
        unpacked = unpack(value) if unpacked is None else unpacked
    except DataURIRefused as error:
        return str(error)
    # What a browser would show is accepted under any name. Only a file whose bytes tell nothing has to be
    # taken at its sender's word.
    if isinstance(unpacked.seen, Facts) or unpacked.declared in _OF_NO_KIND:
        return None
    if unpacked.declared.partition("/")[0] in (("image", "video", "audio") if kind == "any" else (kind,)):
        return None
    wanted = "an image, a video or audio" if kind == "any" else kind
    return f"must be a data: URI of {wanted}, is of another kind"
