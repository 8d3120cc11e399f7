"""Lanes: functions that share a commit, each with its own result, on any number of servers."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, NoReturn

import pytest
from sqlalchemy import Connection, bindparam, select, text, update
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import DBAPIError

from app.db.engines import writer
from app.db.engines.engine import Database, NotBegunProblem, open_database
from app.db.engines.writer import commit_soon
from app.db.outage import LOCKED, DatabaseBusyError
from app.db.schema.tables import tenants
from app.db.statements.prepared import Prepared, execute
from app.errors import DATABASE_UNAVAILABLE, Problem
from tests.loops import skip
from tests.rows import add_counter, set_text, text_of
from tests.shared import PATIENT_S

pytestmark = pytest.mark.anyio

on_postgres = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
TENANTS, ROUNDS = 6, 5


class Gate:
    """Keeps a function inside it, in its lane, until it opens."""

    def __init__(self) -> None:
        self.inside = threading.Event()
        self.open = threading.Event()

    def pass_through(self, _connection: Connection) -> None:
        self.inside.set()
        assert self.open.wait(PATIENT_S)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open.set()


@pytest.fixture
async def one_lane(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url, pool=1)
    yield database
    await database.close()


@asynccontextmanager
async def behind(db: Database, gate: Gate) -> AsyncIterator["asyncio.Task[None]"]:
    """What is asked for inside the block waits in one lane, behind a function in the gate."""
    task = asyncio.create_task(db.write(gate.pass_through))
    assert await asyncio.to_thread(gate.inside.wait, PATIENT_S)
    yield task
    gate.open.set()
    await asyncio.wait({task})


async def _asked(*calls: Any) -> list[Any]:
    tasks = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0)
    return tasks


def _fail(connection: Connection, kid: str, error: Exception) -> NoReturn:
    set_text(connection, kid, "half done")
    raise error


def _wrong(connection: Connection, kid: str) -> None:
    set_text(connection, kid, "half done")
    connection.execute(text("SELECT no_such_column FROM tenants"))


async def test_whatever_a_function_of_a_group_raises_harms_no_other(one_lane: Database, gate: Gate) -> None:
    kids = [await one_lane.write(add_counter) for _ in range(5)]
    write = one_lane.write_for
    async with behind(one_lane, gate):
        tasks = await _asked(
            write("a", set_text, kids[0], "done"),
            write("b", _fail, kids[1], KeyError("own")),
            write("c", _wrong, kids[2]),
            write("d", _fail, kids[3], StopIteration()),
            write("e", set_text, kids[4], "done"),
        )
    first, own, wrong, stop, last = await asyncio.gather(*tasks, return_exceptions=True)
    assert (first, last) == ("done", "done")
    assert isinstance(own, KeyError)
    assert "no_such_column" in str(wrong)
    assert isinstance(stop, RuntimeError)
    assert [await one_lane.read(text_of, kid) for kid in kids] == ["done", "0", "0", "0", "done"]


async def test_a_group_runs_again_only_where_a_function_raised_after_a_change(
    one_lane: Database, gate: Gate
) -> None:
    kids = [await one_lane.write(add_counter) for _ in range(2)]
    runs: list[str] = []

    def note(connection: Connection, kid: str) -> None:
        runs.append(kid)
        set_text(connection, kid, f"{len(runs)}")

    def refuse(connection: Connection, *, fails: bool) -> NoReturn:
        statement = "SELECT no_such_column FROM tenants" if fails else "SELECT id FROM tenants"
        with suppress(DBAPIError):  # as a function may, though PostgreSQL takes no statement after it
            execute(connection, statement)
        raise KeyError("refused")

    for fails in (False, True):
        async with behind(one_lane, gate):
            one, refused, other = await _asked(
                one_lane.write_for("a", note, kids[0]),
                one_lane.write_for("b", refuse, fails=fails),
                one_lane.write_for("c", note, kids[1]),
            )
        with pytest.raises(KeyError):
            await refused
        await asyncio.gather(one, other)
        gate.inside.clear()
        gate.open.clear()
    again = one_lane.dialect == "postgresql"
    assert runs == [*kids, *[kids[0]] * again, *kids]
    assert [await one_lane.read(text_of, kid) for kid in kids] == [str(len(runs) - 1), str(len(runs))]


@pytest.mark.parametrize("key", ["a", None])
async def test_what_has_waited_in_vain_is_not_run_again_with_its_group(
    one_lane: Database, gate: Gate, key: str | None
) -> None:
    kid = await one_lane.write(add_counter)
    runs: list[str] = []

    def wait(connection: Connection) -> NoReturn:
        runs.append("waited")  # for seconds, of the few that all callers of the group have
        set_text(connection, kid, "half done")
        raise DatabaseBusyError("somebody keeps a lock", LOCKED)

    async with behind(one_lane, gate):
        done, waited = await _asked(
            one_lane.write_for("a", set_text, kid, "done"),
            one_lane.write(wait) if key is None else one_lane.write_for(key, wait),
        )
    assert await done == "done", "it has the lock that it needs, whoever waits for another one"
    with pytest.raises(Problem) as told:
        await waited
    assert told.value.detail == LOCKED.sentence
    assert runs == ["waited"]
    assert await one_lane.read(text_of, kid) == "done"


async def test_nobody_of_a_group_is_told_of_success_where_its_commit_fails(
    one_lane: Database, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    kids = [await one_lane.write(add_counter) for _ in range(3)]
    dialect: Any = type(one_lane._writer._lanes[0].place.engine.dialect)  # type: ignore[attr-defined]

    def cut_off(of: Any, _connection: Any) -> None:
        raise of.loaded_dbapi.OperationalError("cut off")

    def set_and_cut(connection: Connection, kid: str) -> None:
        set_text(connection, kid, "never")
        monkeypatch.setattr(dialect, "do_commit", cut_off)

    async with behind(one_lane, gate):
        tasks = await _asked(*(one_lane.write_for(kid, set_and_cut, kid) for kid in kids))
    await asyncio.wait(tasks)
    monkeypatch.undo()
    for told in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(told, Problem)
        assert told.fault is DATABASE_UNAVAILABLE
        assert not isinstance(told, NotBegunProblem), "it may have been committed"
    assert await one_lane.write(set_text, kids[0], "1") == "1"


async def test_what_never_had_its_turn_says_so_and_has_none_later(one_lane: Database, gate: Gate) -> None:
    kid = await one_lane.write(add_counter)
    async with behind(one_lane, gate) as slow:
        late, left = await _asked(
            one_lane.write(set_text, kid, "too late"), one_lane.write(set_text, kid, "nobody waits")
        )
        left.cancel()
        await asyncio.wait({left})
        if one_lane.dialect == "postgresql":  # a file's writer answers, however late
            skip(PATIENT_S)
            with pytest.raises(NotBegunProblem):
                await late
            with pytest.raises(Problem) as unknown:
                await slow
            assert not isinstance(unknown.value, NotBegunProblem), (
                "it had begun, and nobody knows how it ended"
            )
        else:
            late.cancel()
            await asyncio.wait({late})
    assert await one_lane.read(text_of, kid) == "0"
    assert await one_lane.write(set_text, kid, "1") == "1"


async def test_nothing_is_begun_where_the_database_cannot_be_reached() -> None:
    away = open_database("postgresql://nobody:x@127.0.0.1:1/none")
    with pytest.raises(NotBegunProblem):
        await away.write_for("a", add_counter)
    await away.close()


async def test_prepared_statements_outlive_a_transaction_that_is_rolled_back(one_lane: Database) -> None:
    """Also after statements that the driver might prepare by itself, which it would all forget then."""
    of_all = select(tenants.c.id)
    prepared = Prepared(of_all.where(tenants.c.id == bindparam("of_id")))

    def work(connection: Connection, *, fails: bool) -> list[Any]:
        for _ in range(10):
            connection.execute(of_all)
        found = prepared.all(connection, {"of_id": "nobody"})
        if fails:
            raise ValueError
        return found

    for fails in (False, True, False):
        if fails:
            with pytest.raises(ValueError):  # noqa: PT011 - that of the function
                await one_lane.write(work, fails=fails)
        else:
            assert await one_lane.write(work, fails=fails) == []


async def test_functions_of_a_key_run_in_the_order_in_which_they_came(db: Database) -> None:
    ran: list[int] = []

    def note(_connection: Connection, number: int) -> None:
        ran.append(number)

    await asyncio.gather(*(db.write_for("a", note, number) for number in range(40)))
    assert ran == sorted(ran)


# --- servers beside one another


def _count_one(connection: Connection, tenant_id: str, runs: list[str], *, shared: str = "") -> None:
    """As tx 1 and tx 2 do: a row of the tenant's is locked first, what tenants share after it."""
    runs.append(tenant_id)
    connection.execute(
        update(tenants).where(tenants.c.id == tenant_id).values(live_events=tenants.c.live_events + 1)
    )
    if shared:
        commit_soon(connection)
        connection.execute(update(tenants).where(tenants.c.id == shared).values(weight=tenants.c.weight + 1))


