"""`reelgate usage`: what was held, spent, refunded and refused, with RunComfy's cost and the margin."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any

import typer

from app.admin.operations.amounts import usage as operations
from app.cli.options import Model, OneTenant, Test
from app.cli.session import call_file, call_pages
from app.cli.tables import AsJson, print_file, print_json, print_table, say
from app.documents.amounts.usage import MEMBERS
from app.quotas.amounts import credits_text
from app.quotas.sums.usage import Group, Step

group = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Usage by hour, day or month, from the ledger's roll-ups.",
)


@group.command("usage")
def report(
    tenant: OneTenant = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--from", formats=["%Y-%m-%d"], help="The first day; by default the first of the month."
        ),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="The last day; by default today.")
    ] = None,
    by: Annotated[Step, typer.Option(help="How long each period is.")] = Step.DAY,
    group_by: Annotated[
        list[Group] | None, typer.Option(help="Sums for each of these; may be repeated.")
    ] = None,
    model: Model = None,
    test: Test = False,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Show usage: of one tenant in its time zone, or of all, each in its own."""
    asked: dict[str, Any] = {
        "tenant": tenant,
        "mode": "test" if test else "live",
        "by": by,
        "first_day": _day(since),
        "last_day": _day(until),
        "group_by": group_by,
        "model_id": model,
    }
    if as_csv:
        print_file(call_file(operations.REPORT, "csv", **asked))
        return
    pages = call_pages(operations.REPORT, **asked)
    whole: dict[str, Any] = {
        **pages[0],
        "rows": [row for one in pages for row in one["rows"]],
        "next_cursor": None,
    }
    if as_json:
        print_json(whole)
        return
    groups = [name for name in MEMBERS.values() if whole["rows"] and name in whole["rows"][0]]
    print_table(
        (
            "PERIOD",
            *(name.upper() for name in groups),
            "ENDED",
            "REFUSED",
            "HELD",
            "SPENT",
            "REFUNDED",
            "ADJUSTED",
            "COST",
            "MARGIN",
        ),
        [_cells(row, groups) for row in [*whole["rows"], {"period": "total", **whole["total"]}]],
    )
    for name in {str(row.get("model_id")) for row in whole["rows"] if row["margin_microcredits"] < 0}:
        if "model_id" in groups:
            say(f"Charged less than RunComfy reported: {name}.")


def _cells(row: Mapping[str, Any], groups: list[str]) -> tuple[str, ...]:
    amounts = ("held", "spent", "refunded", "adjusted")
    money = [*(f"{name}_microcredits" for name in amounts), "cost_microusd", "margin_microcredits"]
    return (
        str(row["period"]),
        *(str(row.get(name) or "-") for name in groups),
        *(str(row[name]) for name in ("ended_generations", "refused_calls")),
        *(credits_text(int(row[name])) for name in money),
    )


def _day(given: datetime | None) -> date | None:
    return None if given is None else given.date()
