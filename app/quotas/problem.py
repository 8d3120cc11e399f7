"""The problem that a submit is refused with when it exceeds limits, and its sentences for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from app.errors import QUOTA_EXCEEDED, QUOTA_EXHAUSTED, Problem
from app.kit.clock import iso
from app.quotas.amounts import MICROCREDITS, credits_text
from app.quotas.metrics import Metric, Unit, Window
from app.quotas.standing import Standing, binding, violated

_HOLDERS = {
    "tenant": "Your tenant",
    "key": "This API key",
    "end-user": "This user",
    "token": "This client token",
}


@dataclass(eq=False, kw_only=True)
class QuotaProblem(Problem):
    """A refusal by limits: all standings, those that refuse (`violated`), and the `binding` one among them.

    It has everything; `documents.amounts.limits` decides how much of it the caller may read.
    """

    standings: Sequence[Standing]
    violated: Sequence[Standing]
    binding: Standing

    @property
    def detail_without_amounts(self) -> str:
        """The problem's detail for a caller who may not see the limit that binds: it has no amounts."""
        return _bare(self.binding)


def refused(standings: Sequence[Standing], *, queueable: bool = False) -> QuotaProblem | None:
    """Returns the refusal of a submit that exceeds some of these limits; None where it fits into all."""
    against = violated(standings, queueable=queueable)
    return refusal(standings, against) if against else None


def refusal(standings: Sequence[Standing], against: Sequence[Standing]) -> QuotaProblem:
    """Returns the refusal by these limits among all; the detail explains the one that binds."""
    binds = binding(against)
    return QuotaProblem(
        QUOTA_EXHAUSTED if binds.retry_after_s is None else QUOTA_EXCEEDED,
        sentence(binds),
        retry_after_s=binds.retry_after_s,
        standings=standings,
        violated=against,
        binding=binds,
    )


def _bare(standing: Standing) -> str:
    """Returns the detail of a refusal by a limit that the caller may not see."""
    policy = standing.limit.policy
    if standing.retry_after_s is None:
        return (
            f"The limit `{policy}` of this application is used up."
            " Waiting does not help: the limit has to be raised."
        )
    return (
        f"The limit `{policy}` of this application does not allow this now."
        f" Try again in {standing.retry_after_s} s."
    )


def sentence(standing: Standing) -> str:
    """Returns what a limit that refuses allows, what is used of it, and when to try again."""
    window = standing.limit.metric.window
    match window:
        case Window.MINUTE:
            return f"{_rate(standing)} {_when(standing)}"
        case Window.NOW:
            if standing.limit.metric.unit is Unit.BYTES:
                return f"{_kept(standing)} {_when(standing)}"
            return f"{_in_flight(standing)} {_when(standing)}"
        case Window.DAY | Window.MONTH | Window.TOTAL:
            return f"{_sum(standing)} {_when(standing)}"
        case _:
            assert_never(window)


def _rate(standing: Standing) -> str:
    limit = standing.limit
    burst = limit.burst or standing.amount
    at_once = f", at most {burst} at once" if burst != standing.amount else ""
    allowed = _amount(standing, standing.amount)
    what = f"{allowed}{_of_model(standing)} {_span(limit.metric.window)}{at_once}"
    return f"{_holder(standing)} may make {what} (`{limit.policy}`)."


def _in_flight(standing: Standing) -> str:
    limit = standing.limit
    allowed = _amount(standing, standing.amount)
    return (
        f"{_holder(standing)} may have {allowed}{_of_model(standing)} in flight {_span(limit.metric.window)}"
        f" (`{limit.policy}`), and has {standing.held}."
    )


def _kept(standing: Standing) -> str:
    held, wanted = _amount(standing, standing.held), _amount(standing, standing.wanted)
    return (
        f"{_holder(standing)} may keep {_amount(standing, standing.amount)} of files"
        f" (`{standing.limit.policy}`), and keeps {held}; this file has {wanted}."
    )


