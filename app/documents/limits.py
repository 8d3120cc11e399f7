"""A limit beside its usage, and the one decision of which limits a caller may be told of."""

from collections.abc import Sequence
from typing import Annotated, NotRequired, TypedDict

from app.auth.principal import Principal
from app.documents.fields import Holder, Moment, iso_or_none
from app.documents.schema import keywords
from app.quotas.metrics import Metric, Unit
from app.quotas.problem import QuotaProblem
from app.quotas.standing import Standing


def can_see_all_limits(principal: Principal | None) -> bool:
    """Whether a caller may be told of every limit: an API key may, a client token may not.

    What a tenant and its keys have is no matter of a page's, nor of a caller's who is not known (None).
    """
    return principal is not None and principal.token is None


def visible_to(principal: Principal | None, standings: Sequence[Standing]) -> Sequence[Standing]:
    """Returns those of the limits that a caller may be told of."""
    if can_see_all_limits(principal):
        return standings
    return [one for one in standings if one.limit.scope.is_of_client]


class Limit(TypedDict):
    """A limit beside its usage. Amounts of credits are micro-credits."""

    policy: Annotated[str, keywords("As in `RateLimit-Policy` and `violated-policies`.")]
    holder: Annotated[Holder, keywords("Whose it is.")]
    model_id: Annotated[str | None, keywords("The only model that it is about; null: all.")]
    metric: Metric
    unit: Annotated[Unit, keywords(enum=sorted(Unit))]
    limit: int
    burst: Annotated[int | None, keywords("Of a rate: how many may come at once, where that is not `limit`.")]
    held: Annotated[int, keywords("For requests under way; it may come back.")]
    spent: int
    remaining: Annotated[int, keywords(minimum=0)]
    period: Annotated[str | None, keywords("A day, a month, or `total`.")]
    resets_at: Moment | None
    wanted: NotRequired[Annotated[int, keywords("In a refusal: what the refused request needs.")]]


def limit(standing: Standing) -> Limit:
    """Returns a limit as it stands."""
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
    """Returns the limits that refuse, with what was wanted of each."""
    return [{**limit(one), "wanted": one.wanted} for one in visible_to(principal, problem.violated)]


def policies(problem: QuotaProblem) -> list[str]:
    """Returns the names of the limits that refuse, which everybody is told."""
    return [one.limit.policy for one in problem.violated]


def refusal_detail(problem: QuotaProblem, principal: Principal | None) -> str:
    """Returns the sentence of a refusal, without amounts of a limit that the caller may not be told of."""
    return problem.detail if visible_to(principal, [problem.binding]) else problem.detail_without_amounts
