"""`reelgate requests`: listing and showing requests of all tenants, and resolving unknown ones."""

from typing import Annotated, Any

import typer

from app.admin import requests
from app.admin.actor import of_command
from app.admin.requests import RequestFilter
from app.auth.keys import Mode
from app.cli.options import Model, OneTenant, Reason, Since, Until, moment
from app.cli.session import fail, with_admin, with_gateway
from app.cli.tables import AsJson, iso_or_none, print_json, print_table, say
from app.generations.lifecycle import State
from app.generations.store import Generation
from app.kit.clock import iso
from app.kit.json import from_column
from app.quotas.amounts import credits_text

group = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Requests of all tenants, and resolving those of unknown outcome.",
)


@group.command("list")
def list_requests(
    tenant: OneTenant = None,
    key: Annotated[str | None, typer.Option(metavar="KID", help="Only what this API key submitted.")] = None,
    token: Annotated[str | None, typer.Option(metavar="ID", help="Only of this client token.")] = None,
    end_user: Annotated[str | None, typer.Option(metavar="LABEL", help="Only of this end user.")] = None,
    mode: Annotated[Mode | None, typer.Option(help="Only this mode.")] = None,
    model: Model = None,
    state: Annotated[State | None, typer.Option(help="Only this state.")] = None,
    error_code: Annotated[str | None, typer.Option(metavar="CODE", help="Only with this error.")] = None,
    price_version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Only with a price of this version.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(metavar="IP", help="Only from this address or its network, as it was kept.")
    ] = None,
    request: Annotated[str | None, typer.Option("--id", metavar="ID", help="Only this request.")] = None,
    upstream_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Only the request with this job of RunComfy's.")
    ] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest requests; with options, those that fit all of them."""
    wanted = RequestFilter(
        request_id=request,
        upstream_request_id=upstream_id,
        tenant=tenant,
        kid=key,
        token_id=token,
        end_user=end_user,
        mode=mode,
        model_id=model,
        state=state,
        error_code=error_code,
        price_version=price_version,
        address=address,
        created_after=moment(since),
        created_before=moment(until),
    )
    found = with_admin(lambda gateway: requests.first(gateway, wanted, limit=limit))
    if as_json:
        print_json([_document(one.request, one.tenant) for one in found])
        return
    print_table(
        (
            *("REQUEST", "TENANT", "STATE", "MODE", "PRICE", "CHARGE", "CREATED", "CHANGED"),
            *("UPSTREAM REQUEST", "MODEL"),
        ),
        [
            (
                one.id,
                tenant,
                one.state,
                one.mode,
                "-" if one.price_microcredits is None else credits_text(one.price_microcredits),
                one.charge or "-",
                iso(one.created_at_ms),
                iso(one.changed_at_ms),
                one.upstream_request_id or "-",
                one.model_id,
            )
            for one, tenant in ((each.request, each.tenant) for each in found)
        ],
    )


@group.command("show")
def show_request(request_id: str) -> None:
    """Print everything that is stored of a request, as JSON."""
    found = with_admin(lambda gateway: requests.show(gateway, request_id))
    history = [
        {"version": one.version, "state": one.state, "at": iso(one.at_ms), "reason": one.reason}
        for one in found.events
    ]
    print_json(_document(found.request, found.tenant) | {"events": history})


@group.command("resolve")
def resolve_request(
    request_id: str,
    attach: Annotated[
        str | None, typer.Option(metavar="UPSTREAM_ID", help="RunComfy has the job under this id.")
    ] = None,
    charged: Annotated[
        bool, typer.Option("--charged", help="The job cannot be found, but RunComfy charged for it.")
    ] = False,
    not_charged: Annotated[
        bool, typer.Option("--not-charged", help="There is no such job, or RunComfy did not charge for it.")
    ] = False,
    reason: Reason = None,
) -> None:
    """Resolve a request of unknown outcome, with exactly one of the three options."""
    if (attach is not None) + charged + not_charged != 1:
        fail("give exactly one of --attach UPSTREAM_ID, --charged and --not-charged.")
    actor = of_command()
    if attach is not None:
        changed = with_gateway(
            lambda gateway: requests.attach(gateway, actor, request_id, attach, reason=reason)
        )
    else:
        changed = with_admin(
            lambda gateway: requests.close(gateway, actor, request_id, charged=charged, reason=reason)
        )
    say(f"Request {request_id} is {changed.state} now.")


def _document(one: Generation, tenant: str) -> dict[str, Any]:
    return {
        "request_id": one.id,
        "tenant_id": one.tenant_id,
        "tenant": tenant,
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
        "token_id": one.token_id,
        "end_user": one.end_user,
        "error_code": one.error_code,
        "caller_address": one.caller_address,
        "user_agent": one.user_agent,
        "trace_id": one.trace_id,
        "created_at": iso(one.created_at_ms),
        "changed_at": iso(one.changed_at_ms),
        "checked_at": iso_or_none(one.polled_at_ms),
        "input": one.input,
        "output": one.output,
        "error": one.error,
        "evidence": from_column(one.evidence_text),
    }
