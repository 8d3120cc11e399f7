"""The sums of usage are those of the ledger, whatever happened: an oracle adds up the entries by itself."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, create_engine, select
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from app.admin.verifying.verify import verify
from app.auth import keys, tenants
from app.db import revision
from app.db.engines.engine import sync_url
from app.db.schema.tables import generations, ledger_entries
from app.generations import store
from app.generations.advance import advance, begin
from app.generations.lifecycle import State
from app.kit.ids import new_id
from app.quotas.account import Owner, open_account, take
from app.quotas.amounts import Amounts
from app.quotas.balances import ledger
from app.quotas.balances.ledger import Charge, Kind
from app.quotas.limits import Payer, Scope
from app.quotas.sums import rollups, usage, usage_sums
from app.quotas.sums.usage import Group, Question, Step
from tests.admin.books import engine_of
from tests.profiles import examples

ZONES = ("UTC", "Africa/Cairo", "Asia/Kathmandu", "Pacific/Auckland")
# Just before clocks in Cairo are set back (the end of October 2026) and a month ends; other moments follow.
BEGIN_MS = int(datetime(2026, 10, 29, 17, 30, tzinfo=UTC).timestamp() * 1000)
ACTS = (
    "submit",
    "submit",
    "finish",
    "finish",
    "fail",
    "accept",
    "top-up",
    "adjust",
    "reprice",
    "zone",
    "sum",
)
acts = st.tuples(
    st.sampled_from(ACTS),
    st.sampled_from((0, 1, 14 * 60_000, 47 * 60_000, 5 * 3_600_000, 26 * 3_600_000)),
    st.integers(0, 5),
)


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    path: Path = tmp_path_factory.mktemp("usage") / "usage.db"
    url = f"sqlite:///{path}"
    revision.upgrade(url)
    engine = engine_of(url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def postgres_engine(postgres_server: str) -> Iterator[Engine]:
    name = f"usage_{uuid.uuid4().hex[:12]}"
    administration = create_engine(
        sync_url(postgres_server), isolation_level="AUTOCOMMIT", poolclass=NullPool
    )
    with administration.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    url = make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
    revision.upgrade(url)
    engine = engine_of(url)
    yield engine
    engine.dispose()
    with administration.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    administration.dispose()


UTC_ZONE = usage.Zone("UTC", UTC)


class History:
    """A tenant with two keys, end users and tokens, and what was entered when, in which time zone."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.now_ms = BEGIN_MS
        self.zone = "UTC"
        self.zones: dict[int, tuple[int, str]] = {}
        self.tenant_id = tenants.create(connection, "acme", now_ms=BEGIN_MS).id
        self.owner = Owner(self.tenant_id, "test")
        pepper = "a pepper for tests, long enough to be taken for one"
        self.kids = [
            keys.create(connection, self.tenant_id, mode="test", name="", pepper=pepper, now_ms=BEGIN_MS)[0]
            for _ in range(2)
        ]
        self.open: list[str] = []
        self.settled: list[str] = []

    def act(self, act: str, delay_ms: int, choice: int) -> None:
        self.now_ms += delay_ms
        match act:
            case "submit":
                self._submit(choice)
            case "finish" | "fail" | "accept" if self.open:
                self._move(act, self.open[choice % len(self.open)])
            case "top-up":
                ledger.add(self.connection, self.owner, Scope(), Kind.TOP_UP, 10 + choice, now_ms=self.now_ms)
            case "adjust":
                scope = Scope(self.kids[choice % 2], "a/b")
                more = {"now_ms": self.now_ms, "note": "why"}
                ledger.add(self.connection, self.owner, scope, Kind.ADJUSTMENT, choice - 9, **more)  # type: ignore[arg-type]
            case "reprice" if self.settled:
                self._reprice(self.settled[choice % len(self.settled)], choice * 3)
            case "sum":
                self.sum_days()
            case "zone":
                self.zone = ZONES[choice % len(ZONES)]
                tenants.set_time_zone(self.connection, self.tenant_id, self.zone, now_ms=self.now_ms)
        for number in self.connection.scalars(select(ledger_entries.c.id)):
            self.zones.setdefault(number, (self.now_ms, self.zone))

    def sum_days(self) -> None:
        """Sums the days of all tenants that are over, as upkeep does."""
        while usage_sums.sum_next(self.connection, now_ms=self.now_ms):
            pass

    def _submit(self, choice: int) -> None:
        kid, model_id = self.kids[choice % 2], ("a/b", "c/d", "e/f")[choice % 3]
        payer = Payer(kid, ("", "ann", "bob")[choice % 3], "" if choice < 2 else f"token{choice}")
        amounts = Amounts(generations=1, microcredits=choice * 7, output_seconds=5)
        before = open_account(
            self.connection, self.owner, payer, model_id, defaults=(), now_ms=self.now_ms, for_update=True
        )
        take(self.connection, self.owner, before, before.with_one_more(amounts), amounts)
        generation = begin(
            self.connection,
            store.SubmitIntent(
                generation_id=new_id(self.now_ms),
                tenant_id=self.tenant_id,
                kid=kid,
                payer=payer,
                mode="test",
                model_id=model_id,
                input_json=b"{}",
                amounts=amounts,
                price_version="1",
                settles_in="in_queue,completed" if choice == 5 else "completed",
                trace_id="0" * 32,
                choices=(),
            ),
            state=State.DISPATCHING,
            credential="sandbox",
            quota_day=before.periods.day,
            now_ms=self.now_ms,
            lease_until_ms=None,
        )
        self.open.append(generation.id)

    def _move(self, act: str, one: str) -> None:
        found = store.find(self.connection, one, None)
        assert found is not None
        if found.state is State.DISPATCHING and act != "fail":
            advance(
                self.connection, one, State.IN_QUEUE, reason="x", now_ms=self.now_ms, upstream_request_id=one
            )
        if act == "accept":
            return
        to = State.COMPLETED if act == "finish" else State.REJECTED
        if act == "fail" and found.state is not State.DISPATCHING:
            to = State.FAILED
        ended = advance(
            self.connection, one, to, reason="x", now_ms=self.now_ms, upstream_cost_usd="0.000003"
        )
        assert ended is not None
        self.open.remove(one)
        if ended.charge is Charge.SETTLED:
            self.settled.append(one)

    def _reprice(self, one: str, to: int) -> None:
        found = store.find(self.connection, one, None)
        assert found is not None
        if found.charged_microcredits == to:
            return
        ledger.correct(
            self.connection,
            found.terms,
            from_microcredits=found.charged_microcredits,
            to_microcredits=to,
            outcome=found.state,
            note="x",
            now_ms=self.now_ms,
        )
        store.set_repriced(self.connection, one, to)

    def expected(self, step: Step, groups: tuple[Group, ...]) -> dict[tuple[Any, ...], Counter[str]]:
        """What the entries say, each in the period of the time zone in which it was entered."""
        rows: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
        query = (
            select(ledger_entries, generations.c.model_id.label("of_model"), generations.c.root_kid)
            .add_columns(generations.c.end_user, generations.c.token_id, generations.c.price_microcredits)
            .outerjoin(
                generations,
                (generations.c.id == ledger_entries.c.generation_id)
                | (generations.c.id == ledger_entries.c.about_id),
            )
            .order_by(ledger_entries.c.id)
        )
        for row in self.connection.execute(query):
            at_ms, zone = self.zones[row.id]
            assert row.at_ms == at_ms
            local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(zone))
            period = {Step.DAY: f"{local:%Y%m%d}", Step.MONTH: f"{local:%Y%m}"}[step]
            values = {
                Group.MODEL: row.of_model or row.model_id,
                Group.KEY: row.root_kid or row.kid,
                Group.END_USER: row.end_user or "",
                Group.TOKEN: row.token_id or "",
            }
            counts = rows[int(period), *(values[one] for one in groups)]
            name, amount = {
                Kind.HOLD: ("held", -row.microcredits),
                Kind.SETTLE: ("spent", row.price_microcredits),
                Kind.REFUND: ("refunded", row.microcredits),
                Kind.TOP_UP: ("added", row.microcredits),
                Kind.ADJUSTMENT: ("adjusted", row.microcredits),
            }[Kind(row.kind)]
            counts[f"{name}_microcredits"] += amount
            if row.kind in {Kind.HOLD, Kind.SETTLE, Kind.REFUND}:
                counts[f"{name}_generations"] += 1
        return rows