def _add_tenants(connection: Connection) -> list[str]:
    names = [f"tenant-{number}" for number in range(TENANTS)]
    for name in (*names, "shared"):
        connection.execute(tenants.insert().values(id=name, name=name, created_at_ms=0, weight=1))
    return names


def _counts(connection: Connection) -> dict[str, int]:
    rows = connection.execute(select(tenants.c.id, tenants.c.live_events, tenants.c.weight))
    return {row.id: row.weight - 1 if row.id == "shared" else row.live_events for row in rows}


@on_postgres
async def test_three_servers_with_the_same_tenants_lose_and_double_nothing(
    db: Database, database_url: str
) -> None:
    names, runs = await db.write(_add_tenants), list[str]()
    async with AsyncExitStack() as stack:
        servers = [open_database(database_url, pool=5) for _ in range(3)]
        for server in servers:
            stack.push_async_callback(server.close)
        calls = [
            server.write_for(name, _count_one, name, runs, shared="shared" if number % 3 == 0 else "")
            for number in range(ROUNDS)
            for server, order in zip(servers, (names, names[::-1], names[2:] + names[:2]), strict=True)
            for name in order
        ]
        await asyncio.gather(*calls)
    each = 3 * ROUNDS
    assert await db.read(_counts) == {**dict.fromkeys(names, each), "shared": TENANTS * 3 * 2}
    assert len(runs) == each * TENANTS, "locks are taken in one order, so there is no deadlock"


