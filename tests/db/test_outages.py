"""The database away: every call says DATABASE_UNAVAILABLE in bounded time, and the next one works again."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from app.db import revision
from app.db.engines import sqlite, sqlite_reader
from app.db.engines.engine import Database, open_database, sync_url
from app.db.engines.sqlite import ServerRunningError, server_lock
from app.errors import DATABASE_UNAVAILABLE, Problem
from app.gateway import open_gateway
from tests.harness import settings_for
from tests.rows import add_counter, set_text, text_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path, sqlite_template: Path) -> Path:
    path = tmp_path / "reelgate.db"
    path.write_bytes(sqlite_template.read_bytes())
    return path


@pytest.fixture
async def impatient(path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    """An SQLite database that waits 0.2 s for others instead of 5."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.2)
    monkeypatch.setattr(sqlite_reader, "BUSY_TIMEOUT_S", 0.2)
    database = open_database(f"sqlite:///{path}")
    yield database
    await database.close()


HOLD_THE_LOCK_FILE = """
import fcntl, sys
file = open(sys.argv[1] + ".lock", "w")
fcntl.flock(file, fcntl.LOCK_EX)
"""
HOLD_THE_DATABASE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
"""


@contextmanager
def another_process(program: str, path: Path) -> Iterator[None]:
    """Runs the program and holds what it took until the block ends."""
    program += "print('held', flush=True)\nsys.stdin.read()\n"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield
        process.communicate(timeout=10)


async def _refused(call: Any) -> None:
    with pytest.raises(Problem) as refused:
        await call
    assert refused.value.fault is DATABASE_UNAVAILABLE
    assert refused.value.retry_after_s is not None


@pytest.mark.parametrize("program", [HOLD_THE_LOCK_FILE, HOLD_THE_DATABASE], ids=["lock file", "database"])
async def test_a_file_that_another_process_holds_is_unavailable_and_then_again_there(
    impatient: Database, path: Path, program: str
) -> None:
    kid = await impatient.write(add_counter)
    with another_process(program, path):
        started_s = time.monotonic()
        await _refused(impatient.write(set_text, kid, "never"))
        assert time.monotonic() - started_s < 5
        assert await impatient.read(text_of, kid) == "0", "readers of a WAL wait for nobody"
    assert await impatient.read(text_of, kid) == "0"
    assert await impatient.write(set_text, kid, "1") == "1"
    assert await impatient.read(text_of, kid) == "1"


async def test_everybody_in_a_group_hears_of_a_commit_that_failed(impatient: Database, path: Path) -> None:
    kid = await impatient.write(add_counter)
    with another_process(HOLD_THE_DATABASE, path):
        outcomes = await asyncio.gather(
            *(impatient.write(set_text, kid, "never") for _ in range(30)), return_exceptions=True
        )
    assert all(isinstance(one, Problem) and one.fault is DATABASE_UNAVAILABLE for one in outcomes)
    assert await impatient.read(text_of, kid) == "0"


async def test_a_file_that_is_no_database_is_unavailable_not_an_internal_error(tmp_path: Path) -> None:
    path = tmp_path / "reelgate.db"
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    broken = open_database(f"sqlite:///{path}")
    try:
        await _refused(broken.read(text_of, "x"))
        await _refused(broken.write(add_counter))
    finally:
        await broken.close()


async def test_a_second_server_on_one_file_is_refused_and_a_command_is_not(
    path: Path, tmp_path: Path
) -> None:
    settings = settings_for(f"sqlite:///{path}", tmp_path, "http://127.0.0.1:9")
    async with open_gateway(settings, serving=True) as server:
        with pytest.raises(ServerRunningError):
            async with open_gateway(settings, serving=True):
                pass
        async with open_gateway(settings) as command:
            kids = await asyncio.gather(*(one.db.write(add_counter) for one in (server, command) * 20))
        assert [await server.db.read(text_of, kid) for kid in kids] == ["0"] * 40
    async with open_gateway(settings, serving=True) as server:
        assert await server.db.read(text_of, kids[0]) == "0"


async def test_the_server_lock_ends_with_its_process(path: Path) -> None:
    url = f"sqlite:///{path}"
    program = f"import sys\nfrom app.db.engines.sqlite import server_lock\nlock = server_lock({url!r})\n"
    with another_process(program, path), pytest.raises(ServerRunningError):
        server_lock(url)
    server_lock(url).release()


async def test_what_is_answered_survives_the_process_and_what_is_not_leaves_no_trace(
    impatient: Database, path: Path
) -> None:
    """A copy of the files taken at any moment is what a kill at that moment leaves behind."""
    done = await impatient.write(add_counter)
    started, held = threading.Event(), threading.Event()

    def slow(connection: Connection) -> str:
        set_text(connection, done, "half")
        started.set()
        held.wait(10)
        return set_text(connection, done, "1")

    task = asyncio.create_task(impatient.write(slow))
    assert await asyncio.to_thread(started.wait, 10)
    copy = path.with_name("copy.db")
    for suffix in ("", "-wal"):
        copy.with_name(copy.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())
    held.set()
    await task
    with sqlite3.connect(copy) as connection:
        names = connection.execute("SELECT name FROM api_keys").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert names == [("0",)]
    assert await impatient.read(text_of, done) == "1"


# PostgreSQL only.


@pytest.fixture
def postgres(database_url: str) -> str:
    return database_url


on_postgres = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def _administer(url: str, *statements: str) -> None:
    other = create_engine(sync_url(url), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with other.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    other.dispose()


TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@on_postgres
async def test_connections_that_were_terminated_at_rest_are_replaced_unseen(
    db: Database, postgres: str
) -> None:
    kid = await db.write(add_counter)
    await asyncio.gather(*(db.read(text_of, kid) for _ in range(10)))
    await asyncio.to_thread(_administer, postgres, TERMINATE)
    assert await db.read(text_of, kid) == "0"
    assert await asyncio.gather(*(db.write(set_text, kid, "1") for _ in range(10))) == ["1"] * 10


@on_postgres
async def test_a_connection_terminated_in_the_midst_is_unavailable_and_then_again_there(
    db: Database, postgres: str
) -> None:
    kid = await db.write(add_counter)

    def set_then_end(connection: Connection) -> None:
        set_text(connection, kid, "never")
        _administer(postgres, TERMINATE)
        set_text(connection, kid, "nor this")

    await _refused(db.write(set_then_end))
    await _refused(db.read(set_then_end))
    assert await db.read(text_of, kid) == "0"
    assert await db.write(set_text, kid, "1") == "1"


@on_postgres
async def test_a_database_turned_read_only_is_unavailable_and_then_again_there(
    db: Database, postgres: str
) -> None:
    """As a standby is, which a failover may leave us connected to."""
    kid = await db.write(add_counter)
    name = postgres.rpartition("/")[2].partition("?")[0]
    await asyncio.to_thread(
        _administer, postgres, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'
    )
    await asyncio.to_thread(_administer, postgres, TERMINATE)
    await _refused(db.write(set_text, kid, "never"))
    assert await db.read(text_of, kid) == "0"
    writing = "SET default_transaction_read_only = off"
    await asyncio.to_thread(_administer, postgres, writing, f'ALTER DATABASE "{name}" RESET ALL')
    await asyncio.to_thread(_administer, postgres, TERMINATE)
    assert await db.write(set_text, kid, "1") == "1"


@on_postgres
async def test_a_server_that_is_not_there_is_unavailable(postgres: str) -> None:
    away = open_database("postgresql://nobody:x@127.0.0.1:1/none")
    started_s = time.monotonic()
    await _refused(away.read(revision.current))
    await _refused(away.write(add_counter))
    assert time.monotonic() - started_s < 5
    await away.close()


@on_postgres
async def test_a_serialization_failure_is_tried_again_unseen(db: Database) -> None:
    kid = await db.write(add_counter)
    tries: list[int] = []

    def fail_once(connection: Connection) -> str:
        tries.append(1)
        set_text(connection, kid, f"try {len(tries)}")
        if len(tries) == 1:
            connection.execute(text("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END $$"))
        return "done"

    assert await db.write(fail_once) == "done"
    assert await db.read(text_of, kid) == "try 2"


async def test_a_file_that_was_removed_is_noticed_before_anything_is_written(
    tmp_path: Path, sqlite_template: Path
) -> None:
    """SQLite would go on writing into a file that nobody can find again."""
    path = tmp_path / "reelgate.db"
    await asyncio.to_thread(shutil.copyfile, sqlite_template, path)
    opened = open_database(f"sqlite:///{path}")
    try:
        kid = await opened.write(add_counter)
        path.unlink()
        await _refused(opened.write(set_text, kid, "lost"))
        await asyncio.to_thread(shutil.copyfile, sqlite_template, path)
        await _refused(opened.write(set_text, kid, "lost"))
    finally:
        await opened.close()
