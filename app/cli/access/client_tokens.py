"""`reelgate client-tokens`: listing, showing and revoking client tokens."""

from typing import Annotated

import typer

from app.admin.access.client_tokens import MAX_LISTED
from app.admin.operations.access import client_tokens
from app.cli.options import Reason, Tenant
from app.cli.session import call, call_list
from app.cli.tables import AsJson, print_json, print_table, say
from app.documents.access.client_tokens import ClientToken

group = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Client tokens, which web pages hold in place of an API key. They are created over HTTP.",
)


@group.command("list")
def list_client_tokens(
    tenant: Tenant,
    end_user: Annotated[str | None, typer.Option(metavar="LABEL", help="Only this end user.")] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=MAX_LISTED, help="How many to list, the newest first.")
    ] = 50,
    as_json: AsJson = False,
) -> None:
    """List a tenant's client tokens, without their secrets."""
    found: list[ClientToken] = call_list(
        client_tokens.LIST, "client_tokens", at_most=limit, tenant=tenant, end_user=end_user
    )
    if as_json:
        print_json(found)
        return
    print_table(
        ("TOKEN ID", "MODE", "KID", "STATE", "VISIBILITY", "END USER", "CREATED", "EXPIRES", "REFUSALS"),
        [
            (
                one["token_id"],
                one["mode"],
                one["kid"],
                one["state"],
                one["request_id"] or one["visibility"],
                one["end_user"] or "-",
                one["created_at"],
                one["expires_at"],
                str(one["refusals"]),
            )
            for one in found
        ],
    )


@group.command("show")
def show_client_token(token_id: str) -> None:
    """Print a client token as JSON: its terms, usage, requests and refusals."""
    print_json(call(client_tokens.SHOW, token_id=token_id))


@group.command("revoke")
def revoke_client_token(token_id: str, reason: Reason = None) -> None:
    """Revoke a client token, on every server within five seconds; its requests continue."""
    call(client_tokens.REVOKE, token_id=token_id, reason=reason)
    say(f"Revoked {token_id}.")
