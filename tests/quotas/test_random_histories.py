"""Histories drawn at random: a group of functions decides and writes what they do one after another.

One after another they run on SQLite, and in groups on either database. There are two tenants, so that what
submits and outcomes need is read ahead for both. Limits change, keys are repeated, generations are queued or
in flight, credentials have a number of jobs, and some functions fail after they wrote.
"""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, NamedTuple

import pytest
from sqlalchemy import Connection, Table, select

from app.admin.verifying.verify import verify
from app.db.engines.engine import Database, open_database
from app.db.schema.tables import (
    api_keys,
    generation_events,
    generations,
    ledger_entries,
    queues,
    quota_usage,
    tenants,
    threshold_events,
    usage_counts,
    webhook_endpoints,
    webhook_messages,
)
from app.db.statements.deferral import Ahead
from app.generations import read_ahead
from app.generations.advance import advance
from app.generations.dispatch.dispatcher import record_outcome
from app.generations.lifecycle import State
from app.generations.queue.decide import SubmitPolicy
from app.generations.store import Generation, SubmitIntent
from app.generations.submit.record import Recorded, record
from app.quotas.account import Owner, set_limit
from app.quotas.amounts import Amounts
from app.quotas.limits import Payer, Scope, parse_limit
from app.upstream.credentials import Choice
from app.upstream.outcomes import Outcome, Verdict
from tests.db.test_read_ahead import together
from tests.rows import NOW_MS, add_owner
from tests.webhooks.receiver import add_endpoint

pytestmark = pytest.mark.anyio
HISTORIES: Final = 25
PHASES: Final = 6
SIZE: Final = 14
TABLES: Final[tuple[Table, ...]] = (
    *(generation_events, threshold_events, ledger_entries, quota_usage, usage_counts, webhook_messages),
    *(generations, queues),
)
_DEFAULTS: Final = ("submits-minute=60/4", "generations-day=12", "credits-total=20")
_LIMITS: Final = ("generations-day=7", "generations-day=40", "credits-total=5", "in-flight=3", "in-flight=20")
_ENDS: Final = (State.COMPLETED, State.FAILED, State.UNKNOWN, State.CANCELLED, State.LOST)
_VERDICTS: Final = (
    *(Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.UNKNOWN, Verdict.REJECTED_CREDENTIAL, Verdict.NOT_SENT),
    Verdict.BUSY,
)


class Act(NamedTuple):
    """A function of a tenant, and what it says that it needs, where it shares what it knows."""

    tenant: str
    ahead: Ahead | None
    run: Callable[[Connection], Any]
    number: int | None = None
    """Of a submit: under which number the others know its generation."""


class Site:
    """A database with two tenants, and the generations that their submits made."""

    def __init__(self, db: Database, owned: Sequence[tuple[str, str]], policy: SubmitPolicy) -> None:
        self.db, self.owned, self.policy = db, owned, policy
        self.made: dict[int, Generation] = {}

    def act(self, draw: random.Random, number: int) -> Act:
        """Returns what is drawn next: with the same draws, the same."""
        which, now_ms, fails = draw.randrange(2), NOW_MS + number * draw.choice((0, 1, 400)), draw.random()
        tenant, kid = self.owned[which]
        kind = draw.choices(("submit", "outcome", "advance", "limit"), (8, 5, 2, 1))[0]
        user, model, price = draw.choice(("", "", "u1")), draw.choice(("a/b", "a/b", "c/d")), draw.random()
        queueable, repeats, bounded = (
            draw.random() < 0.3,
            draw.choice((None, None, "i1", "i2")),
            draw.random(),
        )
        of, verdict, end, is_known = draw.random(), draw.choice(_VERDICTS), draw.choice(_ENDS), draw.random()
        limit, scope = (
            draw.choice(_LIMITS),
            draw.choice((Scope(), Scope(model_id="a/b"), Scope(end_user="*"))),
        )
        later = _failing if fails < 0.05 else _done
        if kind == "submit":
            intent = SubmitIntent(
                generation_id=f"{number:032x}", tenant_id=tenant, kid=kid, payer=Payer(kid, user),
                mode="test", model_id=model, input_json=b"{}",
                amounts=Amounts(1, 250_000 if price < 0.9 else 900_000_000, 5),
                price_version="1", settles_in="completed", trace_id="0" * 32,
                choices=(Choice("sandbox", 12 if bounded < 0.3 else None),),
                queueable=queueable, idempotency_key=repeats, fingerprint=repeats,
            )  # fmt: skip
            ahead = read_ahead.of_submit(intent, self.policy, now_ms=now_ms)
            until_ms = now_ms + 60_000
            return Act(
                tenant,
                ahead,
                lambda connection: later(
                    record(connection, intent, self.policy, now_ms=now_ms, lease_until_ms=until_ms)
                ),
                number,
            )
        if kind == "limit" or not self.made:
            wanted, owner = parse_limit(limit, scope), Owner(tenant, "test")

            def change(connection: Connection) -> None:
                set_limit(connection, owner, wanted, now_ms=now_ms)
                later(None)

            return Act(tenant, None, change)
        one = self.made[sorted(self.made)[int(of * len(self.made))]]
        if kind == "advance":
            return Act(
                one.tenant_id,
                None,
                lambda connection: later(advance(connection, one.id, end, reason="x", now_ms=now_ms)),
            )
        job = f"job-{one.id}" if verdict is Verdict.ACCEPTED else None
        outcome = Outcome(verdict, "why", upstream_request_id=job)
        sent = one if is_known < 0.7 else None
        return Act(
            one.tenant_id,
            read_ahead.of_outcome(one.tenant_id),
            lambda connection: later(
                record_outcome(connection, one.id, outcome, {}, now_ms=now_ms, version=1, sent=sent)
            ),
        )

    async def run(self, acts: Sequence[Act]) -> list[str]:
        """Runs acts that find one another in the lane; returns what their callers are told."""
        calls = [
            self.db.write_for(one.tenant, one.run)
            if one.ahead is None
            else self.db.write_together(one.ahead, one.run)
            for one in acts
        ]
        told = []
        for act, task in zip(acts, await together(self.db, calls), strict=True):
            try:
                got = await task
            except Exception as error:  # noqa: BLE001 - it is what the caller is told
                told.append(f"{type(error).__name__} {getattr(error, 'detail', '')}")
                continue
            if isinstance(got, Recorded):
                if got.is_new and act.number is not None:
                    self.made[act.number] = got.generation
                told.append(f"{got.is_new} {got.generation} {got.crossed}")
                told += [f"{one.limit.policy} {one[1:]}" for one in got.standings]
            else:
                told.append(str(got))
        return told

    def rows(self, connection: Connection) -> dict[str, list[str]]:
        """All rows, without what is drawn when they are written."""
        found = {}
        for table in (*TABLES, tenants):
            unlike = {"id"} if table is ledger_entries else set()
            rows = connection.execute(select(table)).mappings()
            found[table.name] = sorted(
                str({name: value for name, value in row.items() if name not in unlike}) for row in rows
            )
        return found


