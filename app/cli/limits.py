"""Limits: what a tenant, one of its keys or end users, or one of these with one model may use."""

from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from app.cli.accounts import (
    EndUser,
    Key,
    Model,
    Tenant,
    Test,
    account_of,
    cells_of,
    id_of,
    names_of,
    print_standings,
    say_if_not_prepaid,
    standings_of,
)
from app.cli.session import fail, with_gateway
from app.cli.tables import AsJson, print_json, print_table
from app.documents.limits import limit as document
from app.gateway import Gateway
from app.generations.submit.submitter import refused_for_no_declaration
from app.quotas import account
from app.quotas.account import Owner
from app.quotas.limits import Limit, LimitError, Scope, parse_limit
from app.quotas.metrics import SETTABLE, Metric
from app.quotas.standing import Standing

limits = typer.Typer(
    no_args_is_help=True, help="What a tenant, a key or an end user, or one of them with one model, may use."
)


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
    end_user: EndUser = None,
    test: Test = False,
) -> None:
    """Set limits, and show how they stand."""

    async def work(gateway: Gateway) -> tuple[list[Standing], list[str]]:
        owner, scope = await account_of(
            gateway, tenant, key, model, test=test, served=True, end_user=end_user
        )
        wanted = [parse_limit(one, scope) for one in given]
        _each_once([one.metric for one in wanted])
        await gateway.db.write(_set_all, owner, wanted, now_ms=gateway.clock.now_ms())
        refused = refused_for_no_declaration(gateway.catalog, wanted)
        return await standings_of(gateway, owner, scope), refused

    standings, refused = with_gateway(work)
    print_standings(standings)
    if refused:
        typer.echo(
            f"Refused from now on, because their files do not declare output_seconds: {', '.join(refused)}."
        )


def _set_all(connection: Connection, owner: Owner, wanted: list[Limit], *, now_ms: int) -> None:
    for one in wanted:
        account.set_limit(connection, owner, one, now_ms=now_ms)


@limits.command("unset")
def unset_limits(
    given: Annotated[
        list[str], typer.Argument(metavar="METRIC...", help=f"Of {', '.join(SETTABLE)}: all of them or none.")
    ],
    tenant: Tenant,
    key: Key = None,
    model: Model = None,
    end_user: EndUser = None,
    test: Test = False,
) -> None:
    """Remove limits; a default of the settings holds again."""
    if unknown := [one for one in given if one not in SETTABLE]:
        fail(f"there is no metric {unknown[0]!r}; metrics are {', '.join(SETTABLE)}.")
    metrics = [Metric(one) for one in given]
    _each_once(metrics)

    async def work(gateway: Gateway) -> list[Standing]:
        owner, scope = await account_of(
            gateway, tenant, key, model, test=test, served=False, end_user=end_user
        )
        await gateway.db.write(_unset_all, owner, scope, metrics)
        return await standings_of(gateway, owner, scope)

    standings = with_gateway(work)
    typer.echo(f"Removed: {', '.join(metrics)}.")
    if standings:
        print_standings(standings)
    if Metric.CREDITS_TOTAL in metrics:
        say_if_not_prepaid(standings)


def _unset_all(connection: Connection, owner: Owner, scope: Scope, metrics: list[Metric]) -> None:
    if missing := [one for one in metrics if not account.unset_limit(connection, owner, scope, one)]:
        raise LimitError(f"there was no such limit: {', '.join(missing)}; nothing was removed.")


def _each_once(metrics: list[Metric]) -> None:
    if twice := [one for one in metrics if metrics.count(one) > 1]:
        fail(f"{twice[0]} is given twice.")


@limits.command("list")
def list_limits(
    tenant: Annotated[str | None, typer.Option(help="Of this tenant alone.")] = None, as_json: AsJson = False
) -> None:
    """Show every limit with what is held and spent; the settings' defaults are not listed."""

    async def work(gateway: Gateway) -> tuple[dict[str, str], list[tuple[Owner, Limit, Standing | None]]]:
        rows = await gateway.db.read(account.limits_of, await id_of(gateway, tenant))
        found = [(owner, one, await _standing_of(gateway, owner, one)) for owner, one in rows]
        return await names_of(gateway), found

    names, found = with_gateway(work)
    if as_json:
        print_json([_limit_document(names[owner.tenant_id], owner, one, now) for owner, one, now in found])
        return
    print_table(
        (
            "TENANT",
            "KEYS",
            "KID",
            "END USER",
            "MODEL",
            "METRIC",
            "LIMIT",
            "HELD",
            "SPENT",
            "REMAINING",
            "RESETS",
        ),
        [
            (
                names[owner.tenant_id],
                owner.mode,
                one.scope.kid or "-",
                one.scope.end_user or "-",
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
        "end_user": limit.scope.end_user or None,
        "model_id": limit.scope.model_id or None,
        "metric": limit.metric,
        "amount": limit.amount,
        "burst": limit.burst,
        "standing": None if standing is None else document(standing),
    }
