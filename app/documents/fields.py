"""Fields and shapes that several documents share."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

from app.documents.schema import keywords
from app.errors import FieldError
from app.generations.lifecycle import STATUS_NAMES
from app.kit.clock import iso
from app.quotas.standing import Usage

Id = Annotated[str, keywords("The gateway's id of the request, a UUIDv7.", format="uuid")]
Url = Annotated[str, keywords(format="uri")]
Moment = Annotated[str, keywords(format="date-time")]
EventNumber = Annotated[int, keywords("The event's number among all of the tenant's in this mode: 1, 2, 3 …")]
StatusName = Annotated[str, keywords(enum=sorted(set(STATUS_NAMES.values())))]
CurrentStatus = Annotated[
    StatusName, keywords("`completed` means finished: the result says whether it succeeded.")
]
Holder = Annotated[str, keywords(enum=["tenant", "key", "end-user", "token"])]
Policies = Annotated[list[str], keywords("The names of the limits that do not allow it.")]


class Violation(TypedDict):
    """One violation in what a caller sent."""

    pointer: Annotated[str, keywords("Where it is wrong: a JSON Pointer (RFC 6901) in fragment form.")]
    code: str
    detail: str


def violations(errors: Sequence[FieldError]) -> list[Violation]:
    """Returns the violations, in the order in which they were found."""
    return [{"pointer": one.pointer, "code": one.code, "detail": one.detail} for one in errors]


class Sums(TypedDict):
    """The amounts that are held for requests under way, and those that are spent."""

    held_generations: int
    spent_generations: int
    held_microcredits: int
    spent_microcredits: int
    held_output_seconds: int
    spent_output_seconds: int


def sums(usage: Usage) -> Sums:
    """Returns the amounts of a usage, held and spent, in every unit that is summed."""
    return {
        "held_generations": usage.held.generations,
        "spent_generations": usage.spent.generations,
        "held_microcredits": usage.held.microcredits,
        "spent_microcredits": usage.spent.microcredits,
        "held_output_seconds": usage.held.output_seconds,
        "spent_output_seconds": usage.spent.output_seconds,
    }


def iso_or_none(at_ms: int | None) -> str | None:
    """Returns a moment in milliseconds since 1970 as ISO 8601 in UTC; None stays None."""
    return None if at_ms is None else iso(at_ms)
