"""`reelgate limits`: listing, setting and removing limits of tenants, keys, end users and models."""

from typing import Annotated, Any

import typer

from app.admin import limits
from app.admin.accounts import AccountName
from app.admin.actor import of_command
from app.admin.limits import LimitRow
from app.cli.options import EndUser, Key, Model, OneTenant, Reason, Tenant, Test
from app.cli.session import with_admin
from app.cli.tables import AsJson, cells_of, print_json, print_standings, print_table, say, say_if_not_prepaid
from app.documents.limits import limit as document
from app.quotas.metrics import SETTABLE, Metric

group = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Limits of a tenant, an API key or an end user, for all models or for one.",
)


@group.command("set")
def set_limits(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="METRIC=AMOUNT...",
            help=f"Metrics: {', '.join(SETTABLE)}. AMOUNT is a number, in credits for credits-…;"
            " submits-minute=60/10 has a burst of 10; none removes a default limit.",
        ),
    ],
    tenant: Tenant,
    key: Key = None,
    model: Model = None,
    end_user: EndUser = None,
    test: Test = False,
    reason: Reason = None,
) -> None:
    """Set limits, and show their usage."""
    name = AccountName(tenant=tenant, kid=key, end_user=end_user, model_id=model, test=test)
    done = with_admin(lambda gateway: limits.set_limits(gateway, of_command(), name, given, reason=reason))
    print_standings(done.standings)
    if done.refused_models:
        refused = ", ".join(done.refused_models)
        say(f"Refused from now on, because their files do not declare output_seconds: {refused}.")


@group.command("unset")
def unset_limits(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="METRIC...", help=f"Metrics: {', '.join(SETTABLE)}. Either all are removed or none."
        ),
    ],
    tenant: Tenant,
    key: Key = None,
    model: Model = None,
    end_user: EndUser = None,
    test: Test = False,
    reason: Reason = None,
) -> None:
    """Remove limits; defaults in the settings apply again."""
    name = AccountName(tenant=tenant, kid=key, end_user=end_user, model_id=model, test=test)
    standings = with_admin(
        lambda gateway: limits.unset_limits(gateway, of_command(), name, given, reason=reason)
    )
    say(f"Removed: {', '.join(given)}.")
    if standings:
        print_standings(standings)
    if Metric.CREDITS_TOTAL in given:
        say_if_not_prepaid(standings)


@group.command("list")
def list_limits(tenant: OneTenant = None, as_json: AsJson = False) -> None:
    """List all limits with their usage, without the defaults in the settings."""
    found = with_admin(lambda gateway: limits.listed(gateway, tenant=tenant))
    if as_json:
        print_json([_document(one) for one in found])
        return
    print_table(
        (
            *("TENANT", "MODE", "KID", "END USER", "MODEL", "METRIC"),
            *("LIMIT", "HELD", "SPENT", "REMAINING", "RESETS"),
        ),
        [
            (
                one.tenant,
                one.account.owner.mode,
                one.limit.scope.kid or "-",
                one.limit.scope.end_user or "-",
                one.limit.scope.model_id or "*",
                one.limit.metric,
                *(cells_of(one.standing) if one.standing else ("none", "-", "-", "-", "-")),
            )
            for one in found
        ],
    )


def _document(one: LimitRow) -> dict[str, Any]:
    return {
        "tenant": one.tenant,
        "mode": one.account.owner.mode,
        "kid": one.limit.scope.kid or None,
        "end_user": one.limit.scope.end_user or None,
        "model_id": one.limit.scope.model_id or None,
        "metric": one.limit.metric,
        "amount": one.limit.amount,
        "burst": one.limit.burst,
        "standing": None if one.standing is None else document(one.standing),
    }
