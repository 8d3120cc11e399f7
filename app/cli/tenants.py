"""`reelgate tenants`: customers, whose data and limits are separate."""

from typing import Annotated, Any, cast, get_args

import typer

from app.admin import tenants
from app.admin.actor import of_command
from app.admin.session import AdminSession
from app.auth.tenants import MediaChecks, Tenant
from app.cli.options import Reason
from app.cli.session import fail, with_admin
from app.cli.tables import AsJson, iso_or_none, print_json, print_table, say
from app.generations.queue.fair import MAX_WEIGHT
from app.kit.clock import iso

group = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Customers, whose data and limits are separate."
)


@group.command("create")
def create_tenant(
    name: str,
    time_zone: Annotated[
        str, typer.Option(help="The time zone of the days and months of its limits.")
    ] = "UTC",
    reason: Reason = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the id.")] = False,
) -> None:
    """Create a tenant."""
    made = with_admin(
        lambda gateway: tenants.create(gateway, of_command(), name, time_zone=time_zone, reason=reason)
    )
    if as_json:
        print_json(_document(made))
    elif quiet:
        say(made.id)
    else:
        say(f"Created tenant {made.name} ({made.id}).")
        shown = f"'{made.name}'" if " " in made.name else made.name
        say(f"Next: reelgate keys create --tenant {shown} --test")


@group.command("set-time-zone")
def set_time_zone(name: str, time_zone: str, reason: Reason = None) -> None:
    """Set the time zone of a tenant's days and months; what was counted stays in its day."""
    with_admin(lambda gateway: tenants.set_time_zone(gateway, of_command(), name, time_zone, reason=reason))
    say(f"Days and months of {name} are counted in {time_zone} now.")


@group.command("set-media-checks")
def set_media_checks(name: str, checks: str, reason: Reason = None) -> None:
    """Set what happens to files that break a rule: enforce, warn, off, or default (as in the settings)."""
    if checks not in (*get_args(MediaChecks), "default"):
        fail(f"{checks!r} is not a check; use {', '.join(get_args(MediaChecks))} or default.")
    chosen = None if checks == "default" else cast("MediaChecks", checks)

    async def work(gateway: AdminSession) -> str:
        await tenants.set_media_checks(gateway, of_command(), name, chosen, reason=reason)
        return chosen or gateway.settings.media_checks

    say(f"Media checks of {name}: {with_admin(work)}, within a second.")


@group.command("set-queueing")
def set_queueing(
    name: str,
    queueing: Annotated[str, typer.Argument(help="on, off, or default (as in the settings).")],
    max_queued: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=tenants.MAX_QUEUED,
            help="The maximum number of queued requests; unchanged unless given.",
        ),
    ] = None,
    weight: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_WEIGHT,
            help="Its share of what is sent while others are queued too; unchanged unless given.",
        ),
    ] = None,
    reason: Reason = None,
) -> None:
    """Set whether a tenant's requests that cannot be sent yet are queued or refused."""
    chosen = switch(queueing)

    async def work(gateway: AdminSession) -> tuple[Tenant, bool, int]:
        changed = await tenants.set_queueing(
            gateway, of_command(), name, queueing=chosen, max_queued=max_queued, weight=weight, reason=reason
        )
        settings, own = gateway.settings, changed.max_queued
        waits = settings.queueing if changed.queueing is None else changed.queueing
        return changed, waits, settings.max_queued_per_tenant if own is None else own

    changed, waits, own_max = with_admin(work)
    done = f"are queued, {own_max} at most, with weight {changed.weight}" if waits else "are refused"
    say(f"Requests of {name} that cannot be sent yet {done}, within a second.")


def switch(word: str) -> bool | None:
    """Returns what `on`, `off` or `default` (None) means; any other word ends the command."""
    words = {"on": True, "off": False, "default": None}
    if word not in words:
        fail(f"{word!r} is not one of {', '.join(words)}.")
    return words[word]


@group.command("set-origins")
def set_origins(
    name: str,
    origins: Annotated[
        list[str] | None,
        typer.Argument(help="The origins, in place of the present ones; without any, all are removed."),
    ] = None,
    reason: Reason = None,
) -> None:
    """Set the web origins whose pages may call as this tenant, such as https://app.example."""
    changed = with_admin(
        lambda gateway: tenants.set_origins(gateway, of_command(), name, origins or (), reason=reason)
    )
    say(f"Origins of {name}: {', '.join(sorted(changed.origins)) or 'none'}, within a second.")


@group.command("disable")
def disable_tenant(name: str, reason: Reason = None) -> None:
    """Refuse a tenant's keys and client tokens, and stop its queue; requests under way continue."""
    with_admin(lambda gateway: tenants.disable(gateway, of_command(), name, reason=reason))
    say(
        f"Disabled {name}, on every server within five seconds. Requests that were sent continue to their"
        " end."
    )


@group.command("enable")
def enable_tenant(name: str, reason: Reason = None) -> None:
    """Enable a disabled tenant again."""
    with_admin(lambda gateway: tenants.enable(gateway, of_command(), name, reason=reason))
    say(f"Enabled {name}, on every server within five seconds.")


@group.command("list")
def list_tenants(as_json: AsJson = False) -> None:
    """List all tenants."""
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
