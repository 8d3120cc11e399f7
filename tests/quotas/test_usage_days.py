"""Finished days are summed, of all tenants and by month; sums go back with the clock, and are verified."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Connection, Table, delete, func, select, update

from app.admin.amounts.usage import count_refused
from app.admin.verifying.verify_usage import wrong_roll_ups
from app.db.engines.engine import Database
from app.db.schema.tables import usage_counts, usage_days, usage_months
from app.errors import DATABASE_UNAVAILABLE, Problem
from app.quotas.limits import Payer
from app.quotas.sums import rollups, usage, usage_sums
from app.quotas.sums.rollups import bucket_of
from app.quotas.sums.usage import Group, Question, Step, Zone
from app.quotas.sums.usage_sums import sum_next, summed_until
from tests.harness import World
from tests.rows import NOW_MS, add_owner

pytestmark = pytest.mark.anyio
DAY_MS = 86_400_000


def _count(connection: Connection, owners: list[tuple[str, str]], at_ms: int) -> None:
    for tenant_id, kid in owners:
        rollups.count(
            connection, tenant_id, "live", Payer(kid, "ann", "token"), "a/b", outcome="submitted", zone=UTC,
            at_ms=at_ms, held_generations=1, held_microcredits=5,
        )  # fmt: skip


def _sum(connection: Connection, now_ms: int) -> int:
    """Sums what is due, and returns until when."""
    while sum_next(connection, now_ms=now_ms):
        pass
    return summed_until(connection)


DAYS = Question(tenant_id=None, mode="live", first=date(2026, 9, 1), last=date(2026, 12, 31), by=Step.DAY)
MONTHS = replace(DAYS, by=Step.MONTH, groups=(Group.TENANT,))
ALL = Zone("UTC", UTC)


def _held(connection: Connection, *questions: Question) -> list[int]:
    """What all tenants held, by day; these questions are answered as by the tenants' own days."""
    for question in (DAYS, MONTHS, *questions):
        told = usage.answer(connection, question, ALL, after=None, limit=100)
        own = usage.rows(connection, question, UTC, after=None, limit=100)  # nothing is said to be summed
        assert list(told.rows) == own
        assert told.total["held_microcredits"] == sum(one.counts["held_microcredits"] for one in own)
    found = usage.answer(connection, DAYS, ALL, after=None, limit=100).rows
    return [one.counts["held_microcredits"] for one in found]


async def test_usage_is_the_same_whatever_is_summed_already(db: Database) -> None:
    def check(connection: Connection) -> None:
        owners = [add_owner(connection), add_owner(connection)]
        for day in (0, 4, 9, 11):
            _count(connection, owners, NOW_MS + day * DAY_MS)
        assert summed_until(connection) == 0
        assert _held(connection) == [10, 10, 10, 10]
        first = _sum(connection, NOW_MS + 11 * DAY_MS)
        assert len(connection.execute(select(usage_days)).all()) == 2, "the last days are not over yet"
        assert _held(connection) == [10, 10, 10, 10]
        assert _sum(connection, NOW_MS + 14 * DAY_MS) > first
        assert len(connection.execute(select(usage_months)).all()) == 2 * 2, "a row of each month of a tenant"
        some = (
            replace(MONTHS, first=date(2026, 9, 21), last=date(2026, 10, 2)),
            replace(MONTHS, last=date(2026, 10, 31)),
            replace(MONTHS, tenant_id=owners[0][0], groups=(Group.END_USER,)),
            replace(MONTHS, tenant_id=owners[0][0], groups=(Group.TOKEN,)),
            replace(MONTHS, groups=(), only={Group.END_USER: "ann"}),
        )
        assert _held(connection, *some) == [10, 10, 10, 10]
        # The clock is set back: days that are not over now are read from the rows again.
        assert _sum(connection, NOW_MS + 6 * DAY_MS) < first
        _count(connection, owners, NOW_MS + 4 * DAY_MS)
        assert _held(connection) == [10, 20, 10, 10]
        _sum(connection, NOW_MS + 20 * DAY_MS)
        assert _held(connection) == [10, 20, 10, 10]

    await db.write(check)


