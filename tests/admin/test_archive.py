"""Requests that grow old go to files; balances, books and statements go on, and nothing is made twice."""

import gzip
import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, delete, func, select
from sqlalchemy.exc import DBAPIError

from app.admin import audit_log
from app.admin.actor import of_command
from app.admin.amounts import statements
from app.admin.backups import archive as cases
from app.admin.backups.archive import Batch
from app.admin.verifying import archived_sums
from app.admin.verifying.verify import verify
from app.db.engines.engine import Database
from app.db.schema.tables import (
    api_keys,
    archived_usage,
    generations,
    ledger_entries,
    quota_usage,
    usage_counts,
)
from app.errors import Problem
from app.generations import store
from app.generations.advance import advance
from app.generations.lifecycle import State
from app.generations.store import Generation
from app.quotas.balances import ledger
from tests.admin.desk import Desk, open_desk
from tests.harness import SUBMIT, FakeClock, World
from tests.rows import NOW_MS, add_generation

pytestmark = pytest.mark.anyio
DAY_MS = 86_400_000
BEFORE = date(2026, 11, 15)  # NOW_MS is in September 2026
LATER_MS = NOW_MS + 120 * DAY_MS
ENDS = {
    State.COMPLETED: (State.IN_QUEUE, State.COMPLETED),
    State.FAILED: (State.IN_QUEUE, State.FAILED),
    State.REJECTED: (State.REJECTED,),
}


_KEY = select(api_keys.c.tenant_id).where(api_keys.c.kid == bindparam("kid"))


@pytest.fixture
async def desk(db: Database) -> Desk:
    desk = await open_desk(db)
    desk.gateway.clock = FakeClock(LATER_MS)
    return desk


async def ended(desk: Desk, state: State, at_ms: int, ended_ms: int | None = None) -> Generation:
    """A request that was made at a moment and ended a moment later."""
    row = await desk.gateway.db.read(lambda connection: connection.execute(_KEY, {"kid": desk.kid}).one())
    made = await desk.gateway.db.write(
        add_generation, State.DISPATCHING, owner=(row.tenant_id, desk.kid), now_ms=at_ms, lease_until_ms=at_ms
    )
    found: Generation | None = made
    for number, to in enumerate(ENDS[state], 1):
        moment = ended_ms if ended_ms is not None and to is state else at_ms + number
        job: dict[str, Any] = {"upstream_request_id": f"job-{made.id}"} if to is State.IN_QUEUE else {}
        found = await desk.gateway.db.write(advance, made.id, to, reason="x", now_ms=moment, **job)
    assert found is not None
    return found


from sqlalchemy import bindparam  # noqa: E402


async def archived(desk: Desk, folder: Path, *, batch: int = 2, before: date = BEFORE) -> list[Batch]:
    told: list[Batch] = []
    count = await cases.archive(
        desk.gateway, of_command(), folder, before=before, batch=batch, tell=told.append
    )
    assert count == sum(one.requests for one in told)
    return told


def files_in(folder: Path) -> int:
    return len(list(folder.rglob("*.gz")))


async def count_of(desk: Desk, table: Any) -> int:
    return await desk.gateway.db.read(
        lambda connection: connection.scalar(select(func.count()).select_from(table)) or 0
    )


async def sums_of(desk: Desk) -> list[Any]:
    def read(connection: Connection) -> list[Any]:
        days = select(usage_counts).where(usage_counts.c.facet != "hour")
        return [
            sorted(map(tuple, connection.execute(query).all()), key=repr)
            for query in (select(quota_usage), days)
        ]

    return await desk.gateway.db.read(read)


async def books_are_right(desk: Desk) -> None:
    report = await desk.gateway.db.snapshot(verify)
    assert report.findings == []
    assert (await statements.verify(desk.gateway)).differences == []
    assert (await desk.gateway.db.snapshot(audit_log.verify)).first_break is None


async def test_what_has_ended_goes_to_files_and_every_sum_stays_provable(desk: Desk, tmp_path: Path) -> None:
    old = [
        await ended(desk, state, NOW_MS + number * DAY_MS)
        for number, state in enumerate([State.COMPLETED, State.FAILED, State.REJECTED, State.COMPLETED])
    ]
    young = await ended(desk, State.COMPLETED, LATER_MS - DAY_MS)
    live = await ended(desk, State.COMPLETED, NOW_MS, LATER_MS)  # it lasted until today
    sums = await sums_of(desk)
    await books_are_right(desk)

    told = await archived(desk, tmp_path)
    assert [(one.requests, one.entries) for one in told] == [(2, 4), (2, 4)]
    lines = []
    for one in told:
        packed = (tmp_path / one.file).read_bytes()
        assert hashlib.sha256(packed).hexdigest() == one.sha256
        assert (tmp_path / one.file).stat().st_mode & 0o077 == 0
        lines += [json.loads(line) for line in gzip.decompress(packed).splitlines()]
    assert [line["request"]["id"] for line in lines] == [one.id for one in old]
    assert [[event["version"] for event in line["events"]] for line in lines] == [
        list(range(1, one.version + 1)) for one in old
    ]
    assert {entry["kind"] for line in lines for entry in line["entries"]} == {"hold", "settle", "refund"}
    assert [after["sha256"] for _, after in await desk.changes("archive.batch")] == [
        one.sha256 for one in told
    ]
    for kept in (young, live):
        assert await desk.gateway.db.read(store.find, kept.id, None) is not None
    assert await count_of(desk, generations) == 2
    assert await sums_of(desk) == sums, "balances and usage are untouched"
    await books_are_right(desk)
    assert await archived(desk, tmp_path) == [], "nothing more is due"


