"""`reelgate models`: the models that are served, and their prices."""

import typer

from app.admin.operations.running import models
from app.cli.session import call
from app.cli.tables import AsJson, print_json, print_table, say
from app.quotas.amounts import credits_text

group = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The models that are served, and their prices."
)


@group.callback()
def a_group() -> None:
    """Makes typer take this for a group, although it has one command."""


@group.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models with the least and the most that a request costs, in credits."""
    found = call(models.LIST)["models"]
    if as_json:
        print_json(found)
        return
    print_table(
        ("MODEL", "PRICE VERSION", "FROM", "TO", "OUTPUT SECONDS", "WARNINGS"),
        [
            (
                one["model_id"],
                one["price_version"],
                credits_text(one["lowest_microcredits"]),
                credits_text(one["highest_microcredits"]),
                "declared" if one["declares_output_seconds"] else "-",
                str(len(one["warnings"])),
            )
            for one in found
        ],
    )
    for one in found:
        for warning in one["warnings"]:
            say(f"{one['model_id']}: {warning}")
