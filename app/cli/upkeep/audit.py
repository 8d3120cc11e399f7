"""`reelgate audit`: the operator's audit log, its export, and the proof that nothing in it was changed."""

from pathlib import Path
from typing import Annotated

import typer

from app.admin.audit_log import EntryFilter
from app.admin.operations import audit as operations
from app.cli.options import OneTenant, Since, Until, moment
from app.cli.session import call
from app.cli.tables import AsJson, print_json, print_table, say

group = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="What operators have changed, and the proof that the record of it is whole.",
)


@group.command("list")
def list_entries(
    tenant: OneTenant = None,
    actor: Annotated[str | None, typer.Option(metavar="NAME", help="Only what this actor did.")] = None,
    action: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this action, such as key.create.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what was done to this key, request or other thing.")
    ] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 50,
    as_json: AsJson = False,
) -> None:
    """List the newest entries."""
    wanted = EntryFilter(
        tenant=tenant,
        actor=actor,
        action=action,
        subject=subject,
        created_after=moment(since),
        created_before=moment(until),
    )
    found = call(operations.LIST, wanted=wanted, limit=limit)["entries"]
    if as_json:
        print_json(found)
        return
    print_table(
        ("ENTRY", "AT", "ACTOR", "ACTION", "SUBJECT", "TENANT", "REASON"),
        [
            (
                str(one["seq"]),
                one["at"],
                f"{one['actor']['kind']} {one['actor']['name']}",
                one["action"],
                f"{one['subject']['kind']} {one['subject']['id']}",
                one["tenant"] or "-",
                one["reason"] or "-",
            )
            for one in found
        ],
    )


@group.command("export")
def export_entries(
    after: Annotated[
        int, typer.Option(min=0, metavar="ENTRY", help="Begin behind this entry, to continue an export.")
    ] = 0,
) -> None:
    """Print every entry with its hashes as JSON Lines, oldest first."""
    cursor: str | None = str(after)
    while cursor is not None:
        page = call(operations.EXPORT, cursor=cursor)
        for one in page["links"]:
            hashes = f'"prev_hash":"{one["prev_hash"]}","hash":"{one["hash"]}"'
            typer.echo(f'{{{hashes},"entry":{one["text"]}}}')
        cursor = page["next_cursor"]


@group.command("verify")
def verify_chain(
    head: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A head that was kept outside: a file, or the text of its line."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify the chain, and that it continues a head; exit with 1 at the first break."""
    found = call(operations.VERIFY, head=None if head is None else _text_of(head))
    one = found["first_break"]
    if as_json:
        print_json(found)
    elif one is not None:
        say(f"{one['kind']}: entry {one['seq']}: {one['detail']}")
    else:
        say(f"{found['entries']} entries, each as it was written; {found['pruned']} were pruned.")
        if found["head"] is not None:
            say(f"The head: {' '.join(found['head']['checkpoint'].split())}")
    if one is not None:
        raise typer.Exit(1)


@group.command("head")
def print_head() -> None:
    """Print the head of the chain, to be kept where nobody can change it and the database."""
    typer.echo(call(operations.HEAD)["checkpoint"], nl=False)


def _text_of(given: str) -> str:
    path = Path(given)
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else given
    except (OSError, UnicodeError):
        return given