def _agrees(history: History) -> None:
    money = [name for name in rollups.COUNTS if name not in {"ended_generations", "cost_microusd"}]
    zone = usage.zone_of_tenant(history.connection, history.tenant_id).zone
    totals = set()
    for step in (Step.DAY, Step.MONTH):
        for groups in (
            (),
            (Group.MODEL,),
            (Group.MODEL, Group.KEY),
            (Group.KEY, Group.END_USER),
            (Group.TOKEN,),
        ):
            question = Question(
                tenant_id=history.tenant_id,
                mode="test",
                first=date(2026, 1, 1),
                last=date(2027, 12, 31),
                by=step,
                groups=groups,
            )
            found = usage.rows(history.connection, question, zone, after=None, limit=10_000)
            told = {one.key: {name: one.counts[name] for name in money if one.counts[name]} for one in found}
            right = {
                key: {name: n for name, n in row.items() if n}
                for key, row in history.expected(step, groups).items()
            }
            assert {key: row for key, row in told.items() if row} == {
                key: row for key, row in right.items() if row
            }
            totals.add(tuple(usage.total(history.connection, question, zone).values()))
            if step is Step.MONTH and Group.TOKEN not in groups:  # from months, as far as they are summed
                summed = usage.Zone("", zone)
                told_summed = usage.answer(history.connection, question, summed, after=None, limit=10_000)
                assert list(told_summed.rows) == found
            if set(groups) <= {Group.MODEL}:  # of all tenants, of whom there is one
                of_all = replace(question, tenant_id=None)
                told_of_all = usage.answer(history.connection, of_all, UTC_ZONE, after=None, limit=10_000)
                assert list(told_of_all.rows) == found
                totals.add(tuple(told_of_all.total.values()))
    hours = Question(
        tenant_id=history.tenant_id,
        mode="test",
        first=date(2026, 1, 1),
        last=date(2027, 12, 31),
        by=Step.HOUR,
    )
    totals.add(tuple(usage.total(history.connection, hours, zone).values()))
    assert len(totals) == 1


def _play(engine: Engine, given: list[tuple[str, int, int]]) -> None:
    with engine.connect() as connection:
        history = History(connection)
        for one in given:
            history.act(*one)
        _agrees(history)
        history.now_ms += 4 * 86_400_000
        history.sum_days()
        _agrees(history)
        wrong = [
            one for one in verify(connection).findings if "roll-up" in one.rule or "repriced" in one.rule
        ]
        assert wrong == []
        connection.rollback()


@settings(max_examples=examples(6))
@given(st.lists(acts, min_size=8, max_size=25))
def test_usage_in_any_grouping_is_the_sum_of_the_entries(
    engine: Engine, given: list[tuple[str, int, int]]
) -> None:
    _play(engine, given)


@pytest.mark.deep
@settings(max_examples=examples(60))
@given(st.lists(acts, min_size=8, max_size=60))
def test_usage_of_long_histories_is_the_sum_of_the_entries_on_postgresql(
    postgres_engine: Engine, given: list[tuple[str, int, int]]
) -> None:
    _play(postgres_engine, given)
