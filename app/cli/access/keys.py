"""`reelgate keys`: API keys. A key is shown only once, when it is created."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, get_args

import typer

from app.admin.access.keys import MAX_DAYS
from app.admin.operations.access import keys
from app.auth.keys import DEFAULT_SCOPES
from app.cli.access.tenants import switch
from app.cli.options import OneTenant, Quiet, Reason, Tenant
from app.cli.session import call, call_list, fail
from app.cli.tables import AsJson, print_json, print_table, say
from app.db.schema.asset_states import MirrorMode
from app.documents.admin.access.keys import APIKey

MOMENTS: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]
"""The forms of a moment in an option."""

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
        typer.Option(
            help="submit, read, tokens:create, usage:read, webhooks:read, webhooks:write or account:manage;"
            " may be repeated. Default: the first two."
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model that the key may use; may be repeated. Default: all models."),
    ] = None,
    expires_days: Annotated[
        float | None,
        typer.Option(min=1, max=MAX_DAYS, help="Days until the key expires. Default: never."),
    ] = None,
    reason: Reason = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Create an API key."""
    made = call(
        keys.CREATE,
        tenant=tenant,
        mode="test" if test else "live",
        name=name,
        scopes=scope or list(DEFAULT_SCOPES),
        models=model,
        lifetime_ms=None if expires_days is None else _ms(timedelta(days=expires_days)),
        reason=reason,
    )
    print_key(made, as_json=as_json, quiet=quiet)


@group.command("list")
def list_keys(
    tenant: OneTenant = None,
    prefix: Annotated[
        str | None, typer.Option(help="Only keys that begin so, such as rg_live_4Kq or 4Kq.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Only keys whose name has this text.")] = None,
    used_before: Annotated[
        datetime | None,
        typer.Option(formats=MOMENTS, help="Only keys that were not used since this moment (UTC)."),
    ] = None,
    used_after: Annotated[
        datetime | None,
        typer.Option(formats=MOMENTS, help="Only keys that were used at this moment or later (UTC)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List API keys, without their secrets: all, or those that are searched for."""
    found: list[APIKey] = call_list(
        keys.LIST,
        "keys",
        tenant=tenant,
        prefix=prefix,
        name=name,
        used_before=in_utc(used_before),
        used_after=in_utc(used_after),
    )
    if as_json:
        print_json(found)
        return
    print_table(
        ("KID", "KEY", "TENANT", "STATE", "SCOPES", "CREATED", "EXPIRES", "LAST USED", "NAME"),
        [
            (
                key["kid"],
                f"rg_{key['mode']}_…{key['last_four']}",
                key["tenant"],
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


@group.command("show")
def show_key(kid: str) -> None:
    """Show everything about a key but its secret, as JSON."""
    print_json(call(keys.SHOW, kid=kid))


@group.command("narrow")
def narrow_key(
    kid: str,
    name: Annotated[str | None, typer.Option(help="A new note of what the key is for.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="A scope that the key keeps; may be repeated. Default: all.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model that the key keeps; may be repeated. Default: all.")
    ] = None,
    expires_days: Annotated[
        float | None, typer.Option(min=0.01, max=MAX_DAYS, help="Days from now until the key expires.")
    ] = None,
    reason: Reason = None,
) -> None:
    """Take scopes or models from a key, or let it expire earlier, on every server within five seconds."""
    changed = call(
        keys.NARROW,
        kid=kid,
        name=name,
        scopes=scope or None,
        models=model or None,
        lifetime_ms=None if expires_days is None else _ms(timedelta(days=expires_days)),
        reason=reason,
    )
    models = "all models" if changed["models"] is None else ", ".join(changed["models"])
    say(f"Key {kid}: {' '.join(changed['scopes'])}; {models}; expires {changed['expires_at'] or 'never'}.")


@group.command("rotate")
def rotate_key(
    kid: str,
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=MAX_DAYS * 24, help="Hours for which the old key stays valid.")
    ] = 24,
    reason: Reason = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Create a new key with the terms of an old one, which stays valid for the overlap."""
    overlap_ms = _ms(timedelta(hours=overlap_hours))
    made = call(keys.ROTATE, kid=kid, overlap_ms=overlap_ms, reason=reason)
    print_key(made, as_json=as_json, quiet=quiet)


@group.command("set-queueing")
def set_queueing(
    kid: str,
    queueing: Annotated[str, typer.Argument(help="on, off, or default (as its tenant).")],
    reason: Reason = None,
) -> None:
    """Set whether a key's requests that cannot be sent yet are queued or refused."""
    chosen = switch(queueing)
    call(keys.SET_QUEUEING, kid=kid, queueing=chosen, reason=reason)
    say(f"Queueing of {kid}: {queueing}, within a second.")


@group.command("set-mirror")
def set_mirror(
    kid: str,
    mirror: Annotated[str, typer.Argument(help="off, beside, instead, or default (as its tenant).")],
    reason: Reason = None,
) -> None:
    """Set whether the outputs of a key are copied to the gateway's own store."""
    if mirror not in (*get_args(MirrorMode), "default"):
        fail(f"{mirror!r} is not one of {', '.join(get_args(MirrorMode))} and default.")
    call(keys.SET_MIRROR, kid=kid, mirror=None if mirror == "default" else mirror, reason=reason)
    say(f"Mirror of {kid}: {mirror}, for requests that complete from now on.")


@group.command("revoke")
def revoke_key(kid: str, reason: Reason = None) -> None:
    """Revoke a key, on every server within five seconds."""
    call(keys.REVOKE, kid=kid, reason=reason)
    say(f"Revoked {kid}.")


def print_key(document: Mapping[str, Any], *, as_json: bool, quiet: bool) -> None:
    """Prints a key that was made or rotated: the key itself, or the whole document."""
    if document["key"] is None:
        fail(f"key {document['kid']} was created, but the answer with it was lost; revoke it.")
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


def in_utc(moment: datetime | None) -> datetime | None:
    """Returns a moment of an option, which is in UTC unless it says another zone."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _ms(delta: timedelta) -> int:
    return int(delta.total_seconds() * 1000)
