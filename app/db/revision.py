"""The schema's revision: which one the database has, which one the code needs, and the upgrade."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, Engine, column, create_engine, inspect, select, table
from sqlalchemy.pool import NullPool

from app import shipped
from app.db.engine import Database, is_sqlite, open_database, sync_url
from app.db.postgres import CONNECT
from app.db.sqlite import make_private, path_of, write_lock, writer_engine

if TYPE_CHECKING:
    from alembic.config import Config

HEAD: Final = "0021"
"""The newest migration; a test compares it with the folder, so that only migrating has to import Alembic."""
_VERSION: Final = table("alembic_version", column("version_num"))


class SchemaError(Exception):
    """The database's schema is not the one that this code needs."""


def migrations_folder() -> Path:
    """Returns the folder of this code's migrations."""
    return shipped.root() / "migrations"


def head() -> str:
    """Returns the revision that this code needs."""
    return HEAD


def current(connection: Connection) -> str | None:
    """Returns the revision that the database has; None where it is empty."""
    if not inspect(connection).has_table(_VERSION.name):
        return None
    revision: str | None = connection.execute(select(_VERSION.c.version_num)).scalar_one_or_none()
    return revision


async def open_checked(url: str, *, pool: int) -> Database:
    """Opens a database whose schema is the one that this code needs; see `open_database`.

    Raises:
        SchemaError: the database has to be migrated first.
        Problem: DATABASE_UNAVAILABLE.

    """
    if is_sqlite(url) and not path_of(url).exists():
        raise SchemaError(f"there is no database at {path_of(url)}; run `reelgate migrate`.")
    db = open_database(url, pool=pool)
    try:
        _check(await db.read(current))
    except BaseException:
        await db.close()
        raise
    return db


def _check(revision: str | None) -> None:
    if revision != HEAD:
        raise SchemaError(
            f"the database's schema is at {revision or 'nothing'}, this code needs {HEAD};"
            " run `reelgate migrate`."
        )


def upgrade(url: str) -> tuple[str | None, str]:
    """Migrates the database to `head()`, and returns the revisions before and after."""
    if is_sqlite(url):
        path_of(url).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with write_lock(path_of(url)):
            make_private(path_of(url))
            return _upgrade(writer_engine(path_of(url)))
    # Behind a pooler a statement that is prepared here would be another client's under the same name.
    arguments = CONNECT | {"prepare_threshold": None}
    return _upgrade(
        create_engine(sync_url(url), poolclass=NullPool, hide_parameters=True, connect_args=arguments)
    )


def _upgrade(engine: Engine) -> tuple[str | None, str]:
    from alembic import command  # noqa: PLC0415 - only migrating needs it

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


def alembic_config(connection: Connection) -> "Config":
    """Alembic's configuration, made in code so that there is no second place to set a URL."""
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    config.attributes["connection"] = connection
    return config
