"""`reelgate ledger`: changing balances, listing entries, verifying the books and comparing a bill."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from app.admin.accounts import AccountName
from app.admin.amounts.reprice import Prices
from app.admin.operations.amounts import ledger
from app.cli.options import Key, Model, OneTenant, Reason, Tenant, Test
from app.cli.session import call, call_list, plain_errors
from app.cli.tables import AsJson, print_json, print_limits, print_table, say, say_if_not_prepaid
from app.documents.admin.amounts.ledger import EnteredEntry, ListedEntry, Reconciliation
from app.quotas.amounts import credits_text
from app.quotas.metrics import Metric

group = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Balances and entries of the ledger, and checks of both."
)

_ONCE = "the same number is entered only once per tenant and mode"


@group.command("top-up", context_settings={"ignore_unknown_options": True})
def top_up(
    amount: Annotated[str, typer.Argument(metavar="CREDITS", help="More than 0, with up to six decimals.")],
    tenant: Tenant,
    key: Key = None,
    model: Model = None,
    test: Test = False,
    note: Annotated[str | None, typer.Option(help="A note for the record.")] = None,
    reference: Annotated[str | None, typer.Option(help=f"The payment's number: {_ONCE}.")] = None,
    reason: Reason = None,
) -> None:
    """Add credits to a prepaid balance; the first top-up makes it prepaid."""
    name = AccountName(tenant=tenant, kid=key, model_id=model, test=test)
    entered = call(ledger.TOP_UP, name=name, amount=amount, note=note, reference=reference, reason=reason)
    _say("top-up", entered)


@group.command("adjust", context_settings={"ignore_unknown_options": True})
def adjust(
    amount: Annotated[
        str, typer.Argument(metavar="CREDITS", help="The credits to add; below 0 to subtract.")
    ],
    note: Annotated[str, typer.Option(help="The reason, for the record.")],
    tenant: Tenant,
    key: Key = None,
    model: Model = None,
    test: Test = False,
    reference: Annotated[
        str | None, typer.Option(help=f"The adjustment's number, separate from those of top-ups: {_ONCE}.")
    ] = None,
    reason: Reason = None,
) -> None:
    """Correct a balance."""
    name = AccountName(tenant=tenant, kid=key, model_id=model, test=test)
    entered = call(ledger.ADJUST, name=name, amount=amount, note=note, reference=reference, reason=reason)
    _say("adjustment", entered)


def _say(noun: str, entered: EnteredEntry) -> None:
    if entered["is_new"]:
        say(f"Entered: {noun} of {credits_text(entered['microcredits'])} credits.")
    else:
        say(f"An entry with reference {entered['reference']!r} exists already; nothing was changed.")
    if balance := [one for one in entered["standings"] if one["metric"] == Metric.CREDITS_TOTAL]:
        print_limits(balance)
    say_if_not_prepaid([one["metric"] for one in balance])


@group.command("list")
def list_entries(
    tenant: OneTenant = None,
    request: Annotated[str | None, typer.Option(metavar="ID", help="Only entries of this request.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List the newest entries."""
    found: list[ListedEntry] = call_list(
        ledger.LIST, "entries", at_most=limit, tenant=tenant, request_id=request
    )
    if as_json:
        print_json(found)
        return
    print_table(
        (
            *("ENTRY", "AT", "TENANT", "MODE", "KIND", "BALANCE CHANGE"),
            *("REQUEST", "KID", "MODEL", "REFERENCE", "NOTE"),
        ),
        [
            (
                str(one["entry"]),
                one["at"],
                one["tenant"],
                one["mode"],
                one["kind"],
                credits_text(one["microcredits"]),
                one["request_id"] or "-",
                one["kid"] or "*",
                one["model_id"] or "*",
                one["reference"] or "-",
                one["note"] or "-",
            )
            for one in found
        ],
    )


