"""`reelgate keys`: API keys. A key is shown only once, when it is created."""

import sys
from datetime import timedelta
from typing import Annotated, Any

import typer

from app.admin import keys
from app.admin.actor import of_command
from app.admin.session import AdminSession
from app.auth.keys import DEFAULT_SCOPES, APIKey
from app.cli.options import OneTenant, Quiet, Reason, Tenant
from app.cli.session import fail, with_admin
from app.cli.tables import AsJson, iso_or_dash, iso_or_none, print_json, print_table, say
from app.cli.tenants import switch
from app.kit.clock import iso

group = typer.Typer(
    no_args_is_help=True, add_completion=False, help="API keys. A key is shown only once, when it is created."
)


@group.command("create")
def create_key(
    tenant: Tenant,
    test: Annotated[
        bool, typer.Option("--test", help="A test key: it reaches the sandbox, never RunComfy.")
    ] = False,
    name: Annotated[str, typer.Option(help="A note of what the key is for.")] = "",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="submit, read or tokens:create; may be repeated. Default: submit and read."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model that the key may use; may be repeated. Default: all models."),
    ] = None,
    expires_days: Annotated[
        float | None,
        typer.Option(min=1, max=keys.MAX_DAYS, help="Days until the key expires. Default: never."),
    ] = None,
    reason: Reason = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Create an API key."""
    made = with_admin(
        lambda gateway: keys.create(
            gateway,
            of_command(),
            tenant,
            mode="test" if test else "live",
            name=name,
            scopes=scope or DEFAULT_SCOPES,
            models=model,
            lifetime_ms=None if expires_days is None else _ms(timedelta(days=expires_days)),
            reason=reason,
        ),
        makes_key=True,
    )
    _print_key(
        {
            "kid": made.record.kid,
            "key": made.key,
            "tenant": tenant,
            "mode": made.record.mode,
            "name": name,
            "scopes": scope or list(DEFAULT_SCOPES),
            "models": model,
        },
        as_json=as_json,
        quiet=quiet,
    )


@group.command("list")
def list_keys(tenant: OneTenant = None, as_json: AsJson = False) -> None:
    """List API keys, without their secrets."""

    async def work(gateway: AdminSession) -> tuple[list[APIKey], int]:
        return await keys.listed(gateway, tenant=tenant), gateway.clock.now_ms()

    found, now_ms = with_admin(work)
    if as_json:
        print_json([_document(key, now_ms) for key in found])
        return
    print_table(
        ("KID", "KEY", "TENANT", "STATE", "SCOPES", "CREATED", "EXPIRES", "LAST USED", "NAME"),
        [
            (
                key.kid,
                f"rg_{key.mode}_…{key.last_four}",
                key.tenant_name,
                key.state(now_ms),
                " ".join(sorted(key.scopes)),
                iso(key.created_at_ms),
                iso_or_dash(key.expires_at_ms),
                iso_or_dash(key.last_used_at_ms),
                key.name,
            )
            for key in found
        ],
    )


@group.command("rotate")
def rotate_key(
    kid: str,
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=keys.MAX_DAYS * 24, help="Hours for which the old key stays valid.")
    ] = 24,
    reason: Reason = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Create a new key with the terms of an old one, which stays valid for the overlap."""
    overlap_ms = _ms(timedelta(hours=overlap_hours))
    made = with_admin(
        lambda gateway: keys.rotate(gateway, of_command(), kid, overlap_ms=overlap_ms, reason=reason),
        makes_key=True,
    )
    _print_key(
        {
            "kid": made.record.kid,
            "key": made.key,
            "replaces": made.replaces,
            "old_key_ends_at": iso(made.old_ends_at_ms),
        },
        as_json=as_json,
        quiet=quiet,
    )


@group.command("set-queueing")
def set_queueing(
    kid: str,
    queueing: Annotated[str, typer.Argument(help="on, off, or default (as its tenant).")],
    reason: Reason = None,
) -> None:
    """Set whether a key's requests that cannot be sent yet are queued or refused."""
    chosen = switch(queueing)
    with_admin(lambda gateway: keys.set_queueing(gateway, of_command(), kid, queueing=chosen, reason=reason))
    say(f"Queueing of {kid}: {queueing}, within a second.")


@group.command("revoke")
def revoke_key(kid: str, reason: Reason = None) -> None:
    """Revoke a key, on every server within five seconds."""
    with_admin(lambda gateway: keys.revoke(gateway, of_command(), kid, reason=reason))
    say(f"Revoked {kid}.")


def _print_key(document: dict[str, Any], *, as_json: bool, quiet: bool) -> None:
    try:
        if as_json:
            print_json(document)
        else:
            say(document["key"])
        sys.stdout.flush()
    except OSError as error:
        fail(f"key {document['kid']} was created but could not be printed ({error}); revoke it.")
    if not as_json and not quiet:
        say(f"The key is shown only once: store it now. Its kid is {document['kid']}.", err=True)
        if "old_key_ends_at" in document:
            say(f"The old key {document['replaces']} is valid until {document['old_key_ends_at']}.", err=True)


def _document(key: APIKey, now_ms: int) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "tenant": key.tenant_name,
        "mode": key.mode,
        "name": key.name,
        "state": key.state(now_ms),
        "last_four": key.last_four,
        "scopes": sorted(key.scopes),
        "models": sorted(key.models) if key.models else None,
        "created_at": iso(key.created_at_ms),
        "expires_at": iso_or_none(key.expires_at_ms),
        "revoked_at": iso_or_none(key.revoked_at_ms),
        "rotated_to": key.rotated_to,
        "last_used_at": iso_or_none(key.last_used_at_ms),
        "queueing": key.queueing,
    }


def _ms(delta: timedelta) -> int:
    return int(delta.total_seconds() * 1000)
