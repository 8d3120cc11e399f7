"""Tenants and their API keys."""

import sys
from datetime import timedelta
from typing import Annotated, Any, cast, get_args

import typer

from app.auth import keys as api_keys
from app.auth import tenants as tenant_rows
from app.auth.keys import DEFAULT_SCOPES, SCOPES, APIKey, Mode
from app.auth.tenants import MediaChecks, Tenant
from app.cli.session import fail, with_gateway
from app.cli.tables import AsJson, print_json, print_table
from app.gateway import Gateway
from app.generations.queue.fair import MAX_WEIGHT
from app.kit.clock import iso
from app.quotas.account import check_zone

tenants = typer.Typer(no_args_is_help=True, help="Customers, kept apart from one another.")
keys = typer.Typer(no_args_is_help=True, help="API keys. A key is shown once, when it is made.")

_MAX_DAYS = 36_500  # a century
_MAX_NAME = 100

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="The key alone, for scripts.")]


@tenants.command("create")
def create_tenant(
    name: str,
    time_zone: Annotated[str, typer.Option(help="Whose midnight ends a day of its quotas.")] = "UTC",
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="The id alone.")] = False,
) -> None:
    """Make a tenant."""

    async def work(gateway: Gateway) -> Tenant:
        check_zone(time_zone)
        return await gateway.db.write(
            tenant_rows.create, name, now_ms=gateway.clock.now_ms(), time_zone=time_zone
        )

    tenant = with_gateway(work)
    if as_json:
        print_json(_tenant_document(tenant))
    elif quiet:
        typer.echo(tenant.id)
    else:
        typer.echo(f"Made tenant {tenant.name} ({tenant.id}).")
        typer.echo(f"Next: reelgate keys create --tenant {_shell(tenant.name)} --test")


@tenants.command("set-time-zone")
def set_time_zone(name: str, time_zone: str) -> None:
    """Change whose midnight ends a day; what was counted stays in its days."""

    async def work(gateway: Gateway) -> None:
        check_zone(time_zone)
        found = await gateway.db.read(tenant_rows.by_name, name)
        await gateway.db.write(tenant_rows.set_time_zone, found.id, time_zone)

    with_gateway(work)
    typer.echo(f"Days and months of {name} are those of {time_zone} now.")


@tenants.command("set-media-checks")
def set_media_checks(name: str, checks: str) -> None:
    """What becomes of files that break a rule: enforce, warn, off, or default, as the settings say."""
    if checks not in (*get_args(MediaChecks), "default"):
        fail(f"there is no check {checks!r}; there are {', '.join(get_args(MediaChecks))} and default.")
    chosen = None if checks == "default" else cast("MediaChecks", checks)

    async def work(gateway: Gateway) -> str:
        found = await gateway.db.read(tenant_rows.by_name, name)
        await gateway.db.write(tenant_rows.set_media_checks, found.id, chosen)
        return chosen or gateway.settings.media_checks

    typer.echo(f"Files of {name}: {with_gateway(work)}, within a second.")


@tenants.command("set-queueing")
def set_tenant_queueing(
    name: str,
    queueing: Annotated[str, typer.Argument(help="on, off, or default: as the settings say.")],
    most: Annotated[
        int | None, typer.Option(min=0, max=1_000_000, help="How many may wait; as it is unless given.")
    ] = None,
    weight: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_WEIGHT, help="Its share while others wait too; as it is unless given."),
    ] = None,
) -> None:
    """Whether the tenant's jobs that may not be sent yet wait instead of being refused."""
    chosen = _queueing(queueing)

    async def work(gateway: Gateway) -> tuple[bool, int, int]:
        found = await gateway.db.read(tenant_rows.by_name, name)
        own_max = found.max_queued if most is None else most
        own_weight = found.weight if weight is None else weight
        await gateway.db.write(
            tenant_rows.set_queueing, found.id, queueing=chosen, max_queued=own_max, weight=own_weight
        )
        waits = gateway.settings.queueing if chosen is None else chosen
        return waits, gateway.settings.max_queued_per_tenant if own_max is None else own_max, own_weight

    waits, own_max, own_weight = with_gateway(work)
    done = f"wait, {own_max} at most, with weight {own_weight}" if waits else "are refused"
    typer.echo(f"Jobs of {name} that may not be sent yet {done}; within a second.")


