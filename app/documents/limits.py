"""Limits with their usage, and the one place that decides which limits a caller may see."""

from collections.abc import Sequence
from typing import Annotated, NotRequired, TypedDict

from app.auth.principal import Principal
from app.documents.fields import Holder, Moment, iso_or_none
from app.documents.schema import keywords
from app.quotas.metrics import Metric, Unit
from app.quotas.problem import QuotaProblem
from app.quotas.standing import Standing


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
