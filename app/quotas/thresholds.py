"""Thresholds: percentages of a budget or balance that a submit crosses upward. Pure.

A budget is a limit on what is summed: in a day, in a month, or in all. Of each, a threshold is crossed once
in a window, which ends with the day or month, and when the amount changes: by another limit, a temporary
override, a top-up of a balance, or an adjustment.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.quotas.limits import Limit
from app.quotas.standing import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A threshold that was crossed: of which limit, in which window, and how much of it is used now."""

    limit: Limit
    window: str
    percent: int
    amount: int
    used: int


def crossed(
    before: Sequence[Standing], after: Sequence[Standing], percentages: Sequence[int]
) -> Iterator[Crossing]:
    """Yields the thresholds that lie between two states of the same limits, in their order.

    The budgets of client tokens have none: such a token lives an hour at most.
    """
    for was, now in zip(before, after, strict=True):
        limit, amount = now.limit, now.amount
        if now.period is None or limit.scope.token_id or amount <= 0:
            continue
        used_before, used = was.held + was.spent, now.held + now.spent
        for percent in percentages:
            if used_before * 100 < percent * amount <= used * 100:
                yield Crossing(
                    limit=limit,
                    window=f"{now.period}:{amount}",
                    percent=percent,
                    amount=amount,
                    used=used,
                )
