"""Fields that several documents have, and shapes that stand in several."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

from app.documents.schema import keywords
from app.errors import FieldError
from app.generations.lifecycle import STATUS_NAMES
from app.kit.clock import iso
from app.quotas.standing import Usage

Id = Annotated[str, keywords("Ours, a UUIDv7.", format="uuid")]
Url = Annotated[str, keywords(format="uri")]
Moment = Annotated[str, keywords(format="date-time")]
EventNumber = Annotated[int, keywords("Its place among all of the tenant's: 1, 2, 3 …")]
StatusName = Annotated[str, keywords(enum=sorted(set(STATUS_NAMES.values())))]
CurrentStatus = Annotated[
    StatusName, keywords("`completed` means finished; success or failure is only in the result.")
]
Holder = Annotated[str, keywords(enum=["tenant", "key", "end-user", "token"])]
Policies = Annotated[list[str], keywords("The names of the limits that refuse.")]


class Violation(TypedDict):
    """One thing that is wrong with what a caller sent."""

    pointer: Annotated[str, keywords("RFC 6901, in fragment form.")]
    code: str
    detail: str


def violations(errors: Sequence[FieldError]) -> list[Violation]:
    """What is wrong, in the order in which it was found."""
    return [{"pointer": one.pointer, "code": one.code, "detail": one.detail} for one in errors]


class Sums(TypedDict):
    """What is held for requests under way, and what is spent."""

    held_generations: int
    spent_generations: int
    held_microcredits: int
    spent_microcredits: int
    held_output_seconds: int
    spent_output_seconds: int


def sums(usage: Usage) -> Sums:
    """Returns what is held and spent of everything that is summed."""
    return {
        "held_generations": usage.held.generations,
        "spent_generations": usage.spent.generations,
        "held_microcredits": usage.held.microcredits,
        "spent_microcredits": usage.spent.microcredits,
        "held_output_seconds": usage.held.output_seconds,
        "spent_output_seconds": usage.spent.output_seconds,
    }


def iso_or_none(at_ms: int | None) -> str | None:
    """A moment in milliseconds since 1970 as ISO 8601 in UTC."""
    return None if at_ms is None else iso(at_ms)
