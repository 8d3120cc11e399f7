"""The queue's rows: one job is taken once, whoever hears of it; and what comes back does so once."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, func, select, text, update

from app.auth import keys, tenants
from app.db.engines.engine import Database, is_sqlite, sync_url
from app.db.schema.tables import generations, queues, turns
from app.generations import store
from app.generations.advance import advance
from app.generations.dispatch import dequeue
from app.generations.dispatch.dequeue import NotDequeued
from app.generations.dispatch.dispatcher import close_as_not_sent, record_outcome
from app.generations.lifecycle import State
from app.generations.queue import rows as queue
from app.generations.queue.decide import SubmitPolicy
from app.generations.queue.fair import Flow
from app.generations.store import Generation
from app.generations.submit import record
from app.kit.ids import new_id
from app.quotas.account import Owner, put_limit
from app.quotas.amounts import Amounts
from app.quotas.limits import Payer, Scope, parse_limit
from app.upstream.credentials import Choice
from app.upstream.outcomes import Outcome, Verdict
from tests.rows import NOW_MS, PEPPER, PRICE, row_of
from tests.shared import PATIENT_S

pytestmark = pytest.mark.anyio

TERMS = SubmitPolicy()
ANY = (Choice("default"),)
BUSY = Outcome(Verdict.BUSY, "http_429")
LEASE_MS = NOW_MS + 30_000


def add_tenant(connection: Connection, name: str, weight: int = 1) -> tuple[str, str]:
    made = tenants.create(connection, name, now_ms=NOW_MS)
    tenants.set_queueing(connection, made.id, queueing=True, max_queued=None, weight=weight)
    kid, _ = keys.create(connection, made.id, mode="live", name="", pepper=PEPPER, now_ms=NOW_MS)
    return made.id, kid


def submit(
    connection: Connection,
    owner: tuple[str, str],
    *,
    choices: tuple[Choice, ...] = (),
    queueable: bool = True,
    policy: SubmitPolicy = TERMS,
) -> Generation:
    intent = store.SubmitIntent(
        generation_id=new_id(NOW_MS),
        tenant_id=owner[0],
        kid=owner[1],
        payer=Payer(owner[1]),
        mode="live",
        model_id="a/b",
        input_json=b"{}",
        amounts=Amounts(generations=1, microcredits=PRICE, output_seconds=5),
        price_version="1",
        settles_in="completed",
        trace_id="0" * 32,
        choices=choices,
        queueable=queueable,
    )
    return record.record(connection, intent, policy, now_ms=NOW_MS, lease_until_ms=LEASE_MS).generation


async def first_turn(db: Database) -> Flow:
    return (await db.read(dequeue.flows, "live", ANY, TERMS, now_ms=NOW_MS))[0]


async def taken(
    db: Database, turn: Flow, attempt: str = "a", choices: tuple[Choice, ...] = ANY
) -> Generation | NotDequeued:
    return await db.write(
        dequeue.dequeue,
        "live",
        turn,
        choices,
        TERMS,
        attempt=attempt,
        now_ms=NOW_MS,
        lease_until_ms=LEASE_MS,
    )


async def waiting(db: Database) -> int:
    def count(connection: Connection) -> int:
        return int(connection.scalar(select(func.sum(queues.c.queued))) or 0)

    return await db.read(count)


async def test_of_fifty_who_take_at_once_each_job_is_had_by_one(db: Database) -> None:
    owner = await db.write(add_tenant, "acme")
    made = [await db.write(submit, owner) for _ in range(5)]
    turn = await first_turn(db)
    found = await asyncio.gather(*(taken(db, turn, str(number)) for number in range(50)))
    assert [one.id for one in found if isinstance(one, Generation)] == [made[0].id]
    assert set(found) - {one for one in found if isinstance(one, Generation)} == {NotDequeued.MOVED}
    assert await waiting(db) == 4


async def test_a_place_is_given_once_however_many_take_for_it(db: Database) -> None:
    owners = [await db.write(add_tenant, f"tenant {number}") for number in range(8)]
    for owner in owners:
        await db.write(submit, owner)
    turns_now = await db.read(dequeue.flows, "live", ANY, TERMS, now_ms=NOW_MS)
    two = (Choice("default", 2),)
    await db.write(_credential)
    found = await asyncio.gather(*(taken(db, turn, str(at), two) for at, turn in enumerate(turns_now)))
    assert sum(isinstance(one, Generation) for one in found) == 2
    assert found.count(NotDequeued.NO_ROOM) == 6


def _credential(connection: Connection) -> None:
    from app.upstream import credentials  # noqa: PLC0415 - beside its one use
    from app.upstream.breaker import Health  # noqa: PLC0415 - as above

    credentials.save(connection, "default", Health(), now_ms=NOW_MS)


async def test_an_outcome_that_is_recorded_twice_counts_once(db: Database) -> None:
    """The answer to the first commit was lost; by now another server has the job under way."""
    owner = await db.write(add_tenant, "acme")
    await db.write(submit, owner)
    first = await taken(db, await first_turn(db))
    assert isinstance(first, Generation)
    back = await db.write(record_outcome, first.id, BUSY, {}, now_ms=NOW_MS, version=first.version)
    assert back.state is State.ACCEPTED
    second = await taken(db, await first_turn(db), "b")
    assert isinstance(second, Generation)
    for outcome in (BUSY, Outcome(Verdict.REJECTED_INPUT, "http_422"), Outcome(Verdict.UNKNOWN, "timeout")):
        row = await db.write(record_outcome, first.id, outcome, {}, now_ms=NOW_MS, version=first.version)
        assert (row.state, row.version) == (State.DISPATCHING, second.version)
    assert await waiting(db) == 0


async def test_what_was_never_sent_is_closed_and_what_somebody_took_from_the_queue_is_not(
    db: Database,
) -> None:
    owner = await db.write(add_tenant, "acme")
    first, second = [await db.write(submit, owner, choices=ANY) for _ in range(2)]
    await db.write(advance, second.id, State.UNKNOWN, reason="lease_over", now_ms=NOW_MS)
    third = await db.write(submit, owner)
    assert isinstance(await taken(db, await first_turn(db)), Generation)
    for one in (first, second, third):
        await db.write(_close, one)
    states = [(await row_of(db, one.id)).state for one in (first, second, third)]
    assert states == [State.REJECTED, State.REJECTED, State.DISPATCHING]


def _close(connection: Connection, one: Generation) -> None:
    close_as_not_sent(one.tenant_id, one.id, Outcome(Verdict.NOT_SENT, "x"), connection, NOW_MS)


async def test_a_take_of_which_nobody_heard_is_undone_and_no_other(db: Database) -> None:
    owner = await db.write(add_tenant, "acme")
    await db.write(submit, owner)
    first = await taken(db, await first_turn(db), "first")
    assert isinstance(first, Generation)
    await db.write(_undo, owner, "another")
    assert (await row_of(db, first.id)).state is State.DISPATCHING
    await db.write(_undo, owner, "first")
    assert (await row_of(db, first.id)).state is State.ACCEPTED
    second = await taken(db, await first_turn(db), "second")
    assert isinstance(second, Generation)
    await db.write(_undo, owner, "first")
    assert (await row_of(db, first.id)).state is State.DISPATCHING
    assert await waiting(db) == 0


def _undo(connection: Connection, owner: tuple[str, str], attempt: str) -> None:
    dequeue.undo(owner[0], attempt, connection, NOW_MS)


class _UnderWay:
    """A transaction that is committed only once another one waits for it, or is over."""

    def __init__(self) -> None:
        self.ran, self._over = threading.Event(), threading.Event()

    def run(self, connection: Connection, function: Callable[[Connection], object]) -> None:
        function(connection)
        self.ran.set()
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        while not (self._over.is_set() or connection.execute(waiting).scalar_one()):
            pass

    async def beside(
        self, db: Database, first: Callable[[Connection], object], then: Awaitable[None]
    ) -> None:
        running = asyncio.create_task(db.write(self.run, first))
        assert await asyncio.to_thread(self.ran.wait, PATIENT_S)
        await then
        self._over.set()
        await running


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_take_whose_commit_is_still_under_way_is_undone_too(db: Database) -> None:
    owner = await db.write(add_tenant, "acme")
    made = await db.write(submit, owner)
    flow = await first_turn(db)

    def take(connection: Connection) -> None:
        dequeue.dequeue(
            connection, "live", flow, ANY, TERMS, attempt="first", now_ms=NOW_MS, lease_until_ms=LEASE_MS
        )

    await _UnderWay().beside(db, take, db.write(_undo, owner, "first"))
    assert (await row_of(db, made.id)).state is State.ACCEPTED


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_what_is_given_up_while_its_commit_is_under_way_is_closed(db: Database) -> None:
    owner = await db.write(add_tenant, "acme")
    made: list[Generation] = []

    async def close() -> None:
        await db.write(_close, made[0])

    def add(connection: Connection) -> None:
        made.append(submit(connection, owner, choices=ANY))

    await _UnderWay().beside(db, add, close())
    assert (await row_of(db, made[0].id)).state is State.REJECTED


async def test_a_count_that_an_older_server_spoilt_mends_itself(db: Database) -> None:
    owner = await db.write(add_tenant, "acme")
    made = await db.write(submit, owner)

    def cancel_as_before(connection: Connection) -> None:
        connection.execute(update(generations).where(generations.c.id == made.id).values(state="cancelled"))

    await db.write(cancel_as_before)
    assert await taken(db, await first_turn(db)) is NotDequeued.HELD_UP
    assert await waiting(db) == 0
    assert await db.read(dequeue.flows, "live", ANY, TERMS, now_ms=NOW_MS) == []


async def test_who_may_not_wait_does_not_pass_those_who_do(db: Database) -> None:
    waits, passing = await db.write(add_tenant, "waits"), await db.write(add_tenant, "passing")
    await db.write(_credential)
    one = (Choice("default", 1),)
    await db.write(submit, waits)
    with pytest.raises(Exception, match="its limit of jobs"):
        await db.write(submit, passing, choices=one, queueable=False)
    # What its own limit keeps back keeps nobody else.
    await db.write(_limit, waits[0])
    await db.write(submit, waits, choices=one)
    first = await taken(db, await first_turn(db), "a", (Choice("default"),))
    assert isinstance(first, Generation)
    two = (Choice("default", 2),)
    assert (await db.write(submit, passing, choices=two, queueable=False)).state is State.DISPATCHING


def _limit(connection: Connection, tenant_id: str) -> None:
    put_limit(connection, Owner(tenant_id, "live"), parse_limit("in-flight=1", Scope()), now_ms=NOW_MS)


async def test_whoever_is_disabled_or_paused_keeps_nobody_waiting(db: Database) -> None:
    idle, other = await db.write(add_tenant, "idle"), await db.write(add_tenant, "other")
    await db.write(submit, idle)
    assert (await db.write(submit, other, choices=ANY)).state is State.ACCEPTED
    await db.write(tenants.set_dispatch_paused, idle[0], NOW_MS)
    await db.write(tenants.set_dispatch_paused, other[0], NOW_MS)
    third = await db.write(add_tenant, "third")
    assert (await db.write(submit, third, choices=ANY)).state is State.DISPATCHING


async def test_virtual_time_goes_on_with_what_is_served(db: Database) -> None:
    heavy, light = await db.write(add_tenant, "heavy", 4), await db.write(add_tenant, "light")
    for owner in (heavy, light):
        for _ in range(6):
            await db.write(submit, owner)
    order = []
    for number in range(10):
        one = await taken(db, await first_turn(db), str(number))
        assert isinstance(one, Generation)
        order.append(one.tenant_id)
    assert order.count(heavy[0]) == 6
    assert order[:8].count(heavy[0]) >= 6

    def virtual(connection: Connection) -> int:
        return int(connection.scalar(select(turns.c.virtual).where(turns.c.mode == "live")) or 0)

    assert await db.read(virtual) > 0
    assert (await db.read(queue.queue_state, "live")).paused is False


async def test_submits_and_takes_at_once_never_have_more_in_flight_than_may_be(db: Database) -> None:
    owner = await db.write(add_tenant, "acme")
    await db.write(_limit, owner[0])
    await asyncio.gather(
        *(db.write(submit, owner, choices=ANY) for _ in range(20)),
        *(_take_if_there(db, str(number)) for number in range(20)),
    )

    def in_flight(connection: Connection) -> int:
        counts = store.in_flight(connection, Owner(owner[0], "live"), unknown_since_ms=0)
        return counts[Scope()]

    assert await db.read(in_flight) == 1
    assert await waiting(db) == 19


async def _take_if_there(db: Database, attempt: str) -> None:
    found = await db.read(dequeue.flows, "live", ANY, TERMS, now_ms=NOW_MS)
    if found:
        await taken(db, found[0], attempt)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_nothing_that_is_asked_of_the_queue_reads_all_who_wait(db: Database) -> None:
    """The plans name an index for every look at the jobs, whatever their number."""
    mine = {"tenant": "t", "of_mode": "live"}
    asked = {
        "_HEAD": mine,
        "_HEAD_OF_LANE": mine | {"of_kid": "k", "of_model_id": "m"},
        "_FIRST_LANE": mine,
        "_NEXT_LANE": mine | {"after_kid": "k", "after_model_id": "m"},
        "_FIRST_TICKET": mine,
        "_COUNT_BEFORE": mine | {"before": 5, "most": 3},
        "_DUE": {"now_ms": 1},
        "_OVERDUE": {"now_ms": 1, "most": 3},
        "_AT_UPSTREAM": {"of_mode": "live"},
    }

    def plans(connection: Connection) -> dict[str, list[str]]:
        found = {}
        for name, parameters in asked.items():
            asked_of: Any = getattr(queue, name)
            query = getattr(asked_of, "_statement", asked_of)  # of one that is prepared
            statement = str(query.compile(connection, compile_kwargs={"render_postcompile": True}))
            bound = query.compile(connection).construct_params(parameters)
            rows = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement}",
                tuple(bound[one] for one in query.compile(connection).positiontup or ()),
            )
            found[name] = [str(row.detail) for row in rows if "generations" in str(row.detail)]
        return found

    for name, steps in (await db.read(plans)).items():
        assert steps, name
        assert all("SEARCH" in step and "USING" in step and "INDEX" in step for step in steps), (name, steps)


async def test_a_dequeue_that_waits_while_its_tenant_is_disabled_takes_nothing(
    db: Database, database_url: str
) -> None:
    """It began before the commit that disables the tenant, and has its row only afterwards."""
    owner = await db.write(add_tenant, "a")
    made = await db.write(submit, owner)
    turn = await first_turn(db)
    disabled, attempted = threading.Event(), threading.Event()

    def disable(connection: Connection) -> None:
        tenants.by_name(connection, "a", to_change=True)
        tenants.set_disabled(connection, owner[0], NOW_MS)
        disabled.set()
        assert attempted.wait(10)

    def disable_on_another_replica() -> None:
        engine = create_engine(sync_url(database_url))
        waits = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        with engine.begin() as connection:
            disable(connection)
            while not connection.scalar(waits):
                time.sleep(0.01)
        engine.dispose()

    disabling = asyncio.create_task(
        db.write(disable) if is_sqlite(database_url) else asyncio.to_thread(disable_on_another_replica)
    )
    assert await asyncio.to_thread(disabled.wait, 10)
    attempt = asyncio.create_task(taken(db, turn))
    await asyncio.sleep(0)
    attempted.set()
    await disabling
    assert await attempt is NotDequeued.MOVED
    assert (await row_of(db, made.id)).state is State.ACCEPTED
    assert await db.read(dequeue.flows, "live", ANY, TERMS, now_ms=NOW_MS) == []
