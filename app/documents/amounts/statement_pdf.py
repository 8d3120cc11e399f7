"""A statement as PDF: equal bytes for equal statements. The CSV is the truth, its hash on each page.

The text is in a standard font, which has the characters of Windows code page 1252. Any other is shown as `?`,
and a sentence below the entries says so.
"""

import io
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

import pydyf  # type: ignore[import-untyped]  # it has no types

from app.documents.amounts.ledger import csv_lines
from app.documents.csv_rows import Cell
from app.kit.clock import iso
from app.quotas.amounts import credits_text
from app.quotas.balances.entries import Line
from app.quotas.balances.statements import Statement

MAX_LINES: Final = 5_000
"""The most entries in a PDF; the CSV has all."""
_WIDTH, _HEIGHT = 842, 595  # A4, landscape, in points
_MARGIN: Final = 36
_SIZE: Final = 7
_LEADING: Final = 10
_PER_PAGE: Final = (_HEIGHT - 2 * _MARGIN) // _LEADING - 3
_CHARACTERS: Final = int((_WIDTH - 2 * _MARGIN) / (_SIZE * 0.6))
_COLUMNS: Final = (
    ("Entry", -9),
    ("Entered at (UTC)", 24),
    ("Kind", 10),
    ("Credits", -16),
    ("Balance", -16),
    ("Request", 36),
    ("Model, key, end user, reference, note", 0),
)
_UNPRINTABLE: Final = "?"


def statement_pdf(tenant: str, one: Statement, lines: Iterable[Line]) -> bytes:
    """Returns a statement of a tenant as a PDF; `lines` are its entries, the oldest first."""
    shown = list(islice(csv_lines(lines, one.opening_microcredits), MAX_LINES))
    text = [*_head(tenant, one), "", _table_row([name for name, _ in _COLUMNS])]
    text += [_table_row(_cells(cells)) for cells in shown]
    text += ["", *_remarks(one, len(shown), text)]
    pages = [text[first : first + _PER_PAGE] for first in range(0, len(text), _PER_PAGE)]
    pdf = pydyf.PDF()
    font = pydyf.Dictionary(
        {"Type": "/Font", "Subtype": "/Type1", "BaseFont": "/Courier", "Encoding": "/WinAnsiEncoding"}
    )
    pdf.add_object(font)
    for number, page in enumerate(pages, 1):
        footer = f"Page {number} of {len(pages)}   SHA-256 of the CSV: {one.csv_sha256}"
        _add_page(pdf, font, page, footer)
    file = io.BytesIO()
    pdf.write(file)
    return file.getvalue()


def _head(tenant: str, one: Statement) -> list[str]:
    sums = (
        ("Opening balance", one.opening_microcredits),
        ("Held for requests", -one.held_microcredits),
        ("Refunded", one.refunded_microcredits),
        ("Top-ups", one.added_microcredits),
        ("Adjustments", one.adjusted_microcredits),
        ("Closing balance", one.closing_microcredits),
    )
    return [
        f"Statement of {tenant}, {one.month}, {one.owner.mode} keys",
        f"From {iso(one.from_ms)} to {iso(one.until_ms)}: the month in the time zone {one.time_zone}.",
        f"{one.entries} entries; amounts in credits.",
        "",
        *(f"{name:<20}{credits_text(amount):>20}" for name, amount in sums),
    ]


def _remarks(one: Statement, shown: int, text: Sequence[str]) -> list[str]:
    remarks = (
        []
        if shown == one.entries
        else [f"The CSV has all {one.entries} entries; these are the first {shown}."]
    )
    if any(line != _printable(line) for line in text):
        remarks.append("A ? may stand for a character that this font does not have; the CSV has it.")
    return remarks


def _cells(cells: Sequence[Cell]) -> list[str]:
    entry, at, kind, change, balance, request_id, *rest = ("" if one is None else str(one) for one in cells)
    return [entry, at, kind, change, balance, request_id, " ".join(one for one in rest if one)]


def _table_row(cells: Sequence[str]) -> str:
    row = "  ".join(
        cell.rjust(-width) if width < 0 else cell.ljust(width)
        for cell, (_, width) in zip(cells, _COLUMNS, strict=True)
    ).rstrip()
    return row if len(row) <= _CHARACTERS else f"{row[: _CHARACTERS - 1]}…"


def _printable(line: str) -> str:
    return (
        "".join(one if one.isprintable() else _UNPRINTABLE for one in line)
        .encode("cp1252", "replace")
        .decode("cp1252")
    )


def _add_page(pdf: pydyf.PDF, font: pydyf.Dictionary, lines: Sequence[str], footer: str) -> None:
    stream = pydyf.Stream()
    stream.begin_text()
    stream.set_font_size("F1", _SIZE)
    stream.set_text_matrix(1, 0, 0, 1, _MARGIN, _HEIGHT - _MARGIN)
    for line in lines:
        stream.show_text_string(_printable(line).encode("cp1252"))
        stream.move_text_to(0, -_LEADING)
    stream.set_text_matrix(1, 0, 0, 1, _MARGIN, _MARGIN - _LEADING)
    stream.show_text_string(_printable(footer).encode("cp1252"))
    stream.end_text()
    pdf.add_object(stream)
    pdf.add_page(
        pydyf.Dictionary(
            {
                "Type": "/Page",
                "Parent": pdf.pages.reference,
                "MediaBox": pydyf.Array([0, 0, _WIDTH, _HEIGHT]),
                "Contents": stream.reference,
                "Resources": pydyf.Dictionary({"Font": pydyf.Dictionary({"F1": font.reference})}),
            }
        )
    )
