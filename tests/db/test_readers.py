"""Reads of an SQLite file run in threads: bounded, apart from one another, and all of them answered."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import NoReturn

import pytest
from sqlalchemy import Connection, text

from app.db.engines import readers
from app.db.engines.engine import Database, open_database
from app.errors import DATABASE_UNAVAILABLE, Problem
from tests.loops import skip
from tests.patience import PATIENCE_S
from tests.rows import add_counter, set_text, text_of
from tests.shared import PATIENT_S

pytestmark = pytest.mark.anyio

THREADS = 3


@pytest.fixture
async def few(sqlite_url: str) -> AsyncIterator[Database]:
    """A database with a few readers."""
    database = open_database(sqlite_url, pool=THREADS)
    yield database
    await database.close()


class Gate:
    """Keeps reads inside it until it opens."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.inside: list[threading.Thread] = []

    def pass_through(self, connection: Connection) -> int:
        self.inside.append(threading.current_thread())
        assert self._open.wait(PATIENT_S)
        return int(connection.execute(text("SELECT 7")).scalar_one())

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open()


def one(connection: Connection) -> int:
    return int(connection.execute(text("SELECT 1")).scalar_one())


async def _occupied(db: Database, gate: Gate) -> list["asyncio.Task[int]"]:
    """As many reads as there are threads, all of them inside the gate."""
    reads = [asyncio.create_task(db.read(gate.pass_through)) for _ in range(THREADS)]
    while len(gate.inside) < THREADS:  # noqa: ASYNC110 - threads tell no loop
        await asyncio.sleep(0.001)
    return reads


async def test_as_many_reads_run_at_once_as_there_are_connections_and_the_next_waits(
    few: Database, gate: Gate
) -> None:
    reads = await _occupied(few, gate)
    assert len(set(gate.inside)) == THREADS
    assert all(thread.daemon for thread in gate.inside), "a process that breaks off would never end"
    late = asyncio.create_task(few.read(one))
    await asyncio.sleep(0.01)
    assert not late.done()
    gate.open()
    assert await asyncio.gather(*reads, late) == [7] * THREADS + [1]


async def test_reads_one_after_another_share_one_thread_and_connection(
    few: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "_PATIENCE_S", PATIENT_S)

    def where(connection: Connection) -> tuple[int, int]:
        return threading.get_ident(), id(connection.connection.dbapi_connection)

    assert len({await few.read(where) for _ in range(20)}) == 1


async def test_a_read_without_a_free_reader_is_unavailable_in_bounded_time(few: Database, gate: Gate) -> None:
    reads = await _occupied(few, gate)
    late = asyncio.create_task(few.read(one))
    await asyncio.sleep(0.01)  # it waits now
    skip(PATIENT_S)
    with pytest.raises(Problem) as refused:
        await late
    assert refused.value.fault is DATABASE_UNAVAILABLE
    gate.open()
    assert await asyncio.gather(*reads) == [7] * THREADS, "what has begun may take as long as it takes"
    assert await few.read(one) == 1


async def test_a_caller_that_leaves_keeps_no_reader_from_the_others(few: Database, gate: Gate) -> None:
    reads = await _occupied(few, gate)
    waiting = [asyncio.create_task(few.read(one)) for _ in range(THREADS)]
    await asyncio.sleep(0.01)  # they wait now
    for task in (reads[0], *waiting[1:]):
        task.cancel()
    await asyncio.wait({reads[0], *waiting[1:]})
    assert all(task.cancelled() for task in (reads[0], *waiting[1:]))
    gate.open()
    assert await asyncio.gather(*reads[1:], waiting[0]) == [7, 7, 1]
    assert await asyncio.gather(*(few.read(one) for _ in range(2 * THREADS))) == [1] * 2 * THREADS


async def test_whatever_a_read_raises_reaches_its_caller(few: Database) -> None:
    """A future takes no StopIteration: its caller would wait forever."""

    def fail(_connection: Connection, error: BaseException) -> NoReturn:
        raise error

    for error, expected in ((KeyError("x"), KeyError), (StopIteration(), RuntimeError)):
        with pytest.raises(expected):
            await asyncio.wait_for(few.read(fail, error), PATIENT_S)
    assert await few.read(one) == 1


async def test_an_error_that_somebody_keeps_does_not_keep_what_was_read_before(sqlite_url: str) -> None:
    narrow = open_database(sqlite_url, pool=1)
    kids = [await narrow.write(add_counter) for _ in range(3)]

    def stop_in_the_midst(connection: Connection) -> NoReturn:
        rows = connection.execute(text("SELECT * FROM api_keys"))
        raise LookupError(rows.fetchone(), rows)

    with pytest.raises(LookupError) as kept:
        await narrow.read(stop_in_the_midst)
    await narrow.write(set_text, kids[0], "new")
    assert await narrow.read(text_of, kids[0]) == "new"
    assert kept.value.args
    await narrow.close()


async def test_a_close_waits_for_the_reads_that_were_asked_for_and_takes_no_more(
    sqlite_url: str, gate: Gate
) -> None:
    closing = open_database(sqlite_url, pool=THREADS)
    reads = await _occupied(closing, gate)
    waiting = asyncio.create_task(closing.read(one))
    await asyncio.sleep(0.01)  # it waits now
    close = asyncio.create_task(closing.close())
    await asyncio.sleep(0.01)
    assert not close.done()
    with pytest.raises(Problem) as refused:
        await closing.read(one)
    assert refused.value.fault is DATABASE_UNAVAILABLE
    gate.open()
    assert await asyncio.gather(*reads, waiting) == [7] * THREADS + [1]
    await close
    for thread in gate.inside:
        thread.join(PATIENCE_S)  # a thread has a little to do after it says that it has closed
    assert not any(thread.is_alive() for thread in gate.inside)
