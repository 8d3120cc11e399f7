"""The money of all tenants together, for the metrics: read from the rows, never remembered by a process."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection, and_, func, select

from app.db.schema.tables import quota_usage, tenants, usage_counts
from app.quotas.sums.rollups import Facet, day_number
from app.quotas.sums.usage import COST_DAYS, below_cost

_MICRO: Final = 1_000_000


class Recent(NamedTuple):
    """What was entered lately: credits, and RunComfy's cost in dollars."""

    held: float
    spent: float
    refunded: float
    adjusted: float
    cost_usd: float

    @property
    def margin_usd(self) -> float:
        """What was charged, at one dollar a credit, less the cost. An adjustment adds to a balance."""
        return self.spent - self.adjusted - self.cost_usd


@dataclass(frozen=True, slots=True)
class Money:
    """By mode: the credits that are held now, those ever spent, and what was entered lately.

    `below_cost` is the number of models that were charged less than their jobs cost.
    """

    held: Mapping[str, float]
    spent: Mapping[str, float]
    recent: Mapping[str, Recent]
    below_cost: int


def money(connection: Connection, *, now_ms: int) -> Money:
    """Returns the sums: two look-ups for each tenant, and the roll-ups of a week's days."""
    usage, counts = quota_usage.c, usage_counts.c
    of_tenant = and_(
        usage.tenant_id == tenants.c.id,
        usage.mode.in_(("live", "test")),
        usage.kid == "",
        usage.model_id == "",
        usage.end_user == "",
        usage.period == "total",
    )
    totals = (
        select(usage.mode, func.sum(usage.held_microcredits), func.sum(usage.spent_microcredits))
        .select_from(tenants.join(quota_usage, of_tenant))
        .group_by(usage.mode)
    )
    standing = {mode: (int(held), int(spent)) for mode, held, spent in connection.execute(totals)}
    first = datetime.fromtimestamp(now_ms / 1000, UTC).date() - timedelta(days=COST_DAYS)
    entered = (
        select(
            counts.mode,
            func.sum(counts.held_microcredits),
            func.sum(counts.spent_microcredits),
            func.sum(counts.refunded_microcredits),
            func.sum(counts.adjusted_microcredits),
            func.sum(counts.cost_microusd),
        )
        .where(
            counts.mode.in_(("live", "test")),
            counts.facet == Facet.DAY,
            counts.period >= day_number(first.year, first.month, first.day),
            # adjustments of no request are not of its price
            counts.outcome != "",
        )
        .group_by(counts.mode)
    )
    return Money(
        held={mode: held / _MICRO for mode, (held, _) in standing.items()},
        spent={mode: spent / _MICRO for mode, (_, spent) in standing.items()},
        recent={
            mode: Recent(*(int(one) / _MICRO for one in sums)) for mode, *sums in connection.execute(entered)
        },
        below_cost=len(below_cost(connection, now_ms=now_ms)),
    )
