"""`reelgate admin-keys`: the keys of the admin API. A key is shown only once, when it is created."""

from datetime import timedelta
from typing import Annotated

import typer

from app.admin.access.admin_keys import MAX_DAYS
from app.admin.operations.access import admin_keys
from app.cli.access.keys import print_key
from app.cli.options import Quiet, Reason
from app.cli.session import call
from app.cli.tables import AsJson, print_json, print_table, say

group = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Keys of the admin API. A key is shown only once, when it is created.",
)


@group.command("create")
def create_admin_key(
    name: Annotated[str, typer.Argument(help="Whose key it is, or what it is for.")],
    scope: Annotated[
        list[str],
        typer.Option(help="read, operate, money or root; may be repeated. Each but read implies read."),
    ],
    expires_days: Annotated[
        float | None,
        typer.Option(min=0.01, max=MAX_DAYS, help="Days until the key expires. Default: never."),
    ] = None,
    reason: Reason = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Create an admin key."""
    lifetime_ms = None if expires_days is None else int(timedelta(days=expires_days).total_seconds() * 1000)
    made = call(admin_keys.CREATE, name=name, scopes=scope, lifetime_ms=lifetime_ms, reason=reason)
    print_key(made, as_json=as_json, quiet=quiet)


@group.command("list")
def list_admin_keys(as_json: AsJson = False) -> None:
    """List admin keys, without their secrets."""
    found = call(admin_keys.LIST)["admin_keys"]
    if as_json:
        print_json(found)
        return
    print_table(
        ("KID", "KEY", "STATE", "SCOPES", "CREATED", "EXPIRES", "LAST USED", "NAME"),
        [
            (
                key["kid"],
                f"rg_admin_…{key['last_four']}" if key["last_four"] else "person",
                key["state"],
                " ".join(key["scopes"]),
                key["created_at"],
                key["expires_at"] or "-",
                key["last_used_at"] or "-",
                key["name"],
            )
            for key in found
        ],
    )


@group.command("rotate")
def rotate_admin_key(
    kid: str,
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=MAX_DAYS * 24, help="Hours for which the old key stays valid.")
    ] = 24,
    reason: Reason = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Create a new admin key with the scopes of an old one, which stays valid for the overlap."""
    overlap_ms = int(timedelta(hours=overlap_hours).total_seconds() * 1000)
    made = call(admin_keys.ROTATE, kid=kid, overlap_ms=overlap_ms, reason=reason)
    print_key(made, as_json=as_json, quiet=quiet)


@group.command("revoke")
def revoke_admin_key(kid: str, reason: Reason = None) -> None:
    """Revoke an admin key, on every server at once."""
    call(admin_keys.REVOKE, kid=kid, reason=reason)
    say(f"Revoked {kid}.")
