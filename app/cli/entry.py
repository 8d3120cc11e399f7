"""Run and administer Reelgate: servers, database, tenants, API keys, limits and money."""

import errno
import gc
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperGroup

GROUPS: Final[Mapping[str, str]] = {
    name: f"app.cli.{room}{name.replace('-', '_')}"
    for room, names in (
        ("access.", ("tenants", "keys", "client-tokens", "admin-keys", "portal-links")),
        ("running.", ("requests", "dispatch", "credentials", "models", "processes", "overview")),
        ("amounts.", ("limits", "ledger", "usage", "statements", "thresholds", "refusals")),
        ("", ("webhooks",)),
        ("upkeep.", ("files", "audit", "config")),
    )
    for name in names
}
"""The names of the groups of commands, each with the module whose `group` it is."""
_STANDARD_OUTPUT: Final = 1
_STANDARD_ERROR: Final = 2
_SERVES: Final = frozenset({"serve", "worker"})  # these look for garbage once they are at work
_SHOWS_NOTHING: Final = frozenset({"serve", "worker", "sandbox"})  # on standard output: they run without
_CANNOT_PRINT: Final = frozenset(
    {errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF, errno.EAGAIN, errno.EFBIG}
)


class LazyGroup(TyperGroup):
    """The top level of commands. It imports the module of a group only when the group is asked for.

    So a command does not wait for the imports of all the others.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the names of all commands; those of groups come last."""
        return [*(name for name in super().list_commands(ctx) if name not in GROUPS), *GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns the command with that name; None where there is none."""
        if cmd_name in GROUPS and cmd_name not in self.commands:
            group = typer.main.get_command(import_module(GROUPS[cmd_name]).group)
            group.name = cmd_name
            self.commands[cmd_name] = group
        return super().get_command(ctx, cmd_name)


cli = typer.Typer(
    cls=LazyGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        from importlib.metadata import version

        typer.echo(f"reelgate {version('reelgate')}")
        raise typer.Exit


@cli.callback()
def reelgate(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """The `reelgate` command."""
    if context.invoked_subcommand not in _SERVES:
        gc.freeze()
        gc.enable()


@cli.command()
def serve() -> None:
    """Run a gateway server."""
    from app.server.light_fastapi import import_fastapi

    import_fastapi()
    from app.cli.serving import servers
    from app.cli.session import settings_or_exit

    servers.serve(settings_or_exit(server=True))


@cli.command()
def worker() -> None:
    """Run the background loops, for servers with REELGATE_RUN_LOOPS=false (PostgreSQL only)."""
    from app.server.light_fastapi import import_fastapi

    import_fastapi()
    from app.cli.serving import servers
    from app.cli.session import settings_or_exit

    servers.work(settings_or_exit(server=True))


@cli.command()
def reload() -> None:
    """Have servers and workers of this machine take over changed credentials, limits and log level."""
    from app.cli.serving import reload as reloading

    reloading.reload()


@cli.command()
def restart() -> None:
    """Have the servers of this machine replaced by new processes, without refusing or delaying a call."""
    from app.cli.serving import restart as restarting

    restarting.restart()


@cli.command()
def sandbox(
    exit_with_parent: Annotated[
        bool, typer.Option(hidden=True, help="End when standard input does.")
    ] = False,
) -> None:
    """Run the sandbox, a stand-in for RunComfy that serves rg_test_ keys."""
    from app.cli.serving import servers
    from app.cli.session import settings_or_exit

    servers.sandbox(settings_or_exit(server=True), exit_with_parent=exit_with_parent)


@cli.command()
def dev(
    show_key: Annotated[
        bool, typer.Option("--show-key", help="Print the demo tenant's test key again and exit.")
    ] = False,
) -> None:
    """Run a gateway and a sandbox with a demo tenant on this machine."""
    from app.cli.serving import dev as demo

    if show_key:
        demo.show_key()
    else:
        demo.dev()


@cli.command()
def mcp() -> None:
    """Serve a gateway's models to an agent, over standard input and output (MCP).

    REELGATE_URL and REELGATE_KEY name the gateway and the key, whose limits are what the agent may spend.
    """
    from app.cli.session import fail

    try:
        from reelgate_client.mcp_server import serve
    except ImportError as error:
        fail(f"this needs {error.name}: pip install 'reelgate-client[mcp]', the Python client library.")
    try:
        serve()
    except ValueError as error:
        fail(str(error))


@cli.command()
def migrate() -> None:
    """Create the database's schema, or bring it up to date, on PostgreSQL beside running servers."""
    from app.cli.session import plain_errors, settings_or_exit
    from app.cli.tables import say
    from app.db import revision
    from app.db.engines.engine import is_sqlite
    from app.db.engines.sqlite import server_lock

    settings = settings_or_exit()
    with plain_errors():
        lock = server_lock(settings.database) if is_sqlite(settings.database) else None
        before, after = revision.upgrade(settings.database, lambda told: say(told, err=True))
        if lock is not None:
            lock.release()
    if before == after:
        typer.echo(f"The schema is at {after}; there is nothing to do.")
    else:
        typer.echo(f"The schema went from {before or 'nothing'} to {after}.")


@cli.command()
def archive(
    folder: Annotated[Path, typer.Argument(help="Where the files are written.")],
    before: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="A day (UTC): what ended before it.")
    ],
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Requests for each file.")] = 500,
    reason: Annotated[str | None, typer.Option(help="Why, for the audit log.")] = None,
) -> None:
    """Move finished requests, their events and closed entries to files, beside running servers."""
    from app.cli.upkeep import archive as archiving

    archiving.archive(folder, before=before.date(), batch=batch, reason=reason)


