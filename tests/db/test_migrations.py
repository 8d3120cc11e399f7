"""The schema: one way up, the same way down, and no difference from what the code declares."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect
from sqlalchemy.pool import NullPool

from app.db import revision
from app.db.engines.engine import sync_url
from app.db.schema.tables import metadata


@pytest.fixture
def empty_url(database_url: str, tmp_path: Path) -> str:
    """An empty database of either kind."""
    if database_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'a folder that is not there yet' / 'reelgate.db'}"
    engine = create_engine(sync_url(database_url), poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    engine.dispose()
    return database_url


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    engine = create_engine(sync_url(empty_url), poolclass=NullPool)
    yield engine
    engine.dispose()


def test_from_nothing_to_what_the_code_declares_and_no_step_more(empty_url: str, engine: Engine) -> None:
    assert revision.upgrade(empty_url) == (None, revision.head())
    assert revision.upgrade(empty_url) == (revision.head(), revision.head())
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert revision.current(connection) == revision.head()


def test_down_to_nothing_and_up_again(empty_url: str, engine: Engine) -> None:
    revision.upgrade(empty_url)
    with engine.begin() as connection:
        command.downgrade(revision.alembic_config(connection), "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    revision.upgrade(empty_url)
    assert set(inspect(engine).get_table_names()) == {*metadata.tables, "alembic_version"}
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_history_is_one_line() -> None:
    """Two heads would leave it to chance which schema a server finds."""
    script = ScriptDirectory(str(revision.migrations_folder()))
    assert script.get_heads() == [revision.head()]
    assert len(script.get_bases()) == 1
