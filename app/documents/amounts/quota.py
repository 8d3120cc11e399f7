"""A caller's limits and usage, and quotes: what a submit would cost, and whether it would be accepted."""

from typing import Annotated, NotRequired, TypedDict

from app.auth.keys import Mode
from app.auth.principal import Principal
from app.documents.amounts.limits import (
    Limit,
    can_see_all_limits,
    limit,
    policies,
    refusal_detail,
    visible_to,
)
from app.documents.fields import Holder, Moment, Policies, Sums, Violation, sums, violations
from app.documents.generations.requests import Files, files
from app.documents.schema import keywords
from app.generations.queue.rows import TenantQueue
from app.generations.submit import quote as submit
from app.kit.clock import iso
from app.quotas.limits import Scope
from app.quotas.problem import QuotaProblem, refused
from app.quotas.standing import Account, Standing, Usage


class Queue(TypedDict):
    """How a tenant's queue stands."""

    queueable: Annotated[bool, keywords("Whether requests that cannot be sent yet are accepted and queued.")]
    queued: NotRequired[Annotated[int, keywords("How many of the tenant's requests are queued.")]]
    max_queued: NotRequired[Annotated[int, keywords("How many may be queued.")]]
    weight: NotRequired[
        Annotated[
            int, keywords("The tenant's share of what is sent while other tenants have queued requests.")
        ]
    ]
    paused: Annotated[bool, keywords("Whether the operator has paused sending.")]


def queue(state: TenantQueue, principal: Principal, *, queueable: bool) -> Queue:
    """Returns how a tenant's queue stands; only API keys see its length and limits."""
    if not can_see_all_limits(principal):
        return {"queueable": queueable, "paused": state.paused}
    return {
        "queueable": queueable,
        "queued": state.queued,
        "max_queued": state.max_queued,
        "weight": state.weight,
        "paused": state.paused,
    }


class _Period(TypedDict):
    holder: Holder
    model_id: str | None
    period: Annotated[str, keywords("The day, the month, or `total`.")]


class _Added(TypedDict):
    added_microcredits: Annotated[int, keywords("Top-ups and adjustments.")]


class PeriodUsage(_Period, Sums, _Added):
    """The usage of one scope in one period that is running."""


def period_usage(scope: Scope, period: str, usage: Usage) -> PeriodUsage:
    """Returns the usage of a scope in a period."""
    return {
        "holder": scope.holder,
        "model_id": scope.model_id or None,
        "period": period,
        **sums(usage),
        "added_microcredits": usage.added_microcredits,
    }


class Quota(TypedDict):
    """All limits and running usage of a key and its tenant; those of a client token alone for that."""

    tenant: str
    kid: Annotated[
        str, keywords("The API key that the limits belong to; of a rotated key, the original one.")
    ]
    token_id: Annotated[
        str | None, keywords("The client token that asks, if any. It is shown only its own limits.")
    ]
    end_user: Annotated[str | None, keywords("The end user for whom that token was made.")]
    mode: Mode
    at: Moment
    time_zone: Annotated[str, keywords("The time zone in which days and months are counted.")]
    limits: list[Limit]
    queue: Annotated[Queue, keywords("The tenant's queue. Only API keys are shown the numbers.")]
    usage: list[PeriodUsage]


def quota(
    principal: Principal,
    account: Account,
    calls: Standing | None,
    queue_state: TenantQueue,
    *,
    queueable: bool,
) -> Quota:
    """Returns a caller's limits and usage; `calls` is their limit on calls other than submits, if any."""
    standings = [*account.standings(), *([] if calls is None else [calls])]
    return {
        "tenant": principal.tenant_name,
        "kid": principal.root_kid,
        "token_id": principal.token.token_id if principal.token else None,
        "end_user": principal.end_user,
        "mode": principal.mode,
        "at": iso(account.now_ms),
        "time_zone": account.time_zone,
        "limits": [limit(one) for one in visible_to(principal, standings)],
        "queue": queue(queue_state, principal, queueable=queueable),
        "usage": [
            period_usage(scope, period, usage)
            for (scope, period), usage in sorted(account.usage.items())
            if scope.is_of_client or can_see_all_limits(principal)
        ],
    }


# Not a class, because one member's name is not an identifier.
QuoteRefusal = TypedDict(
    "QuoteRefusal",
    {"code": str, "detail": str, "retry_after_s": int | None, "violated-policies": Policies},
)


class Quote(TypedDict):
    """What a submit of an input would cost, and whether it would be accepted."""

    model_id: str
    price_microcredits: int | None
    output_seconds: Annotated[
        int | None, keywords("Null: the model does not declare them, or the input is not valid.")
    ]
    price_version: str
    admissible: Annotated[bool, keywords("Whether a submit of this input would be accepted.")]
    would_queue: Annotated[bool, keywords("Whether the request would be queued before it is sent.")]
    errors: list[Violation]
    media: Files
    limits: list[Limit]
    refusal: QuoteRefusal | None


def quote(principal: Principal, found: submit.Quote) -> Quote:
    """Returns a quote. Where the input has no price, limits are listed, but not judged."""
    refusal = refused(found.standings, queueable=found.queueable)
    errors = found.inspection.errors
    return {
        "model_id": found.model.model_id,
        "price_microcredits": None if found.amounts is None else found.amounts.microcredits,
        "output_seconds": found.output_seconds,
        "price_version": found.model.pricing.version,
        "admissible": not errors and refusal is None,
        "would_queue": found.would_queue,
        "errors": violations(errors),
        "media": files(found.inspection.media),
        "limits": [limit(one) for one in visible_to(principal, found.standings)],
        "refusal": None if refusal is None else _quote_refusal(refusal, principal),
    }


def _quote_refusal(refusal: QuotaProblem, principal: Principal) -> QuoteRefusal:
    return {
        "code": refusal.fault.code,
        "detail": refusal_detail(refusal, principal),
        "retry_after_s": refusal.retry_after_s,
        "violated-policies": policies(refusal),
    }
