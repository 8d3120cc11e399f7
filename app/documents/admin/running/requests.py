"""Requests of all tenants, as operators read them."""

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from app.auth.keys import Mode
from app.documents.fields import Moment, Url, iso_or_none
from app.documents.generations.assets import Asset, asset
from app.documents.schema import keywords
from app.generations.events import Event
from app.generations.lifecycle import State
from app.generations.store import Generation
from app.kit.clock import iso
from app.kit.json import from_column
from app.mirror import rows


class AdminRequest(TypedDict):
    """A request of a tenant, without its input and output."""

    request_id: str
    tenant_id: str
    tenant: Annotated[str, keywords("The tenant's name.")]
    kid: Annotated[str, keywords("The API key that submitted it, or that made its client token.")]
    mode: Mode
    model_id: str
    state: State
    version: Annotated[int, keywords("How many events it has.")]
    credential: Annotated[str, keywords("The credential that it was sent with; empty before.")]
    upstream_request_id: Annotated[str | None, keywords("RunComfy's id of its job.")]
    idempotency_key: str | None
    price_microcredits: int | None
    repriced_microcredits: Annotated[
        int | None, keywords("What it costs since its price was corrected; null: it was not corrected.")
    ]
    price_version: str | None
    output_seconds: int
    settles_in: Annotated[list[str] | None, keywords("The states in which its price is spent.")]
    charge: Annotated[str | None, keywords("What became of its hold: `held`, `settled` or `refunded`.")]
    upstream_cost_usd: Annotated[str | None, keywords("What RunComfy said that it costs.")]
    token_id: str | None
    end_user: str | None
    error_code: str | None
    caller_address: Annotated[str | None, keywords("Who submitted it, as far as the settings keep that.")]
    user_agent: str | None
    trace_id: str
    created_at: Moment
    changed_at: Moment
    checked_at: Annotated[Moment | None, keywords("When RunComfy was last asked for its state.")]


class AdminRequestPage(TypedDict):
    """A page of requests, newest first. It may be empty while more follow: there is a `next_cursor` then."""

    requests: list[AdminRequest]
    next_cursor: str | None


class AdminEvent(TypedDict):
    """A change of a request's state."""

    version: int
    state: State
    at: Moment
    reason: str


class AdminAsset(Asset):
    """A file of a request's output, its copy, and a link to that."""

    link: Annotated[
        Url | None, keywords("Where anybody may see the copy, for one to two hours; null: it is not served.")
    ]


class AdminRequestInFull(AdminRequest):
    """Everything that is stored of a request."""

    input: Annotated[Any, keywords("Its input, without the files that were sent by value.")]
    output: Any
    error: Any
    evidence: Annotated[Any, keywords("What was seen of a submit whose outcome was unclear.")]
    events: Annotated[list[AdminEvent], keywords("Oldest first.")]
    assets: Annotated[
        list[AdminAsset],
        keywords("The copies of its output in the gateway's store; empty: it is not mirrored."),
    ]


def request(one: Generation, tenant: str) -> AdminRequest:
    """Returns a request of the tenant with this name, without its input and output."""
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
        "repriced_microcredits": one.repriced_microcredits,
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
    }


def request_in_full(
    one: Generation,
    tenant: str,
    events: Sequence[Event],
    copies: Sequence[tuple[rows.Asset, str | None]],
    base_url: str,
) -> AdminRequestInFull:
    """Returns everything that is stored of a request of this tenant; each copy comes with its link."""
    return {
        **request(one, tenant),
        "input": one.input,
        "output": one.output,
        "error": one.error,
        "evidence": from_column(one.evidence_text),
        "events": [
            {"version": each.version, "state": each.state, "at": iso(each.at_ms), "reason": each.reason}
            for each in events
        ],
        "assets": [{**asset(each, base_url), "link": link} for each, link in copies],
    }
