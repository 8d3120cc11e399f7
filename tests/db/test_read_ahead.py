"""Submits of many tenants share a transaction: one statement for all, and nobody waits for another."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, select

from app.admin.verifying.verify import verify
from app.db.engines import writer
from app.db.engines.engine import Database, open_database
from app.db.schema.tables import generations, tenants
from app.db.statements import prepared
from app.errors import Problem
from app.generations import read_ahead
from app.generations.advance import advance
from app.generations.dispatch.dispatcher import record_outcome
from app.generations.lifecycle import State
from app.generations.queue.decide import SubmitPolicy
from app.generations.store import Generation, SubmitIntent
from app.generations.submit.record import Admission, Recorded
from app.kit.ids import new_id
from app.quotas.amounts import Amounts
from app.quotas.limits import Payer, parse_limit
from app.upstream.credentials import Choice
from app.upstream.outcomes import Outcome, Verdict
from tests.rows import NOW_MS, add_owner
from tests.shared import PATIENT_S

pytestmark = pytest.mark.anyio
on_postgres = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
POLICY = SubmitPolicy(default_limits=tuple(map(parse_limit, ("submits-minute=60", "generations-day=90"))))
Owned = tuple[str, str]


class Gate:
    """Keeps a function inside it, in its lane, until it opens."""

    def __init__(self) -> None:
        self.inside, self.open = threading.Event(), threading.Event()

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


async def together(db: Database, calls: Sequence[Coroutine[Any, Any, Any]]) -> list["asyncio.Task[Any]"]:
    """Starts calls that find one another in the same lane."""
    gate = Gate()
    first = asyncio.create_task(db.write(gate.pass_through))
    assert await asyncio.to_thread(gate.inside.wait, PATIENT_S)
    tasks = [asyncio.ensure_future(one) for one in calls]
    await asyncio.sleep(0)
    gate.open.set()
    await first
    return tasks


def submit(db: Database, owner: Owned) -> Coroutine[Any, Any, Recorded]:
    intent = SubmitIntent(
        generation_id=new_id(NOW_MS), tenant_id=owner[0], kid=owner[1], payer=Payer(owner[1]), mode="test",
        model_id="a/b", input_json=b"{}", amounts=Amounts(1, 250_000, 5), price_version="1",
        settles_in="completed", trace_id="0" * 32, choices=(Choice("sandbox"),),
    )  # fmt: skip
    return Admission(db).record(intent, POLICY, now_ms=NOW_MS, lease_until_ms=NOW_MS + 60_000)


def outcome(db: Database, recorded: Recorded, *, known: Generation | None = None) -> Coroutine[Any, Any, Any]:
    of = recorded.generation
    accepted = Outcome(Verdict.ACCEPTED, "accepted", upstream_request_id=f"job-{of.id}")
    whose = read_ahead.of_outcome(of.tenant_id)
    return db.write_together(whose, record_outcome, of.id, accepted, {}, now_ms=NOW_MS, version=1, sent=known)


async def owners(db: Database, count: int) -> list[Owned]:
    return sorted([await db.write(add_owner) for _ in range(count)])


async def test_submits_and_outcomes_of_eight_tenants_take_no_more_statements_than_those_of_two(
    one_lane: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    send: Any = prepared._send

    def watched(driver: Any, sql: str, parameters: Any) -> Any:
        sent.append(sql)
        return send(driver, sql, parameters)

    monkeypatch.setattr(prepared, "_send", watched)
    counts = []
    for count in (2, 8):
        whose = await owners(one_lane, count)
        await asyncio.gather(*(submit(one_lane, one) for one in whose))  # usage has its rows from now on
        sent.clear()
        done = await asyncio.gather(*await together(one_lane, [submit(one_lane, one) for one in whose]))
        await asyncio.gather(*await together(one_lane, [outcome(one_lane, one) for one in done]))
        own = ("INSERT INTO generations", "UPDATE generations")  # one for each; and one is of another thread
        counts.append(len([sql for sql in sent if not sql.startswith(own) and "pg_notify" not in sql]))
    assert counts[0] == counts[1]
    assert (await one_lane.snapshot(verify)).findings == []


@on_postgres
async def test_a_tenant_whose_row_another_server_has_locked_is_passed_over_for_a_moment(
    one_lane: Database, database_url: str, gate: Gate
) -> None:
    whose = await owners(one_lane, 4)
    other = open_database(database_url, pool=1)

    def keep_locked(connection: Connection) -> None:
        connection.execute(select(tenants.c.id).where(tenants.c.id == whose[0][0]).with_for_update())
        gate.pass_through(connection)

    keeping = asyncio.create_task(other.write(keep_locked))
    assert await asyncio.to_thread(gate.inside.wait, PATIENT_S)
    first, *others = await together(one_lane, [submit(one_lane, one) for one in whose])
    await asyncio.wait_for(asyncio.gather(*others), PATIENT_S)
    assert not first.done()
    gate.open.set()
    assert (await first).is_new
    await keeping
    await other.close()
    assert (await one_lane.snapshot(verify)).findings == []


@on_postgres
async def test_an_outcome_left_alone_by_those_passed_over_is_judged_though_its_row_moved(
    one_lane: Database, database_url: str, gate: Gate
) -> None:
    whose = await owners(one_lane, 2)
    sent = await submit(one_lane, whose[1])
    await one_lane.write(advance, sent.generation.id, State.UNKNOWN, reason="lease_expired", now_ms=NOW_MS)
    other = open_database(database_url, pool=1)

    def keep_locked(connection: Connection) -> None:
        connection.execute(select(tenants.c.id).where(tenants.c.id == whose[0][0]).with_for_update())
        gate.pass_through(connection)

    keeping = asyncio.create_task(other.write(keep_locked))
    assert await asyncio.to_thread(gate.inside.wait, PATIENT_S)
    passed_over, judged = await together(
        one_lane, [submit(one_lane, whose[0]), outcome(one_lane, sent, known=sent.generation)]
    )
    assert (await asyncio.wait_for(judged, PATIENT_S)).state is State.IN_QUEUE
    assert not passed_over.done()
    gate.open.set()
    assert (await passed_over).is_new
    await keeping
    await other.close()
    assert (await one_lane.snapshot(verify)).findings == []


@on_postgres
async def test_only_the_tenant_whose_lock_is_not_had_in_time_is_refused(
    database_url: str, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    guards = {"synchronous_commit": "on", "statement_timeout": "50s", "lock_timeout": "200ms"}
    monkeypatch.setattr("app.db.engines.postgres.GUARDS", guards)
    monkeypatch.setattr(writer, "_MAX_PASSED_OVER", 0)  # so the first is waited for while others wait with it
    one_lane, other = open_database(database_url, pool=1), open_database(database_url, pool=1)
    whose = await owners(one_lane, 4)

    def keep_locked(connection: Connection) -> None:
        connection.execute(select(tenants.c.id).where(tenants.c.id == whose[0][0]).with_for_update())
        gate.pass_through(connection)

    keeping = asyncio.create_task(other.write(keep_locked))
    assert await asyncio.to_thread(gate.inside.wait, PATIENT_S)
    tasks = await together(one_lane, [submit(one_lane, one) for one in whose])
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(told[0], Problem)
    assert told[0].detail == "The database is locked by something else."
    assert [type(one).__name__ for one in told[1:]] == ["Recorded"] * 3
    gate.open.set()
    await keeping
    for database in (one_lane, other):
        await database.close()


async def test_a_row_that_is_not_there_holds_up_nobody(one_lane: Database) -> None:
    whose = await owners(one_lane, 2)
    ran: list[str] = []
    calls = [one_lane.write_for(f"no-tenant-{number}", lambda _: ran.append("one")) for number in range(3)]
    tasks = await together(one_lane, [*calls, *(submit(one_lane, one) for one in whose)])
    await asyncio.wait_for(asyncio.gather(*tasks), PATIENT_S)
    assert len(ran) == len(calls)
    assert (
        len(await one_lane.read(lambda connection: connection.execute(select(generations.c.id)).all())) == 2
    )


@on_postgres
async def test_tenants_share_a_lane_unless_it_is_stuck(
    database_url: str, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_lanes = open_database(database_url, pool=5)
    stuck = asyncio.create_task(two_lanes.write_for("a", gate.pass_through))
    assert await asyncio.to_thread(gate.inside.wait, PATIENT_S)
    order: list[str] = []
    beside = asyncio.create_task(two_lanes.write_for("b", lambda _: order.append("b")))
    await asyncio.sleep(0)
    monkeypatch.setattr(writer, "_STUCK_S", 0.0)
    await two_lanes.write_for("c", lambda _: order.append("c"))
    own = asyncio.create_task(two_lanes.write_for("a", lambda _: order.append("a")))
    await two_lanes.write_for("d", lambda _: order.append("d"))
    assert order == ["c", "d"]
    gate.open.set()
    await asyncio.gather(stuck, beside, own)
    assert order == ["c", "d", "a", "b"], "in one transaction, by tenant"
    assert two_lanes._writer._where == {}
    await two_lanes.close()
