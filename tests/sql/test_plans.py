"""The statements of every request and tick find their rows by an index, however large the table."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event

from app.auth import keys
from app.db.engine import Database
from app.generations import store
from app.generations.lifecycle import State
from app.quotas import account, ledger
from app.quotas.account import Owner

pytestmark = pytest.mark.anyio

_OF_MODEL = {"tenant": "t", "of_mode": "test", "of_kid": "k", "of_model_id": "a/b"}
_OF_PERIODS = {"of_month": "2026-11", "of_day": "2026-11-24"}
STATEMENTS: dict[str, tuple[Callable[[Connection], Any], str]] = {
    "store.find": (lambda c: store.find(c, "x", None), "pk_generations"),
    "store.events_of": (lambda c: store.events_of(c, "x"), "pk_generation_events"),
    "store.page": (
        lambda c: store.page(c, "t", limit=20, mode="test"),
        "ix_generations_tenant_id_created_at_ms_id",
    ),
    "store.page by cursor": (
        lambda c: store.page(c, "t", limit=20, mode="test", before=(5, "x")),
        "ix_generations_tenant_id_created_at_ms_id",
    ),
    "store.page by state": (
        lambda c: store.page(
            c, "t", limit=20, mode="test", states=frozenset({State.COMPLETED}), model_id="a/b"
        ),
        "ix_generations_tenant_id_created_at_ms_id",
    ),
    "store.waiting_since a lease": (
        lambda c: store.waiting_since(c, State.DISPATCHING, before_ms=5, limit=20),
        "ix_generations_dispatching_lease",
    ),
    "store.waiting_since it was unknown": (
        lambda c: store.waiting_since(c, State.UNKNOWN, before_ms=5, limit=20),
        "ix_generations_unknown_changed_at_ms",
    ),
    "store.in_flight": (
        lambda c: store.in_flight(c, Owner("t", "test"), unknown_since_ms=5),
        "ix_generations_live",
    ),
    "account._LIMITS_OF_MODEL": (
        lambda c: c.execute(account._LIMITS_OF_MODEL, _OF_MODEL),
        "pk_quota_limits",
    ),
    "account._USAGE_OF_MODEL": (
        lambda c: c.execute(account._USAGE_OF_MODEL, _OF_MODEL | _OF_PERIODS),
        "pk_quota_usage",
    ),
    "account._USAGE": (lambda c: c.execute(account._USAGE, _OF_MODEL | _OF_PERIODS), "pk_quota_usage"),
    "ledger.entries of a tenant": (
        lambda c: ledger.entries(c, tenant_id="t", limit=5),
        "ix_ledger_entries_tenant_id_id",
    ),
    "ledger.entries of a generation": (
        lambda c: ledger.entries(c, generation_id="g", limit=5),
        "uq_ledger_entries_",
    ),
    "keys.find": (lambda c: keys.find(c, "k"), "pk_api_keys"),
    "keys.of_tenant": (lambda c: keys.of_tenant(c, "t"), "ix_api_keys_tenant_id"),
}


def _plan_of(connection: Connection, run: Callable[[Connection], Any]) -> str:
    statements: list[tuple[str, Any]] = []

    @event.listens_for(connection, "before_cursor_execute")
    def _keep(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: Any) -> None:
        statements.append((statement, parameters))

    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
    statements.clear()
    run(connection)
    ((statement, parameters),) = statements
    word = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    rows = connection.exec_driver_sql(f"{word} {statement}", parameters)
    return "\n".join(" ".join(str(value) for value in row) for row in rows)


@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_statement_uses_its_index_and_sorts_nothing(db: Database, name: str) -> None:
    run, index = STATEMENTS[name]
    plan = await db.read(_plan_of, run)
    if db.dialect == "sqlite" and index.startswith("pk_"):  # SQLite names such an index by its table
        index = f"sqlite_autoindex_{index.removeprefix('pk_')}_1"
    assert index in plan, plan
    assert "SCAN generations" not in plan
    assert "Seq Scan on generations" not in plan
    if name.startswith("store."):
        assert "TEMP B-TREE" not in plan, plan
        assert "Sort" not in plan, plan


async def test_what_a_submit_counts_in_is_looked_up_row_by_row_however_long_the_history(db: Database) -> None:
    plan = await db.read(_plan_of, STATEMENTS["account._USAGE_OF_MODEL"][0])
    used = plan.partition("Index Cond:" if db.dialect == "postgresql" else "USING INDEX")[2]
    for column in ("tenant_id", "mode", "kid", "model_id", "period"):
        assert column in used, plan
    assert "Filter" not in plan
