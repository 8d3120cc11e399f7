"""`reelgate processes`: the servers and workers that run."""

import typer

from app.admin.operations.running import processes as operations
from app.cli.session import call
from app.cli.tables import AsJson, print_json, print_table

group = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Servers and workers that run, with their versions."
)


@group.callback()
def processes() -> None:
    """Servers and workers that run, with their versions."""


@group.command("list")
def list_processes(as_json: AsJson = False) -> None:
    """List the servers and workers that were seen within the last minute."""
    found = call(operations.LIST)["processes"]
    if as_json:
        print_json(found)
        return
    print_table(
        ("ROLE", "HOST", "PID", "VERSION", "SCHEMA", "STARTED", "SEEN", "SETTINGS READ", "SETTINGS FAULT"),
        [
            (
                one["role"],
                one["host"],
                str(one["pid"]),
                one["version"],
                one["schema"],
                one["started_at"],
                one["seen_at"],
                one["settings_read_at"],
                one["settings_fault"] or "-",
            )
            for one in found
        ],
    )
