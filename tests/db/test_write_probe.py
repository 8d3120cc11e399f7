"""Readiness tries a write: a database that no submit could write to is named, and good again once mended."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event, func, select, text
from sqlalchemy.pool import NullPool

from app.db import probe
from app.db.engines.engine import Database, open_database, sync_url
from app.db.outage import DAMAGED, NO_SPACE, READ_ONLY
from app.db.schema.tables import write_probes
from app.errors import DATABASE_UNAVAILABLE, Problem
from tests.contract.published import problem_of
from tests.harness import World
from tests.rows import add_counter, text_of
from tests.shared import PATIENT_S

pytestmark = pytest.mark.anyio

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


async def _why_not(db: Database) -> str:
    db._probe._known_until_s = float("-inf")  # a moment has passed
    with pytest.raises(Problem) as refused:
        await db.check_writes()
    assert refused.value.fault is DATABASE_UNAVAILABLE
    assert refused.value.retry_after_s is not None
    return refused.value.detail


async def _is_good_again(db: Database) -> None:
    db._probe._known_until_s = float("-inf")
    await db.check_writes()


def _content(connection: Connection) -> list[str]:
    return list(connection.scalars(select(write_probes.c.content)))


async def test_a_check_really_writes_and_as_much_as_a_submit(db: Database) -> None:
    for _ in range(2):
        (before,) = await db.read(_content)
        await _is_good_again(db)
        (after,) = await db.read(_content)
        assert before != after
        assert len(after) == probe.SIZE


async def test_however_many_ask_at_once_there_is_one_write(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    mark = probe._mark

    def counted(connection: Connection) -> None:
        written.append(1)
        mark(connection)

    monkeypatch.setattr(probe, "_mark", counted)
    for _ in range(3):
        await asyncio.gather(*(db.check_writes() for _ in range(50)))
    assert written == [1]
    await _is_good_again(db)
    assert written == [1, 1]


async def test_a_failure_of_any_write_makes_the_next_question_a_new_one(db: Database) -> None:
    await db.check_writes()
    assert db._probe._known_until_s > float("-inf")
    db._unavailable(OSError("the disk is gone"))
    assert db._probe._known_until_s == float("-inf")


async def test_a_server_that_is_busy_but_commits_is_called_good(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its probe waits behind others, which is no reason to send it no more work."""
    released = asyncio.Event()

    async def waits(_function: Callable[[Connection], None]) -> None:
        await released.wait()

    await db.write(add_counter)
    monkeypatch.setattr(probe, "_PATIENCE_S", 0.02)
    monkeypatch.setattr(db._probe, "_write", waits)
    try:
        assert await _why_not(db) == "The database did not answer in time."
        monkeypatch.setattr(probe, "_PATIENCE_S", 0.3)
        asking = asyncio.create_task(db.check_writes())
        await asyncio.sleep(0)
        db._probe.committed()
        await asking
    finally:
        released.set()


# --- SQLite


@pytest.fixture
def path(database_url: str) -> Path:
    return Path(database_url.removeprefix("sqlite:///"))


@on_sqlite
async def test_a_disk_without_room_is_named_and_is_good_again_with_room(db: Database) -> None:
    kid = await db.write(add_counter)
    pages = await db.read(lambda connection: connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    place: Any = db._writer._lanes[0].place
    limit = [pages]

    @event.listens_for(place.engine, "begin")
    def _narrow(connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={limit[0]}")

    assert await _why_not(db) == NO_SPACE.sentence
    assert await db.read(text_of, kid) == "0"
    limit[0] = 1_000_000
    await _is_good_again(db)


def _make_read_only(path: Path, *, is_read_only: bool) -> None:
    """A file whose write version is too new for this SQLite is one that it may only read."""
    with path.open("r+b") as file:
        file.seek(18)
        file.write(b"\x03" if is_read_only else b"\x02")


@on_sqlite
async def test_a_file_that_may_only_be_read_is_named(path: Path) -> None:
    _make_read_only(path, is_read_only=True)
    db = open_database(f"sqlite:///{path}")
    try:
        assert await _why_not(db) == READ_ONLY.sentence
    finally:
        await db.close()


@on_sqlite
async def test_damage_that_a_probe_does_not_meet_counts_once_anybody_met_it(
    db: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = await db.read(
        lambda connection: connection.execute(
            text("SELECT rootpage FROM sqlite_master WHERE name = 'tenants'")
        ).scalar_one()
    )
    await db.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    broken = open_database(f"sqlite:///{path}")
    try:
        await broken.check_writes()  # its own row is in a good page
        with pytest.raises(Problem, match=DAMAGED.sentence):
            await broken.write(add_counter)
        assert await _why_not(broken) == DAMAGED.sentence
        monkeypatch.setattr(broken._probe, "_damaged_until_s", float("-inf"))  # half a minute later
        await _is_good_again(broken)
    finally:
        await broken.close()


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    path.write_bytes(b"this is not a database\n" * 400)
    db = open_database(f"sqlite:///{path}")
    try:
        assert await _why_not(db) == DAMAGED.sentence
    finally:
        await db.close()


# --- PostgreSQL


def _administer(url: str, *statements: str) -> None:
    engine = create_engine(sync_url(url), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


@on_postgres
async def test_a_read_only_database_is_named_and_is_good_again(database_url: str) -> None:
    name = database_url.rpartition("/")[2].partition("?")[0]
    alter = f'ALTER DATABASE "{name}" SET default_transaction_read_only ='
    await asyncio.to_thread(_administer, database_url, f"{alter} on")
    db = open_database(database_url)
    try:
        assert await _why_not(db) == READ_ONLY.sentence
        await asyncio.to_thread(
            _administer, database_url, "SET default_transaction_read_only = off", f"{alter} off"
        )
        for lane in db._writer._lanes:
            lane.place.close()  # to have other sessions
        await _is_good_again(db)
    finally:
        await db.close()


@on_postgres
async def test_a_user_without_permission_to_write_is_no_error_of_ours(database_url: str) -> None:
    role = f"reader_of_{database_url.rpartition('/')[2].partition('?')[0]}"
    make = f'CREATE ROLE "{role}" LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role}"'
    await asyncio.to_thread(_administer, database_url, make)
    options = f"{'&' if '?' in database_url else '?'}options=-crole%3D{role}"
    db = open_database(database_url + options)
    try:
        assert await _why_not(db) == "The database cannot be used."
        assert await db.read(lambda connection: connection.scalar(select(func.count(write_probes.c.id)))) == 1
    finally:
        await db.close()
        drop = f'DROP OWNED BY "{role}"; DROP ROLE "{role}"'
        await asyncio.to_thread(_administer, database_url, drop)


# --- over HTTP


@on_sqlite
async def test_readiness_and_submits_say_the_same_of_one_database(world: World, monkeypatch: Any) -> None:
    assert (await world.client.get("/readyz")).json() == {"status": "ready"}
    (lane,) = world.gateway.db._writer._lanes

    def refuse(*_: Any) -> None:
        error = sqlite3.OperationalError("database or disk is full: /srv/reelgate.db")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(lane.place, "_check_file", refuse)
    submitted = await world.submit()
    ready = await world.client.get("/readyz")
    for answer in (submitted, ready):
        problem = problem_of(answer, 503, "database_unavailable")
        assert problem["detail"] == NO_SPACE.sentence
        assert "srv" not in answer.text
    assert world.received() == []
    monkeypatch.undo()
    async with world.clock.flowing():
        world.gateway.db._probe._known_until_s = float("-inf")
        assert (await world.client.get("/readyz")).status_code == 200
        await world.gateway.tasks.drain(PATIENT_S)
