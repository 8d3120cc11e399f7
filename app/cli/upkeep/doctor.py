"""`reelgate doctor`: checks of the configuration, and of the database and servers that it names."""

import asyncio

import typer

from app.admin.checks.doctor import Configured, examine
from app.admin.operations import checks
from app.cli.remote import elsewhere
from app.cli.session import plain_errors, settings_or_exit
from app.cli.tables import print_json, say
from app.documents.admin.checks import Findings
from app.kit.log import configure_logging


def doctor(*, as_json: bool) -> None:
    """Runs the checks, here or on another machine, and prints what they found.

    Ends with exit code 1 where something is wrong.
    """
    with plain_errors():
        remote = elsewhere()
        document = _here() if remote is None else remote.call(checks.EXAMINE, {})
    found = document["findings"]
    if as_json:
        print_json(found)
    else:
        width = max(len(one["name"]) for one in found)
        for one in found:
            for line in f"{one['level']:4}  {one['name']:{width}}  {one['finding']}".split("\n"):
                say(line)
    if any(one["level"] == "bad" for one in found):
        raise typer.Exit(1)


def _here() -> Findings:
    configured = Configured(settings_or_exit())
    configure_logging(level="CRITICAL", as_json=False)  # the findings say what errors would
    return checks.document(asyncio.run(examine(configured)))
