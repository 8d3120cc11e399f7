"""`reelgate requests`: listing and showing requests of all tenants, and resolving unknown ones."""

from typing import Annotated

import typer

from app.admin.operations.running import requests
from app.admin.running.requests import RequestFilter
from app.auth.keys import Mode
from app.cli.options import Model, OneTenant, Reason, Since, Until, moment
from app.cli.session import call, call_list, fail
from app.cli.tables import AsJson, print_json, print_table, say
from app.documents.admin.running.requests import AdminRequest
from app.generations.lifecycle import State
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
    found: list[AdminRequest] = call_list(requests.LIST, "requests", at_most=limit, wanted=wanted)
    if as_json:
        print_json(found)
        return
    print_table(
        (
            *("REQUEST", "TENANT", "STATE", "MODE", "PRICE", "CHARGE", "CREATED", "CHANGED"),
            *("UPSTREAM REQUEST", "MODEL"),
        ),
        [
            (
                one["request_id"],
                one["tenant"],
                one["state"],
                one["mode"],
                "-" if one["price_microcredits"] is None else credits_text(one["price_microcredits"]),
                one["charge"] or "-",
                one["created_at"],
                one["changed_at"],
                one["upstream_request_id"] or "-",
                one["model_id"],
            )
            for one in found
        ],
    )


@group.command("show")
def show_request(request_id: str) -> None:
    """Print everything that is stored of a request, as JSON."""
    print_json(call(requests.SHOW, request_id=request_id))


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
    changed = call(
        requests.RESOLVE,
        whole=attach is not None,
        request_id=request_id,
        upstream_request_id=attach,
        charged=None if attach is not None else charged,
        reason=reason,
    )
    say(f"Request {request_id} is {changed['state']} now.")
