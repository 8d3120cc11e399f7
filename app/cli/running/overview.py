"""`reelgate overview`: what is happening now, and what needs a decision."""

import typer

from app.admin.operations.running import overview as operations
from app.cli.options import Test
from app.cli.session import call
from app.cli.tables import AsJson, print_json, print_table, say
from app.quotas.amounts import credits_text

group = typer.Typer(
    no_args_is_help=False, add_completion=False, help="What is happening now, and what needs a decision."
)


@group.command("overview")
def show_overview(test: Test = False, as_json: AsJson = False) -> None:
    """Show what needs a decision, the most urgent first, and the sums of today (UTC)."""
    found = call(operations.SHOW, mode="test" if test else "live")
    if as_json:
        print_json(found)
        return
    today = found["today"]
    say(
        f"Today: {today['held_generations']} submitted, {today['refused_calls']} calls refused,"
        f" {credits_text(today['spent_microcredits'])} credits spent,"
        f" a margin of {credits_text(today['margin_microcredits'])}."
    )
    if not found["decisions"]:
        say("Nothing needs a decision.")
        return
    print_table(
        ("WHAT", "WHOSE", "COUNT", "SINCE"),
        [
            (one["kind"], one["subject"] or "-", str(one["count"]), one["since"] or "-")
            for one in found["decisions"]
        ],
    )
