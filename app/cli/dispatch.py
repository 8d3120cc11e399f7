"""`reelgate dispatch`: the queue of requests to send, and pausing it."""

from typing import Annotated, Any

import typer

from app.admin import dispatch
from app.admin.actor import of_command
from app.admin.dispatch import DispatchStatus
from app.auth.keys import Mode
from app.cli.options import Reason
from app.cli.session import with_admin
from app.cli.tables import AsJson, iso_or_none, print_json, print_table, say
from app.generations.queue.backlog import Backlog
from app.kit.clock import iso

group = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The queue of requests to send, and pausing it."
)

Whose = Annotated[str | None, typer.Argument(help="Only this tenant. Default: all tenants.")]
Test = Annotated[bool, typer.Option("--test", help="Only requests of rg_test_ keys.")]
Live = Annotated[bool, typer.Option("--live", help="Only requests of rg_live_ keys.")]


@group.command("status")
def show_status(as_json: AsJson = False) -> None:
    """Show every queue: its length, the age of its oldest request, and the tenant's share."""
    found = with_admin(dispatch.status)
    if as_json:
        print_json(_document(found))
        return
    for mode, at_ms in found.paused_since_ms.items():
        say(f"Dispatch for rg_{mode}_ keys is paused since {iso(at_ms)}; see `reelgate dispatch resume`.")
    print_table(
        ("TENANT", "MODE", "QUEUED", "OLDEST", "IN FLIGHT", "WEIGHT", "SHARE", "SENT", "STATE"),
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
    """Stop sending requests. Requests that may be queued are still accepted; others are refused."""
    modes = _modes(tenant, live=live, test=test)
    if tenant is not None:
        with_admin(lambda gateway: dispatch.pause_tenant(gateway, of_command(), tenant, reason=reason))
    else:
        with_admin(lambda gateway: dispatch.pause(gateway, of_command(), modes, reason=reason))
    say(f"Dispatch for {tenant or _keys_of(modes)} is paused, within a second.")


@group.command("resume")
def resume(tenant: Whose = None, live: Live = False, test: Test = False, reason: Reason = None) -> None:
    """Resume sending requests."""
    modes = _modes(tenant, live=live, test=test)
    if tenant is not None:
        with_admin(lambda gateway: dispatch.resume_tenant(gateway, of_command(), tenant, reason=reason))
    else:
        with_admin(lambda gateway: dispatch.resume(gateway, of_command(), modes, reason=reason))
    say(f"Dispatch for {tenant or _keys_of(modes)} is resumed, within a second.")


def _modes(tenant: str | None, *, live: bool, test: bool) -> list[Mode]:
    if tenant is not None and (live or test):
        raise typer.BadParameter("a tenant can only be paused for live and test keys together.")
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