def _done(result: Any) -> Any:
    return result


def _failing(_result: Any) -> Any:
    raise KeyError("after everything was written")


def _groups(acts: list[Act], *, is_mixed: bool) -> list[list[Act]]:
    """Returns acts in the order in which a lane runs them: by tenant, those first that are read ahead.

    Where a function may end its transaction, as on PostgreSQL, the rest is not read ahead, and in another
    order if there are other functions among them.
    """
    ahead = sorted((one for one in acts if one.ahead is not None), key=lambda one: one.tenant)
    plain = sorted((one for one in acts if one.ahead is None), key=lambda one: one.tenant)
    if is_mixed and len({one.tenant for one in ahead}) > 1:
        return [ahead + plain]
    return [one for one in (ahead, plain) if one]


@pytest.fixture
async def apart(sqlite_url: str) -> AsyncIterator[Database]:
    database = open_database(sqlite_url, pool=1)
    yield database
    await database.close()


@pytest.fixture
async def in_groups(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url, pool=1)
    yield database
    await database.close()


def _begin(connection: Connection) -> list[tuple[str, str]]:
    owned = sorted(add_owner(connection) for _ in range(2))
    for tenant_id, _ in owned:
        add_endpoint(connection, tenant_id, "https://hooks.example/")
    return owned


_OF_OWNERS: Final = {tenants: tenants.c.id, api_keys: api_keys.c.tenant_id}
_OF_OWNERS[webhook_endpoints] = webhook_endpoints.c.tenant_id


def _read_owners(connection: Connection, ids: Sequence[str]) -> list[list[dict[str, Any]]]:
    queries = (select(table).where(tenant.in_(ids)) for table, tenant in _OF_OWNERS.items())
    return [[dict(row) for row in connection.execute(query).mappings()] for query in queries]


def _write_owners(connection: Connection, owners: list[list[dict[str, Any]]]) -> None:
    for table, rows in zip(_OF_OWNERS, owners, strict=True):
        connection.execute(table.insert(), rows)


@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_a_group_does_what_its_functions_do_one_after_another(
    apart: Database, in_groups: Database, seed: int
) -> None:
    defaults = (*_DEFAULTS, "in-flight=9") if seed % 2 else _DEFAULTS
    policy = SubmitPolicy(
        max_queued=12,
        max_queued_per_tenant=8,
        default_limits=tuple(map(parse_limit, defaults)),
        thresholds=(5, 10, 50, 80, 95, 100),
    )
    owned = await apart.write(_begin)
    await in_groups.write(_write_owners, await apart.read(_read_owners, [one for one, _ in owned]))
    one_by_one, grouped = Site(apart, owned, policy), Site(in_groups, owned, policy)
    for phase in range(PHASES):
        numbers = [phase * SIZE + one for one in range(1, SIZE + 1)]
        acts = [
            [site.act(random.Random(f"{seed} {one}"), one) for one in numbers]  # noqa: S311 - of a test
            for site in (one_by_one, grouped)
        ]
        is_mixed = in_groups.dialect == "sqlite"
        alone, groups = (_groups(one, is_mixed=is_mixed) for one in acts)
        expected = [line for group in alone for act in group for line in await one_by_one.run([act])]
        got = [line for group in groups for line in await grouped.run(group)]
        assert got == expected, (seed, phase)
        assert await in_groups.read(grouped.rows) == await apart.read(one_by_one.rows), (seed, phase)
    found = (await in_groups.snapshot(verify)).findings
    assert [one for one in found if one.rule != "client-token-is-not-its-makers"] == [], "they have none"