@on_postgres
async def test_a_deadlock_with_somebody_else_is_made_up_for_and_nothing_is_done_twice(
    database_url: str, gate: Gate
) -> None:
    """Whoever takes locks in another order, such as an operator by hand, makes deadlocks."""
    soon = f"{'&' if '?' in database_url else '?'}options=-cdeadlock_timeout%3D10ms"
    one_lane = open_database(database_url + soon, pool=1)
    names, holds, runs = await one_lane.write(_add_tenants), threading.Event(), list[str]()
    async with behind(one_lane, gate):
        stranger = await asyncio.to_thread(_Stranger, database_url, names[-1])
        tasks = await _asked(
            *(one_lane.write_for(name, _count_one, name, runs) for name in names),
            one_lane.write_for(f"{names[0]} and then", _wait_for_the_stranger, holds),
        )
        gate.open.set()
        assert await asyncio.to_thread(holds.wait, PATIENT_S)
        await asyncio.to_thread(stranger.lock, names[0])
        await asyncio.gather(*tasks)
    assert await one_lane.read(_counts) == {**dict.fromkeys(names, 1), "shared": 0}
    assert len(runs) > TENANTS
    await one_lane.close()


def _wait_for_the_stranger(connection: Connection, holds: threading.Event) -> None:
    if holds.is_set():
        return
    holds.set()
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    while not connection.execute(waiting).scalar_one():
        pass


class _Stranger:
    """Locks rows in an order of its own, and is the last to look for a deadlock."""

    def __init__(self, url: str, tenant_id: str) -> None:
        import psycopg  # noqa: PLC0415 - of the PostgreSQL tests alone

        self._connection = psycopg.connect(url)
        self._connection.execute("SET deadlock_timeout = '20s'")
        self._lock(tenant_id)

    def _lock(self, tenant_id: str) -> None:
        self._connection.execute("SELECT 1 FROM tenants WHERE id = %s FOR UPDATE", (tenant_id,))

    def lock(self, tenant_id: str) -> None:
        """Waits for the row, and then lets both go."""
        self._lock(tenant_id)
        self._connection.rollback()
        self._connection.close()


@on_postgres
async def test_a_tenant_whose_row_somebody_keeps_holds_up_no_other_for_long(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    guards = {"synchronous_commit": "on", "statement_timeout": "50s", "lock_timeout": "200ms"}
    monkeypatch.setattr("app.db.engines.postgres.GUARDS", guards)
    db = open_database(database_url, pool=1)
    names = await db.write(_add_tenants)
    stranger = await asyncio.to_thread(_Stranger, database_url, names[0])
    calls = [db.write_for(name, _count_one, name, []) for name in names]
    told = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(told[0], Problem)
    assert told[0].detail == "The database is locked by something else."
    assert told[1:] == [None] * (TENANTS - 1)
    with pytest.raises(NotBegunProblem):  # without waiting again
        await db.write_for(names[0], _count_one, names[0], [])
    monkeypatch.setattr(writer, "_AVOID_S", 0.0)
    db._writer._lanes[0]._avoided.clear()  # some seconds later
    await asyncio.to_thread(stranger.lock, names[0])
    await db.write_for(names[0], _count_one, names[0], [])
    assert await db.read(_counts) == {**dict.fromkeys(names, 1), "shared": 0}
    await db.close()


@on_postgres
async def test_a_commit_that_fails_before_the_server_hears_of_it_leaves_no_transaction_open(
    one_lane: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kid = await one_lane.write(add_counter)

    def fail(_dialect: DefaultDialect, _connection: Any) -> NoReturn:
        raise RuntimeError("a defect, and not the server's answer")

    with monkeypatch.context() as patch:
        patch.setattr(DefaultDialect, "do_commit", fail)
        with pytest.raises(RuntimeError):
            await one_lane.write(set_text, kid, "never")
    other = open_database(database_url, pool=1)
    try:
        await other.write(set_text, kid, "other")  # it waits for nobody's lock
    finally:
        await other.close()
    await one_lane.write(add_counter)
    assert await one_lane.read(text_of, kid) == "other", "the next transaction commits what is its own"
