"""`write` and `read`: atomic, isolated from one another's errors, and answered only after the commit."""

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from sqlalchemy import BigInteger, Connection, cast, create_engine, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import NullPool

from app.auth import tenants
from app.db.engines import sqlite
from app.db.engines.engine import Database, open_database, sync_url
from app.db.engines.sqlite import FileLock, SqlitePlace
from app.db.engines.writer import Writer
from app.db.schema import tables
from app.db.schema.tables import api_keys
from app.errors import DATABASE_UNAVAILABLE, TENANT_EXISTS, Problem
from tests.rows import add_counter, add_owner, set_text, text_of
from tests.shared import DURABLE, PATIENT_S

pytestmark = pytest.mark.anyio


def _add_counters(connection: Connection, count: int) -> list[str]:
    return [add_counter(connection) for _ in range(count)]


def _set_then_fail(connection: Connection, kid: str, error: BaseException) -> NoReturn:
    set_text(connection, kid, "half done")
    raise error


async def test_what_a_function_did_before_it_raised_is_not_committed(db: Database) -> None:
    kid = await db.write(add_counter)
    with pytest.raises(ZeroDivisionError):
        await db.write(_set_then_fail, kid, ZeroDivisionError())
    assert await db.read(text_of, kid) == "0"


async def test_a_violated_constraint_reaches_the_caller_as_itself(db: Database) -> None:
    """Use cases tell a conflict from an outage by the exception's type."""

    def twice(connection: Connection) -> None:
        add_owner(connection)
        for _ in range(2):
            connection.execute(tables.tenants.insert().values(id="same", name="same", created_at_ms=0))

    with pytest.raises(IntegrityError):
        await db.write(twice)
    assert await db.read(tenants.list_all) == []


async def test_an_exception_rolls_back_its_own_function_alone(db: Database) -> None:
    """On SQLite the sixty share one COMMIT; each has a SAVEPOINT of its own."""
    kids = await db.write(_add_counters, 60)
    async with asyncio.TaskGroup() as group:
        started = [
            group.create_task(
                _outcome(
                    db.write(_set_then_fail, kid, KeyError(number))
                    if number % 3 == 0
                    else db.write(set_text, kid, "done")
                )
            )
            for number, kid in enumerate(kids)
        ]
    for number, (kid, task) in enumerate(zip(kids, started, strict=True)):
        outcome = task.result()
        text = await db.read(text_of, kid)
        if number % 3 == 0:
            assert isinstance(outcome, KeyError)
            assert (outcome.args, text) == ((number,), "0")
        else:
            assert (outcome, text) == ("done", "done")


async def test_one_bad_exception_hangs_nobody(db: Database) -> None:
    """StopIteration cannot be set on a future; its neighbours in the group must hear all the same."""
    kids = await db.write(_add_counters, 5)
    held = threading.Event()
    blocker = asyncio.create_task(db.write(_wait_for, held))
    await asyncio.sleep(0.05)  # so that the rest gathers in one group behind it
    calls = [db.write(set_text, kid, "done") for kid in kids]
    calls.insert(0, db.write(_set_then_fail, kids[0], StopIteration()))
    tasks = [asyncio.create_task(_outcome(call)) for call in calls]
    await asyncio.sleep(0)
    held.set()
    _, late = await asyncio.wait(tasks, timeout=PATIENT_S)
    for task in late:
        task.cancel()
    await asyncio.gather(blocker, *late, return_exceptions=True)
    assert not late
    assert isinstance(tasks[0].result(), Exception)
    assert [task.result() for task in tasks[1:]] == ["done"] * 5


def _wait_for(_connection: Connection, event: threading.Event) -> None:
    assert event.wait(10)


async def _outcome(call: Any) -> Any:
    try:
        return await call
    except Exception as error:  # noqa: BLE001 - it is what the test looks at
        return error


async def test_a_result_is_committed_when_it_arrives(db: Database, database_url: str) -> None:
    """Another connection, as another process would have, sees it at once."""
    other = create_engine(sync_url(database_url), poolclass=NullPool)
    kid = await db.write(add_counter)

    async def set_and_look(number: int) -> None:
        own = await db.write(add_counter, str(number))
        with other.connect() as connection:
            assert text_of(connection, own) == str(number)
            assert text_of(connection, kid) == "0"

    await asyncio.gather(*(set_and_look(number) for number in range(30)))
    other.dispose()


