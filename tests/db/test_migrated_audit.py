"""The entries of an older audit log become a chain, and go back, with all that they say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from app.admin import audit
from app.admin.actor import Actor
from app.admin.audit import Change
from app.admin.audit_log import verify
from app.db import revision
from tests.admin.books import engine_of

BEFORE = "0015"
_COLUMNS = "at_ms, actor_kind, actor_name, action, subject_kind, subject_id, before, after, reason"
ROWS: list[dict[str, Any]] = [
    {"action": "tenant.create", "before": None, "after": '{"name":"Größe \\u0000"}', "reason": None},
    {"action": "tenant.disable", "before": '{"at":null}', "after": '{"at":1.5}', "reason": "unpaid"},
    {"action": "dispatch.pause", "before": None, "after": None, "reason": "“late”"},
]


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> Iterator[Engine]:
    """A database of the revision before the chain."""
    older = f"sqlite:///{tmp_path / 'older.db'}"
    engine = engine_of(older if database_url.startswith("sqlite") else database_url)
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        command.upgrade(revision.alembic_config(connection), BEFORE)
    yield engine
    engine.dispose()


def _move(engine: Engine, to: str) -> None:
    with engine.begin() as connection:
        move = command.upgrade if to == "0016" else command.downgrade
        move(revision.alembic_config(connection), to)


def _older(connection: Connection) -> list[dict[str, Any]]:
    query = text(f"SELECT {_COLUMNS} FROM audit_entries ORDER BY id")  # noqa: S608 - a constant
    return [dict(row) for row in connection.execute(query).mappings()]


def test_what_was_written_before_is_chained_and_comes_back(engine: Engine) -> None:
    same = {"at_ms": 1_790_000_000_123, "actor_kind": "command", "actor_name": "olga"}
    same |= {"subject_kind": "tenant", "subject_id": "x"}
    places = ", ".join(f":{name}" for name in _COLUMNS.split(", "))
    with engine.begin() as connection:
        for row in ROWS:
            statement = f"INSERT INTO audit_entries ({_COLUMNS}) VALUES ({places})"  # noqa: S608 - constants
            connection.execute(text(statement), {**same, **row})
        older = _older(connection)
    _move(engine, "0016")
    with engine.begin() as connection:
        change = Change(
            action="a.b", subject_kind="c", subject_id="d", tenant_id=None, before=None, after={"e": 1}
        )
        audit._append(
            connection,
            audit.lock_head(connection),
            Actor("command", "otto"),
            change,
            reason=None,
            at_ms=1,
            trace_id=None,
        )
        found = verify(connection)
        told = [json.loads(one) for one in connection.scalars(text("SELECT text FROM audit_entries"))]
    assert (found.first_break, found.entries) == (None, len(ROWS) + 1)
    assert [(one["action"], one["reason"]) for one in told][:3] == [
        (row["action"], row["reason"]) for row in ROWS
    ]
    assert told[0]["after"] == {"name": "Größe \0"}
    _move(engine, BEFORE)
    with engine.connect() as connection:
        back = _older(connection)
        assert back[3]["after"] == '{"e":1}'
        for was, is_now in zip(older, back, strict=False):
            for name in ("before", "after"):
                was[name], is_now[name] = (one and json.loads(one) for one in (was[name], is_now[name]))
            assert is_now == was
        with pytest.raises(DBAPIError, match="append-only"):
            connection.execute(text("DELETE FROM audit_entries"))


def test_an_empty_log_becomes_an_empty_chain(engine: Engine) -> None:
    _move(engine, "0016")
    with engine.connect() as connection:
        found = verify(connection)
    assert (found.first_break, found.entries, found.head and found.head.size) == (None, 0, 0)
