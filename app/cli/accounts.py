"""Accounts as options of a command, and as tables."""

import re
from typing import Annotated

import typer

from app.auth import keys as api_keys
from app.auth import tenants as tenant_rows
from app.auth.client_tokens import END_USER
from app.auth.keys import Mode
from app.cli.session import fail
from app.cli.tables import print_table
from app.gateway import Gateway
from app.generations.queue import decide
from app.kit.clock import iso
from app.quotas.account import Owner
from app.quotas.amounts import amount_text
from app.quotas.limits import EVERY_END_USER, Payer, Scope
from app.quotas.metrics import Metric
from app.quotas.standing import Standing

Tenant = Annotated[str, typer.Option(help="The tenant's name.")]
Key = Annotated[str | None, typer.Option(metavar="KID", help="Of this key alone.")]
EndUser = Annotated[
    str | None,
    typer.Option(metavar="LABEL", help="Of this end user of client tokens; '*' is each without an own one."),
]
Model = Annotated[str | None, typer.Option(help="Of this model alone.")]
Test = Annotated[bool, typer.Option("--test", help="Of test keys; they have an account of their own.")]


async def names_of(gateway: Gateway) -> dict[str, str]:
    """The tenants' names by their ids."""
    return {one.id: one.name for one in await gateway.db.read(tenant_rows.every)}


async def id_of(gateway: Gateway, tenant: str | None) -> str | None:
    """The id of the tenant that an option names; None where it names none."""
    return None if tenant is None else (await gateway.db.read(tenant_rows.by_name, tenant)).id


async def account_of(
    gateway: Gateway,
    tenant: str,
    key: str | None,
    model: str | None,
    *,
    test: bool,
    served: bool,
    end_user: str | None = None,
) -> tuple[Owner, Scope]:
    """Whose account the options name, and which part of it.

    Only where the model has to be `served` is one refused that is not in the catalogue: what a model has
    stays within reach when it has left.
    """
    found = await gateway.db.read(tenant_rows.by_name, tenant)
    mode: Mode = "test" if test else "live"
    kid = ""
    if end_user is not None and key is not None:
        fail("--key and --end-user are limits of two kinds; give one of them.")
    if end_user not in {None, EVERY_END_USER} and not re.fullmatch(END_USER, end_user or ""):
        fail(f"{end_user!r} is no end user: 1 to 64 letters, digits or ._~@:+=|-, or '*' for each.")
    if key is not None:
        known = await gateway.db.read(api_keys.find, key)
        if known is None or known.tenant_id != found.id:
            fail(f"tenant {tenant!r} has no key {key!r}; `reelgate keys list` shows them.")
        if test and known.mode == "live":
            fail(f"{key} is a live key, and --test is of test keys.")
        kid, mode = known.root_kid, known.mode
    if served and model is not None and gateway.catalog.get(model) is None:
        fail(f"the catalogue has no model {model!r}.")
    return Owner(found.id, mode), Scope(kid, model or "", end_user or "")


async def standings_of(gateway: Gateway, owner: Owner, scope: Scope) -> list[Standing]:
    """The limits of an account's part, as they stand."""
    now = await gateway.db.read(
        decide.account_of,
        owner,
        Payer(scope.kid, scope.end_user),
        scope.model_id or None,
        gateway.policy,
        now_ms=gateway.clock.now_ms(),
    )
    return [one for one in now.standings() if one.limit.scope == scope]


def cells_of(standing: Standing) -> tuple[str, str, str, str, str]:
    """Limit, held, spent, remaining and when it resets, for people: credits, not micro-credits."""

    def shown(value: int) -> str:
        return amount_text(standing.limit.metric.unit, value)

    burst = f"/{standing.limit.burst}" if standing.limit.burst is not None else ""
    return (
        shown(standing.amount) + burst,
        shown(standing.held),
        shown(standing.spent),
        shown(-standing.overdrawn or standing.remaining),
        "-" if standing.resets_at_ms is None else iso(standing.resets_at_ms),
    )


def say_if_not_prepaid(standings: list[Standing]) -> None:
    """Whoever looks at a balance has to know that it binds nobody."""
    if not any(one.limit.metric is Metric.CREDITS_TOTAL for one in standings):
        typer.echo("It is not prepaid: nothing is enforced, for there is no limit on credits-total.")


def print_standings(standings: list[Standing]) -> None:
    """A table of limits beside their usage."""
    print_table(
        ("POLICY", "LIMIT", "HELD", "SPENT", "REMAINING", "RESETS"),
        [(one.limit.policy, *cells_of(one)) for one in standings],
    )
