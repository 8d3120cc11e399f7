"""The command's top level."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli import dev as demo
from app.cli import doctor as checks
from app.cli import people, servers
from app.cli.books import books
from app.cli.client_tokens import client_tokens
from app.cli.jobs import requests
from app.cli.limits import limits
from app.cli.queues import dispatch
from app.cli.session import fail, plain_errors, settings_or_exit
from app.db import revision
from app.db.engine import is_sqlite
from app.db.sqlite import server_lock
from app.gateway import open_catalog
from app.main import contract

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
cli.add_typer(people.tenants, name="tenants")
cli.add_typer(people.keys, name="keys")
cli.add_typer(client_tokens, name="client-tokens")
cli.add_typer(requests, name="requests")
cli.add_typer(limits, name="limits")
cli.add_typer(books, name="ledger")
cli.add_typer(dispatch, name="dispatch")


@cli.command()
def serve() -> None:
    """Serve the gateway."""
    servers.serve(settings_or_exit(server=True))


@cli.command()
def worker() -> None:
    """Follow jobs in the background, beside servers with REELGATE_RUN_LOOPS=false (PostgreSQL)."""
    servers.work(settings_or_exit(server=True))


@cli.command()
def sandbox(
    exit_with_parent: Annotated[
        bool, typer.Option(hidden=True, help="End when standard input does.")
    ] = False,
) -> None:
    """Serve the sandbox, a stand-in for RunComfy that rg_test_ keys reach."""
    servers.sandbox(settings_or_exit(server=True), exit_with_parent=exit_with_parent)


@cli.command()
def dev(
    show_key: Annotated[
        bool, typer.Option("--show-key", help="Print the demo tenant's test key again, and end.")
    ] = False,
) -> None:
    """Serve gateway and sandbox with a demo tenant, on this machine."""
    if show_key:
        demo.show_key()
    else:
        demo.dev()


@cli.command()
def migrate() -> None:
    """Bring the database's schema up to date."""
    settings = settings_or_exit()
    with plain_errors():
        lock = server_lock(settings.database) if is_sqlite(settings.database) else None
        before, after = revision.upgrade(settings.database)
        if lock is not None:
            lock.release()
    if before == after:
        typer.echo(f"The schema is at {after}; there is nothing to do.")
    else:
        typer.echo(f"The schema went from {before or 'nothing'} to {after}.")


@cli.command()
def openapi(
    output: Annotated[Path | None, typer.Option(help="Write it here instead of standard output.")] = None,
) -> None:
    """Print the OpenAPI document of this configuration."""
    settings = settings_or_exit()
    with plain_errors():
        document = contract(settings, open_catalog(settings))
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if output is None:
        typer.echo(text, nl=False)
    else:
        with plain_errors():
            output.write_text(text, encoding="utf-8")


@cli.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """Check the configuration and what it reaches; exit code 1 when something is wrong."""
    found = checks.examine(settings_or_exit())
    checks.show(found, as_json=as_json)
    if any(check.level == "bad" for check in found):
        raise typer.Exit(1)


def main() -> None:
    """The entry point of the `reelgate` command."""
    if sys.stdout is None:
        sys.exit("reelgate: standard output is closed, and a key is shown only once.")
    try:
        cli()
    except KeyboardInterrupt:
        fail("interrupted.")


if __name__ == "__main__":
    main()
