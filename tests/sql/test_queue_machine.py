"""Any history of a queue: whoever comes, goes, returns or is paused, its rows and books are right."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import Connection, func, select

from app.auth import tenants
from app.db.sqlite import writer_engine
from app.db.tables import generations, queues
from app.errors import Problem
from app.generations import backlog, queue, store, take
from app.generations.advance import advance
from app.generations.dispatch import record_outcome
from app.generations.intent import Terms
from app.generations.lifecycle import TERMINAL, State
from app.generations.store import Choice, Generation
from app.generations.verify import verify
from app.quotas.account import Owner, put_limit
from app.quotas.limits import Scope, parse_limit
from app.upstream import credentials
from app.upstream.breaker import Health
from app.upstream.outcomes import Outcome, Verdict
from tests.sql.rows import NOW_MS
from tests.sql.test_queue import add_tenant, submit

TENANTS = {"one": 1, "two": 2, "three": 5}
PLACES = 4
CHOICES = (Choice("default", PLACES),)
OUTCOMES = {
    "accepted": Verdict.ACCEPTED,
    "busy": Verdict.BUSY,
    "unreachable": Verdict.NOT_SENT,
    "refused": Verdict.REJECTED_INPUT,
    "no balance": Verdict.REJECTED_CREDENTIAL,
    "lost": Verdict.UNKNOWN,
}
names = st.sampled_from(sorted(TENANTS))
numbers = st.integers(0, 50)
terms = Terms(most_waiting=8, waiting_per_tenant=4)


class Queue(RuleBasedStateMachine):
    """Three tenants on a credential of four places; the second may have two in flight."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.engine = writer_engine(path)
        self.now_ms = NOW_MS
        self.jobs = 0
        self.stale: list[tuple[Generation, Outcome]] = []
        with self.engine.begin() as connection:
            credentials.save(connection, "default", Health(), now_ms=NOW_MS)
            self.owners = {name: add_tenant(connection, name, weight) for name, weight in TENANTS.items()}
            two = Owner(self.owners["two"][0], "live")
            put_limit(connection, two, parse_limit("in-flight=2", Scope()), now_ms=NOW_MS)

    def teardown(self) -> None:
        self.engine.dispose()

    def rows(self, connection: Connection, *states: State) -> list[Generation]:
        query = select(generations).where(generations.c.state.in_(states)).order_by(generations.c.id)
        return [store.generation_of(row) for row in connection.execute(query)]

    @rule(name=names, may_wait=st.booleans(), gone=st.booleans())
    def submits(self, name: str, *, may_wait: bool, gone: bool) -> None:
        """`gone`: every credential is left alone."""
        with self.engine.connect() as connection, connection.begin() as transaction:
            waiting = connection.scalar(select(func.sum(queues.c.waiting))) or 0
            try:
                made = submit(
                    connection,
                    self.owners[name],
                    choices=() if gone and may_wait else CHOICES,
                    may_wait=may_wait,
                    terms=terms,
                )
            except Problem as problem:
                transaction.rollback()
                if problem.fault.code == "gateway_queue_full":
                    assert waiting == terms.most_waiting
                return
            assert made.state is State.DISPATCHING or may_wait
            assert (made.credential == "") == (made.state is State.ACCEPTED)

    @rule()
    def is_taken(self) -> None:
        with self.engine.begin() as connection:
            found = take.turns(connection, "live", CHOICES, terms, now_ms=self.now_ms)
            if not found:
                return
            turn = found[0]
            waits = [one for one in self.rows(connection, State.ACCEPTED) if one.tenant_id == turn.tenant_id]
            taken = take.take(
                connection,
                "live",
                turn,
                CHOICES,
                terms,
                attempt="a",
                now_ms=self.now_ms,
                lease_until_ms=self.now_ms + 30_000,
            )
            if isinstance(taken, Generation):
                assert taken.id == min(waits, key=lambda one: one.ticket or 0).id

    @rule(number=numbers, outcome=st.sampled_from(sorted(OUTCOMES)))
    def is_answered(self, number: int, outcome: str) -> None:
        with self.engine.begin() as connection:
            sent = self.rows(connection, State.DISPATCHING)
            if not sent:
                return
            one = sent[number % len(sent)]
            self.jobs += 1
            verdict = OUTCOMES[outcome]
            upstream_id = f"job-{self.jobs}" if verdict is Verdict.ACCEPTED else None
            reason = "http_402" if verdict is Verdict.REJECTED_CREDENTIAL else outcome
            told = Outcome(verdict, reason, upstream_request_id=upstream_id)
            after = record_outcome(connection, one.id, told, {}, now_ms=self.now_ms, version=one.version)
            again = verdict in {Verdict.BUSY, Verdict.NOT_SENT, Verdict.REJECTED_CREDENTIAL}
            if again and one.may_wait and one.returns < 100:
                assert after.state is State.ACCEPTED
                self.stale.append((one, told))
            else:
                assert after.state is not State.ACCEPTED

    @rule()
    def an_answer_is_recorded_once_more(self) -> None:
        """By a server that never heard that it had been."""
        if self.stale:
            one, told = self.stale.pop()
            with self.engine.begin() as connection:
                before = store.find(connection, one.id, None)
                after = record_outcome(connection, one.id, told, {}, now_ms=self.now_ms, version=one.version)
                assert after == before

    @rule(number=numbers, to=st.sampled_from([State.COMPLETED, State.FAILED, State.CANCELLED]))
    def ends(self, number: int, to: State) -> None:
        with self.engine.begin() as connection:
            running = self.rows(connection, State.IN_QUEUE)
            if running:
                one = running[number % len(running)]
                assert advance(connection, one.id, to, reason="x", now_ms=self.now_ms) is not None

    @rule(number=numbers, expires=st.booleans())
    def leaves(self, number: int, *, expires: bool) -> None:
        with self.engine.begin() as connection:
            waits = self.rows(connection, State.ACCEPTED)
            if not waits:
                return
            one = waits[number % len(waits)]
            if expires:
                assert take.expire(connection, one.id, now_ms=self.now_ms) is not None
            else:
                only = {State.ACCEPTED}
                done = advance(
                    connection, one.id, State.CANCELLED, reason="x", now_ms=self.now_ms, only_from=only
                )
                assert done is not None

    @rule(name=names, at_ms=st.sampled_from([None, NOW_MS]))
    def is_paused(self, name: str, at_ms: int | None) -> None:
        with self.engine.begin() as connection:
            tenants.set_dispatch_paused(connection, self.owners[name][0], at_ms)

    @rule(at_ms=st.sampled_from([None, NOW_MS]))
    def all_are_paused(self, at_ms: int | None) -> None:
        with self.engine.begin() as connection:
            backlog.pause(connection, ["live"], at_ms)

    @rule(seconds=st.integers(1, 100))
    def time_passes(self, seconds: int) -> None:
        self.now_ms += seconds * 1000

    @invariant()
    def rows_and_books_are_right(self) -> None:
        with self.engine.begin() as connection:
            assert verify(connection).findings == []
            live = [
                one
                for one in self.rows(connection, *set(State) - TERMINAL)
                if one.state is not State.ACCEPTED
            ]
            limited = [one for one in live if one.credential == "default"]
            assert len(limited) <= PLACES
            assert sum(one.tenant_id == self.owners["two"][0] for one in live) <= 2
            line = queue.line(connection, "live")
            assert len({(turn.tenant_id) for turn in line.turns}) == len(line.turns)


def test_any_history_of_a_queue_leaves_right_rows_and_books(tmp_path: Path, sqlite_template: Path) -> None:
    def copies() -> Iterator[Path]:
        for number in range(10_000):
            path = tmp_path / f"queue-{number}.db"
            path.write_bytes(sqlite_template.read_bytes())
            yield path

    paths = copies()

    def machine() -> Queue:
        return Queue(next(paths))

    run_state_machine_as_test(
        cast("type[Queue]", machine),
        settings=settings(
            max_examples=25,
            stateful_step_count=60,
            derandomize=True,
            phases=[Phase.generate],  # a longer story at once is better than a short one in minutes
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
