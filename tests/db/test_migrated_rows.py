"""The ledger comes to a database at work: what was there is not charged, not lost, not counted twice."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from app.admin.verifying.verify import verify
from app.auth import keys
from app.db import revision
from app.db.engines.engine import Database
from app.generations import events as event_rows
from app.generations import leases, store
from app.generations.advance import advance
from app.generations.lifecycle import State
from app.generations.search import Filters, search
from app.quotas.account import Owner
from app.quotas.limits import Scope
from tests.admin.books import engine_of, keep_books
from tests.rows import NOW_MS

# In the order of their rotations; no order of their names is by chance the right one.
LINES = (("k-m", "k-a", "k-z", "k-b"), ("k-alone",), ("k-y", "k-x"))
TENANT = "the-tenant"
MODEL = "a/b"

HISTORIES: dict[str, Sequence[State]] = {
    "completed": (State.DISPATCHING, State.IN_QUEUE, State.IN_PROGRESS, State.COMPLETED),
    "rejected": (State.DISPATCHING, State.REJECTED),
    "unknown": (State.DISPATCHING, State.UNKNOWN),
    "dispatching": (State.DISPATCHING,),
    "in_queue": (State.DISPATCHING, State.IN_QUEUE),
}


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> Iterator[Engine]:
    """A database of the version before, with keys and requests in it, migrated."""
    url = database_url
    if url.startswith("sqlite"):
        url = f"sqlite:///{tmp_path / 'older.db'}"
    engine = engine_of(url)
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        command.upgrade(revision.alembic_config(connection), "0003")
        _work(connection)
    revision.upgrade(url)
    yield engine
    engine.dispose()


def _insert(connection: Connection, table: str, **values: Any) -> None:
    names = ", ".join(values)
    places = ", ".join(f":{name}" for name in values)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({places})"), values)  # noqa: S608


def _work(connection: Connection) -> None:
    """What the version before would have written."""
    _insert(connection, "tenants", id=TENANT, name="t", created_at_ms=NOW_MS)
    rotated = {older: newer for line in LINES for older, newer in pairwise(line)}
    for kid in sorted(kid for line in LINES for kid in line):
        secret = {"digest": "0" * 64, "pepper_id": "p", "last_four": "four"}
        ends = {"rotated_to": rotated.get(kid), "expires_at_ms": NOW_MS if kid in rotated else None}
        said = {"tenant_id": TENANT, "name": "", "mode": "test", "scopes": '["read","submit"]'}
        _insert(connection, "api_keys", kid=kid, created_at_ms=NOW_MS, **secret, **ends, **said)
    for name, states in HISTORIES.items():
        ended = states[-1] in {State.COMPLETED, State.REJECTED}
        _insert(
            connection,
            "generations",
            id=name,
            tenant_id=TENANT,
            kid="k-a",
            mode="test",
            model_id=MODEL,
            input="{}",
            price_microcredits=5,
            price_version="1",
            state=states[-1],
            version=len(states),
            upstream_request_id=f"job-{name}" if State.IN_QUEUE in states else None,
            trace_id="0" * 32,
            created_at_ms=NOW_MS,
            changed_at_ms=NOW_MS,
            finished_at_ms=NOW_MS if ended else None,
            lease_until_ms=NOW_MS + 30_000 if states[-1] is State.DISPATCHING else None,
        )
        for version, state in enumerate(states, 1):
            _insert(
                connection,
                "generation_events",
                generation_id=name,
                version=version,
                state=state,
                at_ms=NOW_MS,
                reason="x",
            )


def test_every_key_of_a_rotation_counts_as_the_first_of_its_line(engine: Engine) -> None:
    with engine.connect() as connection:
        found = {one.kid: one.root_kid for one in keys.of_tenant(connection, TENANT)}
        rows = connection.execute(text("SELECT kid, root_kid FROM api_keys"))
        stored = {row.kid: row.root_kid for row in rows}
    assert found == {kid: line[0] for line in LINES for kid in line}
    assert stored == {kid: None if kid == line[0] else line[0] for line in LINES for kid in line}


def test_the_next_rotation_keeps_the_first_of_the_line(engine: Engine) -> None:
    with engine.begin() as connection:
        kid, _, _ = keys.rotate(connection, "k-b", overlap_ms=1, pepper="x" * 40, now_ms=NOW_MS)
        found = keys.find(connection, kid)
    assert found is not None
    assert found.root_kid == "k-m"


def test_what_was_there_is_as_it_was_in_no_ledger_and_right(engine: Engine) -> None:
    with engine.connect() as connection:
        report = verify(connection)
        rows = {one.id: one for one in search(connection, Filters(), limit=100).rows}
        zone = connection.scalar(text("SELECT time_zone FROM tenants"))
        for table in ("ledger_entries", "quota_usage", "quota_limits"):
            assert connection.scalar(text(f"SELECT count(*) FROM {table}")) == 0  # noqa: S608
    assert (report.findings, report.generations, report.in_flight) == ([], 5, 3)
    assert {name: row.state for name, row in rows.items()} == {
        name: states[-1] for name, states in HISTORIES.items()
    }
    assert {(one.charge, one.root_kid, one.quota_day, one.settles_in) for one in rows.values()} == {
        (None, None, None, None)
    }
    assert zone == "UTC"


def test_what_was_under_way_ends_without_an_entry(engine: Engine) -> None:
    ends = {"in_queue": State.COMPLETED, "unknown": State.LOST, "dispatching": State.REJECTED}
    with engine.begin() as connection:
        for name, to in ends.items():
            ended = advance(connection, name, to, reason="y", now_ms=NOW_MS + 1, spent=True)
            assert ended is not None
            assert (ended.state, ended.charge) == (to, None)
    with engine.connect() as connection:
        report = verify(connection)
    assert (report.findings, report.entries, report.in_flight) == ([], 0, 0)


def test_every_event_has_its_number_and_what_is_live_is_looked_at(engine: Engine) -> None:
    with engine.connect() as connection:
        events = event_rows.after(connection, TENANT, "test", 0, limit=100)
        last = event_rows.last_number(connection, TENANT, "test")
        spans = leases.live_by_credential(connection)
        none = event_rows.last_number(connection, TENANT, "live")
    count = sum(map(len, HISTORIES.values()))
    assert [one.number for one in events] == list(range(1, count + 1))
    assert (last, none) == (count, 0)
    assert spans == {"sandbox": (1, 0)}


def test_what_was_under_way_counts_as_in_flight_once(engine: Engine) -> None:
    """It has no key to count in: it counts for its tenant, and for its tenant's use of the model."""
    with engine.connect() as connection:
        counts = store.in_flight(connection, Owner(TENANT, "test"), unknown_since_ms=NOW_MS)
    assert counts == {Scope(): 3, Scope("", MODEL): 3}


