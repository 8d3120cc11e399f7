"""`python -m bench queueing`: the cost of queueing a generation and of choosing the next, by queue length.

Each step runs as in the gateway, in a transaction of its own with its commit; ten tenants with the weights 1
to 10 have queues, and the credential's capacity is five. What was dequeued is completed before the next step.
"""

import argparse
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, insert, select, text, update

from app.auth import keys, tenants
from app.db import revision
from app.db.engines.engine import is_sqlite, sync_url
from app.db.engines.sqlite import path_of, writer_engine
from app.db.schema.tables import generations, queues
from app.generations.advance import advance
from app.generations.dispatch import dequeue
from app.generations.following.position import position_of
from app.generations.lifecycle import State
from app.generations.queue import rows as queue
from app.generations.queue.decide import SubmitPolicy
from app.generations.store import Generation, SubmitIntent
from app.generations.submit import record
from app.kit.ids import new_id
from app.quotas.amounts import Amounts
from app.quotas.limits import Payer
from app.upstream.credentials import Choice
from bench.children import RunError
from bench.databases import database_of_its_own

_DEPTHS: Final = (100, 1_000, 10_000, 100_000)
_TENANTS: Final = 10
_CHOICES: Final = (Choice("default", 5),)
_TERMS: Final = SubmitPolicy(max_queued=10**9, max_queued_per_tenant=10**9)
_MODEL: Final = "a/b"
_NOW_MS: Final = 1_790_000_000_000
_BATCH: Final = 5_000


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part."""
    parser.add_argument("--times", type=int, default=300, help="of each step at each depth (300)")
    parser.add_argument("--database", default="sqlite", help="sqlite, postgresql (from its wheel) or a URL")


def main(given: argparse.Namespace) -> list[str]:
    """Measures and prints; returns no faults."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reelgate-bench-")))
        url = stack.enter_context(database_of_its_own(given.database, folder))
        revision.upgrade(url)
        engine = writer_engine(path_of(url)) if is_sqlite(url) else create_engine(sync_url(url))
        stack.callback(engine.dispose)
        line = _Line(engine)
        found: dict[str, list[float]] = {}
        for depth in _DEPTHS:
            line.fill(depth)
            for name, times_ms in line.measured(given.times).items():
                found.setdefault(name, []).append(statistics.median(times_ms))
    print(f"{'jobs that wait':24}" + "".join(f"{depth:>12,}" for depth in _DEPTHS) + "   last/first")
    for name, medians in found.items():
        row = "".join(f"{one:12.3f}" for one in medians)
        print(f"{name + ', ms':24}{row}   x{medians[-1] / medians[0]:.2f}")
    return []


