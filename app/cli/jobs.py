"""Requests, as the operator sees them: across tenants, with the upstream's id and what it answered."""

from typing import Annotated, Any

import typer

from app.cli.accounts import id_of, names_of
from app.cli.session import fail, with_gateway
from app.cli.tables import AsJson, print_json, print_table
from app.gateway import Gateway
from app.generations import events as event_rows
from app.generations import store
from app.generations.events import Event
from app.generations.lifecycle import State
from app.generations.store import Generation
from app.kit.clock import iso
from app.kit.json import from_column
from app.quotas.amounts import credits_text

requests = typer.Typer(
    no_args_is_help=True, help="Requests of all tenants, and what to do with unknown ones."
)


@requests.command("list")
def list_requests(
    tenant: Annotated[str | None, typer.Option(help="Of this tenant alone.")] = None,
    state: Annotated[State | None, typer.Option(help="In this state alone.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the newest requests."""

    async def work(gateway: Gateway) -> tuple[dict[str, str], list[Generation]]:
        tenant_id = await id_of(gateway, tenant)
        found = await gateway.db.read(store.latest, limit=limit, tenant_id=tenant_id, state=state)
        return await names_of(gateway), found

    names, found = with_gateway(work)
    if as_json:
        print_json([_document(one, names) for one in found])
        return
    print_table(
        (
            *("REQUEST", "TENANT", "STATE", "MODE", "PRICE", "CHARGE", "CREATED", "CHANGED"),
            *("UPSTREAM REQUEST", "MODEL"),
        ),
        [
            (
                one.id,
                names[one.tenant_id],
                one.state,
                one.mode,
                "-" if one.price_microcredits is None else credits_text(one.price_microcredits),
                one.charge or "-",
                iso(one.created_at_ms),
                iso(one.changed_at_ms),
                one.upstream_request_id or "-",
                one.model_id,
            )
            for one in found
        ],
    )


@requests.command("show")
def show_request(request_id: str) -> None:
    """Print everything that is kept of a request, as JSON."""

    async def work(gateway: Gateway) -> tuple[dict[str, str], Generation | None, list[Event]]:
        found = await gateway.db.read(store.find, request_id, None)
        return await names_of(gateway), found, await gateway.db.read(event_rows.of_generation, request_id)

    names, found, events = with_gateway(work)
    if found is None:
        fail(f"there is no request {request_id!r}.")
    history = [
        {"version": one.version, "state": one.state, "at": iso(one.at_ms), "reason": one.reason}
        for one in events
    ]
    print_json(_document(found, names) | {"events": history})


@requests.command("resolve")
def resolve_request(
    request_id: str,
    attach: Annotated[
        str | None, typer.Option(metavar="UPSTREAM_ID", help="RunComfy has it under this id.")
    ] = None,
    charged: Annotated[bool, typer.Option("--charged", help="It cannot be found, and was charged.")] = False,
    not_charged: Annotated[
        bool, typer.Option("--not-charged", help="There is no such job, or it was not charged.")
    ] = False,
) -> None:
    """Decide about a request of unknown fate: exactly one of the three."""
    if (attach is not None) + charged + not_charged != 1:
        fail("give exactly one of --attach UPSTREAM_ID, --charged and --not-charged.")

    async def work(gateway: Gateway) -> Generation:
        if attach is not None:
            return await gateway.resolver.attach(request_id, attach)
        return await gateway.resolver.close(request_id, charged=charged)

    typer.echo(f"Request {request_id} is {with_gateway(work).state} now.")


def _document(one: Generation, names: dict[str, str]) -> dict[str, Any]:
    return {
        "request_id": one.id,
        "tenant_id": one.tenant_id,
        "tenant": names[one.tenant_id],
        "kid": one.kid,
        "mode": one.mode,
        "model_id": one.model_id,
        "state": one.state,
        "version": one.version,
        "credential": one.credential,
        "upstream_request_id": one.upstream_request_id,
        "idempotency_key": one.idempotency_key,
        "price_microcredits": one.price_microcredits,
        "price_version": one.price_version,
        "output_seconds": one.output_seconds,
        "settles_in": None if one.settles_in is None else one.settles_in.split(","),
        "charge": one.charge,
        "upstream_cost_usd": one.upstream_cost_usd,
        "trace_id": one.trace_id,
        "created_at": iso(one.created_at_ms),
        "changed_at": iso(one.changed_at_ms),
        "checked_at": None if one.polled_at_ms is None else iso(one.polled_at_ms),
        "input": one.input,
        "output": one.output,
        "error": one.error,
        "evidence": from_column(one.evidence_text),
    }
