"""`reelgate limits`: listing, setting and removing limits of tenants, keys, end users and models."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from app.admin.accounts import AccountName
from app.admin.operations.amounts import limits, overrides
from app.cli.access.keys import MOMENTS, in_utc
from app.cli.options import EndUser, Key, Model, OneTenant, Reason, Tenant, Test
from app.cli.session import call, call_list, fail
from app.cli.tables import AsJson, cells_of, print_json, print_limits, print_table, say, say_if_not_prepaid
from app.documents.admin.amounts.limits import LimitOverride, ListedLimit
from app.quotas.amounts import amount_text
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


@group.command("override")
def override_limit(
    given: Annotated[
        str, typer.Argument(metavar="METRIC=AMOUNT", help="As for `limits set`, such as credits-day=50.")
    ],
    tenant: Tenant,
    until: Annotated[
        datetime | None, typer.Option(formats=MOMENTS, help="The moment (UTC) at which it ends.")
    ] = None,
    hours: Annotated[float | None, typer.Option(min=0.001, max=87_600, help="Or: in how many hours.")] = None,
    key: Key = None,
    model: Model = None,
    end_user: EndUser = None,
    test: Test = False,
    reason: Reason = None,
) -> None:
    """Override one limit until a moment; afterwards it applies again by itself."""
    if (until is None) == (hours is None):
        fail("give --until or --hours.")
    ends = in_utc(until) if hours is None else datetime.now(UTC) + timedelta(hours=hours)
    name = AccountName(tenant=tenant, kid=key, end_user=end_user, model_id=model, test=test)
    made = call(overrides.CREATE, name=name, override=given, until=ends, reason=reason)
    say(
        f"{given} until {made['until']}. To end it before: reelgate limits end-override {made['override_id']}"
    )


@group.command("overrides")
def list_overrides(
    tenant: OneTenant = None,
    ended: Annotated[bool, typer.Option("--ended", help="Those that are over, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the overrides of limits that last."""
    found: list[LimitOverride] = call_list(overrides.LIST, "overrides", tenant=tenant, ended=ended)
    if as_json:
        print_json(found)
        return
    print_table(
        ("ID", "TENANT", "MODE", "KID", "END USER", "MODEL", "METRIC", "LIMIT", "CREATED", "UNTIL"),
        [
            (
                one["override_id"],
                one["tenant"],
                one["mode"],
                one["kid"] or "-",
                one["end_user"] or "-",
                one["model_id"] or "*",
                one["metric"],
                "none" if one["amount"] is None else amount_text(Metric(one["metric"]).unit, one["amount"]),
                one["created_at"],
                one["until"],
            )
            for one in found
        ],
    )


@group.command("end-override")
def end_override(override_id: str, reason: Reason = None) -> None:
    """End an override now."""
    ended = call(overrides.END, override_id=override_id, reason=reason)
    say(f"The override of {ended['metric']} ended at {ended['until']}.")


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
