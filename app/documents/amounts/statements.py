"""Statements as they are told to a tenant and the operator: as JSON and as CSV, which is the truth."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Annotated, TypedDict

from app.documents.amounts.ledger import HEADER, LedgerEntry, csv_lines, entry
from app.documents.csv_rows import Cell, Number, csv_text
from app.documents.fields import Moment
from app.documents.schema import keywords
from app.kit.clock import iso
from app.quotas.amounts import credits_text
from app.quotas.balances.entries import Line
from app.quotas.balances.statements import Draft, Statement


class StatementSummary(TypedDict):
    """A closed month. Opening balance - held + refunded + added + adjusted = closing balance, always."""

    month: Annotated[str, keywords("Such as `2026-11`.", pattern="^[0-9]{4}-[0-9]{2}$")]
    time_zone: Annotated[str, keywords("The time zone whose month it is.")]
    begin: Annotated[Moment, keywords("Its beginning, where the month before it ends.")]
    until: Annotated[Moment, keywords("Its end: later entries are of the next month.")]
    opening_microcredits: int
    held_microcredits: Annotated[int, keywords("The holds, which took credits from the balance.")]
    refunded_microcredits: int
    added_microcredits: Annotated[int, keywords("The top-ups.")]
    adjusted_microcredits: Annotated[int, keywords("The adjustments; below 0 where they took credits away.")]
    closing_microcredits: int
    number_of_entries: int
    csv_sha256: Annotated[str, keywords("SHA-256 of the statement as CSV, in hexadecimal digits.")]
    closed_at: Moment


class StatementPage(TypedDict):
    """A page of statements, the newest month first."""

    statements: list[StatementSummary]
    next_cursor: str | None


class StatementInFull(StatementSummary):
    """A closed month with a page of its entries, the oldest first."""

    entries: list[LedgerEntry]
    next_cursor: str | None


def summary(one: Statement) -> StatementSummary:
    """Returns a statement without its entries."""
    return {
        "month": one.month,
        "time_zone": one.time_zone,
        "begin": iso(one.from_ms),
        "until": iso(one.until_ms),
        "opening_microcredits": one.opening_microcredits,
        "held_microcredits": one.held_microcredits,
        "refunded_microcredits": one.refunded_microcredits,
        "added_microcredits": one.added_microcredits,
        "adjusted_microcredits": one.adjusted_microcredits,
        "closing_microcredits": one.closing_microcredits,
        "number_of_entries": one.entries,
        "csv_sha256": one.csv_sha256,
        "closed_at": iso(one.closed_at_ms),
    }


def page(found: Sequence[Statement], next_cursor: str | None) -> StatementPage:
    """Returns a page of statements."""
    return {"statements": [summary(one) for one in found], "next_cursor": next_cursor}


def in_full(one: Statement, lines: Sequence[Line], next_cursor: str | None) -> StatementInFull:
    """Returns a statement with a page of its entries."""
    return {**summary(one), "entries": [entry(line) for line in lines], "next_cursor": next_cursor}


def csv_head(draft: Draft) -> str:
    """Returns the beginning of a statement as CSV: the names of its columns, and the opening balance."""
    return csv_text([HEADER, _balance("opening", draft.from_ms, draft.opening_microcredits)])


def csv_body(lines: Iterable[Line], balance_microcredits: int) -> str:
    """Returns entries of a statement as CSV; the balance is the one before them."""
    return csv_text(csv_lines(lines, balance_microcredits))


def csv_foot(draft: Draft, balance_microcredits: int) -> str:
    """Returns the end of a statement as CSV: the closing balance."""
    return csv_text([_balance("closing", draft.until_ms, balance_microcredits)])


def csv_sha256(draft: Draft, pages: Iterable[Sequence[Line]]) -> str:
    """Returns the hash of the statement as CSV; `pages` are all of its entries, the oldest first."""
    digest, balance = hashlib.sha256(csv_head(draft).encode()), draft.opening_microcredits
    for lines in pages:
        digest.update(csv_body(lines, balance).encode())
        balance += sum(one.microcredits for one in lines)
    digest.update(csv_foot(draft, balance).encode())
    return digest.hexdigest()


def _balance(kind: str, at_ms: int, microcredits: int) -> list[Cell]:
    amount = Number(credits_text(microcredits))
    return ["", iso(at_ms), kind, "", amount, *[""] * (len(HEADER) - 5)]
