"""The queue in front of the upstream: what waits, and whether anything is sent."""

from collections.abc import Sequence
from typing import Annotated, get_args

import typer

from app.auth import tenants as tenant_rows
from app.auth.keys import Mode
from app.cli.session import with_gateway
from app.cli.tables import AsJson, print_json, print_table
from app.gateway import Gateway
from app.generations.queue import backlog
from app.generations.queue.backlog import Backlog
from app.kit.clock import iso

dispatch = typer.Typer(no_args_is_help=True, help="Jobs that wait to be sent.")

_MODES: Sequence[Mode] = get_args(Mode)
Whose = Annotated[str | None, typer.Argument(help="Of this tenant alone; of all unless given.")]
Test = Annotated[bool, typer.Option("--test", help="Of rg_test_ keys alone.")]
Live = Annotated[bool, typer.Option("--live", help="Of rg_live_ keys alone.")]


@dispatch.command("status")
def show_status(as_json: AsJson = False) -> None:
    """Show what waits: how much, since when, and whose share it is."""

    async def work(gateway: Gateway) -> tuple[list[Backlog], dict[Mode, int], int]:
        found = await gateway.db.read(backlog.backlogs)
        return found, await gateway.db.read(backlog.paused), gateway.clock.now_ms()

    found, paused, now_ms = with_gateway(work)
    if as_json:
        print_json(
            {
                "paused_since": {mode: iso(at_ms) for mode, at_ms in paused.items()},
                "queues": [
                    {
                        "tenant": one.tenant,
                        "mode": one.mode,
                        "queued": one.queued,
                        "oldest_at": None if one.oldest_at_ms is None else iso(one.oldest_at_ms),
                        "in_flight": one.in_flight,
                        "weight": one.weight,
                        "share": round(backlog.share(one, found), 4),
                        "sent": one.served,
                        "paused": one.paused,
                    }
                    for one in found
                ],
            }
        )
        return
    for mode, at_ms in paused.items():
        typer.echo(f"Nothing of rg_{mode}_ keys is sent since {iso(at_ms)}; `reelgate dispatch resume`.")
    print_table(
        ("TENANT", "MODE", "WAITING", "OLDEST", "IN FLIGHT", "WEIGHT", "SHARE", "SENT", "STATE"),
        [
            (
                one.tenant,
                one.mode,
                str(one.queued),
                "-" if one.oldest_at_ms is None else f"{max(0, now_ms - one.oldest_at_ms) // 1000} s",
                str(one.in_flight),
                str(one.weight),
                f"{backlog.share(one, found):.0%}",
                str(one.served),
                "paused" if one.paused else "active",
            )
            for one in found
        ],
    )


@dispatch.command("pause")
def pause(tenant: Whose = None, live: Live = False, test: Test = False) -> None:
    """Send nothing more. Jobs that may wait are accepted all the same; others are refused."""
    typer.echo(f"Nothing of {_set(tenant, live=live, test=test, paused=True)} is sent, within a second.")


@dispatch.command("resume")
def resume(tenant: Whose = None, live: Live = False, test: Test = False) -> None:
    """Go on sending."""
    typer.echo(f"Jobs of {_set(tenant, live=live, test=test, paused=False)} are sent again, within a second.")


def _set(tenant: str | None, *, live: bool, test: bool, paused: bool) -> str:
    if tenant is not None and (live or test):
        raise typer.BadParameter("a tenant is paused for all its keys.")
    chosen: dict[Mode, bool] = {"live": live, "test": test}
    modes = [mode for mode, its in chosen.items() if its or not (live or test)]

    async def work(gateway: Gateway) -> None:
        at_ms = gateway.clock.now_ms() if paused else None
        if tenant is None:
            await gateway.db.write(backlog.pause, modes, at_ms)
        else:
            found = await gateway.db.read(tenant_rows.by_name, tenant)
            await gateway.db.write(tenant_rows.set_dispatch_paused, found.id, at_ms)

    with_gateway(work)
    return tenant or " and ".join(f"rg_{mode}_ keys" for mode in modes)
