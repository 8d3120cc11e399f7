"""What a tenant is told of limits that refuse: the problem, which names the one that binds."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import QUOTA_EXCEEDED, QUOTA_EXHAUSTED, Problem
from app.kit.clock import iso
from app.quotas.limits import MICROCREDITS, Metric, Standing, credits_text

_HOLDERS = {
    "tenant": "Your tenant",
    "key": "This API key",
    "end-user": "This user",
    "token": "This client token",
}
_UNITS = {
    Metric.SUBMITS_MINUTE: "submits",
    Metric.READS_MINUTE: "reads",
    Metric.CALLS_MINUTE: "calls",
    Metric.TOKENS_MINUTE: "tokens",
    Metric.IN_FLIGHT: "requests",
}
_SPANS = {"day": "a day", "month": "a month", "total": "in all"}


@dataclass(eq=False, kw_only=True)
class QuotaProblem(Problem):
    """A refusal by quotas: all limits as they stood, those that refuse, and the one of them that binds.

    It tells everything; `documents.limits` decides what of it a caller may read.
    """

    standings: Sequence[Standing]
    violated: Sequence[Standing]
    binding: Standing

    @property
    def detail_without_amounts(self) -> str:
        """The sentence for a caller who may not be told of the limit that binds."""
        return _bare(self.binding)


def refused(standings: Sequence[Standing], *, queueable: bool = False) -> QuotaProblem | None:
    """The refusal of a wish that does not fit into some of these limits; None where it fits into all.

    One that `queueable` is not refused for what is in flight.

    The binding limit is the one that waits longest; it is told in words, all are listed. Of two that end at
    the same moment, as a day and a month do on a month's last day, it is the one with the longer window: the
    same limit is named on every day of the month.
    """
    violated = [one for one in standings if not one.fits and not (queueable and one.may_be_queued_for)]
    if not violated:
        return None
    binding = max(
        violated, key=lambda one: (one.retry_after_s is None, one.retry_after_s or 0, one.window_s or 0)
    )
    return QuotaProblem(
        QUOTA_EXHAUSTED if binding.retry_after_s is None else QUOTA_EXCEEDED,
        sentence(binding),
        retry_after_s=binding.retry_after_s,
        standings=standings,
        violated=violated,
        binding=binding,
    )


def _bare(standing: Standing) -> str:
    """The refusal by a limit that the caller may not see."""
    policy = standing.limit.policy
    if standing.retry_after_s is None:
        return (
            f"The application's own quota (`{policy}`) is used up."
            " Waiting does not help: it has to be raised."
        )
    return (
        f"The application's own quota (`{policy}`) does not allow this now."
        f" Try again in {standing.retry_after_s} s."
    )


def sentence(standing: Standing) -> str:
    """The state of a limit that refuses, and when to come back, for a person who has never seen it."""
    limit, metric = standing.limit, standing.limit.metric
    holder = _HOLDERS[limit.scope.holder]
    of_model = f" of {limit.scope.model_id}" if limit.scope.model_id else ""
    if metric.is_rate:
        allowed = _count(standing.amount, unit_of(metric).removesuffix("s"))
        what = f"{holder} may make {allowed}{of_model} a minute"
        burst = limit.burst or standing.amount
        at_once = f", at most {burst} at once" if burst != standing.amount else ""
        return f"{what}{at_once} (`{limit.policy}`). {_when(standing)}"
    if metric is Metric.IN_FLIGHT:
        return (
            f"{holder} may have {_count(standing.amount, 'request')}{of_model} in flight at a time"
            f" (`{limit.policy}`), and has {standing.held}. {_when(standing)}"
        )
    if standing.overdrawn:
        debt, spent, held, wanted = (
            _amount(standing, value)
            for value in (standing.overdrawn, standing.spent, standing.held, standing.wanted)
        )
        for_model = of_model.replace(" of ", " for ")
        return (
            f"{holder}'s balance{for_model} (`{limit.policy}`) is overdrawn by {debt}:"
            f" {spent} spent, {held} held for requests under way; this one needs {wanted}. {_when(standing)}"
        )
    allowed, spent, held, left, wanted = (
        _amount(standing, value)
        for value in (standing.amount, standing.spent, standing.held, standing.remaining, standing.wanted)
    )
    return (
        f"{holder} may spend {allowed}{of_model} {_SPANS[metric.window or '']} (`{limit.policy}`):"
        f" {spent} spent, {held} held for requests under way, {left} left; this one needs {wanted}."
        f" {_when(standing)}"
    )


def _when(standing: Standing) -> str:
    metric = standing.limit.metric
    if standing.retry_after_s is None:
        return _never(standing)
    if metric is Metric.IN_FLIGHT:
        return (
            f"Try again when one of them has ended (`GET /v1/requests` lists them),"
            f" or in {standing.retry_after_s} s."
        )
    if metric.is_rate:
        return f"Try again in {standing.retry_after_s} s."
    return f"It begins anew at {iso(standing.resets_at_ms or 0)}, in {standing.retry_after_s} s."


def _never(standing: Standing) -> str:
    can_come_back = standing.held and standing.wanted <= standing.amount - standing.spent
    back = " unless what is held comes back" if can_come_back else ""
    if standing.limit.scope.token_id:
        return f"Waiting does not help{back}: it is all that this token may use."
    if standing.limit.metric is Metric.CREDITS_TOTAL and not standing.limit.scope.end_user:
        missing = _amount(standing, standing.wanted - standing.remaining + standing.overdrawn)
        return f"Waiting does not help{back}: it has to be raised or topped up, by at least {missing}."
    if standing.wanted > standing.amount:
        fits_never = (
            "This request alone is more than the limit" if standing.amount > 0 else "Nothing is allowed"
        )
        return f"{fits_never}: waiting does not help."
    return f"Waiting does not help{back}: it has to be raised."


def unit_of(metric: Metric) -> str:
    """The unit of a metric's amounts, as documents name it."""
    if metric.of_credits:
        return "microcredits"
    return _UNITS.get(metric, "generations")


def _amount(standing: Standing, value: int) -> str:
    if standing.limit.metric.of_credits:
        return "1 credit" if value == MICROCREDITS else f"{credits_text(value)} credits"
    return _count(value, "generation")


def _count(value: int, noun: str) -> str:
    return f"{value} {noun}" if value == 1 else f"{value} {noun}s"