def test_down_and_up_again_finds_the_same(engine: Engine) -> None:
    with engine.begin() as connection:
        command.downgrade(revision.alembic_config(connection), "0003")
    assert "ledger_entries" not in inspect(engine).get_table_names()
    with engine.begin() as connection:
        command.upgrade(revision.alembic_config(connection), "head")
        found = {one.kid: one.root_kid for one in keys.of_tenant(connection, TENANT)}
    assert found == {kid: line[0] for line in LINES for kid in line}


def test_books_from_before_the_seconds_count_none_and_what_they_hold_ends_once(
    database_url: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'older.db'}" if database_url.startswith("sqlite") else database_url
    revision.upgrade(url)
    engine = engine_of(url, foreign_keys=False)
    with engine.begin() as connection:
        names = keep_books(connection)
        config = revision.alembic_config(connection)
        every = ScriptDirectory.from_config(config).walk_revisions()
        [before] = [one.down_revision for one in every if one.path.endswith("output_seconds.py")]
        command.downgrade(config, str(before))
        assert "output_seconds" not in {one["name"] for one in inspect(connection).get_columns("generations")}
    revision.upgrade(url)
    with engine.begin() as connection:
        assert verify(connection).findings == []
        ended = advance(connection, names["in_queue"], State.COMPLETED, reason="x", now_ms=NOW_MS * 2)
        assert ended is not None
        assert (ended.charge, ended.output_seconds) == ("settled", 0)
        kept = connection.execute(
            text("SELECT sum(held_output_seconds), sum(spent_output_seconds) FROM quota_usage")
        ).one()
        wrong = [one for one in verify(connection).findings if "usage" in one.rule]
    engine.dispose()
    assert (int(kept[0]), int(kept[1]), wrong) == (0, 0, [])


@pytest.mark.anyio
async def test_messages_that_lost_their_deliveries_are_removed_before_they_are_found_by_these(
    db: Database,
) -> None:
    script = ScriptDirectory(str(revision.migrations_folder())).get_revision("0030")

    def migrate(connection: Connection) -> set[str]:
        of_whom = {"tenant_id": TENANT, "mode": "test", "type": "request.completed"}
        for name, body, at_ms in (
            ("left", "{}", 1),
            ("owed", None, 1),
            ("replayed", "{}", 1),
            ("sent", "{}", 3),
        ):
            _insert(connection, "webhook_messages", id=name, body=body, created_at_ms=at_ms, **of_whom)
        for name, at_ms in (("sent", 3), ("replayed", 4)):
            its = {"id": f"dlv_{at_ms}", "message_id": name, "endpoint_id": "e", "created_at_ms": at_ms}
            _insert(
                connection,
                "webhook_deliveries",
                cause="event",
                state="delivered",
                next_at_ms=0,
                **its,
                **of_whom,
            )
        connection.execute(text(script.module.REMOVED))
        return set(connection.execute(text("SELECT id FROM webhook_messages")).scalars())

    assert await db.write(migrate) == {"owed", "replayed", "sent"}
