"""`reelgate refusals`: whose calls are refused, with which error, and how many."""

from typing import Annotated

import typer

from app.admin.operations.amounts import refusals as operations
from app.auth.keys import Mode
from app.cli.options import Key, OneTenant, Since, Until, moment
from app.cli.session import call
from app.cli.tables import AsJson, print_json, print_table

group = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Calls that were refused, by key, error and network.",
)


@group.callback()
def refusals() -> None:
    """Calls that were refused, by key, error and network."""


@group.command("list")
def list_refusals(
    tenant: OneTenant = None,
    key: Key = None,
    mode: Annotated[Mode | None, typer.Option(help="Only this mode.")] = None,
    code: Annotated[str | None, typer.Option(help="Only this error, such as quota_exceeded.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    as_json: AsJson = False,
) -> None:
    """List what was refused most often, by default during the last day."""
    found = call(
        operations.LIST,
        tenant=tenant,
        kid=key,
        mode=mode,
        code=code,
        created_after=moment(since),
        created_before=moment(until),
        limit=limit,
    )
    if as_json:
        print_json(found)
        return
    print_table(
        ("COUNT", "MAX PER MINUTE", "CODE", "TENANT", "MODE", "KID", "NETWORK", "FIRST", "LAST"),
        [
            (
                str(one["count"]),
                str(one["max_per_minute"]),
                one["code"],
                one["tenant"] or "-",
                one["mode"] or "-",
                one["kid"] or "-",
                one["network"] or "-",
                one["first_at"],
                one["last_at"],
            )
            for one in found["refusals"]
        ],
    )
