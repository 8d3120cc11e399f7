"""Days of all tenants together: summed once they are over, set back with the clock, and verified."""

from datetime import UTC, date

import pytest
from sqlalchemy import Connection, select, update

from app.admin.verify_usage import wrong_roll_ups
from app.db.engine import Database
from app.db.tables import usage_days
from app.quotas import rollups, usage
from app.quotas.limits import Payer
from app.quotas.rollups import bucket_of
from app.quotas.usage import Group, Question, Step, Zone
from app.quotas.usage_days import sum_next, summed_until
from tests.harness import World
from tests.rows import NOW_MS, add_owner

pytestmark = pytest.mark.anyio
DAY_MS = 86_400_000


def _count(connection: Connection, owners: list[tuple[str, str]], at_ms: int) -> None:
    for tenant_id, kid in owners:
        rollups.count(
            connection, tenant_id, "live", Payer(kid), "a/b", outcome="submitted", zone=UTC, at_ms=at_ms,
            held_generations=1, held_microcredits=5,
        )  # fmt: skip


def _sum(connection: Connection, now_ms: int) -> int:
    """Sums what is due, and returns until when."""
    while sum_next(connection, now_ms=now_ms):
        pass
    return summed_until(connection)


def _held(connection: Connection) -> list[int]:
    """What all tenants held, by day; as it is told, which is also the sum of the tenants' own."""
    question = Question(
        tenant_id=None,
        mode="live",
        first=date(2000, 1, 1),
        last=date(2099, 1, 1),
        by=Step.DAY,
        groups=(Group.MODEL,),
    )
    told = usage.answer(connection, question, Zone("UTC", UTC), after=None, limit=100)
    own = usage.rows(connection, question, UTC, after=None, limit=100)  # nothing is said to be summed
    assert list(told.rows) == own
    assert told.total["held_microcredits"] == sum(one.counts["held_microcredits"] for one in own)
    return [one.counts["held_microcredits"] for one in own]


async def test_usage_of_all_tenants_is_the_same_whatever_is_summed_already(db: Database) -> None:
    def check(connection: Connection) -> None:
        owners = [add_owner(connection), add_owner(connection)]
        for day in (0, 4, 9):
            _count(connection, owners, NOW_MS + day * DAY_MS)
        assert summed_until(connection) == 0
        assert _held(connection) == [10, 10, 10]
        first = _sum(connection, NOW_MS + 9 * DAY_MS)
        assert len(connection.execute(select(usage_days)).all()) == 2, "the last day is not over yet"
        assert _held(connection) == [10, 10, 10]
        _count(connection, owners, NOW_MS + 4 * DAY_MS)  # late, while its day is summed again
        assert _sum(connection, NOW_MS + 12 * DAY_MS) > first
        assert _held(connection) == [10, 20, 10]
        # The clock is set back: what is counted now is in no sum, and the days are read from the rows again.
        assert _sum(connection, NOW_MS + 4 * DAY_MS) < first
        _count(connection, owners, NOW_MS + 4 * DAY_MS)
        assert _held(connection) == [10, 30, 10]
        _sum(connection, NOW_MS + 20 * DAY_MS)
        assert _held(connection) == [10, 30, 10]

    await db.write(check)


async def test_a_day_that_is_not_the_sum_of_the_tenants_days_is_named(db: Database) -> None:
    def check(connection: Connection) -> None:
        _count(connection, [add_owner(connection)], NOW_MS)
        _sum(connection, NOW_MS + 9 * DAY_MS)

        def wrong() -> list[str]:
            return [place for place, _ in wrong_roll_ups(connection) if "of all tenants" in place]

        assert wrong() == []
        connection.execute(update(usage_days).values(held_microcredits=6))
        assert len(wrong()) == 1

    await db.write(check)


async def test_upkeep_sums_each_day_of_all_tenants_once_it_is_over(world: World) -> None:
    await world.submitted("queued")
    day = bucket_of(world.clock.now_ms(), UTC).day
    retention, read = world.gateway.upkeep.retention, world.gateway.db.read
    await retention.run_once()
    assert await read(summed_until) < day
    world.clock.advance(4 * DAY_MS / 1000)
    await retention.run_once()
    assert await read(summed_until) >= day
    held = select(usage_days.c.held_generations).where(usage_days.c.period == day)
    assert await read(lambda connection: connection.scalars(held).all()) == [1]
