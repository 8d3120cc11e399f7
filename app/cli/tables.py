"""Printing: JSON for programs, aligned columns and sentences for people.

Whatever is printed may hold texts of callers, of RunComfy or of old rows. None of them can break a line, move
the cursor or turn the direction of writing: such characters are escaped.
"""

import json
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

import typer

from app.kit.clock import iso
from app.kit.log import flush_log
from app.kit.text import printable
from app.quotas.amounts import amount_text
from app.quotas.metrics import Metric

if TYPE_CHECKING:
    from app.documents.amounts.limits import Limit

_PIECE: Final = 65_536
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON with all fields, for programs.")]


def print_json(document: Any) -> None:
    """Prints a document as indented JSON."""
    lines = json.dumps(document, indent=2, ensure_ascii=False).split("\n")
    typer.echo("\n".join(line if line.isprintable() else _escaped(line) for line in lines))


def _escaped(line: str) -> str:
    """Returns a line of JSON with unprintable characters escaped as JSON escapes them."""
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in line)


def say(text: str, *, err: bool = False) -> None:
    """Prints one line, on standard error if `err`: below the lines of the log that tell why."""
    if err:
        flush_log()
    typer.echo(printable(text), err=err)


def print_file(file: IO[bytes]) -> None:
    """Prints a file as it is."""
    while part := file.read(_PIECE):
        typer.echo(part, nl=False)


def print_table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Prints rows in aligned columns. Cells are never cut, because ids are there to be copied."""
    shown = [tuple(map(printable, row)) for row in (titles, *rows)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def iso_or_none(at_ms: int | None) -> str | None:
    """Returns a time in milliseconds since 1970 as ISO 8601, for programs; None stays None."""
    return None if at_ms is None else iso(at_ms)


def cells_of(one: "Limit") -> tuple[str, str, str, str, str]:
    """Returns limit, held, spent, remaining and reset time for people: in credits, not micro-credits."""

    def shown(value: int) -> str:
        return amount_text(one["unit"], value)

    burst = f"/{one['burst']}" if one["burst"] is not None else ""
    left = one["remaining"]
    if one["metric"] == Metric.CREDITS_TOTAL:  # a balance, which can be overdrawn
        left = one["limit"] - one["held"] - one["spent"]
    return (
        shown(one["limit"]) + burst + (" (override)" if one["override_until"] else ""),
        shown(one["held"]),
        shown(one["spent"]),
        shown(left),
        one["resets_at"] or "-",
    )


def print_limits(limits: "Sequence[Limit]") -> None:
    """Prints a table of limits with their usage."""
    print_table(
        ("POLICY", "LIMIT", "HELD", "SPENT", "REMAINING", "RESETS"),
        [(one["policy"], *cells_of(one)) for one in limits],
    )


def say_if_not_prepaid(metrics: Iterable[str]) -> None:
    """Prints that a balance is not enforced, where none of these metrics of limits is `credits-total`."""
    if Metric.CREDITS_TOTAL not in metrics:
        say("Not prepaid: without a limit on credits-total, the balance does not limit requests.")
