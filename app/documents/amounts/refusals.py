"""Refused calls, as their tenant reads them."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

from app.auth.refusals import Filters, Refused
from app.documents.fields import Moment
from app.documents.schema import keywords
from app.kit.clock import iso


class RefusedCalls(TypedDict):
    """How often one of the tenant's keys was refused with one error."""

    kid: Annotated[str, keywords("The API key, also of a client token; it is not the key itself.")]
    code: Annotated[str, keywords("The problem's `code`; `/problems` says what can be done.")]
    count: int
    max_per_minute: Annotated[int, keywords("The number in the worst minute.")]
    first_at: Annotated[Moment, keywords("The minute of the first.")]
    last_at: Annotated[Moment, keywords("The minute of the last.")]


class RefusalCounts(TypedDict):
    """Refused calls of a time, those that were refused most often first."""

    since: Moment
    until: Moment
    refusals: list[RefusedCalls]


def refusal_counts(found: Sequence[Refused], wanted: Filters) -> RefusalCounts:
    """Returns the refusals of a tenant in a time."""
    return {
        "since": iso(wanted.from_ms),
        "until": iso(wanted.before_ms),
        "refusals": [
            {
                "kid": one.kid,
                "code": one.code,
                "count": one.count,
                "max_per_minute": one.max_per_minute,
                "first_at": iso(one.first_ms),
                "last_at": iso(one.last_ms),
            }
            for one in found
        ],
    }