@keys.command("set-queueing")
def set_key_queueing(
    kid: str, queueing: Annotated[str, typer.Argument(help="on, off, or default: as its tenant.")]
) -> None:
    """Whether the key's jobs that may not be sent yet wait instead of being refused."""
    chosen = _queueing(queueing)

    async def work(gateway: Gateway) -> None:
        await gateway.db.write(api_keys.set_queueing, kid, queueing=chosen)

    with_gateway(work)
    typer.echo(f"Queueing of {kid}: {queueing}, within a second.")


def _queueing(word: str) -> bool | None:
    words = {"on": True, "off": False, "default": None}
    if word not in words:
        fail(f"{word!r} is none of {', '.join(words)}.")
    return words[word]


@tenants.command("set-origins")
def set_origins(
    name: str, origins: Annotated[list[str] | None, typer.Argument(help="None takes all away.")] = None
) -> None:
    """Which web origins may call with the tenant's keys, such as https://app.example; all others may not."""

    async def work(gateway: Gateway) -> frozenset[str]:
        found = await gateway.db.read(tenant_rows.by_name, name)
        return await gateway.db.write(tenant_rows.set_origins, found.id, origins or ())

    typer.echo(f"Origins of {name}: {', '.join(sorted(with_gateway(work))) or 'none'}, within a second.")


@tenants.command("list")
def list_tenants(as_json: AsJson = False) -> None:
    """Show every tenant."""

    async def work(gateway: Gateway) -> list[Tenant]:
        return await gateway.db.read(tenant_rows.every)

    found = with_gateway(work)
    if as_json:
        print_json([_tenant_document(tenant) for tenant in found])
        return
    print_table(
        ("NAME", "ID", "CREATED", "STATE", "TIME ZONE"),
        [
            (
                one.name,
                one.id,
                iso(one.created_at_ms),
                "disabled" if one.disabled_at_ms else "active",
                one.time_zone,
            )
            for one in found
        ],
    )


@keys.command("create")
def create_key(
    tenant: Annotated[str, typer.Option(help="The tenant's name.")],
    test: Annotated[bool, typer.Option("--test", help="Reaches the sandbox and never RunComfy.")] = False,
    name: Annotated[str, typer.Option(help="A note of what it is for.")] = "",
    scope: Annotated[
        list[str] | None, typer.Option(help="submit, read, tokens:create; the first two unless given.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model that it may use; all unless given.")
    ] = None,
    expires_days: Annotated[
        float | None, typer.Option(min=1, max=_MAX_DAYS, help="Days until it ends; never unless given.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make an API key."""
    mode: Mode = "test" if test else "live"
    scopes = scope or list(DEFAULT_SCOPES)
    if unknown := sorted(set(scopes) - set(SCOPES)):
        fail(f"there is no scope {unknown[0]!r}; there are {', '.join(SCOPES)}.")

    if len(name) > _MAX_NAME or not name.isprintable():
        fail(f"a key's name is at most {_MAX_NAME} printable characters.")

    async def work(gateway: Gateway) -> tuple[str, str]:
        if unknown := [one for one in model or () if gateway.catalog.get(one) is None]:
            fail(f"the catalogue has no model {unknown[0]!r}.")
        now_ms = gateway.clock.now_ms()
        found = await gateway.db.read(tenant_rows.by_name, tenant)
        return await gateway.db.write(
            api_keys.create,
            found.id,
            mode=mode,
            name=name,
            pepper=gateway.settings.current_pepper(),
            now_ms=now_ms,
            scopes=scopes,
            models=model,
            expires_at_ms=None if expires_days is None else now_ms + _ms(timedelta(days=expires_days)),
        )

    kid, key = with_gateway(work)
    _print_key(
        {
            "kid": kid,
            "key": key,
            "tenant": tenant,
            "mode": mode,
            "name": name,
            "scopes": scopes,
            "models": model,
        },
        as_json=as_json,
        quiet=quiet,
    )


@keys.command("list")
def list_keys(
    tenant: Annotated[str | None, typer.Option(help="Of this tenant alone.")] = None, as_json: AsJson = False
) -> None:
    """Show keys, without their secrets."""

    async def work(gateway: Gateway) -> tuple[list[APIKey], int]:
        tenant_id = None if tenant is None else (await gateway.db.read(tenant_rows.by_name, tenant)).id
        return await gateway.db.read(api_keys.of_tenant, tenant_id), gateway.clock.now_ms()

    found, now_ms = with_gateway(work)
    if as_json:
        print_json([_key_document(key, now_ms) for key in found])
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
                _iso_or_dash(key.expires_at_ms),
                _iso_or_dash(key.last_used_at_ms),
                key.name,
            )
            for key in found
        ],
    )


