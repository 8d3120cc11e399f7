"""`reelgate doctor`: what is wrong with the configuration, and with what it reaches."""

import asyncio
from dataclasses import asdict

import typer

from app.admin import doctor as checks
from app.cli.session import settings_or_exit
from app.cli.tables import print_json
from app.kit.log import configure_logging


def doctor(*, as_json: bool) -> None:
    """Examine, print the findings, and end with exit code 1 when something is wrong."""
    settings = settings_or_exit()
    configure_logging(level="ERROR", as_json=False)
    found = asyncio.run(checks.examine(settings))
    if as_json:
        print_json([asdict(check) for check in found])
    else:
        width = max(len(check.name) for check in found)
        for check in found:
            typer.echo(f"{check.level:4}  {check.name:{width}}  {check.finding}")
    if any(check.level == "bad" for check in found):
        raise typer.Exit(1)
