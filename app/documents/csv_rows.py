"""CSV (RFC 4180) of what the gateway reports, safe to open in a spreadsheet.

A text that would be taken for a formula gets an apostrophe before it, by which spreadsheets know a text.
Numbers are written as they are.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


class Number(str):
    """A number with a point, which is written as it is although it may begin with a minus."""

    __slots__ = ()


Cell = str | int | None


def csv_text(rows: Iterable[Sequence[Cell]]) -> str:
    """Returns rows of cells as lines of CSV, each with CRLF at its end; None is an empty cell."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\r\n").writerows([_safe(cell) for cell in row] for row in rows)
    return file.getvalue()


def _safe(cell: Cell) -> str | int:
    if isinstance(cell, str) and not isinstance(cell, Number):
        return f"'{cell}" if cell.startswith(_FORMULAS) else cell
    return "" if cell is None else cell