async def test_no_update_is_lost(db: Database) -> None:
    kid = await db.write(add_counter)

    def increment(connection: Connection) -> None:
        number = cast(api_keys.c.name, BigInteger) + 1
        connection.execute(
            update(api_keys).where(api_keys.c.kid == kid).values(name=cast(number, api_keys.c.name.type))
        )

    await asyncio.gather(*(db.write(increment) for _ in range(200)))
    assert await db.read(text_of, kid) == "200"


async def test_a_caller_that_leaves_does_not_disturb_the_others(db: Database) -> None:
    kids = await db.write(_add_counters, 20)
    tasks = [asyncio.create_task(db.write(set_text, kid, "done")) for kid in kids]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks[::2], return_exceptions=True)
    assert await asyncio.gather(*tasks[1::2]) == ["done"] * 10
    assert [await db.read(text_of, kid) for kid in kids[1::2]] == ["done"] * 10
    last = await db.write(add_counter)
    assert await db.write(set_text, last, "still works") == "still works"


async def test_read_cannot_write(db: Database) -> None:
    kid = await db.write(add_counter)
    await _outcome(db.read(set_text, kid, "written by a reader"))
    assert await db.read(text_of, kid) == "0"


async def test_a_reader_that_went_wrong_leaves_no_old_snapshot_behind(
    db: Database, database_url: str
) -> None:
    """Its connection is the only one here, so that the next reads meet whatever it left open."""
    narrow = open_database(database_url, pool=1)
    kid = await db.write(add_counter)

    def read_a_little(connection: Connection) -> None:
        rows = connection.execute(api_keys.select())
        rows.fetchone()
        raise ZeroDivisionError

    for wrong in (read_a_little, _set_then_fail, set_text):
        arguments: tuple[Any, ...] = {
            read_a_little: (),
            _set_then_fail: (kid, KeyError()),
            set_text: (kid, "written by a reader"),
        }[wrong]
        await _outcome(narrow.read(wrong, *arguments))
        text = await db.write(set_text, kid, f"after {wrong.__name__}")
        assert await narrow.read(text_of, kid) == text
    await narrow.close()


async def test_a_read_sees_no_half_of_a_write(db: Database) -> None:
    one, other = await db.write(add_counter), await db.write(add_counter)

    def set_both(connection: Connection, text: str) -> None:
        set_text(connection, one, text)
        set_text(connection, other, text)

    def both(connection: Connection) -> set[str | None]:
        query = api_keys.select().where(api_keys.c.kid.in_([one, other]))
        return {row.name for row in connection.execute(query)}

    seen: list[set[str | None]] = []

    async def look() -> None:
        seen.append(await db.read(both))

    await asyncio.gather(*(call for n in range(50) for call in (db.write(set_both, str(n)), look())))
    assert all(len(found) == 1 for found in seen)


async def test_a_writer_that_is_closed_refuses_and_hangs_nobody(db: Database, database_url: str) -> None:
    closing = open_database(database_url)
    await closing.write(add_counter)  # so that on PostgreSQL there is a connection already
    held = threading.Event()
    first = asyncio.create_task(_outcome(closing.write(_wait_for, held)))
    await asyncio.sleep(0.05)
    close = asyncio.create_task(closing.close())
    await asyncio.sleep(0.05)
    late = asyncio.create_task(_outcome(closing.write(add_counter)))
    await asyncio.sleep(0)
    held.set()
    await close
    done, hanging = await asyncio.wait({first, late}, timeout=PATIENT_S)
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    assert not hanging
    assert first.result() is None
    assert late.result().fault is DATABASE_UNAVAILABLE
    assert len(done) == 2


async def test_after_its_end_a_writer_says_so(tmp_path: Any, sqlite_template: Any) -> None:
    path = tmp_path / "reelgate.db"
    path.write_bytes(sqlite_template.read_bytes())
    closed = open_database(f"sqlite:///{path}")
    await closed.close()
    with pytest.raises(Problem) as refused:
        await closed.write(add_counter)
    assert refused.value.fault is DATABASE_UNAVAILABLE


