"""The ledger: balances, entries, and whether they are right."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.accounts import (
    Key,
    Model,
    Tenant,
    Test,
    account_of,
    id_of,
    names_of,
    print_standings,
    say_if_not_prepaid,
    standings_of,
)
from app.cli.session import fail, with_gateway
from app.cli.tables import AsJson, print_json, print_table
from app.gateway import Gateway
from app.generations import reconcile, store, verify
from app.generations.reconcile import RULES, Reconciliation
from app.generations.verify import Report
from app.kit.clock import iso
from app.quotas import ledger
from app.quotas.amounts import credits_text
from app.quotas.ledger import Entry, Kind
from app.quotas.limits import parse_credits
from app.quotas.metrics import Metric
from app.quotas.standing import Standing

books = typer.Typer(no_args_is_help=True, help="Balances, entries, and whether they are right.")

_ONCE = "to a tenant's live keys, or to its test keys, it is entered once"
_MAX_NOTE = 200
_MAX_REFERENCE = 100
_DAY_MS = 86_400_000


@books.command("top-up", context_settings={"ignore_unknown_options": True})
def top_up(
    amount: Annotated[str, typer.Argument(metavar="CREDITS", help="More than 0, with up to six decimals.")],
    tenant: Tenant,
    key: Key = None,
    model: Model = None,
    test: Test = False,
    note: Annotated[str | None, typer.Option(help="What for, for the record.")] = None,
    reference: Annotated[str | None, typer.Option(help=f"The payment's own number: {_ONCE}.")] = None,
) -> None:
    """Add to a prepaid balance; the first top-up makes it prepaid."""
    if (microcredits := _credits_or_fail(amount)) <= 0:
        fail("a top-up is more than 0; `reelgate ledger adjust` takes away.")
    _enter(Kind.TOP_UP, microcredits, tenant, key, model, test=test, note=note, reference=reference)


@books.command("adjust", context_settings={"ignore_unknown_options": True})
def adjust(
    amount: Annotated[str, typer.Argument(metavar="CREDITS", help="To add, or below 0 to take away.")],
    note: Annotated[str, typer.Option(help="Why, for the record.")],
    tenant: Tenant,
    key: Key = None,
    model: Model = None,
    test: Test = False,
    reference: Annotated[
        str | None, typer.Option(help=f"A number of its own, apart from those of top-ups: {_ONCE}.")
    ] = None,
) -> None:
    """Correct a balance, with the reason."""
    if (microcredits := _credits_or_fail(amount)) == 0:
        fail("an adjustment by 0 changes nothing.")
    if not note.strip():
        fail("an adjustment has a note that says why.")
    _enter(Kind.ADJUSTMENT, microcredits, tenant, key, model, test=test, note=note, reference=reference)


@books.command("list")
def list_entries(
    tenant: Annotated[str | None, typer.Option(help="Of this tenant alone.")] = None,
    request: Annotated[str | None, typer.Option(metavar="ID", help="Of this request alone.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """Show the newest entries."""

    async def work(gateway: Gateway) -> tuple[dict[str, str], list[Entry]]:
        tenant_id = await id_of(gateway, tenant)
        if request is not None and await gateway.db.read(store.find, request, tenant_id) is None:
            fail(f"there is no request {request!r}{'' if tenant is None else f' of {tenant}'}.")
        found = await gateway.db.read(ledger.entries, tenant_id=tenant_id, generation_id=request, limit=limit)
        return await names_of(gateway), list(found)

    names, found = with_gateway(work)
    if as_json:
        print_json([_entry_document(names, one) for one in found])
        return
    print_table(
        (
            *("ENTRY", "AT", "TENANT", "KEYS", "KIND", "BALANCE CHANGE"),
            *("REQUEST", "KID", "MODEL", "REFERENCE", "NOTE"),
        ),
        [
            (
                str(one.id),
                iso(one.at_ms),
                names[one.owner.tenant_id],
                one.owner.mode,
                one.kind,
                credits_text(one.microcredits),
                one.generation_id or "-",
                one.scope.kid or "*",
                one.scope.model_id or "*",
                one.reference or "-",
                one.note or "-",
            )
            for one in found
        ],
    )


@books.command("verify")
def verify_books(as_json: AsJson = False) -> None:
    """Compute every balance, window and count anew and say what differs; exit code 1 when something does."""

    async def work(gateway: Gateway) -> Report:
        return await gateway.db.snapshot(verify.verify)

    report = with_gateway(work)
    if as_json:
        print_json(
            {name: getattr(report, name) for name in Report.__slots__ if name != "findings"}
            | {
                "findings": [
                    {"rule": one.rule, "subject": one.subject, "detail": one.detail}
                    for one in report.findings
                ]
            }
        )
    else:
        for one in report.findings:
            typer.echo(f"{one.rule}: {one.subject}: {one.detail}")
        typer.echo(
            f"{report.generations} requests ({report.in_flight} in flight), {report.entries} entries;"
            f" {credits_text(report.added_microcredits)} credits added,"
            f" {credits_text(report.held_microcredits)} held,"
            f" {credits_text(report.spent_microcredits)} spent."
        )
        typer.echo(f"{len(report.findings)} findings." if report.findings else "The books are right.")
    if report.findings:
        raise typer.Exit(1)


@books.command("reconcile")
def reconcile_bill(
    bill: Annotated[Path, typer.Argument(metavar="FILE", help="The provider's bill: CSV with a header.")],
    since: Annotated[
        datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="The bill's first day (UTC).")
    ],
    until: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="The bill's last day (UTC).")],
    id_column: Annotated[str, typer.Option(help="The column with RunComfy's request id.")] = "request_id",
    cost_column: Annotated[str, typer.Option(help="The column with the cost in US dollars.")] = "cost",
    as_json: AsJson = False,
) -> None:
    """Compare the provider's bill with the books; exit code 1 when they differ."""
    from_ms, until_ms = (int(day.replace(tzinfo=UTC).timestamp() * 1000) for day in (since, until))
    if until_ms < from_ms:
        fail("--to is before --from.")

    async def work(gateway: Gateway) -> Reconciliation:
        with bill.open(encoding="utf-8-sig", newline="") as file:
            lines = reconcile.read_bill(file, id_column=id_column, cost_column=cost_column)
            return await gateway.db.snapshot(
                lambda connection: reconcile.reconcile(
                    connection, lines, from_ms=from_ms, until_ms=until_ms + _DAY_MS
                )
            )

    found = with_gateway(work)
    if as_json:
        print_json(_reconciliation_document(found))
    else:
        for one in found.differences:
            typer.echo(f"{one.rule}: {one.subject}: {one.detail}")
        typer.echo(
            f"{found.lines} lines, {found.billed_usd} USD; {found.matched} of them ours, for which"
            f" {credits_text(found.charged_microcredits)} credits were charged,"
            f" {credits_text(found.refunded_microcredits)} refunded and"
            f" {credits_text(found.held_microcredits)} are still held."
        )
        for rule in sorted({one.rule for one in found.differences}):
            count = sum(one.rule == rule for one in found.differences)
            typer.echo(f"{rule} ({count}): {RULES[rule]}.")
        if not found.differences:
            typer.echo("Bill and books agree.")
    if found.differences:
        raise typer.Exit(1)


