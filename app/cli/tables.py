"""How commands print: JSON for programs, aligned columns for people."""

import json
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Everything, for programs.")]


def print_json(document: Any) -> None:
    """Indented JSON."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Aligned columns, never cut: an id is there to be copied."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
