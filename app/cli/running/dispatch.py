"""`reelgate dispatch`: the queue of requests to send, and pausing it."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from app.admin.operations.running import dispatch
from app.auth.keys import Mode
from app.cli.options import Reason
from app.cli.session import call
from app.cli.tables import AsJson, print_json, print_table, say
from app.documents.admin.running.dispatch import Queue

group = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The queue of requests to send, and pausing it."
)

Whose = Annotated[str | None, typer.Argument(help="Only this tenant. Default: all tenants.")]
Test = Annotated[bool, typer.Option("--test", help="Only requests of rg_test_ keys.")]
Live = Annotated[bool, typer.Option("--live", help="Only requests of rg_live_ keys.")]


@group.command("status")
def show_status(as_json: AsJson = False) -> None:
    """Show every queue: its length, the age of its oldest request, and the tenant's share."""
    found = call(dispatch.STATUS)
    if as_json:
        print_json(found)
        return
    for mode, at in found["paused_since"].items():
        if at is not None:
            say(f"Dispatch for rg_{mode}_ keys is paused since {at}; see `reelgate dispatch resume`.")
    print_table(
        ("TENANT", "MODE", "QUEUED", "OLDEST", "IN FLIGHT", "WEIGHT", "SHARE", "SENT", "STATE"),
        [
            (
                one["tenant"],
                one["mode"],
                str(one["queued"]),
                _age(one["oldest_at"]),
                str(one["in_flight"]),
                str(one["weight"]),
                f"{one['share']:.0%}",
                str(one["sent"]),
                _state_of(one),
            )
            for one in found["queues"]
        ],
    )


@group.command("pause")
def pause(tenant: Whose = None, live: Live = False, test: Test = False, reason: Reason = None) -> None:
    """Stop sending requests. Requests that may be queued are still accepted; others are refused."""
    call(dispatch.PAUSE, tenant=tenant, modes=_modes(live=live, test=test), reason=reason)
    say(f"Dispatch for {tenant or _keys_of(live=live, test=test)} is paused, within a second.")


@group.command("resume")
def resume(tenant: Whose = None, live: Live = False, test: Test = False, reason: Reason = None) -> None:
    """Resume sending requests."""
    call(dispatch.RESUME, tenant=tenant, modes=_modes(live=live, test=test), reason=reason)
    say(f"Dispatch for {tenant or _keys_of(live=live, test=test)} is resumed, within a second.")


def _modes(*, live: bool, test: bool) -> list[Mode] | None:
    chosen: dict[Mode, bool] = {"live": live, "test": test}
    return [mode for mode, its in chosen.items() if its] or None


def _keys_of(*, live: bool, test: bool) -> str:
    modes = _modes(live=live, test=test) or ["live", "test"]
    return " and ".join(f"rg_{mode}_ keys" for mode in modes)


def _age(at: str | None) -> str:
    if at is None:
        return "-"
    return f"{max(0, int((datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()))} s"


def _state_of(queue: Queue) -> str:
    if queue["disabled"]:
        return "disabled"
    return "paused" if queue["paused"] else "active"
