"""`reelgate usage`: what was held, spent, refunded and refused, with RunComfy's cost and the margin."""

from datetime import date, datetime
from typing import Annotated

import typer

from app.admin import accounts, usage
from app.admin.session import AdminSession
from app.admin.usage import Asked
from app.cli.options import Model, OneTenant, Test
from app.cli.session import with_admin
from app.cli.tables import AsJson, print_json, print_table, say
from app.documents import usage as documents
from app.quotas.amounts import credits_text
from app.quotas.usage import Answer, Group, Key, Step

group = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Usage by hour, day or month, from the ledger's roll-ups.",
)


@group.command("usage")
def report(
    tenant: OneTenant = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--from", formats=["%Y-%m-%d"], help="The first day; by default the first of the month."
        ),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="The last day; by default today.")
    ] = None,
    by: Annotated[Step, typer.Option(help="How long each period is.")] = Step.DAY,
    group_by: Annotated[
        list[Group] | None, typer.Option(help="Sums for each of these; may be repeated.")
    ] = None,
    model: Model = None,
    test: Test = False,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Show usage: of one tenant in its time zone, or of all, each in its own."""
    asked = Asked(
        mode="test" if test else "live",
        by=by,
        first=_day(since),
        last=_day(until),
        groups=group_by or (),
        only={} if model is None else {Group.MODEL: model},
    )
    pages, names = with_admin(lambda gateway: _pages(gateway, tenant, asked))
    if as_csv:
        texts = [documents.usage_csv(one, tenants=names) for one in pages]
        typer.echo(texts[0] + "".join(one.partition("\r\n")[2] for one in texts[1:]), nl=False)
        return
    told = [documents.usage_of_operators(one, None, names) for one in pages]
    whole = told[0] | {"rows": [row for one in told for row in one["rows"]]}
    if as_json:
        print_json(whole)
        return
    groups = [name for name in documents.MEMBERS.values() if whole["rows"] and name in whole["rows"][0]]
    print_table(
        (
            "PERIOD",
            *(name.upper() for name in groups),
            "HELD",
            "SPENT",
            "REFUNDED",
            "ADJUSTED",
            "COST",
            "MARGIN",
        ),
        [_cells(row, groups) for row in [*whole["rows"], {"period": "total"} | whole["total"]]],
    )
    for name in {str(row.get("model_id")) for row in whole["rows"] if row["margin_microcredits"] < 0}:
        if "model_id" in groups:
            say(f"Charged less than RunComfy reported: {name}.")


async def _pages(
    gateway: AdminSession, tenant: str | None, asked: Asked
) -> tuple[list[Answer], dict[str, str]]:
    tenant_id = await accounts.tenant_id_of(gateway, tenant)
    pages: list[Answer] = []
    after: Key | None = None
    while not pages or pages[-1].has_more:
        pages.append(await usage.report(gateway, tenant_id, asked, after=after))
        after = pages[-1].rows[-1].key if pages[-1].rows else None
    return pages, dict(await accounts.tenant_names(gateway))


def _cells(row: dict[str, object], groups: list[str]) -> tuple[str, ...]:
    amounts = ("held", "spent", "refunded", "adjusted")
    money = [*(f"{name}_microcredits" for name in amounts), "cost_microusd", "margin_microcredits"]
    return (
        str(row["period"]),
        *(str(row.get(name) or "-") for name in groups),
        *(credits_text(int(str(row[name]))) for name in money),
    )


def _day(given: datetime | None) -> date | None:
    return None if given is None else given.date()
