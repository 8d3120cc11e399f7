"""The one parser of strangers' URLs, so that the URL judged and the URL fetched are the same."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

MAX_URL_CHARS: Final = 4_096  # presigned URLs with session tokens have more than 2,048
_MAX_HOST_CHARS: Final = 253
_USUAL_PORT: Final = {"https": 443, "http": 80}
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
# RFC 1123 has no underscores, but host names of object stores do.
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\.?")
_KEPT: Final = "!$%&'()*+,/:;=?@[]~"
_IN_PATH: Final = _KEPT.replace("?", "")
_PLAIN: Final = re.compile(rf"[A-Za-z0-9_.~{re.escape(_KEPT)}-]*")  # what needs no quoting
# The form of nearly all URLs, in which nothing can be wrong and nothing is changed.
_USUAL: Final = re.compile(rf"(https?)://({_HOST.pattern})(?P<path>/[A-Za-z0-9_.~{re.escape(_IN_PATH)}-]*)?")


class URLRefused(ValueError):  # noqa: N818 - named after what happened
    """The text is not an acceptable URL of a file. The message says what it must be, in words for callers."""


class NotWebURLRefused(URLRefused):
    """The text is no http or https URL at all."""


@dataclass(frozen=True, slots=True)
class URL:
    """An absolute http or https URL. `target` is the path and query for the request line, percent-encoded."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """The host:port in lower case, an IPv6 address in brackets."""
        return f"{self.bracketed}:{self.port}"

    @property
    def bracketed(self) -> str:
        """The host as it stands in a URL, an IPv6 address in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def host_header(self) -> str:
        """The value of the `Host` header: the port is left out where it is the scheme's usual one."""
        return self.bracketed if self.port == _USUAL_PORT[self.scheme] else self.authority


def scheme_of(text: str) -> str:
    """Returns the URL's scheme in lower case; an empty text where there is none."""
    named = _SCHEME.match(text)
    return named[1].lower() if named else ""


def parse_url(text: str) -> URL:
    """Parses an http or https URL.

    Raises:
        NotWebURLRefused: the text has another scheme, or none.
        URLRefused: the text is no such URL, or one that two parsers could understand differently.

    """
    usual = _USUAL.fullmatch(text)
    if usual is not None and len(text) <= MAX_URL_CHARS and len(usual[2]) <= _MAX_HOST_CHARS:
        return URL(usual[1], usual[2], _USUAL_PORT[usual[1]], usual["path"] or "/")
    scheme = scheme_of(text)
    if scheme not in _USUAL_PORT:
        raise NotWebURLRefused("must be an absolute https:// URL")
    if len(text) > MAX_URL_CHARS:
        raise URLRefused(f"must be a URL of at most {MAX_URL_CHARS:,} characters, has {len(text):,}")
    if " " in text or not text.isprintable():
        raise URLRefused("must be a URL without spaces and control characters")
    if "\\" in text or not text[len(scheme) + 1 :].startswith("//"):
        raise URLRefused(f"must be an absolute URL ({scheme}://host/path), without backslashes")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise URLRefused("must be a URL with a valid host and port") from error
    if "@" in parts.netloc:
        raise URLRefused("must be a URL without user name and password")
    if not _is_host(host, parts.netloc) or port == 0:
        raise URLRefused(
            "must be a URL with a valid host (ASCII; an international name in its xn-- form) and port"
        )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not _PLAIN.fullmatch(target):
        target = quote(target, safe=_KEPT)
    return URL(scheme, host, port or _USUAL_PORT[scheme], target)


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