def _credits_or_fail(text: str) -> int:
    try:
        return parse_credits(text)
    except ValueError as error:
        fail(str(error))


def _enter(
    kind: Kind,
    microcredits: int,
    tenant: str,
    key: str | None,
    model: str | None,
    *,
    test: bool,
    note: str | None,
    reference: str | None,
) -> None:
    note = (note or "").strip() or None
    if reference is not None and not (reference := reference.strip()):
        fail("a reference is not empty.")
    if len(note or "") > _MAX_NOTE or len(reference or "") > _MAX_REFERENCE:
        fail(f"a note has at most {_MAX_NOTE} characters, a reference {_MAX_REFERENCE}.")

    async def work(gateway: Gateway) -> tuple[bool, list[Standing]]:
        is_top_up = kind is Kind.TOP_UP
        owner, scope = await account_of(gateway, tenant, key, model, test=test, served=is_top_up)
        is_new = await gateway.db.write(
            ledger.add,
            owner,
            scope,
            kind,
            microcredits,
            now_ms=gateway.clock.now_ms(),
            defaults=gateway.policy.default_limits,
            note=note,
            reference=reference,
        )
        return is_new, await standings_of(gateway, owner, scope)

    is_new, standings = with_gateway(work)
    if is_new:
        typer.echo(f"Entered: {kind} of {credits_text(microcredits)} credits.")
    else:
        typer.echo(f"An entry with reference {reference!r} is there already; nothing was changed.")
    if balance := [one for one in standings if one.limit.metric is Metric.CREDITS_TOTAL]:
        print_standings(balance)
    say_if_not_prepaid(balance)


def _entry_document(names: dict[str, str], entry: Entry) -> dict[str, Any]:
    return {
        "entry": entry.id,
        "at": iso(entry.at_ms),
        "tenant": names[entry.owner.tenant_id],
        "mode": entry.owner.mode,
        "kind": entry.kind,
        "microcredits": entry.microcredits,
        "request_id": entry.generation_id,
        "kid": entry.scope.kid or None,
        "model_id": entry.scope.model_id or None,
        "reference": entry.reference,
        "note": entry.note,
    }


def _reconciliation_document(found: Reconciliation) -> dict[str, Any]:
    return {
        "lines": found.lines,
        "billed_usd": str(found.billed_usd),
        "matched": found.matched,
        "charged_microcredits": found.charged_microcredits,
        "refunded_microcredits": found.refunded_microcredits,
        "held_microcredits": found.held_microcredits,
        "differences": [
            {"rule": one.rule, "subject": one.subject, "detail": one.detail} for one in found.differences
        ],
    }