def _sum(standing: Standing) -> str:
    spent, held, left, wanted, debt = (
        _amount(standing, value)
        for value in (
            standing.spent,
            standing.held,
            standing.remaining,
            standing.wanted,
            standing.overdrawn,
        )
    )
    used = f"{spent} spent, {held} held for requests under way"
    if standing.overdrawn:
        for_model = _of_model(standing).replace(" of ", " for ")
        return (
            f"{_holder(standing)}'s balance{for_model} (`{standing.limit.policy}`) is overdrawn by {debt}:"
            f" {used}; this request needs {wanted}."
        )
    if standing.undeclared:
        return f"{_allowance(standing)}, but this model's file does not declare output_seconds."
    return f"{_allowance(standing)}: {used}, {left} left; this request needs {wanted}."


def _allowance(standing: Standing) -> str:
    metric = standing.limit.metric
    of_output = " of output" if metric.unit is Unit.OUTPUT_SECONDS else ""
    allowed = f"{_amount(standing, standing.amount)}{of_output}{_of_model(standing)}"
    return f"{_holder(standing)} may spend {allowed} {_span(metric.window)} (`{standing.limit.policy}`)"


def _holder(standing: Standing) -> str:
    return _HOLDERS[standing.limit.scope.holder]


def _of_model(standing: Standing) -> str:
    model_id = standing.limit.scope.model_id
    return f" of {model_id}" if model_id else ""


def _span(window: Window) -> str:
    match window:
        case Window.MINUTE:
            return "a minute"
        case Window.NOW:
            return "at a time"
        case Window.DAY:
            return "a day"
        case Window.MONTH:
            return "a month"
        case Window.TOTAL:
            return "in all"
        case _:
            assert_never(window)


def _when(standing: Standing) -> str:
    if standing.retry_after_s is None:
        return _never(standing)
    if standing.waits_for_override:
        return f"It is a temporary limit, which ends at {iso(standing.limit.until_ms or 0)}: try again then."
    window = standing.limit.metric.window
    match window:
        case Window.MINUTE:
            return f"Try again in {standing.retry_after_s} s."
        case Window.NOW:
            return (
                f"Try again when one of them has ended (`GET /v1/requests` lists them),"
                f" or in {standing.retry_after_s} s."
            )
        case Window.DAY | Window.MONTH | Window.TOTAL:
            return f"The limit resets at {iso(standing.resets_at_ms or 0)}, in {standing.retry_after_s} s."
        case _:
            assert_never(window)


def _never(standing: Standing) -> str:
    if standing.undeclared:
        return "Waiting does not help: the operator has to declare them."
    if standing.limit.metric is Metric.STORED_BYTES and standing.wanted <= standing.amount:
        own = "this is the token's whole budget" if standing.limit.scope.token_id else "delete some first"
        return f"Waiting does not help: {own}, or have the limit raised."
    can_come_back = standing.held and standing.wanted <= standing.amount - standing.spent
    back = " unless held amounts are refunded" if can_come_back else ""
    if standing.limit.scope.token_id:
        return f"Waiting does not help{back}: this is the token's whole budget."
    if standing.limit.metric is Metric.CREDITS_TOTAL and not standing.limit.scope.end_user:
        missing = _amount(standing, standing.wanted - standing.remaining + standing.overdrawn)
        return f"Waiting does not help{back}: top up the balance, or raise the limit, by at least {missing}."
    if standing.wanted > standing.amount:
        fits_never = "This request alone exceeds the limit" if standing.amount > 0 else "The limit is 0"
        return f"{fits_never}: waiting does not help."
    return f"Waiting does not help{back}: the limit has to be raised."


def _amount(standing: Standing, value: int) -> str:
    unit = standing.limit.metric.unit
    match unit:
        case Unit.MICROCREDITS:
            return "1 credit" if value == MICROCREDITS else f"{credits_text(value)} credits"
        case Unit.OUTPUT_SECONDS:
            return "1 second" if value == 1 else f"{value} seconds"
        case Unit.BYTES:
            return "1 byte" if value == 1 else f"{value:,} bytes"
        case Unit.GENERATIONS | Unit.SUBMITS | Unit.REQUESTS | Unit.READS | Unit.CALLS | Unit.TOKENS:
            return f"{value} {unit.removesuffix('s')}" if value == 1 else f"{value} {unit}"
        case _:
            assert_never(unit)
