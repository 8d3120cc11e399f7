"""`reelgate files`: what is in the store; and `reelgate erase`."""

from typing import Annotated

import typer

from app.admin.operations import files
from app.cli.session import call
from app.cli.tables import AsJson, print_json, say
from app.documents.admin.files import Erased, VerifiedStore

group = typer.Typer(no_args_is_help=True, add_completion=False, help="What is in the store of files.")


@group.callback()
def files_group() -> None:
    """What is in the store of files."""  # with one command alone, a group would be that command


@group.command("verify")
def verify_files(
    deep: Annotated[bool, typer.Option("--deep", help="Read all bytes, and compare their hashes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare the store, and what is counted of it, with the database; exit with 1 if something differs."""
    report: VerifiedStore = call(files.VERIFY, deep=deep)
    if as_json:
        print_json(report)
    else:
        for one in report["faults"]:
            say(f"{one['rule']}: {one['subject']}: {one['detail']}")
        say(
            f"{report['rows']} rows with {report['stored_bytes']} bytes, {report['objects']} objects,"
            f" {report['sums']} sums;"
            f" {report['fault_count'] or 'no'} faults."
        )
    if report["fault_count"]:
        raise typer.Exit(1)


def erase(tenant: str, *, end_user: str | None, reason: str | None, as_json: bool) -> None:
    """Erases what a tenant or an end user left, and says what was done and what is left."""
    done: Erased = call(files.ERASE, name=tenant, end_user=end_user, reason=reason)
    if as_json:
        print_json(done)
        return
    whose = tenant if end_user is None else f"{end_user} of {tenant}"
    things = f"{done['requests']} requests, {done['assets']} copies and {done['files']} files"
    say(f"Erased {things} of {whose}.")
    if done["requests_left"]:
        say(f"{done['requests_left']} requests have not ended: repeat this when they have.")
    if left := done["assets_left"] + done["files_left"]:
        say(f"{left} copies and files are being deleted by the servers; repeat this to see the rest.")
