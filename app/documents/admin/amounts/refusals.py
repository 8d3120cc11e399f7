"""Refused calls, as operators read them."""

from typing import Annotated, TypedDict

from app.auth.keys import Mode
from app.auth.refusals import Refused
from app.documents.fields import Moment
from app.documents.schema import keywords
from app.kit.clock import iso


class RefusedCalls(TypedDict):
    """How often one key was refused with one error."""

    tenant: Annotated[str | None, keywords("The tenant's name; null: the caller had no valid key.")]
    kid: Annotated[str | None, keywords("The key, also of a client token; null: no valid key.")]
    mode: Mode | None
    code: Annotated[str, keywords("The error's code in the catalogue.")]
    network: Annotated[
        str | None, keywords("Where callers without a valid key came from; null: all others, or not known.")
    ]
    count: int
    max_per_minute: Annotated[int, keywords("The number in the worst minute, on all servers.")]
    first_at: Annotated[Moment, keywords("The minute of the first.")]
    last_at: Annotated[Moment, keywords("The minute of the last.")]


class RefusalCounts(TypedDict):
    """Refused calls of a time, those that were refused most often first."""

    since: Moment
    until: Moment
    refusals: list[RefusedCalls]


def refused_calls(one: Refused, tenant: str | None) -> RefusedCalls:
    """Returns how often one key was refused with one error; `tenant` is its tenant's name."""
    mode: Mode | None = "live" if one.mode == "live" else "test" if one.mode == "test" else None
    return {
        "tenant": tenant,
        "kid": one.kid or None,
        "mode": mode,
        "code": one.code,
        "network": one.network or None,
        "count": one.count,
        "max_per_minute": one.max_per_minute,
        "first_at": iso(one.first_ms),
        "last_at": iso(one.last_ms),
    }
