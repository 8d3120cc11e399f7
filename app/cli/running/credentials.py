"""`reelgate credentials`: the credentials for RunComfy."""

import typer

from app.admin.operations.running import credentials
from app.cli.session import call
from app.cli.tables import AsJson, print_json, print_table

group = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The credentials for RunComfy, and how well each works."
)


@group.callback()
def a_group() -> None:
    """Makes typer take this for a group, although it has one command."""


@group.command("list")
def list_credentials(as_json: AsJson = False) -> None:
    """List the credentials with their health; never their secrets."""
    found = call(credentials.LIST)["credentials"]
    if as_json:
        print_json(found)
        return
    print_table(
        ("CREDENTIAL", "MODE", "CONDITION", "UNTIL", "REASON", "WEIGHT", "CONCURRENCY", "LEARNT", "LIVE"),
        [
            (
                one["name"],
                one["mode"],
                one["condition"] if one["configured"] else "removed",
                one["paused_until"] or "-",
                one["reason"] or "-",
                str(one["weight"]),
                _number(one["concurrency"]),
                _number(one["learnt_concurrency"]),
                str(one["live"]),
            )
            for one in found
        ],
    )


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
