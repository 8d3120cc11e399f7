"""`reelgate config`: what the settings are, where each comes from, and what is wrong with them."""

import os
from typing import Annotated, Any

import typer

from app.admin.operations.running.settings import SHOW, document
from app.admin.running.settings import rows
from app.cli.remote import elsewhere
from app.cli.session import fail, plain_errors, refuse_elsewhere, settings_or_exit
from app.cli.tables import AsJson, print_json, print_table, say
from app.variables import misspelt

_UNSET = "-"

group = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="The settings: their values, where they come from, faults.",
)


@group.callback()
def config() -> None:
    """The settings: their values, where they come from, faults."""


@group.command("show")
def show(
    everything: Annotated[bool, typer.Option("--all", help="Also settings that nothing sets.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the effective settings, and what sets each; never a secret."""
    with plain_errors():
        remote = elsewhere()
        found = document(rows(settings_or_exit())) if remote is None else remote.call(SHOW, {})
    chosen = [row for row in found["settings"] if everything or row["origin"] != "default"]
    if as_json:
        print_json(chosen)
        return
    print_table(
        ("SETTING", "VALUE", "FROM", "RELOADS"),
        [
            (row["setting"], _shown(row["value"]), row["origin"], "yes" if row["reloads"] else "no")
            for row in chosen
        ],
    )


@group.command("check")
def check() -> None:
    """Check the settings as a server does when it starts; exit with 1 if one is wrong or misspelt."""
    refuse_elsewhere()
    settings = settings_or_exit(server=True)
    with plain_errors():
        from app.admin.checks import doctor  # noqa: PLC0415 - only this command needs all that it imports

        faults = [one.finding for one in doctor.of_settings(settings) if one.level == "bad"]
    faults += misspelt(os.environ)
    if faults:
        fail("\n".join(faults))
    say("The settings are good: a server would start with them.")


def _shown(value: Any) -> str:
    if value is None:
        return _UNSET
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
