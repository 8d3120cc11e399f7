"""The schema's revision: which one the database has, which one the code needs, and the upgrade."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import NullPool

import app
from app.db.engine import is_sqlite, sync_url
from app.db.sqlite import path_of, write_lock, writer_engine


def migrations_folder() -> Path:
    """Returns the `migrations/` folder beside the package."""
    return Path(app.__path__[0]).resolve().parent / "migrations"


def head() -> str:
    """Returns the revision that this code needs."""
    revision = ScriptDirectory(str(migrations_folder())).get_current_head()
    if revision is None:
        raise RuntimeError(f"{migrations_folder()} holds no migration")
    return revision


def current(connection: Connection) -> str | None:
    """Returns the revision that the database has; None where it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(url: str) -> tuple[str | None, str]:
    """Migrates the database to `head()`, and returns the revisions before and after."""
    if is_sqlite(url):
        path_of(url).parent.mkdir(parents=True, exist_ok=True)
        with write_lock(path_of(url)):
            return _upgrade(writer_engine(path_of(url)))
    return _upgrade(create_engine(sync_url(url), poolclass=NullPool, hide_parameters=True))


def _upgrade(engine: Engine) -> tuple[str | None, str]:
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                # Two concurrent migrations would both see the old schema.
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7235419)")
            before = current(connection)
            command.upgrade(alembic_config(connection), "head")
    finally:
        engine.dispose()
    return before, head()


def alembic_config(connection: Connection) -> Config:
    """Returns Alembic's configuration, made in code so that there is no second place to set a URL."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    config.attributes["connection"] = connection
    return config
