"""Thresholds: percentages of a budget or balance that a submit crosses upward. Pure.

A budget is a limit on what is summed: in a day, in a month, or in all. Of each, a threshold is crossed once
in a window, which ends with the day or month, and when the amount changes: by another limit, a temporary
override, a top-up of a balance, or an adjustment.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.quotas.limits import Limit
from app.quotas.metrics import Metric, Window
from app.quotas.standing import Account, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A threshold that was crossed: of which limit, in which window, and how much of it is used now."""

    limit: Limit
    window: str
    percent: int
    amount: int
    used: int


def crossed(before: Account, after: Account, percentages: Sequence[int]) -> Iterator[Crossing]:
    """Yields the thresholds that lie between two states of an account, in the order of its limits.

    The budgets of client tokens have none: such a token lives an hour at most.
    """
    for limit in after.limits:
        window = limit.metric.window
        if limit.amount is None or limit.scope.token_id or window in {Window.MINUTE, Window.NOW}:
            continue
        label = after.periods.of(window).label
        was, now = (one.usage.get((limit.scope, label), Usage()) for one in (before, after))
        unit = limit.metric.unit
        amount = limit.amount + (now.added_microcredits if limit.metric is Metric.CREDITS_TOTAL else 0)
        if amount <= 0:
            continue
        used_before, used = (one.held.of(unit) + one.spent.of(unit) for one in (was, now))
        for percent in percentages:
            if used_before * 100 < percent * amount <= used * 100:
                yield Crossing(
                    limit=limit,
                    window=f"{label}:{amount}",
                    percent=percent,
                    amount=amount,
                    used=used,
                )