@cli.command()
def erase(
    tenant: str,
    end_user: Annotated[
        str | None,
        typer.Option(metavar="LABEL", help="Only what was made for this end user of client tokens."),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for the audit log.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Erase inputs, outputs, copies and callers of an end user or a disabled tenant; what was paid stays."""
    from app.cli.upkeep import files

    files.erase(tenant, end_user=end_user, reason=reason, as_json=as_json)


@cli.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="Where the backup's own folder is made.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Make a backup beside a running server: database, spool, and a manifest."""
    from app.cli.upkeep import backups

    backups.backup(folder, as_json=as_json)


@cli.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="A backup.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Set the SQLite file aside that is there.")
    ] = False,
) -> None:
    """Restore a backup, while no server runs, and pause dispatch."""
    from app.cli.upkeep import backups

    backups.restore(folder, replace=replace)


@cli.command()
def recover(
    files: Annotated[
        list[Path], typer.Argument(help="Logs and spools since the backup, also compressed; - reads input.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; say what would be done.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why, for the audit log.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """After a restore: attach the jobs that logs and spools name; exit with 1 if some were left."""
    from app.cli.upkeep import backups

    if backups.recover(files, dry_run=dry_run, reason=reason, as_json=as_json):
        raise typer.Exit(1)


@cli.command()
def openapi(
    output: Annotated[Path | None, typer.Option(help="A file to write instead of standard output.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="The document of the admin API.")] = False,
) -> None:
    """Print the OpenAPI document of the API with these settings and models."""
    from app.catalog.catalog import open_catalog
    from app.cli.session import plain_errors, settings_or_exit
    from app.main import admin_contract, contract

    settings = settings_or_exit()
    with plain_errors():
        document = admin_contract(settings) if admin else contract(settings, open_catalog(settings))
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if output is None:
        typer.echo(text, nl=False)
    else:
        with plain_errors():
            output.write_text(text, encoding="utf-8")


@cli.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Check the settings, the database and the upstreams; exit with 1 if something is wrong."""
    from app.cli.upkeep import doctor as checks

    checks.doctor(as_json=as_json)


def main() -> None:
    """Runs the command line; the entry point of `reelgate`."""
    gc.disable()  # imported modules are no garbage, and looking for some takes a tenth of the time
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it would look for some in every package
    _fill_closed_descriptors()
    if sys.stdout is None and not _SHOWS_NOTHING.isdisjoint(sys.argv[1:2]):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - no path; until the end
    if sys.stdout is None:
        sys.exit("reelgate: standard output is closed, so a new key could not be shown.")
    try:
        cli()
    except KeyboardInterrupt:
        typer.echo("reelgate: interrupted.", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _CANNOT_PRINT or error.filename is not None:
            raise
        _end_without_printing(error)
    finally:
        gc.freeze()  # the process ends: what is left in memory is no garbage to look for


def _fill_closed_descriptors() -> None:
    """Opens those of standard input, output and error that are closed: no other file may get their place.

    What is printed would be written into that file.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - its one parameter
    os.close(descriptor)


def _end_without_printing(error: OSError) -> NoReturn:
    """Ends a command whose output cannot be written, such as to a full disk."""
    with suppress(OSError):
        typer.echo(
            f"reelgate: the output cannot be written ({error.strerror}). What the command was to change may"
            " be changed: look before you repeat it.",
            err=True,
        )
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (_STANDARD_OUTPUT, _STANDARD_ERROR):  # what is left in their buffers would fail again
        os.dup2(nowhere, descriptor)
    sys.exit(1)


if __name__ == "__main__":
    main()
