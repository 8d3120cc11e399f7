"""`reelgate tenants`: customers, whose data and limits are separate."""

from typing import Annotated, get_args

import typer

from app.admin.access.tenants import MAX_QUEUED
from app.admin.operations.access import tenants
from app.auth.tenants import MediaChecks
from app.cli.options import Reason
from app.cli.session import call, call_list, fail
from app.cli.tables import AsJson, print_json, print_table, say
from app.db.schema.asset_states import MirrorMode
from app.documents.admin.access.tenants import Tenant
from app.generations.queue.fair import MAX_WEIGHT

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
    made = call(tenants.CREATE, name=name, time_zone=time_zone, reason=reason)
    if as_json:
        print_json(made)
    elif quiet:
        say(made["id"])
    else:
        say(f"Created tenant {made['name']} ({made['id']}).")
        shown = f"'{made['name']}'" if " " in made["name"] else made["name"]
        say(f"Next: reelgate keys create --tenant {shown} --test")


@group.command("show")
def show_tenant(name: str) -> None:
    """Show everything about a tenant, as JSON."""
    print_json(call(tenants.SHOW, name=name))


@group.command("rename")
def rename_tenant(name: str, new_name: str, reason: Reason = None) -> None:
    """Give a tenant another name; its id, keys, limits and requests stay."""
    call(tenants.RENAME, name=name, new_name=new_name, reason=reason)
    say(f"Renamed {name} to {new_name}.")


@group.command("set-time-zone")
def set_time_zone(name: str, time_zone: str, reason: Reason = None) -> None:
    """Set the time zone of a tenant's days and months; what was counted stays in its day."""
    call(tenants.SET_TIME_ZONE, name=name, time_zone=time_zone, reason=reason)
    say(f"Days and months of {name} are counted in {time_zone} now.")


@group.command("set-media-checks")
def set_media_checks(name: str, checks: str, reason: Reason = None) -> None:
    """Set what happens to files that break a rule: enforce, warn, off, or default (as in the settings)."""
    if checks not in (*get_args(MediaChecks), "default"):
        fail(f"{checks!r} is not a check; use {', '.join(get_args(MediaChecks))} or default.")
    chosen = None if checks == "default" else checks
    changed = call(tenants.SET_MEDIA_CHECKS, name=name, media_checks=chosen, reason=reason)
    say(f"Media checks of {name}: {changed['in_effect']['media_checks']}, within a second.")


@group.command("set-queueing")
def set_queueing(
    name: str,
    queueing: Annotated[str, typer.Argument(help="on, off, or default (as in the settings).")],
    max_queued: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MAX_QUEUED,
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
    changed: Tenant = call(
        tenants.SET_QUEUEING,
        name=name,
        queueing=switch(queueing),
        max_queued=max_queued,
        weight=weight,
        reason=reason,
    )
    own_max, weight = changed["in_effect"]["max_queued"], changed["weight"]
    is_queued = changed["in_effect"]["queueing"]
    done = f"are queued, {own_max} at most, with weight {weight}" if is_queued else "are refused"
    say(f"Requests of {name} that cannot be sent yet {done}, within a second.")


@group.command("set-mirror")
def set_mirror(
    name: str,
    mirror: Annotated[str, typer.Argument(help="off, beside (RunComfy's links stay), or instead.")],
    keep_days: Annotated[
        float | None,
        typer.Option(min=0, max=3660, help="Days for which copies are kept, 0 for ever; else as set."),
    ] = None,
    reason: Reason = None,
) -> None:
    """Set whether the outputs of a tenant are copied to the gateway's own store."""
    if mirror not in get_args(MirrorMode):
        fail(f"{mirror!r} is not one of {', '.join(get_args(MirrorMode))}.")
    keep_s = None if keep_days is None else round(keep_days * 86_400)
    changed: Tenant = call(tenants.SET_MIRROR, name=name, mirror=mirror, keep_s=keep_s, reason=reason)
    say(f"Mirror of {name}: {changed['mirror']}, for requests that complete from now on.")


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
    changed = call(tenants.SET_ORIGINS, name=name, origins=origins or [], reason=reason)
    say(f"Origins of {name}: {', '.join(changed['origins']) or 'none'}, within a second.")


@group.command("disable")
def disable_tenant(name: str, reason: Reason = None) -> None:
    """Refuse a tenant's keys and client tokens, and stop its queue; requests under way continue."""
    call(tenants.DISABLE, name=name, reason=reason)
    say(
        f"Disabled {name}, on every server within five seconds. Requests that were sent continue to their"
        " end."
    )


@group.command("enable")
def enable_tenant(name: str, reason: Reason = None) -> None:
    """Enable a disabled tenant again."""
    call(tenants.ENABLE, name=name, reason=reason)
    say(f"Enabled {name}, on every server within five seconds.")


@group.command("list")
def list_tenants(as_json: AsJson = False) -> None:
    """List all tenants."""
    found: list[Tenant] = call_list(tenants.LIST, "tenants")
    if as_json:
        print_json(found)
        return
    print_table(
        ("NAME", "ID", "CREATED", "STATE", "TIME ZONE"),
        [
            (
                one["name"],
                one["id"],
                one["created_at"],
                "disabled" if one["disabled_at"] else "active",
                one["time_zone"],
            )
            for one in found
        ],
    )
