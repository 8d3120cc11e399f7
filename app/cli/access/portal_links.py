"""`reelgate portal-links`: links that open the portal."""

from typing import Annotated

import typer

from app.admin.operations.access import portal_links
from app.cli.options import Reason
from app.cli.session import call
from app.cli.tables import AsJson, print_json, say

group = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Links that open the portal, once, for people of a tenant.",
)


@group.callback()
def a_group() -> None:
    """Makes typer take this for a group, although it has one command."""


@group.command("create")
def create_portal_link(
    kid: Annotated[str, typer.Argument(help="The API key that whoever opens the link acts as.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="Only this scope of the key; repeat it for several.")
    ] = None,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Make a link that opens the portal once, within a minute."""
    made = call(portal_links.CREATE_LINK, kid=kid, scopes=scope, reason=reason)
    if as_json:
        print_json(made)
        return
    say(f"Opens the portal of {made['tenant']} once, until {made['expires_at']}:")
    typer.echo(made["url"] or "-")
