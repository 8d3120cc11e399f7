"""The right to look at a job: one holder at a time, found again when its holder is gone."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Connection

from app.db.engines.engine import Database, open_database
from app.generations import leases
from app.generations.advance import FIRST_POLL_MS, Patience, advance, apply_observation
from app.generations.following.poll_buffer import PollBuffer
from app.generations.lifecycle import FOLLOWABLE, TERMINAL, State
from app.generations.store import Generation
from app.kit.tasks import Tasks
from app.upstream.outcomes import Observation, Seen
from tests.rows import NOW_MS, generation_in, generations_in, row_of

pytestmark = pytest.mark.anyio

LEASE_MS = 15_000
UNTIL_MS = NOW_MS + LEASE_MS


def live(number: int = 0, **columns: Any) -> dict[str, Any]:
    """What a live row needs, due a second ago."""
    return {
        "state": State.IN_QUEUE,
        "upstream_request_id": f"u-{number}",
        "next_poll_at_ms": NOW_MS - 1000,
        **columns,
    }


async def _claim_due(
    db: Database, limit: int = 100, *, credential: str = "sandbox", now_ms: int = NOW_MS
) -> list[Generation]:
    return await db.write(
        leases.claim_due, credential, now_ms=now_ms, lease_until_ms=now_ms + LEASE_MS, limit=limit
    )


async def _claim(db: Database, one: Generation, **how: int) -> Generation | None:
    now_ms = how.get("now_ms", NOW_MS)
    chosen = {"now_ms": now_ms, "lease_until_ms": now_ms + LEASE_MS, "max_lease_ms": LEASE_MS} | how
    return await db.write(leases.claim, one.id, **({"polled_before_ms": now_ms} | chosen))


def _ids(found: list[Generation]) -> list[str]:
    return [one.id for one in found]


# --- whatever is due


async def test_each_due_row_is_given_to_one_of_many_claimers_at_once(db: Database, database_url: str) -> None:
    made = await generations_in(db, [live(number) for number in range(60)])
    other = open_database(database_url)
    try:
        claims = [_claim_due(one, 4) for _ in range(15) for one in (db, other)]
        found = [_ids(one) for one in await asyncio.gather(*claims)]
        claimed = Counter(one for batch in found for one in batch)
        assert max(map(len, found)) <= 4
        assert set(claimed.values()) == {1}
        while rest := await _claim_due(db, 4):  # a claimer may have gone by what another one held
            claimed.update(_ids(rest))
        assert claimed == Counter(_ids(made))
    finally:
        await other.close()


async def test_what_is_due_for_the_longest_comes_first(db: Database) -> None:
    late_ms = [(number * 7) % 10 for number in range(10)]
    made = await generations_in(
        db, [live(number, next_poll_at_ms=NOW_MS - one_ms) for number, one_ms in enumerate(late_ms)]
    )
    late_by_id = {one.id: one_ms for one, one_ms in zip(made, late_ms, strict=True)}
    for wanted in ([9, 8, 7], [6, 5, 4], [3, 2, 1], [0], []):
        batch = await _claim_due(db, 3)
        assert sorted((late_by_id[one.id] for one in batch), reverse=True) == wanted


async def test_what_is_not_due_is_left_alone(db: Database) -> None:
    made = await generations_in(
        db, [live(number, next_poll_at_ms=NOW_MS + number - 1) for number in range(3)]
    )
    assert set(_ids(await _claim_due(db))) == {made[0].id, made[1].id}
    assert (await row_of(db, made[2].id)).next_poll_at_ms == NOW_MS + 1


async def test_a_credentials_rows_are_claimed_with_its_name_alone(db: Database) -> None:
    made = await generations_in(
        db, [live(number, credential=name) for number, name in enumerate(("sandbox", "one", "two", "one"))]
    )
    assert set(_ids(await _claim_due(db, credential="one"))) == {made[1].id, made[3].id}
    assert _ids(await _claim_due(db, credential="two")) == [made[2].id]
    assert await _claim_due(db, credential="none") == []
    assert await db.read(leases.live_by_credential) == {
        "sandbox": (1, NOW_MS - 1000),
        "one": (2, UNTIL_MS),
        "two": (1, UNTIL_MS),
    }


async def test_only_what_the_upstream_can_be_asked_about_is_claimed(db: Database) -> None:
    made = await generations_in(db, [live(number, state=state) for number, state in enumerate(State)])
    claimed = await _claim_due(db)
    assert set(_ids(claimed)) == {one.id for one in made if one.state in FOLLOWABLE}
    for one in made:
        if one.state not in FOLLOWABLE:
            assert await _claim(db, one) is None
            assert (
                await db.write(leases.record_poll, leases.PollRecord(one.id, one.version, NOW_MS, NOW_MS))
                is None
            )
            before = await row_of(db, one.id)
            await db.write(leases.release, one.id, now_ms=NOW_MS)
            assert await row_of(db, one.id) == before


async def test_a_lease_is_held_until_it_ends_and_then_anybodys(db: Database) -> None:
    one = await generation_in(db, **live())
    assert _ids(await _claim_due(db)) == [one.id]
    leased = await row_of(db, one.id)
    assert (leased.lease_until_ms, leased.next_poll_at_ms) == (UNTIL_MS, UNTIL_MS)
    for now_ms in (NOW_MS, UNTIL_MS - 1):
        assert await _claim_due(db, now_ms=now_ms) == []
        assert await _claim(db, one, now_ms=now_ms) is None
    assert _ids(await _claim_due(db, now_ms=UNTIL_MS)) == [one.id]
    assert await _claim_due(db, now_ms=UNTIL_MS) == []


async def test_a_claim_neither_changes_the_state_nor_makes_an_event(db: Database) -> None:
    one = await generation_in(db, **live())
    [claimed] = await _claim_due(db)
    assert (claimed.state, claimed.version, claimed.changed_at_ms) == (
        one.state,
        one.version,
        one.changed_at_ms,
    )
    assert claimed.polled_at_ms is None, "nobody has looked yet"


# --- one that somebody asks for


async def test_one_is_claimed_only_where_it_was_not_seen_since(db: Database) -> None:
    cases = {None: True, NOW_MS - 1001: True, NOW_MS - 1000: True, NOW_MS - 999: False, NOW_MS: False}
    made = await generations_in(
        db, [live(number, polled_at_ms=polled_ms) for number, polled_ms in enumerate(cases)]
    )
    for one, free in zip(made, cases.values(), strict=True):
        assert (await _claim(db, one, polled_before_ms=NOW_MS - 1000) is not None) is free


async def test_one_is_claimed_before_it_is_due(db: Database) -> None:
    one = await generation_in(db, **live(next_poll_at_ms=NOW_MS + 25_000, polled_at_ms=NOW_MS - 5000))
    claimed = await _claim(db, one)
    assert claimed is not None
    assert (claimed.lease_until_ms, claimed.next_poll_at_ms) == (UNTIL_MS, UNTIL_MS)


async def test_of_fifty_who_ask_for_one_at_once_one_is_given_it(db: Database, database_url: str) -> None:
    one = await generation_in(db, **live())
    other = open_database(database_url)
    try:
        claims = await asyncio.gather(*(_claim(each, one) for each in (db, other) * 25))
        assert sum(claim is not None for claim in claims) == 1
    finally:
        await other.close()


async def test_one_that_a_loop_took_is_not_given_to_a_reader_nor_the_reverse(db: Database) -> None:
    first, second = await generations_in(db, [live(1), live(2, next_poll_at_ms=NOW_MS + 1)])
    await _claim_due(db)
    assert await _claim(db, first) is None
    assert await _claim(db, second) is not None
    assert await _claim_due(db, now_ms=NOW_MS + 1) == []


async def test_nobody_is_given_what_does_not_exist(db: Database) -> None:
    one = await generation_in(db, **live())
    assert (
        await db.write(
            leases.claim,
            one.id[::-1],
            now_ms=NOW_MS,
            lease_until_ms=UNTIL_MS,
            polled_before_ms=NOW_MS,
            max_lease_ms=LEASE_MS,
        )
        is None
    )


# --- its end


async def test_what_is_given_back_is_due_at_once(db: Database) -> None:
    one = await generation_in(db, **live())
    await _claim_due(db)
    await db.write(leases.release, one.id, now_ms=NOW_MS + 5)
    row = await row_of(db, one.id)
    assert (row.lease_until_ms, row.next_poll_at_ms) == (None, NOW_MS + 5)
    assert _ids(await _claim_due(db, now_ms=NOW_MS + 5)) == [one.id]


async def test_a_look_that_changed_nothing_ends_the_lease_and_says_when_to_look_next(db: Database) -> None:
    one = await generation_in(db, **live())
    await _claim_due(db)
    touched = await db.write(
        leases.record_poll,
        leases.PollRecord(
            one.id,
            one.version,
            NOW_MS + 5,
            NOW_MS + 2005,
            queue_position=3,
            stale_reason="upstream_timed_out",
        ),
    )
    assert touched is not None
    assert touched == await row_of(db, one.id)
    assert (touched.lease_until_ms, touched.next_poll_at_ms) == (None, NOW_MS + 2005)
    assert (touched.polled_at_ms, touched.queue_position) == (NOW_MS + 5, 3)
    assert (touched.stale_reason, touched.version) == ("upstream_timed_out", 1)
    assert await _claim_due(db, now_ms=NOW_MS + 2004) == []
    assert _ids(await _claim_due(db, now_ms=NOW_MS + 2005)) == [one.id]


async def test_notes_of_many_are_as_notes_of_each_and_what_moved_on_keeps_its_row(db: Database) -> None:
    made = await generations_in(db, [live(number) for number in range(5)])
    await _claim_due(db)
    moved = await db.write(advance, made[0].id, State.IN_PROGRESS, reason="x", now_ms=NOW_MS)
    notes = [
        leases.PollRecord(one.id, one.version, NOW_MS + 5, NOW_MS + 2005, queue_position=3) for one in made
    ]
    await db.write(leases.record_polls, notes)
    rows = [await row_of(db, one.id) for one in made]
    assert rows[0] == moved
    for row in rows[1:]:
        assert (row.lease_until_ms, row.next_poll_at_ms, row.polled_at_ms) == (
            None,
            NOW_MS + 2005,
            NOW_MS + 5,
        )
        assert (row.queue_position, row.version) == (3, 1)


async def test_a_note_is_written_when_it_is_added_and_many_share_a_transaction(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await generations_in(db, [live(number) for number in range(40)])
    await _claim_due(db)
    sizes: list[int] = []
    record_polls = leases.record_polls

    def counted(connection: Connection, notes: Sequence[leases.PollRecord]) -> None:
        sizes.append(len(notes))
        record_polls(connection, notes)

    monkeypatch.setattr(leases, "record_polls", counted)
    kept = PollBuffer(db, Tasks())
    await asyncio.gather(
        *(kept.add(leases.PollRecord(one.id, one.version, NOW_MS + 5, NOW_MS + 2005)) for one in made)
    )
    assert sum(sizes) == 40
    assert len(sizes) <= 2
    assert {(await row_of(db, one.id)).polled_at_ms for one in made} == {NOW_MS + 5}


async def test_every_move_ends_the_lease_and_only_a_live_state_is_to_be_looked_at_again(db: Database) -> None:
    ends = (State.COMPLETED, State.FAILED, State.CANCELLED, State.LOST)
    moves = [(State.IN_QUEUE, State.IN_PROGRESS), *((state, end) for state in FOLLOWABLE for end in ends)]
    made = await generations_in(db, [live(number, state=start) for number, (start, _) in enumerate(moves)])
    assert len(await _claim_due(db)) == len(moves)
    for (_, to), one in zip(moves, made, strict=True):
        moved = await db.write(advance, one.id, to, reason="test", now_ms=NOW_MS + 5)
        assert moved is not None
        assert moved.lease_until_ms is None
        if to in FOLLOWABLE:
            assert moved.next_poll_at_ms == NOW_MS + 5 + FIRST_POLL_MS
    assert await db.read(leases.span_of_polls, "sandbox") == (NOW_MS + 1005, NOW_MS + 1005)
    assert len(await _claim_due(db, now_ms=NOW_MS + 1_000_000)) == 1


async def test_what_the_upstream_has_taken_is_looked_at_a_second_later(db: Database) -> None:
    one = await generation_in(db, State.DISPATCHING, lease_until_ms=NOW_MS + 30_000)
    assert one.next_poll_at_ms is None
    moved = await db.write(
        advance, one.id, State.IN_QUEUE, reason="accepted", now_ms=NOW_MS, upstream_request_id="u-1"
    )
    assert moved is not None
    assert (moved.lease_until_ms, moved.next_poll_at_ms) == (None, NOW_MS + 1000)


@pytest.mark.parametrize("seen", [Seen.IN_QUEUE, Seen.IN_PROGRESS, Seen.TIMED_OUT, Seen.GONE])
async def test_a_look_leaves_the_next_one_to_the_pace(db: Database, seen: Seen) -> None:
    one = await generation_in(db, **live())
    await _claim_due(db)
    after = await db.write(
        apply_observation,
        one.id,
        Observation(seen),
        now_ms=NOW_MS,
        next_poll_at_ms=NOW_MS + 4321,
        patience=Patience(10**9, 10**9),
    )
    assert after is not None
    assert (after.lease_until_ms, after.next_poll_at_ms, after.polled_at_ms) == (None, NOW_MS + 4321, NOW_MS)


async def test_a_holder_that_comes_late_changes_nothing_of_what_has_ended(db: Database) -> None:
    """Its lease ended, another one looked, and the job is over: a look's answer may be old."""
    made = await generations_in(
        db, [live(number, state=state) for number, state in enumerate(sorted(TERMINAL))]
    )
    for one in made:
        before = await row_of(db, one.id)
        assert (
            await db.write(leases.record_poll, leases.PollRecord(one.id, one.version, NOW_MS, NOW_MS)) is None
        )
        assert await row_of(db, one.id) == before


