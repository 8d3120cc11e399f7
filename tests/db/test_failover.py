"""A connection that answers but cannot serve is dropped with all others, and nothing is repeated."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import NullPool

from app.db.engines import postgres
from app.db.engines.engine import Database, open_database, sync_url
from app.errors import DATABASE_UNAVAILABLE, Problem
from tests.harness import until
from tests.rows import add_counter, set_text, text_of

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("database_url", ["postgresql"], indirect=True),
]

POOL = 3
DEMOTED = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url, pool=POOL)
    yield database
    await database.close()


def _pid(connection: Connection) -> int:
    pid: int = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    return pid


def _on_each_connection(db: Database, statement: str) -> set[int]:
    """Runs a statement on every connection, and returns their process ids."""
    places: list[Any] = [*(lane.place for lane in db._writer._lanes), *db._readers._idle]
    pids = set()
    for place in places:
        driver = place._kept.get().connection.driver_connection
        pids.add(driver.execute(postgres.OWN_PID).fetchone()[0])
        driver.execute(statement)
    return pids


async def _refusal(call: Any) -> str:
    with pytest.raises(Problem) as refused:
        await call
    assert refused.value.fault is DATABASE_UNAVAILABLE
    return refused.value.detail


async def test_a_demoted_primary_is_left_after_one_refusal(db: Database) -> None:
    kid = await db.write(add_counter)
    old = _on_each_connection(db, DEMOTED)
    assert await _refusal(db.write(set_text, kid, "never")) == "The database is read-only."
    assert await db.write(set_text, kid, "1") == "1"
    new = {await db.read(_pid) for _ in range(POOL)} | _on_each_connection(db, "SELECT 1")
    assert not new & old
    assert await db.read(text_of, kid) == "1"


async def test_what_was_refused_ran_once_and_is_not_repeated(db: Database) -> None:
    kid = await db.write(add_counter)
    _on_each_connection(db, DEMOTED)
    runs: list[int] = []

    def counted(connection: Connection) -> None:
        runs.append(1)
        set_text(connection, kid, "never")

    await _refusal(db.write(counted))
    assert runs == [1]
    assert await db.read(text_of, kid) == "0"


async def test_a_session_that_lost_its_role_is_left_too(db: Database, database_url: str) -> None:
    """A missing permission is the database's state, not a wrong statement of ours."""
    role = f"nobody_of_{database_url.rpartition('/')[2].partition('?')[0]}"
    await db.write(lambda connection: connection.exec_driver_sql(f'CREATE ROLE "{role}"') and None)
    kid = await db.write(add_counter)
    try:
        _on_each_connection(db, f'SET ROLE "{role}"')
        assert await _refusal(db.write(set_text, kid, "never")) == "The database cannot be used."
        assert await db.write(set_text, kid, "1") == "1"
    finally:
        await db.write(lambda connection: connection.exec_driver_sql(f'DROP ROLE "{role}"') and None)


async def test_a_standby_that_stays_one_is_not_stormed(
    db: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kid = await db.write(add_counter)
    place: Any = db._writer._lanes[0].place
    made: list[int] = []
    event.listen(place.engine, "connect", lambda *_: made.append(1))
    monkeypatch.setattr(postgres, "_MIN_BETWEEN_DROPS_S", 3600.0)
    name = database_url.rpartition("/")[2].partition("?")[0]
    alter = f'ALTER DATABASE "{name}" SET default_transaction_read_only ='
    await asyncio.to_thread(_administer, database_url, f"{alter} on")
    _on_each_connection(db, DEMOTED)
    made.clear()
    for _ in range(20):
        assert await _refusal(db.write(set_text, kid, "never")) == "The database is read-only."
    assert len(made) <= POOL
    off = ("SET default_transaction_read_only = off", f"{alter} off")
    await asyncio.to_thread(_administer, database_url, *off)
    monkeypatch.setattr(postgres, "_MIN_BETWEEN_DROPS_S", 0.0)
    await _refusal(db.write(set_text, kid, "never"))
    assert await db.write(set_text, kid, "1") == "1"


async def test_the_connection_that_listens_is_made_anew_as_well(db: Database) -> None:
    """It would go on listening to a server that nobody announces anything to any more."""
    kid = await db.write(add_counter)
    heard = threading.Event()
    db.announcements.subscribe("any", lambda message: heard.set() if message is None else None)
    async with db.announcements.heard():
        await until(heard.is_set)
        before = await db.read(_listening)
        heard.clear()
        _on_each_connection(db, DEMOTED)
        await _refusal(db.write(set_text, kid, "never"))
        await until(heard.is_set)
        after = await db.read(_listening)
    assert len(before) == 1
    assert set(after) - set(before)


def _listening(connection: Connection) -> list[int]:
    query = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN reelgate'"
    )
    return list(connection.exec_driver_sql(query).scalars())


async def test_every_guard_holds_on_a_direct_connection_without_a_startup_parameter(db: Database) -> None:
    def state(connection: Connection) -> tuple[bool, list[str]]:
        return postgres.is_pooled(connection), postgres.swallowed_guards(connection)

    assert await db.write(state) == (False, [])
    assert await db.read(state) == (False, [])
    place: Any = db._writer._lanes[0].place
    engine = place.engine
    assert "options" not in engine.dialect.create_connect_args(engine.url)[1]
    assert "options" not in postgres.CONNECT


def _administer(url: str, *statements: str) -> None:
    engine = create_engine(sync_url(url), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()