@keys.command("rotate")
def rotate_key(
    kid: str,
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=_MAX_DAYS * 24, help="Hours that the old key lives on.")
    ] = 24,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make a second key like the first; the first lives on for the overlap."""

    async def work(gateway: Gateway) -> tuple[str, str, int]:
        return await gateway.db.write(
            api_keys.rotate,
            kid,
            overlap_ms=_ms(timedelta(hours=overlap_hours)),
            pepper=gateway.settings.current_pepper(),
            now_ms=gateway.clock.now_ms(),
        )

    new_kid, key, ends_at_ms = with_gateway(work)
    _print_key(
        {"kid": new_kid, "key": key, "replaces": kid, "old_key_ends_at": iso(ends_at_ms)},
        as_json=as_json,
        quiet=quiet,
    )


@keys.command("revoke")
def revoke_key(kid: str) -> None:
    """End a key now, on every server within five seconds."""

    async def work(gateway: Gateway) -> None:
        await gateway.db.write(api_keys.revoke, kid, now_ms=gateway.clock.now_ms())

    with_gateway(work)
    typer.echo(f"Revoked {kid}.")


def _print_key(document: dict[str, Any], *, as_json: bool, quiet: bool) -> None:
    try:
        if as_json:
            print_json(document)
        else:
            typer.echo(document["key"])
        sys.stdout.flush()
    except OSError as error:
        fail(f"key {document['kid']} was made but could not be printed ({error}); revoke it.")
    if not as_json and not quiet:
        typer.echo(f"This is shown once; keep it now. Its kid is {document['kid']}.", err=True)
        if "old_key_ends_at" in document:
            typer.echo(f"The old key {document['replaces']} ends at {document['old_key_ends_at']}.", err=True)


def _tenant_document(tenant: Tenant) -> dict[str, Any]:
    return {
        "id": tenant.id,
        "name": tenant.name,
        "created_at": iso(tenant.created_at_ms),
        "disabled_at": _iso_or_none(tenant.disabled_at_ms),
        "time_zone": tenant.time_zone,
        "media_checks": tenant.media_checks,
        "origins": sorted(tenant.origins),
        "queueing": tenant.queueing,
        "max_queued": tenant.max_queued,
        "weight": tenant.weight,
        "dispatch_paused_at": _iso_or_none(tenant.dispatch_paused_at_ms),
    }


def _key_document(key: APIKey, now_ms: int) -> dict[str, Any]:
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
        "expires_at": _iso_or_none(key.expires_at_ms),
        "revoked_at": _iso_or_none(key.revoked_at_ms),
        "rotated_to": key.rotated_to,
        "last_used_at": _iso_or_none(key.last_used_at_ms),
        "queueing": key.queueing,
    }


def _iso_or_none(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso(at_ms)


def _iso_or_dash(at_ms: int | None) -> str:
    return _iso_or_none(at_ms) or "-"


def _ms(delta: timedelta) -> int:
    return int(delta.total_seconds() * 1000)


def _shell(text: str) -> str:
    return f"'{text}'" if " " in text else text
