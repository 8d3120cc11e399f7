"""`reelgate statements`: closing, listing, showing and verifying the closed months of tenants."""

from pathlib import Path
from typing import Annotated

import typer

from app.admin.operations.amounts import statements as operations
from app.cli.options import OneTenant, Reason, Tenant, Test
from app.cli.session import call, call_file, call_list
from app.cli.tables import AsJson, print_file, print_json, print_table, say
from app.documents.admin.amounts.statements import TenantStatement
from app.quotas.amounts import credits_text

group = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Statements: the closed months of tenants' accounts."
)
Month = Annotated[str, typer.Argument(metavar="MONTH", help="Such as 2026-11.")]


@group.command("list")
def list_statements(tenant: Tenant, test: Test = False, as_json: AsJson = False) -> None:
    """List the closed months of a tenant, the newest first."""
    found: list[TenantStatement] = call_list(operations.LIST, "statements", tenant=tenant, test=test)
    if as_json:
        print_json(found)
        return
    print_table(
        ("MONTH", "TIME ZONE", "OPENING", "HELD", "REFUNDED", "TOP-UPS", "ADJUSTED", "CLOSING", "ENTRIES"),
        [
            (
                one["month"],
                one["time_zone"],
                *(
                    credits_text(amount)
                    for amount in (
                        one["opening_microcredits"],
                        one["held_microcredits"],
                        one["refunded_microcredits"],
                        one["added_microcredits"],
                        one["adjusted_microcredits"],
                        one["closing_microcredits"],
                    )
                ),
                str(one["number_of_entries"]),
            )
            for one in found
        ],
    )


@group.command("show")
def show(
    month: Month,
    tenant: Tenant,
    test: Test = False,
    pdf: Annotated[Path | None, typer.Option(help="Write the statement as PDF to this file.")] = None,
) -> None:
    """Print a statement as CSV, or write it as PDF."""
    if pdf is None:
        print_file(call_file(operations.SHOW, "csv", month=month, tenant=tenant, test=test))
        return
    pdf.write_bytes(call_file(operations.SHOW, "pdf", month=month, tenant=tenant, test=test).read())
    say(f"Written: {pdf}.")


@group.command("close")
def close(tenant: OneTenant = None, reason: Reason = None) -> None:
    """Close every month that has ended; the upkeep loop does it each hour, and whoever asks for one."""
    say(f"Closed: {call(operations.CLOSE, tenant=tenant, reason=reason)['closed']}.")


@group.command("verify")
def verify(tenant: OneTenant = None, as_json: AsJson = False) -> None:
    """Recompute every statement from the ledger; exit with 1 if one differs."""
    found = call(operations.VERIFY, tenant=tenant)
    differences = found["differences"]
    if as_json:
        print_json(found)
    else:
        for one in differences:
            say(f"{one['tenant']} {one['mode']} {one['month']}: {one['detail']}")
        say(f"{found['statements']} statements, {len(differences)} of them wrong.")
    if differences:
        raise typer.Exit(1)
