"""`reelgate doctor`: checks of the configuration, and of the database and servers that it names."""

import asyncio
from dataclasses import asdict

import typer

from app.admin import doctor as checks
from app.cli.session import settings_or_exit
from app.cli.tables import print_json, say
from app.kit.log import configure_logging


def doctor(*, as_json: bool) -> None:
    """Runs the checks and prints their results; ends with exit code 1 where something is wrong."""
    settings = settings_or_exit()
    configure_logging(level="CRITICAL", as_json=False)  # the findings say what errors would
    found = asyncio.run(checks.examine(settings))
    if as_json:
        print_json([asdict(check) for check in found])
    else:
        width = max(len(check.name) for check in found)
        for check in found:
            for line in f"{check.level:4}  {check.name:{width}}  {check.finding}".split("\n"):
                say(line)
    if any(check.level == "bad" for check in found):
        raise typer.Exit(1)
