"""`reelgate thresholds`: which budgets and balances are used to 50, 80, 95 or 100 %, and since when."""

from typing import Annotated

import typer

from app.admin.operations.amounts import thresholds as operations
from app.cli.options import OneTenant
from app.cli.session import call_list
from app.cli.tables import AsJson, print_json, print_table
from app.documents.admin.amounts.thresholds import CrossedThreshold

group = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Crossed thresholds of budgets and balances."
)


@group.callback()
def thresholds() -> None:
    """Crossed thresholds of budgets and balances."""


@group.command("list")
def list_thresholds(
    tenant: OneTenant = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List the thresholds that submits crossed, the newest first."""
    found: list[CrossedThreshold] = call_list(operations.LIST, "thresholds", at_most=limit, tenant=tenant)
    if as_json:
        print_json(found)
        return
    print_table(
        ("AT", "TENANT", "MODE", "POLICY", "PERIOD", "PERCENT", "AMOUNT", "USED", "KID", "MODEL", "END USER"),
        [
            (
                one["at"],
                one["tenant"],
                one["mode"],
                one["policy"],
                one["period"],
                str(one["percent"]),
                str(one["amount"]),
                str(one["used"]),
                one["kid"] or "*",
                one["model_id"] or "*",
                one["end_user"] or "*",
            )
            for one in found
        ],
    )
