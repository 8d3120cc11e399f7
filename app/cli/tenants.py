"""`reelgate tenants`: making, changing, disabling and listing tenants."""

from typing import Annotated, Any, cast, get_args

import typer

from app.admin import tenants
from app.admin.actor import of_command
from app.admin.session import AdminSession
from app.auth.tenants import MediaChecks, Tenant
from app.cli.options import Reason
from app.cli.session import fail, with_admin
from app.cli.tables import AsJson, iso_or_none, print_json, print_table
from app.generations.queue.fair import MAX_WEIGHT
from app.kit.clock import iso

group = typer.Typer(no_args_is_help=True, help="Customers, kept apart from one another.")


@group.command("create")
def create_tenant(
    name: str,
    time_zone: Annotated[str, typer.Option(help="Whose midnight ends a day of its quotas.")] = "UTC",
    reason: Reason = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="The id alone.")] = False,
) -> None:
    """Make a tenant."""
    made = with_admin(
        lambda gateway: tenants.create(gateway, of_command(), name, time_zone=time_zone, reason=reason)
    )
    if as_json:
        print_json(_document(made))
    elif quiet:
        typer.echo(made.id)
    else:
        typer.echo(f"Made tenant {made.name} ({made.id}).")
        shown = f"'{made.name}'" if " " in made.name else made.name
        typer.echo(f"Next: reelgate keys create --tenant {shown} --test")


@group.command("set-time-zone")
def set_time_zone(name: str, time_zone: str, reason: Reason = None) -> None:
    """Change whose midnight ends a day; what was counted stays in its days."""
    with_admin(lambda gateway: tenants.set_time_zone(gateway, of_command(), name, time_zone, reason=reason))
    typer.echo(f"Days and months of {name} are those of {time_zone} now.")


@group.command("set-media-checks")
def set_media_checks(name: str, checks: str, reason: Reason = None) -> None:
    """What becomes of files that break a rule: enforce, warn, off, or default, as the settings say."""
    if checks not in (*get_args(MediaChecks), "default"):
        fail(f"there is no check {checks!r}; there are {', '.join(get_args(MediaChecks))} and default.")
    chosen = None if checks == "default" else cast("MediaChecks", checks)

    async def work(gateway: AdminSession) -> str:
        await tenants.set_media_checks(gateway, of_command(), name, chosen, reason=reason)
        return chosen or gateway.settings.media_checks

    typer.echo(f"Files of {name}: {with_admin(work)}, within a second.")


@group.command("set-queueing")
def set_queueing(
    name: str,
    queueing: Annotated[str, typer.Argument(help="on, off, or default: as the settings say.")],
    most: Annotated[
        int | None,
        typer.Option(min=0, max=tenants.MAX_QUEUED, help="How many may wait; as it is unless given."),
    ] = None,
    weight: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_WEIGHT, help="Its share while others wait too; as it is unless given."),
    ] = None,
    reason: Reason = None,
) -> None:
    """Whether the tenant's jobs that may not be sent yet wait instead of being refused."""
    chosen = switch(queueing)

    async def work(gateway: AdminSession) -> tuple[Tenant, bool, int]:
        changed = await tenants.set_queueing(
            gateway, of_command(), name, queueing=chosen, max_queued=most, weight=weight, reason=reason
        )
        settings, own = gateway.settings, changed.max_queued
        waits = settings.queueing if changed.queueing is None else changed.queueing
        return changed, waits, settings.max_queued_per_tenant if own is None else own

    changed, waits, own_max = with_admin(work)
    done = f"wait, {own_max} at most, with weight {changed.weight}" if waits else "are refused"
    typer.echo(f"Jobs of {name} that may not be sent yet {done}; within a second.")


def switch(word: str) -> bool | None:
    """Returns what `on`, `off` or `default` (None) means; any other word ends the command."""
    words = {"on": True, "off": False, "default": None}
    if word not in words:
        fail(f"{word!r} is none of {', '.join(words)}.")
    return words[word]


@group.command("set-origins")
def set_origins(
    name: str,
    origins: Annotated[list[str] | None, typer.Argument(help="None takes all away.")] = None,
    reason: Reason = None,
) -> None:
    """Which web origins may call with the tenant's keys, such as https://app.example; all others may not."""
    changed = with_admin(
        lambda gateway: tenants.set_origins(gateway, of_command(), name, origins or (), reason=reason)
    )
    typer.echo(f"Origins of {name}: {', '.join(sorted(changed.origins)) or 'none'}, within a second.")


@group.command("disable")
def disable_tenant(name: str, reason: Reason = None) -> None:
    """Refuse the tenant's keys and client tokens, and send nothing of its queue; jobs under way go on."""
    with_admin(lambda gateway: tenants.disable(gateway, of_command(), name, reason=reason))
    typer.echo(
        f"Disabled {name}, on every server within five seconds. Jobs that were sent go on to their end."
    )


@group.command("enable")
def enable_tenant(name: str, reason: Reason = None) -> None:
    """Let a disabled tenant in again."""
    with_admin(lambda gateway: tenants.enable(gateway, of_command(), name, reason=reason))
    typer.echo(f"Enabled {name}, on every server within five seconds.")


@group.command("list")
def list_tenants(as_json: AsJson = False) -> None:
    """Show every tenant."""
    found = with_admin(tenants.listed)
    if as_json:
        print_json([_document(one) for one in found])
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


def _document(tenant: Tenant) -> dict[str, Any]:
    return {
        "id": tenant.id,
        "name": tenant.name,
        "created_at": iso(tenant.created_at_ms),
        "disabled_at": iso_or_none(tenant.disabled_at_ms),
        "time_zone": tenant.time_zone,
        "media_checks": tenant.media_checks,
        "origins": sorted(tenant.origins),
        "queueing": tenant.queueing,
        "max_queued": tenant.max_queued,
        "weight": tenant.weight,
        "dispatch_paused_at": iso_or_none(tenant.dispatch_paused_at_ms),
    }
