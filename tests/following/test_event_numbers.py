"""Numbers of events: 1, 2, 3 … for each tenant and kind of key, however many are written at once."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, update

from app.auth.keys import Mode
from app.db.engines.engine import Database, open_database
from app.db.schema.tables import generations
from app.generations import events as event_rows
from app.generations import store
from app.generations.advance import advance, begin
from app.generations.events import Event
from app.generations.following.watch import Tail
from app.generations.lifecycle import State
from app.generations.store import Generation
from app.kit.ids import new_id
from app.quotas import limits
from app.quotas.amounts import Amounts
from tests.rows import NOW_MS, add_owner, generation_in, generations_in, row_of

pytestmark = pytest.mark.anyio

EVERYTHING = 100_000


async def _numbers(db: Database, tenant_id: str, mode: Mode = "test") -> list[int]:
    events = await db.read(event_rows.after, tenant_id, mode, 0, limit=EVERYTHING)
    return [one.number for one in events]


async def _assert_counted(db: Database, tenant_id: str, count: int, mode: Mode = "test") -> None:
    assert await _numbers(db, tenant_id, mode) == list(range(1, count + 1))
    assert await db.read(event_rows.last_number, tenant_id, mode) == count


async def test_many_advances_at_once_on_several_connections_number_without_a_gap(
    db: Database, database_url: str
) -> None:
    made = [
        *await generations_in(
            db, [{"state": State.IN_QUEUE, "upstream_request_id": f"a-{n}"} for n in range(30)]
        ),
        *await generations_in(
            db, [{"state": State.IN_QUEUE, "upstream_request_id": f"b-{n}"} for n in range(30)]
        ),
    ]
    other = open_database(database_url)
    try:
        steps = (State.IN_PROGRESS, State.COMPLETED, State.FAILED)
        moved = await asyncio.gather(
            *(
                each.write(advance, one.id, to, reason="race", now_ms=NOW_MS + 1)
                for to in steps
                for one in made
                for each in (db, other)
            )
        )
    finally:
        await other.close()
    won = [one for one in moved if one is not None]
    for tenant_id in {one.tenant_id for one in made}:
        count = 30 + sum(one.tenant_id == tenant_id for one in won)
        assert count > 60
        await _assert_counted(db, tenant_id, count)


async def test_who_reads_while_others_write_never_sees_a_number_before_its_predecessor(
    db: Database, database_url: str
) -> None:
    """A stream goes on after the last number it saw: what came later with a smaller one would be lost."""
    made = await generations_in(
        db, [{"state": State.IN_QUEUE, "upstream_request_id": f"u-{n}"} for n in range(40)]
    )
    tenant_id, other = made[0].tenant_id, open_database(database_url)
    seen: list[int] = []

    async def follow() -> None:
        while len(seen) < 80:
            last = seen[-1] if seen else 0
            seen.extend(
                one.number for one in await db.read(event_rows.after, tenant_id, "test", last, limit=7)
            )
            await asyncio.sleep(0)

    try:
        follower = asyncio.create_task(follow())
        await asyncio.gather(
            *(
                each.write(advance, one.id, State.COMPLETED, reason="race", now_ms=NOW_MS)
                for one in made
                for each in (db, other)
            )
        )
        await follower
    finally:
        await other.close()
    assert seen == list(range(1, 81))


async def test_what_is_rolled_back_leaves_no_gap(db: Database) -> None:
    one = await generation_in(db, State.IN_QUEUE, upstream_request_id="u-1")

    def advance_then_fail(connection: Connection) -> None:
        assert advance(connection, one.id, State.IN_PROGRESS, reason="x", now_ms=NOW_MS)
        raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await db.write(advance_then_fail)
    await db.write(advance, one.id, State.COMPLETED, reason="x", now_ms=NOW_MS)
    await _assert_counted(db, one.tenant_id, 2)


async def test_a_lost_race_takes_no_number(db: Database) -> None:
    one = await generation_in(db, State.IN_QUEUE, upstream_request_id="u-1")
    for to in (State.COMPLETED, State.FAILED, State.IN_QUEUE, State.COMPLETED):
        await db.write(advance, one.id, to, reason="x", now_ms=NOW_MS)
    await _assert_counted(db, one.tenant_id, 2)


async def _after(
    db: Database, tenant_id: str, number: int, mode: Mode = "test", *, limit: int
) -> list[Event]:
    """Events of a tenant that crosses no threshold."""
    found = await db.read(event_rows.after, tenant_id, mode, number, limit=limit)
    return [one for one in found if isinstance(one, Event)]


async def test_a_page_begins_after_a_number_and_pages_joined_are_everything(db: Database) -> None:
    made = await generations_in(
        db, [{"state": State.IN_QUEUE, "upstream_request_id": f"u-{n}"} for n in range(5)]
    )
    for one in made:
        await db.write(advance, one.id, State.COMPLETED, reason="done", now_ms=NOW_MS + 7)
    tenant_id = made[0].tenant_id
    everything = await _after(db, tenant_id, 0, limit=EVERYTHING)
    assert [one.number for one in everything] == list(range(1, 11))
    assert [one.generation_id for one in everything] == [one.id for one in made] * 2
    assert {(one.state, one.version, one.reason, one.at_ms) for one in everything[5:]} == {
        (State.COMPLETED, 2, "done", NOW_MS + 7)
    }
    for size in (1, 3, 10, 11):
        joined: list[Event] = []
        while page := await _after(db, tenant_id, joined[-1].number if joined else 0, limit=size):
            assert len(page) <= size
            joined += page
        assert joined == everything
    assert await _after(db, tenant_id, 10, limit=5) == []


async def test_a_requests_own_events_have_the_same_numbers(db: Database) -> None:
    made = await generations_in(
        db, [{"state": State.IN_QUEUE, "upstream_request_id": f"u-{n}"} for n in range(3)]
    )
    for one in reversed(made):
        await db.write(advance, one.id, State.COMPLETED, reason="x", now_ms=NOW_MS)
    numbers = [[one.number for one in await db.read(event_rows.of_generation, each.id)] for each in made]
    assert numbers == [[1, 6], [2, 5], [3, 4]]


async def test_tenants_and_kinds_of_key_count_apart(db: Database) -> None:
    one, other = await db.write(add_owner), await db.write(add_owner)
    kinds: list[tuple[tuple[str, str], Mode]] = [(one, "test"), (one, "live"), (other, "test"), (one, "live")]
    made = [await db.write(_bare, owner, mode) for owner, mode in kinds for _ in range(3)]
    await asyncio.gather(
        *(db.write(advance, each.id, State.LOST, reason="x", now_ms=NOW_MS) for each in made[::-1])
    )
    counts: dict[tuple[str, Mode], int] = {
        (one[0], "test"): 6,
        (one[0], "live"): 12,
        (other[0], "test"): 6,
        (other[0], "live"): 0,
    }
    for (tenant_id, mode), count in counts.items():
        await _assert_counted(db, tenant_id, count, mode)
        events = await _after(db, tenant_id, 0, mode, limit=EVERYTHING)
        for event in events:
            found = await row_of(db, event.generation_id)
            assert (found.tenant_id, found.mode) == (tenant_id, mode)


def _bare(connection: Connection, owner: tuple[str, str], mode: Mode) -> Generation:
    """A live or a test generation that holds nothing."""
    tenant_id, kid = owner
    intent = store.SubmitIntent(
        generation_id=new_id(NOW_MS),
        tenant_id=tenant_id,
        kid=kid,
        payer=limits.Payer(kid),
        mode=mode,
        model_id="a/b",
        input_json=b"{}",
        amounts=Amounts(generations=1, microcredits=0, output_seconds=0),
        price_version="1",
        settles_in="",
        trace_id="0" * 32,
        choices=(),
    )
    made = begin(
        connection,
        intent,
        state=State.IN_QUEUE,
        credential="c",
        quota_day="2026-09-21",
        now_ms=NOW_MS,
        lease_until_ms=None,
    )
    connection.execute(update(generations).where(generations.c.id == made.id).values(charge=None))
    return made


# --- what is kept in memory of them


def _events(numbers: Sequence[int]) -> tuple[Event, ...]:
    return tuple(
        Event(version=1, state=State.IN_QUEUE, at_ms=NOW_MS, reason="x", generation_id="g", number=number)
        for number in numbers
    )


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 60))
def test_memory_answers_with_every_later_event_or_says_that_it_cannot(
    first: int, kept: int, seen: int
) -> None:
    last = first + kept
    tail = Tail(last, _events(range(first + 1, last + 1)))
    found = tail.after(seen)
    if seen >= last:
        assert not found
        assert found is not None
    elif seen < first:
        assert found is None, "what is not kept here is in the rows"
    else:
        assert found is not None
        assert [one.number for one in found] == list(range(seen + 1, last + 1))
