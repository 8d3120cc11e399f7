"""`reelgate webhooks`: endpoints that tenants' events are sent to, what was sent, and sending it again."""

import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr

from app.admin.operations import webhooks as operations
from app.admin.webhooks.webhook_log import DeliveryFilter
from app.cli.access.keys import MOMENTS, in_utc
from app.cli.options import OneTenant, Quiet, Reason, Tenant
from app.cli.session import call, call_list, fail, settings_or_exit
from app.cli.tables import AsJson, print_json, print_table, say
from app.db.schema.webhook_states import Cause, DeliveryState, EndpointState
from app.documents.admin.webhooks import (
    TenantWebhookDelivery,
    TenantWebhookEndpoint,
    TenantWebhookReplay,
)
from app.kit.redaction import redactor
from app.settings.values import PREFIX
from app.settings.webhooks import webhook_secret_in
from app.webhooks.registry import secrets
from app.webhooks.registry.rotation import DEFAULT_GRACE_S, MAX_GRACE_S

Event = Annotated[
    list[str] | None,
    typer.Option(
        help="A type of event, such as request.completed; may be repeated; none for only what submits name."
        " Default: all."
    ),
]
Only = Annotated[list[str] | None, typer.Option("--event", help="Only this type; may be repeated.")]
VendorLinks = Annotated[bool, typer.Option("--vendor-links", help="Tell RunComfy's own links to outputs.")]
Description = Annotated[str, typer.Option(help="A note for the tenant.")]
Endpoint = Annotated[str | None, typer.Option("--endpoint", metavar="ID", help="Only this endpoint.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="The maximum number of rows.")]
_HOUR_S = 3600

group = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Webhooks: the endpoints that events are sent to, what was sent, and sending it again.",
)


@group.command("create")
def create_endpoint(
    tenant: Tenant,
    url: Annotated[str, typer.Argument(help="Where events are sent to: an https:// URL.")],
    test: Annotated[
        bool, typer.Option("--test", help="For requests of test keys, not of live keys.")
    ] = False,
    description: Description = "",
    event: Event = None,
    vendor_links: VendorLinks = False,
    ed25519: Annotated[
        bool, typer.Option("--ed25519", help="Sign by Ed25519, with a public key, not with a shared secret.")
    ] = False,
    reason: Reason = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make an endpoint. Its secret is shown only once."""
    made = call(
        operations.CREATE,
        tenant=tenant,
        mode="test" if test else "live",
        url=url,
        description=description,
        events=_chosen(event),
        vendor_links=vendor_links,
        signature="v1a" if ed25519 else "v1",
        reason=reason,
    )
    _print_secret(made, as_json=as_json, quiet=quiet)


@group.command("list")
def list_endpoints(
    tenant: OneTenant = None,
    state: Annotated[EndpointState | None, typer.Option(help="Only those in this state.")] = None,
    as_json: AsJson = False,
) -> None:
    """List endpoints, newest first, without their secrets."""
    found: list[TenantWebhookEndpoint] = call_list(operations.LIST, "endpoints", tenant=tenant, state=state)
    if as_json:
        print_json(found)
        return
    print_table(
        ("ENDPOINT", "TENANT", "MODE", "STATE", "SINCE", "FAILING SINCE", "SIGNS", "EVENTS", "URL"),
        [
            (
                one["endpoint_id"],
                one["tenant"],
                one["mode"],
                one["state"],
                one["health"]["state_since"],
                one["health"]["failing_since"] or "-",
                one["signature"],
                "all" if one["events"] is None else " ".join(one["events"]),
                one["url"],
            )
            for one in found
        ],
    )


@group.command("show")
def show_endpoint(endpoint_id: str) -> None:
    """Show everything about an endpoint but its secret, as JSON."""
    print_json(call(operations.SHOW, endpoint_id=endpoint_id))


@group.command("edit")
def edit_endpoint(
    endpoint_id: str,
    url: Annotated[str | None, typer.Option(help="Where events are sent to. Default: as it is.")] = None,
    description: Annotated[str | None, typer.Option(help="A note. Default: as it is.")] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(help="A type of event; may be repeated; all, or none. Default: as it is."),
    ] = None,
    vendor_links: Annotated[
        bool | None, typer.Option("--vendor-links/--no-vendor-links", help="Default: as it is.")
    ] = None,
    reason: Reason = None,
) -> None:
    """Change an endpoint's URL, note, events or links."""
    now = call(operations.SHOW, endpoint_id=endpoint_id)
    call(
        operations.EDIT,
        endpoint_id=endpoint_id,
        url=now["url"] if url is None else url,
        description=now["description"] if description is None else description,
        events=now["events"] if not event else _chosen(event),
        vendor_links=now["vendor_links"] if vendor_links is None else vendor_links,
        reason=reason,
    )
    say(f"Changed {endpoint_id}.")


@group.command("pause")
def pause_endpoint(endpoint_id: str, reason: Reason = None) -> None:
    """Send nothing more to an endpoint until it is enabled; its events wait."""
    call(operations.PAUSE, endpoint_id=endpoint_id, reason=reason)
    say(f"Paused {endpoint_id}: its events wait.")


@group.command("enable")
def enable_endpoint(endpoint_id: str, reason: Reason = None) -> None:
    """Send to an endpoint again that was paused, disabled or gone."""
    call(operations.ENABLE, endpoint_id=endpoint_id, reason=reason)
    say(f"Enabled {endpoint_id}. What it missed while it was disabled is for `reelgate webhooks replay`.")


@group.command("delete")
def delete_endpoint(endpoint_id: str, reason: Reason = None) -> None:
    """Delete an endpoint and its secrets. Its log is kept for its time."""
    call(operations.DELETE, endpoint_id=endpoint_id, reason=reason)
    say(f"Deleted {endpoint_id}.")


@group.command("rotate")
def rotate_secret(
    endpoint_id: str,
    grace_hours: Annotated[
        float,
        typer.Option(
            min=0,
            max=MAX_GRACE_S / _HOUR_S,
            help="Hours for which messages are signed with the old secret too, behind the new one.",
        ),
    ] = DEFAULT_GRACE_S / _HOUR_S,
    force: Annotated[
        bool, typer.Option("--force", help="Even while a rotation is open: this ends it.")
    ] = False,
    reason: Reason = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Give an endpoint a new secret, which is shown only once."""
    made = call(
        operations.ROTATE,
        endpoint_id=endpoint_id,
        grace_s=round(grace_hours * _HOUR_S),
        force=force,
        reason=reason,
    )
    _print_secret(made, as_json=as_json, quiet=quiet)


@group.command("revoke-previous")
def revoke_previous(endpoint_id: str, reason: Reason = None) -> None:
    """End the time in which messages are signed with the previous secret too."""
    call(operations.REVOKE_PREVIOUS, endpoint_id=endpoint_id, reason=reason)
    say(f"Messages to {endpoint_id} are signed with its present secret alone.")


@group.command("reseal")
def reseal(reason: Reason = None) -> None:
    """Seal the secrets with the first of the two keys in REELGATE_WEBHOOK_KEY."""
    after: str | None = ""
    resealed, unreadable = 0, []
    while after is not None:
        done = call(operations.RESEAL, after=after, reason=reason)
        resealed, after = resealed + done["resealed"], done["last"]
        unreadable += done["unreadable"]
    say(f"Resealed the secrets of {resealed} endpoints with the first key.")
    if unreadable:
        fail(f"no key opens the secrets of {', '.join(unreadable)}: rotate them.")


@group.command("test")
def send_test(endpoint_id: str, reason: Reason = None, as_json: AsJson = False) -> None:
    """Send a test event to an endpoint."""
    made = call(operations.TEST, endpoint_id=endpoint_id, reason=reason)
    if as_json:
        print_json(made)
        return
    say(f"`reelgate webhooks delivery {made['delivery_id']}` says what became of it.")


@group.command("deliveries")
def list_deliveries(
    tenant: OneTenant = None,
    endpoint: Endpoint = None,
    state: Annotated[DeliveryState | None, typer.Option(help="Only those in this state.")] = None,
    cause: Annotated[Cause | None, typer.Option(help="Only those that were made for this reason.")] = None,
    event: Annotated[str | None, typer.Option(help="Only events of this type.")] = None,
    request: Annotated[str | None, typer.Option(metavar="ID", help="Only events of this request.")] = None,
    replay: Annotated[str | None, typer.Option(metavar="ID", help="Only those of this replay.")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=MOMENTS, help="Only those made at this moment or later (UTC).")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=MOMENTS, help="Only those made before this moment (UTC).")
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List what was sent and what waits, newest first."""
    found: list[TenantWebhookDelivery] = call_list(
        operations.DELIVERIES,
        "deliveries",
        at_most=limit,
        wanted=DeliveryFilter(
            tenant=tenant,
            endpoint_id=endpoint,
            state=state,
            cause=cause,
            type=event,
            request_id=request,
            replay_id=replay,
            created_after=in_utc(since),
            created_before=in_utc(until),
        ),
    )
    if as_json:
        print_json(found)
        return
    print_table(
        ("DELIVERY", "TENANT", "MODE", "TYPE", "STATE", "ATTEMPTS", "LAST", "CREATED", "NEXT", "ENDPOINT"),
        [
            (
                one["delivery_id"],
                one["tenant"] or "-",
                one["mode"],
                one["type"],
                one["state"],
                str(one["attempts"]),
                str(one["last_status"] or one["last_error"] or "-"),
                one["created_at"],
                one["next_attempt_at"] or "-",
                one["endpoint_id"],
            )
            for one in found
        ],
    )


@group.command("delivery")
def show_delivery(delivery_id: str) -> None:
    """Show a delivery with its attempts and the event, as JSON."""
    print_json(call(operations.DELIVERY, delivery_id=delivery_id))


@group.command("resend")
def resend(delivery_id: str, reason: Reason = None) -> None:
    """Send the event of a delivery to its endpoint again, with the same id and bytes."""
    made = call(operations.RESEND, delivery_id=delivery_id, reason=reason)
    say(f"Sent again as {made['delivery_id']}.")


@group.command("replay")
def replay(
    endpoint_id: str,
    since: Annotated[
        datetime, typer.Option(formats=MOMENTS, help="Deliveries made at this moment or later (UTC).")
    ],
    until: Annotated[
        datetime | None, typer.Option(formats=MOMENTS, help="And before this moment (UTC). Default: now.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what was delivered, not only what has failed.")
    ] = False,
    event: Only = None,
    reason: Reason = None,
) -> None:
    """Send a time's events to an endpoint again, in the background."""
    made = call(
        operations.REPLAY,
        endpoint_id=endpoint_id,
        since=in_utc(since),
        until=in_utc(until),
        only_failed=not everything,
        events=event or None,
        reason=reason,
    )
    say(f"Began {made['replay_id']}: `reelgate webhooks show-replay {made['replay_id']}` says how far it is.")


@group.command("replays")
def list_replays(
    tenant: OneTenant = None, endpoint: Endpoint = None, limit: Limit = 50, as_json: AsJson = False
) -> None:
    """List replays, newest first."""
    found: list[TenantWebhookReplay] = call_list(
        operations.REPLAYS, "replays", at_most=limit, tenant=tenant, endpoint_id=endpoint
    )
    if as_json:
        print_json(found)
        return
    print_table(
        ("REPLAY", "TENANT", "STATE", "SEEN", "MADE", "SINCE", "UNTIL", "CREATED", "FINISHED", "ENDPOINT"),
        [
            (
                one["replay_id"],
                one["tenant"],
                one["state"],
                str(one["deliveries_seen"]),
                str(one["deliveries_made"]),
                one["since"],
                one["until"],
                one["created_at"],
                one["finished_at"] or "-",
                one["endpoint_id"],
            )
            for one in found
        ],
    )


@group.command("show-replay")
def show_replay(replay_id: str) -> None:
    """Show a replay with its progress, as JSON."""
    print_json(call(operations.SHOW_REPLAY, replay_id=replay_id))


@group.command("cancel-replay")
def cancel_replay(replay_id: str, reason: Reason = None) -> None:
    """End a replay where it is. What it has made is sent all the same."""
    call(operations.CANCEL_REPLAY, replay_id=replay_id, reason=reason)
    say(f"Cancelled {replay_id}.")


def _chosen(event: list[str] | None) -> list[str] | None:
    """Returns the types of events that are named; None for all of them."""
    return [] if event == ["none"] else None if event in (None, [], ["all"]) else event


def _print_secret(document: Mapping[str, Any], *, as_json: bool, quiet: bool) -> None:
    """Prints what a receiver verifies with: the secret, or the public key; or the whole document."""
    endpoint_id = document["endpoint_id"]
    shown = document["secret"] or next(iter(document["public_keys"]), None)
    if shown is None:
        fail(
            f"{endpoint_id} has a new secret, but the answer with it was lost; rotate it again, with --force."
        )
    try:
        if as_json:
            print_json(document)
        else:
            say(shown)
        sys.stdout.flush()
    except OSError as error:
        fail(f"{endpoint_id} has a new secret that could not be printed ({error}); rotate it, with --force.")
    if not as_json and not quiet:
        once = "The secret is shown only once: store it now. " if document["secret"] else ""
        say(f"{once}The endpoint is {endpoint_id}.", err=True)
        if document["previous_secret_ends_at"]:
            say(
                f"Messages are signed with the old one too until {document['previous_secret_ends_at']}.",
                err=True,
            )


@group.command("listen")
def listen(
    forward_to: Annotated[str, typer.Option(metavar="URL", help="Where to send events on this machine.")],
    url: Annotated[
        str | None,
        typer.Option(envvar=f"{PREFIX}URL", help="The gateway's address. Default: that of the settings."),
    ] = None,
    replay: Annotated[
        int, typer.Option(min=0, max=10_000, help="Begin with so many of the tenant's last events.")
    ] = 0,
    secret: Annotated[
        str | None,
        typer.Option(envvar=f"{PREFIX}LISTEN_SECRET", help="A whsec_… of your own. Default: a new one."),
    ] = None,
) -> None:
    """Forward a tenant's events, signed, to a program on this machine (for development).

    The tenant's key, with the scope webhooks:read, is in REELGATE_KEY; beside `reelgate dev` it is the demo
    key.
    """
    from app.cli import listening  # noqa: PLC0415 - other commands do without it

    settings = settings_or_exit()
    key = os.environ.get(f"{PREFIX}KEY") or _demo_key(settings.data_dir / "demo-key")
    if not key:
        fail(f"set {PREFIX}KEY to an API key with the scope webhooks:read.")
    redactor.remember([key])
    try:
        known = secrets.generate() if secret is None else webhook_secret_in(SecretStr(secret))
    except ValueError as error:
        fail(f"--secret {error}.")
    say(f"WEBHOOK_SECRET={secrets.shown(known, 'v1')}")
    listener = listening.Listener(
        url=(url or settings.base_url).rstrip("/"), key=key, forward_to=forward_to, secret=known, say=say
    )
    say(f"Forwarding events of {listener.url} to {forward_to}; Ctrl-C ends it.", err=True)
    try:
        listening.listen(listener, replay=replay)
    except listening.ListenError as error:
        fail(redactor.redact(str(error)))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _demo_key(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""
