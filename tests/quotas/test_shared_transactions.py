"""Functions that share a transaction decide and write exactly what they would have, one after another."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, select

from app.admin.verifying.verify import verify
from app.auth import keys
from app.db.engines.engine import Database, open_database
from app.db.schema.tables import (
    generation_events,
    generations,
    ledger_entries,
    quota_usage,
    tenants,
    threshold_events,
    usage_counts,
)
from app.db.statements import prepared
from app.generations import store
from app.generations.advance import advance
from app.generations.dispatch.dispatcher import record_outcome
from app.generations.lifecycle import State
from app.generations.queue.decide import SubmitPolicy
from app.generations.store import SubmitIntent
from app.generations.submit.record import Recorded, record
from app.kit.ids import new_id
from app.quotas.account import Owner, set_limit
from app.quotas.amounts import Amounts
from app.quotas.balances import ledger
from app.quotas.balances.ledger import Kind
from app.quotas.limits import Payer, Scope, parse_limit
from app.upstream.credentials import Choice
from app.upstream.outcomes import Outcome, Verdict
from tests.rows import NOW_MS, PEPPER, add_owner
from tests.shared import PATIENT_S

pytestmark = pytest.mark.anyio
DEFAULTS = ("submits-minute=60", "generations-day=100", "credits-total=100")
POLICY = SubmitPolicy(default_limits=tuple(map(parse_limit, DEFAULTS)), thresholds=(3, 8))
TABLES = (generation_events, threshold_events, ledger_entries, quota_usage, usage_counts)
DAY_MS = 86_400_000
Act = tuple[bool, Callable[[Connection], Any]]


class Site:
    """A tenant with two keys, generations that are being sent, usage of two days, and what is tried."""

    def __init__(self, connection: Connection) -> None:
        self.tenant_id, self.kid = add_owner(connection)
        self.other, _ = keys.create(
            connection, self.tenant_id, mode="test", name="", pepper=PEPPER, now_ms=NOW_MS
        )
        self.sent = [self.submit()[1](connection).generation for _ in range(2)]
        self.submit(later_ms=DAY_MS)[1](connection)
        self.owner = Owner(self.tenant_id, "test")

    def submit(
        self,
        model_id: str = "a/b",
        *,
        key: int = 0,
        price: int = 250_000,
        later_ms: int = 0,
        fails: bool = False,
        repeats: str | None = None,
    ) -> Act:
        kid, now_ms = (self.kid, self.other)[key], NOW_MS + later_ms

        def act(connection: Connection) -> Recorded:
            intent = SubmitIntent(
                generation_id=new_id(now_ms), tenant_id=self.tenant_id, kid=kid, payer=Payer(kid),
                mode="test", model_id=model_id, input_json=b"{}", amounts=Amounts(1, price, 5),
                price_version="1", settles_in="completed", trace_id="0" * 32, choices=(Choice("sandbox"),),
                idempotency_key=repeats, fingerprint=repeats,
            )  # fmt: skip
            done = record(connection, intent, POLICY, now_ms=now_ms, lease_until_ms=now_ms + 60_000)
            if fails:
                raise KeyError("after everything was written")
            return done

        return True, act

    def outcome(self, number: int, verdict: Verdict, job: str | None = None) -> Act:
        of = self.sent[number]
        job = job or (f"job-{of.id}" if verdict is Verdict.ACCEPTED else None)
        outcome = Outcome(verdict, verdict.value, upstream_request_id=job)
        return True, lambda connection: record_outcome(
            connection, of.id, outcome, {}, now_ms=NOW_MS, version=1, sent=of
        )

    def limit(self, text: str) -> Act:
        def act(connection: Connection) -> None:
            set_limit(connection, self.owner, parse_limit(text, Scope()), now_ms=NOW_MS)

        return False, act

    def top_up(self) -> Act:
        def act(connection: Connection) -> bool:
            kind = Kind.TOP_UP
            return ledger.add(connection, self.owner, Scope(), kind, 50_000_000, now_ms=NOW_MS)

        return False, act

    def acts(self) -> list[Act]:
        return [
            self.submit(), self.submit(later_ms=DAY_MS), self.submit(), self.outcome(0, Verdict.ACCEPTED),
            self.submit(), self.submit(key=1),
            self.submit("c/d"), self.submit(price=900_000_000), self.submit(fails=True), self.submit(),
            self.outcome(1, Verdict.REJECTED_CREDENTIAL), self.submit(), self.top_up(),
            self.submit(price=60_000_000), self.submit(price=60_000_000), self.limit("generations-day=10"),
            self.submit(), self.submit(),
        ]  # fmt: skip

    def rows(self, connection: Connection) -> dict[str, list[str]]:
        """What the tenant has in all tables that a submit writes, in words that fit any tenant."""
        event = generation_events.c
        ids = connection.scalars(
            select(event.generation_id)
            .where(event.tenant_id == self.tenant_id, event.version == 1)
            .order_by(event.number)
        )
        names = {one: f"g{number}" for number, one in enumerate(ids)}
        names |= {self.tenant_id: "tenant", self.kid: "key", self.other: "other"}
        found = {}
        for table in (*TABLES, generations, tenants):
            own = tenants.c.id if table is tenants else table.c.tenant_id
            rows = connection.execute(select(table).where(own == self.tenant_id)).mappings()
            unlike = {"name", *(("id",) if table is ledger_entries else ())}
            found[table.name] = sorted(
                str({k: names.get(v, v) for k, v in row.items() if k not in unlike and "job-" not in str(v)})
                for row in rows
            )
        return found


def told(results: Sequence[Any]) -> list[Any]:
    """What the callers are answered: the standings, or which error."""
    answers: list[Any] = []
    for one in results:
        if isinstance(one, Recorded):
            answers.append([(each.limit.policy, each[1:]) for each in one.standings])
        else:
            answers.append(type(one).__name__)
    return answers


@pytest.fixture
async def one_lane(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url, pool=1)
    yield database
    await database.close()


async def run(db: Database, tenant_id: str, acts: Sequence[Act]) -> list[Any]:
    """Runs acts in one transaction, in this order."""
    inside, opened = threading.Event(), threading.Event()

    def wait(_connection: Connection) -> None:
        inside.set()
        assert opened.wait(PATIENT_S)

    first = asyncio.create_task(db.write(wait))
    assert await asyncio.to_thread(inside.wait, PATIENT_S)
    ways: dict[bool, Any] = {True: db.write_together, False: db.write_for}
    tasks = [asyncio.create_task(ways[shares](tenant_id, act)) for shares, act in acts]
    await asyncio.sleep(0)
    opened.set()
    await first
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_submits_and_outcomes_of_one_transaction_are_those_of_as_many_transactions(
    one_lane: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart, together = await one_lane.write(Site), await one_lane.write(Site)
    expected = [(await run(one_lane, apart.tenant_id, [act]))[0] for act in apart.acts()]
    updates: list[str] = []
    execute: Any = prepared._send

    def watched(driver: Any, sql: str, parameters: Any) -> Any:
        if sql == "SAVEPOINT one" and sql not in updates:
            updates[:] = [sql]  # all that was before is rolled back
        updates.extend([sql] if sql.startswith("UPDATE quota_usage SET held") else [])
        return execute(driver, sql, parameters)

    monkeypatch.setattr(prepared, "_send", watched)
    got = await run(one_lane, together.tenant_id, together.acts())
    assert told(got) == told(expected)
    assert {"QuotaProblem", "KeyError"} <= {*map(str, told(got)[4:])}, "some were refused, and one failed"
    assert await one_lane.read(together.rows) == await one_lane.read(apart.rows)
    assert len(updates) < len(got), "what submits hold is written together"
    assert (await one_lane.snapshot(verify)).findings == []


async def test_a_refused_submit_of_another_key_makes_nobody_run_again(one_lane: Database) -> None:
    site = await one_lane.write(Site)
    runs: list[Act] = []

    def noted(act: Act) -> Act:
        def call(connection: Connection) -> Any:
            runs.append(act)
            return act[1](connection)

        return True, call

    acts = [site.submit(), site.submit(key=1, price=900_000_000), site.submit(), site.submit(key=1)]
    got = await run(one_lane, site.tenant_id, [noted(one) for one in acts])
    assert [type(one).__name__ for one in got] == ["Recorded", "QuotaProblem", "Recorded", "Recorded"]
    assert runs == acts, "what it wrote had been deferred by another, whose it is"
    assert (await one_lane.snapshot(verify)).findings == []


async def test_rows_of_one_transaction_are_written_with_one_statement_before_what_refers_to_them(
    one_lane: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await one_lane.write(Site)
    seen: list[str] = []
    execute: Any = prepared._send

    def watched(driver: Any, sql: str, parameters: Any) -> Any:
        seen.extend(
            [sql.partition(" (")[0]] if "INTO generation" in sql or "UPDATE generations" in sql else []
        )
        return execute(driver, sql, parameters)

    await run(one_lane, site.tenant_id, [site.submit()])  # which crosses a threshold
    monkeypatch.setattr(prepared, "_send", watched)
    accepted = [site.outcome(number, Verdict.ACCEPTED) for number in range(2)]
    got = await run(one_lane, site.tenant_id, [*accepted, site.submit(), site.submit()])
    assert [type(one).__name__ for one in got] == ["Generation", "Generation", "Recorded", "Recorded"]
    inserts = ["INSERT INTO generations", "INSERT INTO generation_events"]
    assert [sql for sql in seen if sql.startswith("INSERT")] == inserts
    assert sum(sql.startswith("UPDATE") for sql in seen) == 1
    for answered in [*got[:2], *(one.generation for one in got[2:])]:
        assert await one_lane.read(store.find, answered.id, None) == answered


async def test_a_row_that_moved_meanwhile_is_judged_as_it_is_and_its_neighbours_are_told_the_truth(
    one_lane: Database,
) -> None:
    site = await one_lane.write(Site)
    moved, other = site.sent
    await one_lane.write(advance, moved.id, State.UNKNOWN, reason="lease_expired", now_ms=NOW_MS)
    accepted = [site.outcome(number, Verdict.ACCEPTED) for number in (1, 0, 0)]
    got = await run(one_lane, site.tenant_id, [site.submit(), *accepted])
    assert [(one.id, one.state, one.version) for one in got[1:]] == [
        (other.id, State.IN_QUEUE, 2),
        (moved.id, State.IN_QUEUE, 3),
        (moved.id, State.IN_QUEUE, 3),
    ]
    assert (await one_lane.snapshot(verify)).findings == []


async def test_an_id_that_was_given_twice_fails_the_second_outcome_alone(one_lane: Database) -> None:
    site = await one_lane.write(Site)
    twice = [site.outcome(number, Verdict.ACCEPTED, "the-same") for number in range(2)]
    got = await run(one_lane, site.tenant_id, [site.submit(), *twice, site.submit()])
    assert [type(one).__name__ for one in got] == ["Recorded", "Generation", "IntegrityError", "Recorded"]
    assert (await one_lane.snapshot(verify)).findings == []


async def test_a_key_that_is_used_twice_in_one_transaction_makes_one_generation(one_lane: Database) -> None:
    site = await one_lane.write(Site)
    first, second, other = await run(
        one_lane,
        site.tenant_id,
        [site.submit(repeats="key"), site.submit(repeats="key"), site.submit(repeats="other")],
    )
    assert (first.is_new, second.is_new, other.is_new) == (True, False, True)
    assert second.generation == first.generation
    assert (await one_lane.snapshot(verify)).findings == []
