"""`reelgate config`: what the settings are, where each comes from, and what is wrong with them."""

import os
from typing import Annotated, Any

import typer
from pydantic import SecretStr

from app.cli.session import fail, plain_errors, refuse_elsewhere, settings_or_exit
from app.cli.tables import AsJson, print_json, print_table, say
from app.config import RELOADED, Settings
from app.settings.values import PREFIX
from app.variables import misspelt, origin_of

_SECRET = "(set)"  # noqa: S105 - in place of a secret
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
    refuse_elsewhere()
    settings = settings_or_exit()
    rows = [_row(settings, name) for name in Settings.model_fields]
    chosen = [row for row in rows if everything or row["origin"] != "default"]
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
        from app.admin import doctor  # noqa: PLC0415 - only this command needs all that it imports

        faults = [one.finding for one in doctor.of_settings(settings) if one.level == "bad"]
    faults += misspelt(os.environ)
    if faults:
        fail("\n".join(faults))
    say("The settings are good: a server would start with them.")


def _row(settings: Settings, name: str) -> dict[str, Any]:
    value = getattr(settings, name)
    return {
        "setting": f"{PREFIX}{name.upper()}",
        "value": _without_secrets(value),
        "origin": origin_of(name, os.environ),
        "reloads": name in RELOADED,
    }


def _without_secrets(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return _SECRET
    if isinstance(value, list):
        return [_without_secrets(one) for one in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _shown(value: Any) -> str:
    if value is None:
        return _UNSET
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