class _Line:
    """Tenants with queued generations, in a database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._count = 0
        with engine.begin() as connection:
            self._owners = list(self._make(connection))

    def _make(self, connection: Connection) -> Iterator[tuple[str, str]]:
        for number in range(_TENANTS):
            made = tenants.create(connection, f"tenant {number}", now_ms=_NOW_MS)
            tenants.set_queueing(connection, made.id, queueing=True, max_queued=None, weight=number + 1)
            kid, _ = keys.create(
                connection, made.id, mode="live", name="", pepper="of nobody", now_ms=_NOW_MS
            )
            yield made.id, kid

    def fill(self, depth: int) -> None:
        """Fills the queues to `depth` generations in all, spread evenly over the tenants, in batches."""
        with self._engine.begin() as connection:
            if self._count == 0:
                self._record(connection)
            waiting = connection.execute(text("SELECT sum(queued) FROM queues")).scalar_one()
            (like,) = connection.execute(select(generations).limit(1)).mappings()
            for at, (tenant_id, kid) in enumerate(self._owners):
                count = (depth - waiting) // _TENANTS + (at < (depth - waiting) % _TENANTS)
                own = queues.c.tenant_id == tenant_id, queues.c.mode == "live"
                queue.join(connection, tenant_id, "live", _TERMS)  # creates the queue's row
                first = connection.scalar(select(queues.c.tickets).where(*own)) or 0
                rows = [
                    {
                        **like,
                        "id": new_id(_NOW_MS),
                        "state": State.ACCEPTED,
                        "credential": "",
                        "tenant_id": tenant_id,
                        "kid": kid,
                        "root_kid": kid,
                        "ticket": first + number,
                        "idempotency_key": None,
                        "fingerprint": None,
                    }
                    for number in range(count)
                ]
                for start in range(0, count, _BATCH):
                    connection.execute(insert(generations), rows[start : start + _BATCH])
                connection.execute(
                    update(queues)
                    .where(*own)
                    .values(queued=queues.c.queued + count - 1, tickets=queues.c.tickets + count - 1)
                )
        with self._engine.begin() as connection:
            connection.execute(text("ANALYZE"))

    def _record(self, connection: Connection) -> Generation:
        tenant_id, kid = self._owners[self._count % _TENANTS]
        self._count += 1
        intent = SubmitIntent(
            generation_id=new_id(_NOW_MS),
            tenant_id=tenant_id,
            kid=kid,
            payer=Payer(kid),
            mode="live",
            model_id=_MODEL,
            input_json=b'{"prompt":"a harbour at dawn"}',
            amounts=Amounts(generations=1, microcredits=150_000, output_seconds=5),
            price_version="1",
            settles_in="completed",
            trace_id="0" * 32,
            choices=(),
            queueable=True,
        )
        return record.record(connection, intent, _TERMS, now_ms=_NOW_MS, lease_until_ms=_NOW_MS).generation

    def measured(self, times: int) -> dict[str, list[float]]:
        """Returns the milliseconds of each step, run `times` times."""
        steps: dict[str, Callable[[Connection, Generation], object]] = {
            "admit": lambda connection, _: self._record(connection),
            "tell its place": self._place,
            "choose the next": lambda connection, _: self._next(connection),
            "cancel": self._cancel,
        }
        found: dict[str, list[float]] = {name: [] for name in steps}
        last = self._timed(steps["admit"], None)[1]
        for _ in range(times):
            for name, step in steps.items():
                took_ms, result = self._timed(step, last)
                found[name].append(took_ms)
                if name == "admit":
                    last = result
            with self._engine.begin() as connection:
                connection.execute(
                    update(generations)
                    .where(generations.c.state == State.DISPATCHING)
                    .values(state=State.COMPLETED)
                )
            self._timed(steps["admit"], None)  # so that as many are queued as before
        return found

    def _timed(
        self, step: Callable[[Connection, Generation], object], last: Generation | None
    ) -> tuple[float, Generation]:
        began_s = time.perf_counter()
        with self._engine.begin() as connection:
            result = step(connection, last)  # type: ignore[arg-type]  # the first has none, and needs none
        return (time.perf_counter() - began_s) * 1000, result  # type: ignore[return-value]  # of admit alone

    def _place(self, connection: Connection, last: Generation) -> object:
        return position_of(connection, last, queue.queue_state(connection, "live"), _TERMS, now_ms=_NOW_MS)

    def _next(self, connection: Connection) -> Generation:
        turn = dequeue.flows(connection, "live", _CHOICES, _TERMS, now_ms=_NOW_MS)[0]
        attempt = secrets.token_hex(16)
        taken = dequeue.dequeue(
            connection,
            "live",
            turn,
            _CHOICES,
            _TERMS,
            attempt=attempt,
            now_ms=_NOW_MS,
            lease_until_ms=_NOW_MS,
        )
        if not isinstance(taken, Generation):
            raise RunError(f"Nothing was taken: {taken}.")
        return taken

    def _cancel(self, connection: Connection, last: Generation) -> object:
        return advance(
            connection,
            last.id,
            State.CANCELLED,
            reason="cancelled",
            now_ms=_NOW_MS,
            only_from={State.ACCEPTED},
        )
