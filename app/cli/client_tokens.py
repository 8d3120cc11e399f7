"""`reelgate client-tokens`: listing, showing and revoking client tokens."""

from typing import Annotated

import typer

from app.admin import client_tokens
from app.admin.actor import of_command
from app.admin.session import AdminSession
from app.auth.client_tokens import ClientToken
from app.cli.options import Reason, Tenant
from app.cli.session import with_admin
from app.cli.tables import AsJson, print_json, print_table, say
from app.documents import client_tokens as documents
from app.kit.clock import iso

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
        int, typer.Option(min=1, max=client_tokens.MAX_LISTED, help="How many to list, the newest first.")
    ] = 50,
    as_json: AsJson = False,
) -> None:
    """List a tenant's client tokens, without their secrets."""

    async def work(gateway: AdminSession) -> tuple[list[ClientToken], int]:
        listed = await client_tokens.listed(gateway, tenant, end_user=end_user, limit=limit)
        return listed, gateway.clock.now_ms()

    found, now_ms = with_admin(work)
    if as_json:
        print_json([documents.client_token(one, now_ms) for one in found])
        return
    print_table(
        ("TOKEN ID", "MODE", "KID", "STATE", "VISIBILITY", "END USER", "CREATED", "EXPIRES", "REFUSALS"),
        [
            (
                one.token_id,
                one.mode,
                one.kid,
                one.state(now_ms),
                one.request_id or one.visibility,
                one.end_user or "-",
                iso(one.created_at_ms),
                iso(one.ends_at_ms),
                str(one.refusals),
            )
            for one in found
        ],
    )


@group.command("show")
def show_client_token(token_id: str) -> None:
    """Print a client token as JSON: its terms, usage, requests and refusals."""

    async def work(gateway: AdminSession) -> tuple[client_tokens.TokenInFull, int]:
        return await client_tokens.show(gateway, token_id), gateway.clock.now_ms()

    found, now_ms = with_admin(work)
    print_json(documents.client_token_in_full(found.token, found.used, found.newest, found.refusals, now_ms))


@group.command("revoke")
def revoke_client_token(token_id: str, reason: Reason = None) -> None:
    """Revoke a client token, on every server within five seconds; its requests continue."""
    with_admin(lambda gateway: client_tokens.revoke(gateway, of_command(), token_id, reason=reason))
    say(f"Revoked {token_id}.")