async def test_a_close_lets_what_waits_finish(tmp_path: Any, sqlite_template: Any) -> None:
    path = tmp_path / "reelgate.db"
    path.write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{path}"
    writer = Writer([SqlitePlace(path)])
    waiting = [asyncio.create_task(writer.run(add_counter)) for _ in range(50)]
    await asyncio.sleep(0)
    await writer.close()
    kids = await asyncio.gather(*waiting)
    again = open_database(url)
    assert [await again.read(text_of, kid) for kid in kids] == ["0"] * 50
    await again.close()


@pytest.mark.parametrize("folder", ["with a blank", "100% done", "#1", "a%20b", "ünïcode", "what?", "a&b=c"])
async def test_the_path_of_an_sqlite_file_may_hold_any_character(
    tmp_path: Any, sqlite_template: Any, folder: str
) -> None:
    (tmp_path / folder).mkdir()
    path = tmp_path / folder / "reelgate.db"
    path.write_bytes(sqlite_template.read_bytes())
    opened = open_database(f"sqlite:///{path}")
    try:
        kid = await opened.write(add_counter)
        assert await opened.read(text_of, kid) == "0"
    finally:
        await opened.close()
    assert sorted(one.name for one in tmp_path.iterdir()) == [folder]


async def test_a_tenants_name_is_taken_once_by_any_number_of_racers(db: Database) -> None:
    outcomes = await asyncio.gather(
        *(_outcome(db.write(tenants.create, "acme", now_ms=number)) for number in range(20))
    )
    assert sum(isinstance(one, Problem) and one.fault is TENANT_EXISTS for one in outcomes) == 19
    assert len(await db.read(tenants.list_all)) == 1


async def test_a_commands_database_with_its_one_connection_does_what_any_does(
    db: Database, database_url: str
) -> None:
    narrow = open_database(database_url, pool=1)
    try:
        kid = await narrow.write(add_counter, "7")
        assert await db.read(text_of, kid) == "7"
        await db.write(set_text, kid, "8")
        assert await narrow.read(text_of, kid) == "8"
        assert await narrow.snapshot(lambda connection: text_of(connection, kid)) == "8"
        assert narrow.dialect == db.dialect
        if narrow.dialect == "sqlite":
            assert isinstance(await _outcome(narrow.read(set_text, kid, "9")), Problem)
        assert await db.read(text_of, kid) == "8"
    finally:
        await narrow.close()


async def test_what_is_committed_is_on_the_disk(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a server opens it: databases of the other tests live too short to wait for a disk."""
    monkeypatch.setattr(sqlite, "_PRAGMAS", DURABLE)
    db = open_database(sqlite_url)

    def settings(connection: Connection) -> list[object]:
        names = ("synchronous", "journal_mode", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await db.write(settings) == [2, "wal", 1]
    await db.close()


def test_sqlites_place_keeps_its_connection_until_a_transaction_fails(
    tmp_path: Any, sqlite_template: Any
) -> None:
    path = tmp_path / "reelgate.db"
    path.write_bytes(sqlite_template.read_bytes())
    place = SqlitePlace(path)
    with place.transaction() as first:
        kid = add_counter(first)
    with pytest.raises(ZeroDivisionError), place.transaction() as second:
        _set_then_fail(second, kid, ZeroDivisionError())
    assert second is first
    assert first.closed
    with place.transaction() as third:
        assert text_of(third, kid) == "0"
    place.close()
    assert third.closed


def test_a_lock_is_had_that_a_busy_server_leaves_free_for_moments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers, ours = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert servers.acquire(timeout_s=0)
    now_s = 0.0

    def sleep(pause_s: float) -> None:
        nonlocal now_s
        now_s += pause_s
        if now_s % 0.1 > 0.095:
            servers.release()
        else:
            servers.acquire(timeout_s=0)

    monkeypatch.setattr(sqlite, "time", SimpleNamespace(monotonic=lambda: now_s, sleep=sleep))
    assert ours.acquire(timeout_s=5)
    ours.release()