# --- a clock that was set back


async def test_what_is_due_later_than_anything_can_be_is_pulled_in(db: Database) -> None:
    furthest_ms = NOW_MS + 600_000
    made = await generations_in(
        db,
        [
            live(1, next_poll_at_ms=furthest_ms),
            live(2, next_poll_at_ms=furthest_ms + 1, lease_until_ms=furthest_ms + 1),
            live(3, next_poll_at_ms=furthest_ms + 1, credential="other"),
            live(4, next_poll_at_ms=furthest_ms + 1, state=State.COMPLETED),
        ],
    )
    assert await db.read(leases.span_of_polls, "sandbox") == (furthest_ms, furthest_ms + 1)
    assert await db.write(leases.reset_far_polls, "sandbox", now_ms=NOW_MS, furthest_ms=furthest_ms) == 1
    rows = [await row_of(db, one.id) for one in made]
    assert [one.next_poll_at_ms for one in rows] == [furthest_ms, NOW_MS, furthest_ms + 1, furthest_ms + 1]
    assert rows[1].lease_until_ms is None
    assert _ids(await _claim_due(db)) == [made[1].id]


async def test_a_look_and_a_lease_from_the_future_do_not_keep_a_reader_out(db: Database) -> None:
    """Beside what is still possible, which does: a lease that ends within the longest there is."""
    day_ms = 86_400_000
    seen, leased, held = await generations_in(
        db,
        [
            live(1, polled_at_ms=NOW_MS + day_ms),
            live(2, lease_until_ms=NOW_MS + day_ms),
            live(3, lease_until_ms=UNTIL_MS),
        ],
    )
    assert await _claim(db, seen, polled_before_ms=NOW_MS - 1000) is not None
    assert await _claim(db, leased) is not None
    assert await _claim(db, held) is None


async def test_nothing_live_has_no_span(db: Database) -> None:
    await generation_in(db, **live(state=State.COMPLETED))
    assert await db.read(leases.span_of_polls, "sandbox") is None
    assert await db.read(leases.live_by_credential) == {}
