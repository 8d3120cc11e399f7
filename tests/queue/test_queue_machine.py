"""Any history of a queue: whoever comes, goes, returns or is paused, its rows and books are right."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select

from app.admin.verifying.verify import verify
from app.auth import tenants
from app.db.engines.sqlite import writer_engine
from app.db.schema.tables import generations, queues
from app.errors import Problem
from app.generations import store
from app.generations.advance import advance
from app.generations.dispatch import dequeue
from app.generations.dispatch.dispatcher import record_outcome
from app.generations.lifecycle import TERMINAL, State
from app.generations.queue import backlog
from app.generations.queue import rows as queue
from app.generations.queue.decide import SubmitPolicy
from app.generations.store import Generation
from app.quotas.account import Owner, put_limit
from app.quotas.limits import Scope, parse_limit
from app.upstream import credentials
from app.upstream.breaker import Health
from app.upstream.credentials import Choice
from app.upstream.outcomes import Outcome, Verdict
from tests.queue.test_queue_rows import add_tenant, submit
from tests.rows import NOW_MS

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
policy = SubmitPolicy(max_queued=8, max_queued_per_tenant=4)


class Queue:
    """Three tenants on a credential of four places; the second may have two in flight."""

    def __init__(self, path: Path, met: Counter[str]) -> None:
        self.met = met
        self.engine = writer_engine(path)
        self.now_ms = NOW_MS
        self.jobs = 0
        self.stale: list[tuple[Generation, Outcome]] = []
        with self.engine.begin() as connection:
            credentials.save(connection, "default", Health(), now_ms=NOW_MS)
            self.owners = {name: add_tenant(connection, name, weight) for name, weight in TENANTS.items()}
            two = Owner(self.owners["two"][0], "live")
            put_limit(connection, two, parse_limit("in-flight=2", Scope()), now_ms=NOW_MS)

    def rows(self, connection: Connection, *states: State) -> list[Generation]:
        query = select(generations).where(generations.c.state.in_(states)).order_by(generations.c.id)
        return [store.generation_of(row) for row in connection.execute(query)]

    def submits(self, which: int, how: int) -> None:
        """Now and then while every credential is left alone, or by one who may not wait."""
        queueable = how % 6 != 0
        for _ in range(1 + how % 3):
            self.submits_one(sorted(TENANTS)[which % 3], queueable=queueable, gone=how % 5 == 0)

    def submits_one(self, name: str, *, queueable: bool, gone: bool) -> None:
        with self.engine.connect() as connection, connection.begin() as transaction:
            waiting = connection.scalar(select(func.sum(queues.c.queued))) or 0
            try:
                made = submit(
                    connection,
                    self.owners[name],
                    choices=() if gone and queueable else CHOICES,
                    queueable=queueable,
                    policy=policy,
                )
            except Problem as problem:
                transaction.rollback()
                self.met["full"] += problem.fault.code.endswith("queue_full")
                if problem.fault.code == "gateway_queue_full":
                    assert waiting >= policy.max_queued  # more where one came back to a full queue
                return
            assert made.state is State.DISPATCHING or queueable
            assert (made.credential == "") == (made.state is State.ACCEPTED)

    def are_taken(self, *_: int) -> None:
        """All that may go, as the loop does: whoever may send nothing is passed over."""
        passed: set[str] = set()
        while True:
            with self.engine.begin() as connection:
                found = dequeue.flows(connection, "live", CHOICES, policy, now_ms=self.now_ms)
                turn = next((one for one in found if one.tenant_id not in passed), None)
                if turn is None:
                    return
                waits = [
                    one for one in self.rows(connection, State.ACCEPTED) if one.tenant_id == turn.tenant_id
                ]
                taken = dequeue.dequeue(
                    connection,
                    "live",
                    turn,
                    CHOICES,
                    policy,
                    attempt="a",
                    now_ms=self.now_ms,
                    lease_until_ms=self.now_ms + 30_000,
                )
                self.met["taken" if isinstance(taken, Generation) else str(taken)] += 1
                if not isinstance(taken, Generation):
                    passed.add(turn.tenant_id)
                    continue
                assert taken.id == min(waits, key=lambda one: one.ticket or 0).id
            self.an_answer_is_recorded_once_more(taken)

    def an_answer_is_recorded_once_more(self, taken: Generation) -> None:
        """By a server that never heard that it had been; by now the job is under way again."""
        for one, told in self.stale:
            if one.id == taken.id:
                with self.engine.begin() as connection:
                    after = record_outcome(
                        connection, one.id, told, {}, now_ms=self.now_ms, version=one.version
                    )
                assert after == taken
                self.met["recorded once more"] += 1

    def is_answered(self, number: int, how: int) -> None:
        """Mostly as it should be."""
        outcome = sorted(OUTCOMES)[how % len(OUTCOMES)] if how % 3 == 0 else "accepted"
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
            if again and one.queueable and one.returns < 100:
                assert after.state is State.ACCEPTED
                self.stale.append((one, told))
            else:
                assert after.state is not State.ACCEPTED

    def ends(self, number: int, how: int) -> None:
        to = (State.COMPLETED, State.FAILED, State.CANCELLED)[how % 3]
        with self.engine.begin() as connection:
            running = self.rows(connection, State.IN_QUEUE)
            if running:
                one = running[number % len(running)]
                assert advance(connection, one.id, to, reason="x", now_ms=self.now_ms) is not None

    def leaves(self, number: int, how: int) -> None:
        with self.engine.begin() as connection:
            waits = self.rows(connection, State.ACCEPTED)
            if not waits:
                return
            one = waits[number % len(waits)]
            if how % 2:  # it should have started
                assert dequeue.expire(connection, one.id, now_ms=self.now_ms) is not None
            else:
                only = {State.ACCEPTED}
                done = advance(
                    connection, one.id, State.CANCELLED, reason="x", now_ms=self.now_ms, only_from=only
                )
                assert done is not None

    def is_paused(self, which: int, how: int) -> None:
        """A tenant, or all; mostly they go on."""
        at_ms = NOW_MS if how % 4 == 0 else None
        with self.engine.begin() as connection:
            if which % 4 == 3:
                backlog.pause(connection, ["live"], at_ms)
            else:
                tenants.set_dispatch_paused(connection, self.owners[sorted(TENANTS)[which % 4]][0], at_ms)

    def time_passes(self, seconds: int, _: int) -> None:
        self.now_ms += seconds * 1000

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
            line = queue.queue_state(connection, "live")
            assert len({(turn.tenant_id) for turn in line.flows}) == len(line.flows)


ACTS = {
    Queue.submits: 6,
    Queue.are_taken: 6,
    Queue.is_answered: 6,
    Queue.ends: 5,
    Queue.leaves: 1,
    Queue.is_paused: 2,
    Queue.time_passes: 1,
}
acts = st.sampled_from([act for act, weight in ACTS.items() for _ in range(weight)])


@pytest.fixture
def met() -> Iterator[Counter[str]]:
    """What the stories had in them: a story in which nothing happens shows nothing."""
    counts: Counter[str] = Counter()
    yield counts
    assert min(counts[one] for one in ("taken", "kept_back", "recorded once more", "full")) >= 5, counts


def test_any_history_of_a_queue_leaves_right_rows_and_books(
    tmp_path: Path, sqlite_template: Path, met: Counter[str]
) -> None:
    numbers = itertools.count()

    @settings(
        max_examples=25,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # a longer story at once is better than a short one in minutes
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(st.tuples(acts, st.integers(0, 50), st.integers(0, 50)), min_size=80, max_size=120))
    def tell(story: list[tuple[Callable[[Queue, int, int], None], int, int]]) -> None:
        path = tmp_path / f"queue-{next(numbers)}.db"
        path.write_bytes(sqlite_template.read_bytes())
        one = Queue(path, met)
        for act, first, second in story:
            act(one, first, second)
            one.rows_and_books_are_right()
        one.engine.dispose()

    tell()
