"""A tenant's ledger: what changed its balance, and why, as JSON and as CSV."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Final, TypedDict

from app.documents.csv_rows import Cell, Number
from app.documents.fields import Id, Moment
from app.documents.schema import keywords
from app.kit.clock import iso
from app.quotas.amounts import credits_text
from app.quotas.balances.entries import Line
from app.quotas.balances.ledger import Kind


class LedgerEntry(TypedDict):
    """One change of the balance; what was entered is never changed."""

    entry: Annotated[int, keywords("Its number.")]
    at: Annotated[Moment, keywords("When it was entered.")]
    kind: Kind
    microcredits: Annotated[int, keywords("The change of the balance: below 0 for a hold, 0 for a settle.")]
    request_id: Annotated[Id | None, keywords("The request that it belongs to, or whose price it corrects.")]
    model_id: str | None
    kid: Annotated[str | None, keywords("The first key of its line of rotations.")]
    end_user: str | None
    reference: str | None
    note: Annotated[str | None, keywords("Why it was entered.")]


class LedgerPage(TypedDict):
    """A page of the ledger, newest first."""

    entries: list[LedgerEntry]
    next_cursor: str | None


def entry(line: Line) -> LedgerEntry:
    """Returns an entry as a tenant sees it."""
    return {
        "entry": line.id,
        "at": iso(line.at_ms),
        "kind": line.kind,
        "microcredits": line.microcredits,
        "request_id": line.request_id,
        "model_id": line.model_id or None,
        "kid": line.kid or None,
        "end_user": line.end_user or None,
        "reference": line.reference,
        "note": line.note,
    }


def page(lines: Sequence[Line], next_cursor: str | None) -> LedgerPage:
    """Returns a page of entries."""
    return {"entries": [entry(one) for one in lines], "next_cursor": next_cursor}


HEADER: Final[tuple[str, ...]] = (
    "entry",
    "at",
    "kind",
    "credits",
    "balance",
    "request_id",
    "model_id",
    "kid",
    "end_user",
    "reference",
    "note",
)
"""The columns of lines in CSV."""


def csv_lines(lines: Iterable[Line], opening_microcredits: int) -> Iterator[Sequence[Cell]]:
    """Yields the cells of lines, with the balance after each; credits are plain decimal numbers."""
    balance = opening_microcredits
    for line in lines:
        balance += line.microcredits
        yield (
            line.id,
            iso(line.at_ms),
            line.kind,
            Number(credits_text(line.microcredits)),
            Number(credits_text(balance)),
            line.request_id,
            line.model_id,
            line.kid,
            line.end_user,
            line.reference,
            line.note,
        )
