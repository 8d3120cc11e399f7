"""Books of a realistic mix: every state and charge, as the gateway makes them, each request with a name."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, text, update
from sqlalchemy.pool import NullPool

from app.auth import client_tokens, keys, tenants
from app.auth.client_tokens import ClientToken
from app.auth.keys import Mode
from app.db.engines.engine import is_sqlite, sync_url
from app.db.engines.sqlite import path_of, writer_engine
from app.db.schema.tables import generation_events, generations
from app.db.schema.tables import tenants as tenants_table
from app.generations import events as event_rows
from app.generations import store
from app.generations.advance import Patience, advance, apply_observation
from app.generations.dispatch.dispatcher import record_outcome
from app.generations.lifecycle import FOLLOWABLE, State
from app.generations.queue.decide import SubmitPolicy
from app.generations.submit import record
from app.generations.submit.idempotency import fingerprint
from app.kit.ids import new_id
from app.kit.json import dumps
from app.quotas.account import Owner
from app.quotas.amounts import Amounts
from app.quotas.balances import ledger
from app.quotas.balances.ledger import Kind
from app.quotas.limits import Payer, Scope
from app.upstream import credentials
from app.upstream.outcomes import Observation, Outcome, Seen, Verdict
from tests.rows import NOW_MS, PEPPER

MODEL, OTHER_MODEL = "bytedance/dreamina", "kling/video"
PRICE, OTHER_PRICE = 150_000, 500_000
SECONDS, OTHER_SECONDS = 5, 10
MODEL_OF, OTHER_MODEL_OF = (MODEL, PRICE, SECONDS), (OTHER_MODEL, OTHER_PRICE, OTHER_SECONDS)
HOUR_MS = 3_600_000

SUCCESS = SubmitPolicy()
ACCEPTANCE = SubmitPolicy(settles_in="in_queue,completed")
ALSO_LOST = SubmitPolicy(settles_in="completed,lost,cancelled")

ACCEPTED = Outcome(Verdict.ACCEPTED, "accepted")
REFUSED = Outcome(Verdict.REJECTED_INPUT, "http_422")
BUSY = Outcome(Verdict.BUSY, "http_429")
LOST_ANSWER = Outcome(Verdict.UNKNOWN, "timeout")


@dataclass(frozen=True)
class Key:
    """An API key whose requests count as those of the first of its line."""

    tenant_id: str
    mode: Mode
    kid: str
    root_kid: str


@dataclass
class Books:
    """What was made so far: ids by name, and the clock."""

    connection: Connection
    now_ms: int = NOW_MS
    names: dict[str, str] = field(default_factory=dict)

    def tick(self, hours: int = 1) -> int:
        self.now_ms += hours * HOUR_MS
        return self.now_ms

    def key(self, name: str, tenant_id: str, mode: Mode = "test", **more: Any) -> Key:
        kid, _ = keys.create(
            self.connection, tenant_id, mode=mode, name="", pepper=PEPPER, now_ms=self.tick(), **more
        )
        self.names[name] = kid
        return Key(tenant_id, mode, kid, kid)

    def rotated(self, name: str, key: Key) -> Key:
        kid, _, _ = keys.rotate(
            self.connection, key.kid, overlap_ms=HOUR_MS, pepper=PEPPER, now_ms=self.tick()
        )
        self.names[name] = kid
        return Key(key.tenant_id, key.mode, kid, key.root_kid)

    def request(
        self,
        name: str,
        key: Key,
        outcome: Outcome | None = ACCEPTED,
        *seen: Observation,
        policy: SubmitPolicy = SUCCESS,
        other_model: bool = False,
        queueable: bool = False,
        choices: tuple[credentials.Choice, ...] = (credentials.Choice("default"),),
        token: ClientToken | None = None,
    ) -> str:
        """Submit as a caller would, with what the upstream answered and what looks at the job showed."""
        model_id, price, seconds = OTHER_MODEL_OF if other_model else MODEL_OF
        body = {"prompt": name}
        intent = store.SubmitIntent(
            generation_id=new_id(self.tick()),
            tenant_id=key.tenant_id,
            kid=key.kid,
            payer=Payer(key.root_kid)
            if token is None
            else Payer(key.root_kid, token.end_user or "", token.token_id),
            mode=key.mode,
            model_id=model_id,
            input_json=dumps(body),
            amounts=Amounts(generations=1, microcredits=price, output_seconds=seconds),
            price_version="1",
            settles_in=policy.settles_in,
            trace_id="0" * 32,
            choices=choices,
            queueable=queueable,
            idempotency_key=f"key of {name}",
            fingerprint=fingerprint(key.mode, model_id, body),
            token=token,
            key_space="" if token is None else token.key_space(key.root_kid),
        )
        lease_ms = self.now_ms + 30_000
        made = record.record(self.connection, intent, policy, now_ms=self.now_ms, lease_until_ms=lease_ms)
        generation_id = self.names[name] = made.generation.id
        if outcome is not None:
            upstream_id = f"job-{name}" if outcome.verdict is Verdict.ACCEPTED else None
            told = Outcome(outcome.verdict, outcome.reason, upstream_request_id=upstream_id)
            record_outcome(self.connection, generation_id, told, {}, now_ms=self.tick())
        for one in seen:
            now_ms = self.tick()
            apply_observation(
                self.connection,
                generation_id,
                one,
                now_ms=now_ms,
                next_poll_at_ms=now_ms,
                patience=Patience(HOUR_MS, 10**9),
            )
        return generation_id

    def token(self, name: str, key: Key, **policy: Any) -> ClientToken:
        parent = keys.find(self.connection, key.kid)
        assert parent is not None
        token, _ = client_tokens.create(
            self.connection, parent, client_tokens.TokenTerms(**policy), pepper=PEPPER, now_ms=self.tick()
        )
        self.names[name] = token.token_id
        return token

    def move(self, name: str, to: State, reason: str, **more: Any) -> None:
        moved = advance(self.connection, self.names[name], to, reason=reason, now_ms=self.tick(), **more)
        assert moved is not None

    def old(self, name: str, key: Key, *states: State) -> None:
        """A request from before there was a ledger."""
        generation_id = self.names[name] = new_id(self.tick())
        started_ms = self.now_ms
        events: list[dict[str, Any]] = [
            {
                "generation_id": generation_id,
                "version": at,
                "state": state,
                "at_ms": started_ms + at,
                "reason": "x",
                "tenant_id": key.tenant_id,
                "mode": key.mode,
                "number": event_rows.last_number(self.connection, key.tenant_id, key.mode) + at,
            }
            for at, state in enumerate(states, 1)
        ]
        ended_ms = events[-1]["at_ms"]
        row = {
            "id": generation_id,
            "tenant_id": key.tenant_id,
            "kid": key.kid,
            "mode": key.mode,
            "model_id": MODEL,
            "input": "{}",
            "price_microcredits": PRICE,
            "state": states[-1],
            "version": len(states),
            "upstream_request_id": f"job-{name}",
            "trace_id": "0" * 32,
            "next_poll_at_ms": 0 if states[-1] in FOLLOWABLE else None,
            "created_at_ms": started_ms + 1,
            "changed_at_ms": ended_ms,
            "finished_at_ms": ended_ms if states[-1] is State.COMPLETED else None,
        }
        self.connection.execute(insert(generations).values(row))
        self.connection.execute(insert(generation_events), events)
        counter = tenants_table.c[f"{key.mode}_events"]
        self.connection.execute(
            update(tenants_table)
            .where(tenants_table.c.id == key.tenant_id)
            .values({counter: counter + len(events)})
        )


RUNNING = Observation(Seen.IN_PROGRESS)
DONE = Observation(Seen.SUCCEEDED, output={"video": "u"}, cost_usd=0.1)
FAILED = Observation(Seen.FAILED, error={"code": 1})
CANCELLED = Observation(Seen.CANCELLED)
GONE = Observation(Seen.GONE)


def keep_books(connection: Connection) -> dict[str, str]:
    """Make the mix; the ids by name."""
    books = Books(connection)
    acme = tenants.create(connection, "acme", now_ms=NOW_MS, time_zone="Europe/Berlin").id
    other = tenants.create(connection, "other", now_ms=NOW_MS, time_zone="Pacific/Auckland").id
    books.names |= {"acme": acme, "other": other}
    first = books.key("first", acme)
    second = books.rotated("second", first)
    third = books.rotated("third", second)
    sibling, live = books.key("sibling", acme), books.key("live", acme, "live")
    stranger = books.key("stranger", other)
    for reference in ("payment-1", "payment-2"):
        ledger.add(
            connection,
            Owner(acme, "test"),
            Scope(),
            Kind.TOP_UP,
            50_000_000,
            now_ms=books.tick(),
            reference=reference,
        )
    ledger.add(connection, Owner(acme, "test"), Scope(first.kid), Kind.TOP_UP, 9_000_000, now_ms=books.tick())
    ledger.add(
        connection, Owner(acme, "test"), Scope(), Kind.ADJUSTMENT, -1_000_000, now_ms=books.tick(), note="why"
    )
    ledger.add(connection, Owner(other, "test"), Scope(), Kind.TOP_UP, 5_000_000, now_ms=books.tick())

    books.request("dispatching", first, None)
    books.request("in_queue", second)
    books.request("in_progress", third, ACCEPTED, RUNNING, policy=ACCEPTANCE)
    books.request("completed", first, ACCEPTED, RUNNING, DONE)
    books.request("completed_at_once", sibling, ACCEPTED, DONE, other_model=True, policy=ACCEPTANCE)
    books.request("failed", first, ACCEPTED, RUNNING, FAILED)
    books.request("failed_and_charged", third, ACCEPTED, FAILED, policy=ACCEPTANCE)
    books.request("cancelled", sibling, ACCEPTED, CANCELLED)
    books.request("cancelled_and_charged", first, ACCEPTED, CANCELLED, policy=ALSO_LOST)
    books.request("gone", first, ACCEPTED, GONE, GONE)
    books.request("rejected", first, REFUSED, other_model=True)
    books.request("busy", first, BUSY)
    books.request("unknown", second, LOST_ANSWER)
    books.request("charged", first, LOST_ANSWER)
    books.move("charged", State.LOST, "resolved_charged", spent=True)
    books.request("not_charged", first, LOST_ANSWER, policy=ALSO_LOST)
    books.move("not_charged", State.LOST, "resolved_not_charged", spent=False)
    books.request("closed", first, LOST_ANSWER)
    books.move("closed", State.LOST, "unknown_for_too_long")
    books.request("closed_and_charged", first, LOST_ANSWER, policy=ALSO_LOST)
    books.move("closed_and_charged", State.LOST, "unknown_for_too_long")
    books.request("attached", first, LOST_ANSWER)
    books.move("attached", State.IN_QUEUE, "resolved_attached", upstream_request_id="job-found-later")
    _keep_the_rest(books, first, sibling, third=third, live=live, stranger=stranger)
    return books.names


def _keep_the_rest(books: Books, first: Key, sibling: Key, *, third: Key, live: Key, stranger: Key) -> None:
    """What waited, what pages made, what is of others, and what is old."""
    for name, end in (("expired", State.EXPIRED), ("let_go", State.CANCELLED)):
        books.request(name, first, BUSY, queueable=True)
        books.move(name, end, "while_it_waited")
    books.request("accepted", first, None, queueable=True, choices=())
    books.request("waiting_too", sibling, None, queueable=True)
    of_user = books.token(
        "token", third, end_user="user-1", visibility="end_user", max_generations=2, lifetime_s=10**7
    )
    books.request("of_a_page", third, ACCEPTED, RUNNING, DONE, token=of_user)
    books.request("of_a_page_failed", third, ACCEPTED, FAILED, token=of_user)
    books.request("of_a_page_running", third, ACCEPTED, RUNNING, token=of_user)
    books.request(
        "of_nobody", sibling, ACCEPTED, DONE, token=books.token("token_2", sibling, lifetime_s=10**7)
    )
    books.token("token_that_watches", first, visibility="request", request_id=books.names["in_queue"])
    books.request("live_completed", live, ACCEPTED, DONE, other_model=True)
    books.request("live_in_queue", live)
    books.request("strangers", stranger, ACCEPTED, RUNNING, DONE)
    books.request("strangers_running", stranger, ACCEPTED, RUNNING)
    _, stranger_2 = books.tick(24 * 40), books.rotated("stranger_2", stranger)
    books.request("a_month_later", stranger_2, ACCEPTED, FAILED)
    books.old("old", first, State.DISPATCHING, State.IN_QUEUE, State.COMPLETED)
    books.old("old_and_live", first, State.DISPATCHING, State.IN_QUEUE)


@contextmanager
def tampering(engine: Engine, *statements: str, **values: Any) -> Iterator[Connection]:
    """A transaction without the database's own protection, after these statements; it is rolled back."""
    with engine.connect() as connection, connection.begin() as transaction:
        for statement in (*_disarming(connection), *statements):
            connection.execute(text(statement), values)
        yield connection
        transaction.rollback()


def _disarming(connection: Connection) -> Sequence[str]:
    indexes = (
        "uq_ledger_entries_end",
        "uq_ledger_entries_generation_id_kind",
        "uq_ledger_entries_reference",
        "uq_generations_tenant_id_key_space_idempotency_key",
        "uq_generations_upstream_request_id",
    )
    dropped = [f"DROP INDEX {name}" for name in indexes]
    if connection.dialect.name == "postgresql":  # neither its triggers nor its foreign keys
        return ["SET LOCAL session_replication_role = replica", *dropped]
    return [*dropped, *(f"DROP TRIGGER ledger_entries_no_{action}" for action in ("update", "delete"))]


def engine_of(url: str, *, foreign_keys: bool = True) -> Engine:
    """A plain engine, for what the gateway itself never does."""
    if not is_sqlite(url):
        return create_engine(sync_url(url), poolclass=NullPool)
    engine = writer_engine(path_of(url))
    if not foreign_keys:

        @event.listens_for(engine, "connect")
        def _off(connection: Any, _record: Any) -> None:
            connection.execute("PRAGMA foreign_keys=OFF")

    return engine
