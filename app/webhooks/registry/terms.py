"""What an owner may say of an endpoint. Names everything that is wrong with it, before anything is stored.

Whether an address may be reached is decided at every attempt, because a name can change its mind; here only
what can never be reached is refused, so that whoever types it learns it at once.
"""

import ipaddress
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from app.egress.urls import URL, URLRefused, parse_url
from app.errors import FieldError
from app.kit.redaction import redactor
from app.kit.text import quoted
from app.webhooks.registry.endpoints import Terms

if TYPE_CHECKING:
    from app.egress.client import Reach

MAX_URL: Final = 2048
MAX_DESCRIPTION: Final = 200
_INNER_NAMES: Final = ("localhost", "local", "internal", "home.arpa", "test", "invalid")


def faults_of(terms: Terms, reach: "Reach", types: Sequence[str]) -> list[FieldError]:
    """Returns everything that is wrong with the terms of an endpoint.

    `reach` is where the endpoint may be, and `types` what there is to hear.
    """
    return [
        *(FieldError("#/url", code, detail) for code, detail in _faults_of_url(terms.url, reach)),
        *_faults_of_description(terms.description),
        *faults_of_types(terms.events, types),
    ]


def faults_of_types(wanted: Sequence[str] | None, types: Collection[str]) -> list[FieldError]:
    """Returns what is wrong with a list of types of events; None is all of them."""
    if wanted is None:
        return []
    errors = [
        FieldError(
            f"#/events/{number}", "enum", f"there is no event {quoted(one)}; there are {', '.join(types)}."
        )
        for number, one in enumerate(wanted)
        if one not in types
    ]
    if not errors and len(set(wanted)) < len(wanted):
        errors = [FieldError("#/events", "unique_items", "`events` names a type of event twice.")]
    return errors


def _faults_of_url(text: str, reach: "Reach") -> list[tuple[str, str]]:
    if len(text) > MAX_URL:
        return [("max_length", f"the URL has at most {MAX_URL:,} characters, not {len(text):,}.")]
    if "#" in text:
        return [("url", "the URL has no fragment (#…): it would never be sent.")]
    try:
        url = parse_url(text)
    except URLRefused as error:
        return [("url", f"the URL {error}.")]
    if url.authority in reach.hosts:
        return []
    if url.scheme == "http":
        return [
            ("plain_http", "the URL must be an https:// URL: whoever is on the way could read plain http.")
        ]
    return [("forbidden_address", detail) for detail in _never_reached(url, reach)]


def _never_reached(url: URL, reach: "Reach") -> list[str]:
    """Returns why the guard would refuse this URL whenever it is tried, if it would."""
    try:
        address = ipaddress.ip_address(url.host)
    except ValueError:
        address = None
    if address is not None:
        return [] if reach.allows(url, address) else ["the URL must lead to a public address, on port 443."]
    name = url.host.removesuffix(".")
    is_inner = "." not in name or name.endswith(tuple(f".{one}" for one in _INNER_NAMES))
    if is_inner and not reach.networks:
        return ["the URL must have a public host name: this one is of a machine or of an inner network."]
    if url.port not in reach.ports - {80}:
        return [
            f"the URL must have the port {' or '.join(map(str, sorted(reach.ports - {80})))}, not {url.port}."
        ]
    return []


def _faults_of_description(text: str) -> list[FieldError]:
    if len(text) > MAX_DESCRIPTION or not text.isprintable() or text != text.strip():
        detail = (
            f"the description is at most {MAX_DESCRIPTION} printable characters, without blanks at its ends."
        )
        return [FieldError("#/description", "pattern", detail)]
    if redactor.finds_secret(text):
        return [
            FieldError(
                "#/description", "secret", "the description has a key, a token or another secret in it."
            )
        ]
    return []
