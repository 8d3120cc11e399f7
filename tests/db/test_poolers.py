"""Behind a pooler all works as on a direct connection, with every guard; the doctor says what is lost."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from app.admin.checks import doctor
from app.db import announcements, revision
from app.db.engines import postgres
from app.db.engines.engine import Database, open_database
from tests.db.poolers import PGBOUNCER, pgbouncer, stand_in
from tests.harness import settings_for, until
from tests.rows import add_counter, set_text, text_of

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("database_url", ["postgresql"], indirect=True),
]
needs_pgbouncer = pytest.mark.skipif(
    PGBOUNCER is None,
    reason="there is no PgBouncer here (Debian's package `pgbouncer`)",
)
MODES = ["session", "transaction"]


@pytest.fixture
def mode() -> str:
    return "transaction"


@pytest.fixture
def pooled_url(database_url: str, mode: str) -> Iterator[str]:
    with pgbouncer(database_url, mode) as url:
        yield url


@pytest.fixture
async def pooled(pooled_url: str) -> AsyncIterator[Database]:
    db = open_database(pooled_url, pool=4)
    yield db
    await db.close()


def _state(connection: Connection) -> tuple[bool, list[str]]:
    return postgres.is_pooled(connection), postgres.swallowed_guards(connection)


async def _levels(url: str, folder: Path) -> dict[str, tuple[str, str]]:
    found = await doctor.examine(doctor.Configured(settings_for(url, folder, "http://127.0.0.1:9")))
    return {one.name: (one.level, one.finding) for one in found}


@needs_pgbouncer
@pytest.mark.parametrize("mode", MODES)
async def test_many_transactions_share_few_servers_with_every_guard_in_each(pooled: Database) -> None:
    """A statement that one client prepared would be another's under the same name: there is none."""

    def often(connection: Connection, kid: str, number: int) -> list[str]:
        for _ in range(8):  # psycopg prepares what it has seen five times
            assert text_of(connection, kid) is not None
        set_text(connection, kid, str(number))
        assert _state(connection) == (True, [])
        return list(connection.scalars(text("SELECT name FROM pg_prepared_statements")))

    kids = [await pooled.write(add_counter) for _ in range(5)]
    calls = (pooled.write(often, kids[number % 5], number) for number in range(40))
    assert await asyncio.gather(*calls) == [[]] * 40
    assert await pooled.read(_state) == (True, [])
    await pooled.check_writes()


@needs_pgbouncer
async def test_no_guard_stays_behind_on_a_server_that_others_use(pooled: Database, database_url: str) -> None:
    await pooled.check_writes()
    place: Any = pooled._writer._lanes[0].place
    driver = place._kept.get().connection.driver_connection
    assert driver.execute("SHOW statement_timeout").fetchone() == ("0",)


@needs_pgbouncer
@pytest.mark.parametrize("mode", MODES)
async def test_a_database_is_migrated_and_its_snapshot_read_through_it(
    pooled_url: str, pooled: Database
) -> None:
    assert await asyncio.to_thread(revision.upgrade, pooled_url) == (revision.head(), revision.head())
    kid = await pooled.write(add_counter)
    assert await pooled.snapshot(lambda connection: text_of(connection, kid)) == "0"


@needs_pgbouncer
@pytest.mark.parametrize("mode", MODES)
async def test_the_doctor_says_whether_announcements_come_through(
    pooled_url: str, tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcements, "_TRIAL_S", 0.5 if mode == "transaction" else 20.0)
    found = await _levels(pooled_url, tmp_path)
    assert found["connection"] == ("good", "through a pooler, with every guard in each transaction")
    assert found["writes"][0] == "good"
    assert ("announcements" in found) is (mode == "transaction")


@needs_pgbouncer
async def test_a_listener_that_hears_nothing_stops_listening_and_says_so(
    pooled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcements, "_TRIAL_S", 0.2)
    said: list[str] = []
    monkeypatch.setattr(announcements._log, "warning", lambda event, **_: said.append(event))
    async with pooled.announcements.heard():
        await until(lambda: said)
    assert said == ["Announcements do not come through this connection pooler; rows are read instead."]


@needs_pgbouncer
async def test_the_doctor_names_the_option_that_a_pooler_dropped(database_url: str, tmp_path: Path) -> None:
    with pgbouncer(database_url, "session", "ignore_startup_parameters = options") as url:
        found = await _levels(f"{url}?options=-cwork_mem%3D5MB", tmp_path)
    assert found["connection"][0] == "good"
    level, finding = found["options"]
    assert level == "bad"
    assert "work_mem" in finding


@needs_pgbouncer
async def test_the_doctor_names_the_option_that_a_pooler_refuses(pooled_url: str, tmp_path: Path) -> None:
    level, finding = (await _levels(f"{pooled_url}?options=-cwork_mem%3D5MB", tmp_path))["database"]
    assert level == "bad"
    assert "unsupported startup parameter" in finding
    assert "leave options= out" in finding


# --- wherever there is no PgBouncer


async def test_a_pooler_that_refuses_startup_options_is_no_hindrance(database_url: str) -> None:
    async with stand_in(database_url, refuses=b"options") as url:
        db = open_database(url, pool=2)
        try:
            kid = await db.write(add_counter)
            assert await db.write(_state) == (True, [])
            assert await db.read(text_of, kid) == "0"
            assert await db.announcements.arrive()
        finally:
            await db.close()


async def test_what_a_pooler_refuses_or_drops_is_named_with_what_to_do(
    database_url: str, tmp_path: Path
) -> None:
    options = "?options=-cwork_mem%3D5MB"
    async with stand_in(database_url, refuses=b"options") as url:
        assert "leave options= out" in (await _levels(url + options, tmp_path))["database"][1]
    async with stand_in(database_url, drops=b"options") as url:
        found = await _levels(url + options, tmp_path)
    assert "work_mem" in found["options"][1]
    assert found["connection"][0] == "good"


async def test_no_statement_is_prepared_behind_a_pooler(database_url: str) -> None:
    def often(connection: Connection) -> list[str]:
        for _ in range(8):
            text_of(connection, "x")
        return list(connection.scalars(text("SELECT name FROM pg_prepared_statements")))

    async with stand_in(database_url) as url:
        db = open_database(url, pool=1)
        try:
            assert await db.read(often) == []
        finally:
            await db.close()
    direct = open_database(database_url, pool=1)
    try:
        assert await direct.read(often) != []
    finally:
        await direct.close()
