"""Limits with their usage, in documents and in headers, and the one place that decides who may see which.

The headers `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers) have one member for each
limit of the caller, named as in documents. Amounts of credits are in micro-credits.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, NotRequired, TypedDict, assert_never

from app.auth.principal import Principal
from app.documents.fields import Holder, Moment, iso_or_none
from app.documents.schema import keywords
from app.quotas import limits as own_limits
from app.quotas.metrics import Metric, Unit
from app.quotas.problem import QuotaProblem
from app.quotas.standing import Standing, binding, violated


def can_see_all_limits(principal: Principal | None) -> bool:
    """Returns whether a caller may see every limit: an API key may, a client token may not.

    Limits of a tenant and its keys are kept from pages, and from callers who are not authenticated (None).
    """
    return principal is not None and principal.token is None


def visible_to(principal: Principal | None, standings: Sequence[Standing]) -> Sequence[Standing]:
    """Returns those of the limits that a caller may see."""
    if can_see_all_limits(principal):
        return standings
    return [one for one in standings if one.limit.scope.is_of_client]


class Limit(TypedDict):
    """A limit with its usage. Amounts of credits are in micro-credits."""

    policy: Annotated[str, keywords("The limit's name, as in `RateLimit-Policy` and `violated-policies`.")]
    holder: Annotated[Holder, keywords("Whose limit it is.")]
    model_id: Annotated[str | None, keywords("The model that it applies to; null: all models.")]
    metric: Metric
    unit: Annotated[Unit, keywords(enum=sorted(Unit))]
    limit: int
    burst: Annotated[int | None, keywords("Of a rate: how many may come at once, if not `limit`.")]
    held: Annotated[int, keywords("Set aside for requests under way; it may be refunded.")]
    spent: int
    remaining: Annotated[int, keywords(minimum=0)]
    period: Annotated[str | None, keywords("The day, the month, or `total`.")]
    resets_at: Moment | None
    override_until: Annotated[
        Moment | None, keywords("Where `limit` is a temporary override's: when that ends.")
    ]
    wanted: NotRequired[Annotated[int, keywords("In a refusal: how much the refused request needs.")]]


def limit(standing: Standing) -> Limit:
    """Returns a limit with its usage."""
    own = standing.limit
    return {
        "policy": own.policy,
        "holder": own.scope.holder,
        "model_id": own.scope.model_id or None,
        "metric": own.metric,
        "unit": own.metric.unit,
        "limit": standing.amount,
        "burst": standing.burst,
        "held": standing.held,
        "spent": standing.spent,
        "remaining": standing.remaining,
        "period": standing.period,
        "resets_at": iso_or_none(standing.resets_at_ms),
        "override_until": iso_or_none(own.until_ms),
    }


def refused_limits(problem: QuotaProblem, principal: Principal | None) -> list[Limit]:
    """Returns those limits that refuse and that the caller may see, with what was wanted of each."""
    return [{**limit(one), "wanted": one.wanted} for one in visible_to(principal, problem.violated)]


def policies(problem: QuotaProblem) -> list[str]:
    """Returns the names of the limits that refuse, which every caller may see."""
    return [one.limit.policy for one in problem.violated]


def refusal_detail(problem: QuotaProblem, principal: Principal | None) -> str:
    """Returns the detail of a refusal, without amounts where the caller may not see the limit that binds."""
    return problem.detail if visible_to(principal, [problem.binding]) else problem.detail_without_amounts


def rate_headers(principal: Principal | None, standings: Sequence[Standing]) -> dict[str, str]:
    """Both headers, of the limits that the caller may be told of; none where there are no such limits."""
    members = [_members(one) for one in visible_to(principal, standings)]
    if not members:
        return {}
    allowed, left = zip(*members, strict=True)
    return {"RateLimit-Policy": ", ".join(allowed), "RateLimit": ", ".join(left)}


def submit_headers(principal: Principal, standings: Sequence[Standing]) -> dict[str, str]:
    """Returns the headers of an accepted submit: `Retry-After` too, where the next would be refused now."""
    against = violated(standings)
    again_s = binding(against).retry_after_s if against else None
    retry = {} if again_s is None else {"Retry-After": str(again_s)}
    return rate_headers(principal, standings) | retry


def _members(standing: Standing) -> tuple[str, str]:
    """Returns the limit's members of the two headers: what is allowed, and how it stands."""
    until = f";t={standing.resets_in_s}" if standing.resets_in_s is not None else ""
    name, allowed = _allowed(standing.limit, standing.amount, standing.window_s)
    return allowed, f"{name};r={_integer(standing.remaining)}{until}"


@lru_cache(maxsize=4_096)
def _allowed(own: own_limits.Limit, amount: int, window_s: int | None) -> tuple[str, str]:
    """Returns the name of a limit's members and the first of them, which rarely changes."""
    name, unit = f'"{own.policy}"', _quota_unit(own.metric.unit)
    window = f";w={window_s}" if window_s is not None else ""
    return name, f"{name};q={_integer(amount)}{window}" + (f';qu="{unit}"' if unit else "")


def _quota_unit(unit: Unit) -> str | None:
    """The draft's quota unit; None for its default, which is requests."""
    match unit:
        case Unit.MICROCREDITS | Unit.OUTPUT_SECONDS | Unit.BYTES:
            return unit
        case Unit.REQUESTS:
            return "concurrent-requests"
        case Unit.GENERATIONS | Unit.SUBMITS | Unit.READS | Unit.CALLS | Unit.TOKENS:
            return None
        case _:
            assert_never(unit)


def _integer(value: int) -> int:
    """Returns the value within what a structured field can hold: 0 up to 15 digits (RFC 9651)."""
    return min(max(0, value), 10**15 - 1)
