"""`reelgate dispatch`: how the queues stand, pausing and resuming dispatch."""

from typing import Annotated, Any

import typer

from app.admin import dispatch
from app.admin.actor import of_command
from app.admin.dispatch import DispatchStatus
from app.auth.keys import Mode
from app.cli.options import Reason
from app.cli.session import with_admin
from app.cli.tables import AsJson, iso_or_none, print_json, print_table
from app.generations.queue.backlog import Backlog
from app.kit.clock import iso

group = typer.Typer(no_args_is_help=True, help="Jobs that wait to be sent.")

Whose = Annotated[str | None, typer.Argument(help="Of this tenant alone; of all unless given.")]
Test = Annotated[bool, typer.Option("--test", help="Of rg_test_ keys alone.")]
Live = Annotated[bool, typer.Option("--live", help="Of rg_live_ keys alone.")]


@group.command("status")
def show_status(as_json: AsJson = False) -> None:
    """Show what waits: how much, since when, and whose share it is."""
    found = with_admin(dispatch.status)
    if as_json:
        print_json(_document(found))
        return
    for mode, at_ms in found.paused_since_ms.items():
        typer.echo(f"Nothing of rg_{mode}_ keys is sent since {iso(at_ms)}; `reelgate dispatch resume`.")
    print_table(
        ("TENANT", "MODE", "WAITING", "OLDEST", "IN FLIGHT", "WEIGHT", "SHARE", "SENT", "STATE"),
        [
            (
                one.tenant,
                one.mode,
                str(one.queued),
                "-" if one.oldest_at_ms is None else f"{max(0, found.now_ms - one.oldest_at_ms) // 1000} s",
                str(one.in_flight),
                str(one.weight),
                f"{found.share(one):.0%}",
                str(one.served),
                _state_of(one),
            )
            for one in found.queues
        ],
    )


@group.command("pause")
def pause(tenant: Whose = None, live: Live = False, test: Test = False, reason: Reason = None) -> None:
    """Send nothing more. Jobs that may wait are accepted all the same; others are refused."""
    modes = _modes(tenant, live=live, test=test)
    if tenant is not None:
        with_admin(lambda gateway: dispatch.pause_tenant(gateway, of_command(), tenant, reason=reason))
    else:
        with_admin(lambda gateway: dispatch.pause(gateway, of_command(), modes, reason=reason))
    typer.echo(f"Nothing of {tenant or _keys_of(modes)} is sent, within a second.")


@group.command("resume")
def resume(tenant: Whose = None, live: Live = False, test: Test = False, reason: Reason = None) -> None:
    """Go on sending."""
    modes = _modes(tenant, live=live, test=test)
    if tenant is not None:
        with_admin(lambda gateway: dispatch.resume_tenant(gateway, of_command(), tenant, reason=reason))
    else:
        with_admin(lambda gateway: dispatch.resume(gateway, of_command(), modes, reason=reason))
    typer.echo(f"Jobs of {tenant or _keys_of(modes)} are sent again, within a second.")


def _modes(tenant: str | None, *, live: bool, test: bool) -> list[Mode]:
    if tenant is not None and (live or test):
        raise typer.BadParameter("a tenant is paused for all its keys.")
    chosen: dict[Mode, bool] = {"live": live, "test": test}
    return [mode for mode, its in chosen.items() if its or not (live or test)]


def _keys_of(modes: list[Mode]) -> str:
    return " and ".join(f"rg_{mode}_ keys" for mode in modes)


def _state_of(queue: Backlog) -> str:
    if queue.disabled:
        return "disabled"
    return "paused" if queue.paused else "active"


def _document(found: DispatchStatus) -> dict[str, Any]:
    return {
        "paused_since": {mode: iso(at_ms) for mode, at_ms in found.paused_since_ms.items()},
        "queues": [
            {
                "tenant": one.tenant,
                "mode": one.mode,
                "queued": one.queued,
                "oldest_at": iso_or_none(one.oldest_at_ms),
                "in_flight": one.in_flight,
                "weight": one.weight,
                "share": round(found.share(one), 4),
                "sent": one.served,
                "paused": one.paused,
                "disabled": one.disabled,
            }
            for one in found.queues
        ],
    }