async def test_sums_of_several_batches_and_of_a_corrected_price_add_up(desk: Desk, tmp_path: Path) -> None:
    for number in range(5):
        await ended(desk, State.COMPLETED, NOW_MS + number)
    assert len(await archived(desk, tmp_path)) == 3
    assert await count_of(desk, archived_usage) == 2, "a day's submits and its ends"
    await books_are_right(desk)


async def test_a_request_waits_until_each_of_its_entries_is_in_a_closed_month(
    desk: Desk, tmp_path: Path
) -> None:
    one = await ended(desk, State.COMPLETED, NOW_MS)

    def correct(connection: Connection) -> None:
        row = store.find(connection, one.id, None)
        assert row is not None
        ledger.correct(
            connection,
            row.terms,
            from_microcredits=row.charged_microcredits,
            to_microcredits=1,
            outcome=row.state,
            note="wrong price",
            now_ms=LATER_MS,
        )
        connection.execute(
            generations.update().where(generations.c.id == one.id).values(repriced_microcredits=1)
        )

    await desk.gateway.db.write(correct)
    await books_are_right(desk)
    assert await archived(desk, tmp_path) == [], "its correction was entered this month"
    desk.gateway.clock = FakeClock(LATER_MS + 100 * DAY_MS)
    assert [one.entries for one in await archived(desk, tmp_path, before=date(2027, 3, 1))] == [3]
    await books_are_right(desk)


async def test_an_archive_that_is_broken_off_is_continued_and_loses_nothing(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        await ended(desk, State.COMPLETED, NOW_MS + number)
    keep = archived_sums.keep_sums
    calls: list[int] = []

    def fails(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyError("the power is gone")
        keep(*arguments)

    monkeypatch.setattr(cases, "keep_sums", fails)
    with pytest.raises(KeyError, match="the power"):
        await archived(desk, tmp_path)
    assert files_in(tmp_path) == 2, "the second file is there, and its rows too"
    assert await count_of(desk, generations) == 2
    await books_are_right(desk)
    assert [one.requests for one in await archived(desk, tmp_path)] == [2]
    assert files_in(tmp_path) == 2
    assert await count_of(desk, generations) == 0
    await books_are_right(desk)


async def test_only_entries_of_archived_requests_may_leave_the_ledger(desk: Desk) -> None:
    await ended(desk, State.COMPLETED, NOW_MS)
    with pytest.raises(DBAPIError, match="append-only"):
        await desk.gateway.db.write(lambda connection: connection.execute(delete(ledger_entries)))


async def test_a_day_of_which_hours_are_kept_is_refused(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(Problem) as refused:
        await archived(desk, tmp_path, before=date(2027, 1, 1))
    assert refused.value.errors[0].pointer == "#/before"
    assert "usage by the hour is kept for 35 days" in refused.value.errors[0].detail


async def test_an_archived_request_answers_where_it_went_and_its_key_makes_no_second_job(
    world: World, tmp_path: Path
) -> None:
    body, headers = world.body("canned"), {"Idempotency-Key": "once"}
    made = (await world.client.post(SUBMIT, json=body, headers=headers)).json()["request_id"]
    await world.finish(made)
    jobs = len(world.received())
    world.clock.advance(120 * 86_400)
    assert await cases.archive(world.gateway, of_command(), tmp_path, before=BEFORE) == 1
    for path in (f"/v1/requests/{made}", f"/v1/requests/{made}/status", f"/v1/requests/{made}/result"):
        problem = await world.get(path, expect=410)
        assert (problem["code"], problem["request_id"]) == ("request_archived", made)
        assert f"in {world.tenant_id}-test/{made}-" in problem["detail"]
    again = await world.client.post(SUBMIT, json=body, headers=headers)
    assert (again.status_code, again.json()["code"]) == (410, "request_archived")
    assert len(world.received()) == jobs
    other = world.with_key(await world.another_key(tenant="another"))
    assert (await world.client.get(f"/v1/requests/{made}", headers=other)).status_code == 404
    fresh = await world.client.post(SUBMIT, json=body, headers=other | headers)
    assert fresh.status_code == 200, "another tenant's key is its own"
