"""`reelgate audit`: the operator's audit log, its export, and the proof that nothing in it was changed."""

from pathlib import Path
from typing import Annotated, Any

import typer

from app.admin import audit_log
from app.admin.audit_log import EntryFilter
from app.admin.session import AdminSession
from app.cli.options import OneTenant, Since, Until, moment
from app.cli.session import with_admin
from app.cli.tables import AsJson, print_json, print_table, say
from app.kit.clock import iso

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
        str | None, typer.Option(metavar="NAME", help="Only this action, such as keys.create.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what was done to this key, request or other thing.")
    ] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List the newest entries."""
    wanted = EntryFilter(
        tenant=tenant,
        actor=actor,
        action=action,
        subject=subject,
        from_ms=moment(since),
        before_ms=moment(until),
    )
    found = with_admin(lambda gateway: audit_log.listed(gateway, wanted, limit=limit))
    if as_json:
        print_json([_document(one) for one in found.entries])
        return
    print_table(
        ("ENTRY", "AT", "ACTOR", "ACTION", "SUBJECT", "TENANT", "REASON"),
        [
            (
                str(one["seq"]),
                iso(one["at_ms"]),
                f"{one['actor']['kind']} {one['actor']['name']}",
                one["action"],
                f"{one['subject']['kind']} {one['subject']['id']}",
                found.tenants.get(one["tenant_id"], "-"),
                one["reason"] or "-",
            )
            for one in found.entries
        ],
    )


@group.command("export")
def export_entries(
    after: Annotated[
        int, typer.Option(min=0, metavar="ENTRY", help="Begin behind this entry, to continue an export.")
    ] = 0,
) -> None:
    """Print every entry with its hashes as JSON Lines, oldest first."""

    async def work(gateway: AdminSession) -> None:
        async for line in audit_log.exported(gateway, after=after):
            typer.echo(line)

    with_admin(work)


@group.command("verify")
def verify_chain(
    head: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A head that was kept outside: a file, or the text of its line."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify the chain, and that it continues a head; exit with 1 at the first break."""
    anchor = None if head is None else _text_of(head)
    found = with_admin(lambda gateway: audit_log.verified(gateway, anchor=anchor))
    one = found.first_break
    if as_json:
        print_json(
            {
                "origin": found.origin,
                "entries": found.entries,
                "pruned": found.pruned,
                "head": None if found.head is None else {"size": found.head.size, "hash": found.head.hash},
                "break": None if one is None else {"kind": one.kind, "entry": one.seq, "detail": one.detail},
            }
        )
    elif one is not None:
        say(f"{one.kind}: entry {one.seq}: {one.detail}")
    else:
        say(f"{found.entries} entries, each as it was written; {found.pruned} were pruned.")
        if found.head is not None:
            say(f"The head: {' '.join(found.head.checkpoint(found.origin).split())}")
    if one is not None:
        raise typer.Exit(1)


@group.command("head")
def print_head() -> None:
    """Print the head of the chain, to be kept where nobody can change it and the database."""
    typer.echo(with_admin(audit_log.head), nl=False)


def _text_of(given: str) -> str:
    path = Path(given)
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else given
    except UnicodeError:
        return ""


def _document(one: Any) -> dict[str, Any]:
    return {**one, "at": iso(one["at_ms"])}