async def test_pages_of_usage_by_day_and_by_month_have_each_row_once(db: Database) -> None:
    def check(connection: Connection) -> None:
        owners = [add_owner(connection), add_owner(connection)]
        for day in (0, 1, 2, 40):  # the third is read with those after it
            _count(connection, owners, NOW_MS + day * DAY_MS)
        _sum(connection, NOW_MS + 9 * DAY_MS)
        for question in (replace(DAYS, first=date(2026, 9, 21), groups=(Group.TENANT,)), MONTHS):
            whole = usage.answer(connection, question, ALL, after=None, limit=100).rows
            paged = [usage.answer(connection, question, ALL, after=None, limit=3)]
            while paged[-1].has_more:
                after = paged[-1].rows[-1].key
                paged.append(usage.answer(connection, question, ALL, after=after, limit=3))
            assert [row for page in paged for row in page.rows] == list(whole)
            assert len(whole) == (8 if question.by is Step.DAY else 4)

    await db.write(check)


@pytest.mark.parametrize("table", [usage_days, usage_months])
async def test_a_sum_that_is_not_that_of_the_tenants_days_is_named(db: Database, table: Table) -> None:
    def check(connection: Connection) -> None:
        _count(connection, [add_owner(connection)], NOW_MS)
        _sum(connection, NOW_MS + 9 * DAY_MS)

        def wrong() -> list[str]:
            return [place for place, _ in wrong_roll_ups(connection) if place.startswith("* ")]

        assert wrong() == []
        connection.execute(update(table).values(held_microcredits=6))
        assert len(wrong()) == len(connection.execute(select(table)).all())
        connection.execute(delete(table))
        assert wrong()

    await db.write(check)


async def test_calls_that_are_counted_days_later_are_in_days_that_are_not_summed_yet(db: Database) -> None:
    def check(connection: Connection) -> None:
        tenant_id, kid = add_owner(connection)
        _sum(connection, NOW_MS)
        row = {
            "tenant_id": tenant_id,
            "kid": kid,
            "mode": "live",
            "minute_ms": NOW_MS - 9 * DAY_MS,
            "count": 3,
        }
        count_refused(connection, [row], NOW_MS)
        question = Question(
            tenant_id=None, mode="live", first=date(2026, 1, 1), last=date(2026, 12, 31), by=Step.MONTH
        )
        found = [usage.answer(connection, question, Zone("UTC", UTC), after=None, limit=9)]
        found.append(
            usage.answer(connection, replace(question, by=Step.DAY), Zone("UTC", UTC), after=None, limit=9)
        )
        assert [one.total["refused_calls"] for one in found] == [3, 3]

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


async def test_a_day_that_cannot_be_summed_keeps_nothing_from_being_removed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.submitted("queued")
    hours = select(func.count()).where(usage_counts.c.facet == rollups.Facet.HOUR)
    read = world.gateway.db.read
    assert await read(lambda connection: connection.scalar(hours))
    world.clock.advance(2_000 * DAY_MS / 1000)

    def failing(_: Connection, **__: int) -> bool:
        raise Problem(DATABASE_UNAVAILABLE, "statement timeout")

    monkeypatch.setattr(usage_sums, "sum_next", failing)
    with pytest.raises(Problem):
        await world.gateway.upkeep.retention.run_once()
    assert await read(lambda connection: connection.scalar(hours)) == 0


async def test_what_was_counted_in_a_summed_day_is_in_its_month_a_day_later(world: World) -> None:
    """A server whose clock is days behind may count there, however short it lasts."""
    write, read = world.gateway.db.write, world.gateway.db.read
    retention = world.gateway.upkeep.retention
    owners = [await write(add_owner)]
    now_ms = int(datetime(2027, 1, 5, 12, tzinfo=UTC).timestamp() * 1000)
    world.clock.advance((now_ms - world.clock.now_ms()) / 1000)
    question = replace(MONTHS, first=date(2026, 12, 1), last=date(2027, 1, 31), groups=())

    def held(connection: Connection) -> list[int]:
        found = usage.answer(connection, question, ALL, after=None, limit=9)
        return [one.counts["held_microcredits"] for one in found.rows]

    await write(_count, owners, now_ms - 20 * DAY_MS)
    await write(_count, owners, now_ms - 4 * DAY_MS)
    await retention.run_once()
    for behind in (20, 4):
        await write(_count, owners, now_ms - behind * DAY_MS)
    assert await read(held) == [5, 5], "they are not in the sums yet"
    world.clock.advance(DAY_MS / 1000)
    await retention.run_once()
    assert await read(held) == [10, 10]
    await retention.run_once()
    assert await read(held) == [10, 10]
    assert await read(usage_sums.first_wrong_month) is None
    assert await read(summed_until) == 20_270_103
