"""Limits: what a tenant, one of its keys, or either with one model may use."""

from typing import Annotated, Any

import typer

from app.auth import tenants as tenant_rows
from app.cli.accounts import (
    AsJson,
    Key,
    Model,
    Tenant,
    Test,
    account_of,
    cells_of,
    print_standings,
    standings_of,
)
from app.cli.session import fail, with_gateway
from app.cli.tables import print_json, print_table
from app.gateway import Gateway
from app.quotas import account
from app.quotas.account import Owner
from app.quotas.limits import SETTABLE, Limit, Metric, Standing, parse_limit
from app.quotas.refusal import document

limits = typer.Typer(no_args_is_help=True, help="What a tenant, a key, or either with one model may use.")


@limits.command("set")
def set_limits(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="METRIC=AMOUNT...",
            help=f"Metrics: {', '.join(SETTABLE)}. AMOUNT is a number, of credits where the metric is;"
            " submits-minute=60/10 has a burst of 10; none lifts a default.",
        ),
    ],
    tenant: Tenant,
    key: Key = None,
    model: Model = None,
    test: Test = False,
) -> None:
    """Set limits, and show how they stand."""

    async def work(gateway: Gateway) -> list[Standing]:
        owner, scope = await account_of(gateway, tenant, key, model, test=test)
        wanted = [parse_limit(one, scope) for one in given]
        for one in wanted:
            await gateway.db.write(account.set_limit, owner, one, now_ms=gateway.clock.now_ms())
        return await standings_of(gateway, owner, scope)

    print_standings(with_gateway(work))


@limits.command("unset")
def unset_limits(
    metrics: Annotated[list[Metric], typer.Argument(metavar="METRIC...")],
    tenant: Tenant,
    key: Key = None,
    model: Model = None,
    test: Test = False,
) -> None:
    """Remove limits; a default of the settings holds again."""

    async def work(gateway: Gateway) -> list[Metric]:
        owner, scope = await account_of(gateway, tenant, key, model, test=test)
        return [one for one in metrics if not await gateway.db.write(account.unset_limit, owner, scope, one)]

    if missing := with_gateway(work):
        fail(f"there was no such limit: {', '.join(missing)}.")


@limits.command("list")
def list_limits(
    tenant: Annotated[str | None, typer.Option(help="Of this tenant alone.")] = None, as_json: AsJson = False
) -> None:
    """Show every limit with what is held and spent; the settings' defaults are not listed."""

    async def work(gateway: Gateway) -> tuple[dict[str, str], list[tuple[Owner, Limit, Standing | None]]]:
        every = await gateway.db.read(tenant_rows.every)
        names = {one.id: one.name for one in every if tenant in {None, one.name}}
        if tenant is not None and not names:
            fail(f"there is no tenant {tenant!r}; `reelgate tenants list` shows them.")
        rows = await gateway.db.read(account.limits_of)
        return names, [
            (owner, one, await _standing_of(gateway, owner, one))
            for owner, one in rows
            if owner.tenant_id in names
        ]

    names, found = with_gateway(work)
    if as_json:
        print_json([_limit_document(names[owner.tenant_id], owner, one, now) for owner, one, now in found])
        return
    print_table(
        ("TENANT", "KEYS", "KID", "MODEL", "METRIC", "LIMIT", "HELD", "SPENT", "REMAINING", "RESETS"),
        [
            (
                names[owner.tenant_id],
                owner.mode,
                one.scope.kid or "*",
                one.scope.model_id or "*",
                one.metric,
                *(cells_of(now) if now else ("none", "-", "-", "-", "-")),
            )
            for owner, one, now in found
        ],
    )


async def _standing_of(gateway: Gateway, owner: Owner, limit: Limit) -> Standing | None:
    standings = await standings_of(gateway, owner, limit.scope)
    return next((one for one in standings if one.limit == limit), None)


def _limit_document(tenant: str, owner: Owner, limit: Limit, standing: Standing | None) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "mode": owner.mode,
        "kid": limit.scope.kid or None,
        "model_id": limit.scope.model_id or None,
        "metric": limit.metric,
        "amount": limit.amount,
        "burst": limit.burst,
        "standing": None if standing is None else document(standing),
    }
