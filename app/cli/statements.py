"""`reelgate statements`: closing, listing, showing and verifying the closed months of tenants."""

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from app.admin import accounts, statements
from app.admin.accounts import AccountName
from app.admin.session import AdminSession
from app.cli.options import OneTenant, Tenant, Test
from app.cli.session import with_admin
from app.cli.tables import AsJson, print_json, print_table, say
from app.documents import statements as documents
from app.quotas import entries
from app.quotas.amounts import credits_text
from app.quotas.entries import Line
from app.quotas.statements import Statement

group = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Statements: the closed months of tenants' accounts."
)
Month = Annotated[str, typer.Argument(metavar="MONTH", help="Such as 2026-11.")]
_MANY = 1_200


@group.command("list")
def list_statements(tenant: Tenant, test: Test = False, as_json: AsJson = False) -> None:
    """List the closed months of a tenant, the newest first."""

    async def work(gateway: AdminSession) -> list[Statement]:
        account = await accounts.find(gateway, AccountName(tenant=tenant, test=test), served=False)
        return list(await statements.listed(gateway, account.owner, limit=_MANY))

    found = with_admin(work)
    if as_json:
        print_json([documents.summary(one) for one in found])
        return
    print_table(
        ("MONTH", "TIME ZONE", "OPENING", "HELD", "REFUNDED", "TOP-UPS", "ADJUSTED", "CLOSING", "ENTRIES"),
        [
            (
                one.month,
                one.time_zone,
                *(
                    credits_text(amount)
                    for amount in (
                        one.opening_microcredits,
                        one.held_microcredits,
                        one.refunded_microcredits,
                        one.added_microcredits,
                        one.adjusted_microcredits,
                        one.closing_microcredits,
                    )
                ),
                str(one.entries),
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

    async def work(gateway: AdminSession) -> tuple[Statement, list[Line]]:
        account = await accounts.find(gateway, AccountName(tenant=tenant, test=test), served=False)
        one = await statements.find(gateway, account.owner, month)

        def lines(connection: Connection) -> list[Line]:
            return list(chain.from_iterable(entries.pages(connection, one.owner, one.span)))

        return one, await gateway.db.read(lines)

    one, lines = with_admin(work)
    if pdf is None:
        body = documents.csv_body(lines, one.opening_microcredits)
        foot = documents.csv_foot(one, one.closing_microcredits)
        typer.echo(documents.csv_head(one) + body + foot, nl=False)
        return
    from app.documents.statement_pdf import statement_pdf  # noqa: PLC0415 - no other command needs it

    pdf.write_bytes(statement_pdf(tenant, one, lines))
    say(f"Written: {pdf}.")


@group.command("close")
def close(tenant: OneTenant = None) -> None:
    """Close every month that has ended; the upkeep loop does it each hour, and whoever asks for one."""

    async def work(gateway: AdminSession) -> int:
        return await statements.close_all(gateway, tenant_id=await accounts.tenant_id_of(gateway, tenant))

    say(f"Closed: {with_admin(work)}.")


@group.command("verify")
def verify(tenant: OneTenant = None, as_json: AsJson = False) -> None:
    """Recompute every statement from the ledger; exit with 1 if one differs."""

    async def work(gateway: AdminSession) -> tuple[int, list[statements.Difference], dict[str, str]]:
        number, found = await statements.verify(
            gateway, tenant_id=await accounts.tenant_id_of(gateway, tenant)
        )
        return number, found, dict(await accounts.tenant_names(gateway))

    number, found, names = with_admin(work)
    if as_json:
        differences = [
            {"tenant": names[one.tenant_id], "mode": one.mode, "month": one.month, "detail": one.detail}
            for one in found
        ]
        print_json({"statements": number, "differences": differences})
    else:
        for one in found:
            say(f"{names[one.tenant_id]} {one.mode} {one.month}: {one.detail}")
        say(f"{number} statements, {len(found)} of them wrong.")
    if found:
        raise typer.Exit(1)
