"""The statements of every request and tick find their rows by an index, in a history of ten million.

Neither database holds so many: the planners are told that they do. `python -m bench plans` loads them.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from app.db import revision
from app.db.engines.engine import sync_url
from app.db.engines.sqlite import writer_engine
from bench.history import TABLES, History
from bench.statements import STATEMENTS, faults_of, plan_of

HISTORY = History(rows=20_000, live=200)
TIMES = 500  # as many rows are believed in: ten million
GENERIC_SINCE = (16, 0)


@pytest.fixture(scope="session")
def history_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history in a file, to copy."""
    path: Path = tmp_path_factory.mktemp("plans") / "filled.db"
    revision.upgrade(f"sqlite:///{path}")
    engine = writer_engine(path)
    with engine.begin() as connection:
        list(HISTORY.fill(connection))
    engine.dispose()  # and so everything is in the file itself
    return path


@pytest.fixture(scope="module", params=["sqlite", "sqlite, analyzed", "postgresql"])
def history_engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """A history; the gateway itself never analyzes an SQLite file, but an operator may."""
    if request.param == "postgresql":
        yield from _postgres(request.getfixturevalue("postgres_server"))
        return
    path: Path = tmp_path_factory.mktemp("plans") / "plans.db"
    filled: Path = request.getfixturevalue("history_file")
    path.write_bytes(filled.read_bytes())
    engine = writer_engine(path)
    with engine.begin() as connection:
        if request.param == "sqlite, analyzed":
            connection.exec_driver_sql("ANALYZE")
            _multiply_sqlite(connection)
    engine.dispose()  # statistics are read when a file is opened
    yield engine
    engine.dispose()


def _postgres(server: str) -> Iterator[Engine]:
    name = f"plans_{random.randrange(10**9)}"  # noqa: S311 - guards nothing
    administration = create_engine(sync_url(server), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    with administration.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    revision.upgrade(url)
    engine = create_engine(sync_url(url), poolclass=NullPool)
    with engine.begin() as connection:
        for table in TABLES:
            connection.exec_driver_sql(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        list(HISTORY.fill(connection))
    with engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")
        # The planner takes the true number of pages, and from here how many rows there are on one.
        connection.exec_driver_sql(
            "UPDATE pg_class SET reltuples = reltuples * %s"
            " WHERE relnamespace = 'public'::regnamespace AND reltuples > 0",
            (TIMES,),
        )
    yield engine
    engine.dispose()
    with administration.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    administration.dispose()


def _multiply_sqlite(connection: Connection) -> None:
    """The first number of an index is of its rows, the others of the rows for each prefix of its columns."""
    for table, index, numbers in connection.exec_driver_sql("SELECT tbl, idx, stat FROM sqlite_stat1").all():
        rows, *alike = numbers.split()
        larger = [str(int(rows) * TIMES), *(one if one == "1" else str(int(one) * TIMES) for one in alike)]
        connection.exec_driver_sql(
            "UPDATE sqlite_stat1 SET stat = ? WHERE tbl = ? AND idx IS ?", (" ".join(larger), table, index)
        )


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_reads_no_table_whole_and_sorts_no_history(history_engine: Engine, name: str) -> None:
    dialect = history_engine.dialect.name
    draw = HISTORY.draw(random.Random(name), of_the_largest=True)  # noqa: S311 - guards nothing
    with history_engine.connect() as connection:
        version = connection.dialect.server_version_info or ()
        for generic in (False, True) if dialect == "postgresql" and version >= GENERIC_SINCE else (False,):
            plan = plan_of(connection, name, draw, generic=generic)
            assert not faults_of(plan, name, dialect), plan
        connection.rollback()


def test_what_a_submit_counts_in_is_looked_up_row_by_row_however_long_the_history(
    history_engine: Engine,
) -> None:
    draw = HISTORY.draw(random.Random(0), of_the_largest=True)  # noqa: S311 - guards nothing
    with history_engine.connect() as connection:
        plan = plan_of(connection, "many_accounts.USAGE_OF_MODEL of many", draw)
    used = plan.partition("Index Cond:" if history_engine.dialect.name == "postgresql" else "USING INDEX")[2]
    for column in ("tenant_id", "mode", "kid", "model_id", "period"):
        assert column in used, plan
    assert "Filter" not in plan


@pytest.mark.parametrize("name", ["leases.claim_due", "store.page", "events.after"])
def test_the_check_itself_sees_a_missing_index(history_engine: Engine, name: str) -> None:
    draw = HISTORY.draw(random.Random(0), of_the_largest=True)  # noqa: S311 - guards nothing
    history_engine.dispose()  # SQLite's driver would explain the statement that it prepared before
    with history_engine.connect() as connection:
        connection.exec_driver_sql(f"DROP INDEX {STATEMENTS[name].index}")
        plan = plan_of(connection, name, draw)
        connection.rollback()
    assert faults_of(plan, name, history_engine.dialect.name), plan