@group.command("reprice")
def reprice_requests(
    model: Annotated[str, typer.Option(help="The model's id.")],
    version: Annotated[str, typer.Option(help="The version of its prices that was wrong.")],
    since: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="The first day (UTC).")],
    until: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="The last day (UTC).")],
    price: Annotated[
        str | None,
        typer.Option(
            metavar="CREDITS", help="What each should have cost; by default as the present prices say."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be corrected; change nothing.")
    ] = False,
    test: Test = False,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Correct what requests were charged with a wrong version of a model's prices."""
    found = call(
        ledger.REPRICE,
        prices=Prices(
            model_id=model,
            version=version,
            first_day=since.date(),
            last_day=until.date(),
            price=price,
            test=test,
        ),
        dry_run=dry_run,
        reason=reason or ("dry run" if dry_run else None),  # which stands nowhere
    )
    if as_json:
        print_json(found)
        return
    print_table(
        ("REQUEST", "TENANT", "WAS CHARGED", "SHOULD BE"),
        [
            (
                one["request_id"],
                one["tenant"],
                credits_text(one["from_microcredits"]),
                credits_text(one["to_microcredits"]),
            )
            for one in found["corrections"]
        ],
    )
    verb = "would be corrected" if dry_run else "were corrected"
    say(
        f"{len(found['corrections'])} requests {verb}; balances change by"
        f" {credits_text(found['change_microcredits'])}."
    )
    if found["has_more"]:
        say("There are more: run the command again.")


@group.command("verify")
def verify_books(as_json: AsJson = False) -> None:
    """Recompute every balance and count from the rows; exit with 1 if something differs."""
    report = call(ledger.VERIFY)
    findings = report["findings"]
    if as_json:
        print_json(report)
    else:
        for one in findings:
            say(f"{one['rule']}: {one['subject']}: {one['detail']}")
        say(
            f"{report['generations']} requests ({report['in_flight']} in flight),"
            f" {report['entries']} entries;"
            f" {credits_text(report['added_microcredits'])} credits added,"
            f" {credits_text(report['held_microcredits'])} held,"
            f" {credits_text(report['spent_microcredits'])} spent."
        )
        say(f"{len(findings)} findings." if findings else "The ledger is consistent.")
    if findings:
        raise typer.Exit(1)


@group.command("reconcile")
def reconcile_bill(
    bill: Annotated[Path, typer.Argument(metavar="FILE", help="RunComfy's bill: a CSV file with a header.")],
    since: Annotated[
        datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="The bill's first day (UTC).")
    ],
    until: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="The bill's last day (UTC).")],
    id_column: Annotated[str, typer.Option(help="The column with RunComfy's request id.")] = "request_id",
    cost_column: Annotated[str, typer.Option(help="The column with the cost in US dollars.")] = "cost",
    as_json: AsJson = False,
) -> None:
    """Compare RunComfy's bill with the ledger; exit with 1 if they differ."""
    with plain_errors():
        content = bill.read_bytes()
    found = call(
        ledger.RECONCILE,
        bill=content,
        first_day=since.date(),
        last_day=until.date(),
        id_column=id_column,
        cost_column=cost_column,
    )
    if as_json:
        print_json(found)
    else:
        _say_reconciled(found)
    if found["rules"]:
        raise typer.Exit(1)


def _say_reconciled(found: Reconciliation) -> None:
    for each in found["differences"]:
        say(f"{each['rule']}: {each['subject']}: {each['detail']}")
    count = sum(one["count"] for one in found["rules"])
    if count > len(found["differences"]):
        say(f"These are {len(found['differences'])} of {count} differences.")
    say(
        f"{found['lines']} lines, {found['billed_usd']} USD; {found['matched']} of them for requests of this"
        " gateway, for which"
        f" {credits_text(found['charged_microcredits'])} credits were charged,"
        f" {credits_text(found['refunded_microcredits'])} refunded and"
        f" {credits_text(found['held_microcredits'])} are still held."
    )
    for one in found["rules"]:
        say(f"{one['rule']} ({one['count']}): {one['meaning']}.")
    if not found["rules"]:
        say("The bill and the ledger agree.")
