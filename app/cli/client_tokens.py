"""Client tokens, for the operator: who holds one, what it may do, and how to end it."""

from typing import Annotated

import typer

from app.auth import client_tokens as token_rows
from app.auth import tenants as tenant_rows
from app.auth.client_tokens import ClientToken
from app.cli.session import fail, with_gateway
from app.cli.tables import AsJson, print_json, print_table
from app.documents import client_tokens as documents
from app.gateway import Gateway
from app.generations import token_limits
from app.kit.clock import iso
from app.quotas.account import Owner

client_tokens = typer.Typer(no_args_is_help=True, help="What pages hold in place of a key, minted over HTTP.")

_MAX = 10_000


@client_tokens.command("list")
def list_client_tokens(
    tenant: Annotated[str, typer.Option(help="The tenant's name.")],
    end_user: Annotated[str | None, typer.Option(metavar="LABEL", help="Of this end user alone.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=_MAX, help="How many, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show a tenant's client tokens, without their secrets."""

    async def work(gateway: Gateway) -> tuple[list[ClientToken], int]:
        found = await gateway.db.read(tenant_rows.by_name, tenant)
        listed = await gateway.db.read(token_rows.page, found.id, mode=None, limit=limit, end_user=end_user)
        return listed, gateway.clock.now_ms()

    found, now_ms = with_gateway(work)
    if as_json:
        print_json([documents.client_token(one, now_ms) for one in found])
        return
    print_table(
        ("TOKEN ID", "KEYS", "KID", "STATE", "SEES", "END USER", "CREATED", "EXPIRES", "REFUSALS"),
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


@client_tokens.command("show")
def show_client_token(token_id: str) -> None:
    """Show all of a client token, as JSON: its terms, what it used, made and was refused."""

    async def work(gateway: Gateway) -> documents.ClientTokenInFull:
        token = await _found(gateway, token_id)
        owner = Owner(token.tenant_id, token.mode)
        return documents.client_token_in_full(
            token,
            await gateway.db.read(token_limits.used, owner, token_id),
            await gateway.db.read(token_limits.newest, owner, token_id, most=_MAX),
            await gateway.db.read(token_rows.refusals_of, token_id),
            gateway.clock.now_ms(),
        )

    print_json(with_gateway(work))


@client_tokens.command("revoke")
def revoke_client_token(token_id: str) -> None:
    """End a client token now, on every server within five seconds; its jobs go on."""

    async def work(gateway: Gateway) -> None:
        await _found(gateway, token_id)
        await gateway.db.write(token_rows.revoke, token_id, now_ms=gateway.clock.now_ms())

    with_gateway(work)
    typer.echo(f"Revoked {token_id}.")


async def _found(gateway: Gateway, token_id: str) -> ClientToken:
    found = await gateway.db.read(token_rows.find, token_id)
    if found is None:
        fail(f"there is no client token {token_id!r}; `reelgate client-tokens list` shows them.")
    return found[0]
