"""`reelgate limits`: listing, setting and removing limits of tenants, keys, end users and models."""

from typing import Annotated

import typer

from app.admin.accounts import AccountName
from app.admin.operations import limits
from app.cli.options import EndUser, Key, Model, OneTenant, Reason, Tenant, Test
from app.cli.session import call, call_list
from app.cli.tables import AsJson, cells_of, print_json, print_limits, print_table, say, say_if_not_prepaid
from app.documents.admin.limits import ListedLimit
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
    done = call(limits.SET, name=name, limits=given, reason=reason)
    print_limits(done["standings"])
    if done["refused_models"]:
        refused = ", ".join(done["refused_models"])
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
    standings = call(limits.UNSET, name=name, metrics=given, reason=reason)["standings"]
    say(f"Removed: {', '.join(given)}.")
    if standings:
        print_limits(standings)
    if Metric.CREDITS_TOTAL in given:
        say_if_not_prepaid([one["metric"] for one in standings])


@group.command("show")
def show_limits(
    tenant: Tenant,
    key: Key = None,
    model: Model = None,
    end_user: EndUser = None,
    test: Test = False,
    as_json: AsJson = False,
) -> None:
    """Show the limits that apply to one account, defaults among them, with their usage."""
    name = AccountName(tenant=tenant, kid=key, end_user=end_user, model_id=model, test=test)
    found = call(limits.SHOW, name=name)
    if as_json:
        print_json(found)
    else:
        print_limits(found["standings"])


@group.command("list")
def list_limits(tenant: OneTenant = None, as_json: AsJson = False) -> None:
    """List all limits with their usage, without the defaults in the settings."""
    found: list[ListedLimit] = call_list(limits.LIST, "limits", tenant=tenant)
    if as_json:
        print_json(found)
        return
    print_table(
        (
            *("TENANT", "MODE", "KID", "END USER", "MODEL", "METRIC"),
            *("LIMIT", "HELD", "SPENT", "REMAINING", "RESETS"),
        ),
        [
            (
                one["tenant"],
                one["mode"],
                one["kid"] or "-",
                one["end_user"] or "-",
                one["model_id"] or "*",
                one["metric"],
                *(cells_of(one["standing"]) if one["standing"] else ("none", "-", "-", "-", "-")),
            )
            for one in found
        ],
    )
