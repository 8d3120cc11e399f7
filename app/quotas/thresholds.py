"""Thresholds: percentages of a budget or balance that a submit crosses upward. Pure.

A budget is a limit on what is summed: in a day, in a month, or in all. Of each, a threshold is crossed once
in a window. The window of what is summed in all lasts until its amount changes: by a top-up of a balance, an
adjustment, or another limit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

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
                    window=_name(window, label, amount),
                    percent=percent,
                    amount=amount,
                    used=used,
                )


def _name(window: Window, label: str, amount: int) -> str:
    match window:
        case Window.DAY | Window.MONTH | Window.MINUTE | Window.NOW:
            return label
        case Window.TOTAL:
            return f"{label}:{amount}"
        case _:
            assert_never(window)
