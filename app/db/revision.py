"""The schema's revision: which one the database has, which ones this code can use, and the upgrade.

A server uses the schema of its own newest migration, and later ones too, as long as these only add. The
database says so itself: the floor is the oldest migration that a server must know.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, Engine, column, create_engine, inspect, select, table
from sqlalchemy.pool import NullPool

from app import shipped
from app.db.engines.engine import Database, is_sqlite, open_database, sync_url
from app.db.engines.postgres import CONNECT
from app.db.engines.sqlite import make_private, path_of, write_lock, writer_engine
from app.db.schema.tables import schema_floor, upkeep_positions

if TYPE_CHECKING:
    from alembic.config import Config

HEAD: Final = "0034"
"""The newest migration; a test compares it with the folder, so that only migrating has to import Alembic."""
EARLIER: Final[frozenset[str]] = frozenset()
"""Older schemas that this code can use too: what comes behind them only takes away what it does without."""
BACKFILL: Final = "backfill "
"""How the names of positions of back-fills that are not finished begin; the migration's number follows."""
VERSION: Final = table("alembic_version", column("version_num"))
"""Alembic's own table: its one row is the schema's revision, without which no server opens a database."""


class SchemaError(Exception):
    """The database's schema is not one that this code can use."""


def migrations_folder() -> Path:
    """Returns the folder of this code's migrations."""
    return shipped.root() / "migrations"


def head() -> str:
    """Returns the revision that this code needs."""
    return HEAD


def current(connection: Connection) -> str | None:
    """Returns the revision that the database has; None where it is empty."""
    if not inspect(connection).has_table(VERSION.name):
        return None
    revision: str | None = connection.execute(select(VERSION.c.version_num)).scalar_one_or_none()
    return revision


async def open_checked(url: str, *, pool: int) -> Database:
    """Opens a database whose schema this code can use; see `open_database`.

    Raises:
        SchemaError: the database has to be migrated first, or is of a newer version.
        Problem: DATABASE_UNAVAILABLE.

    """
    if is_sqlite(url) and not path_of(url).exists():
        raise SchemaError(f"there is no database at {path_of(url)}; run `reelgate migrate`.")
    db = open_database(url, pool=pool)
    try:
        await db.read(check)
    except BaseException:
        await db.close()
        raise
    return db


def known() -> set[str]:
    """Returns the revisions that this code knows."""
    return {one.name.partition("_")[0] for one in (migrations_folder() / "versions").glob("[0-9]*.py")}


def check(connection: Connection, *, locked: bool = False) -> None:
    """Checks that this code can use the schema: its own, one of `EARLIER`, or a later one with a known floor.

    With `locked` the floor stays as it is until the transaction ends.

    Raises:
        SchemaError: it cannot; the message says what to do.

    """
    found = current(connection)
    usable = found == HEAD or found in EARLIER
    if not usable and (found is None or found in known()):
        raise SchemaError(
            f"the database's schema is at {found or 'nothing'}, this code needs {HEAD};"
            " run `reelgate migrate`."
        )
    row = select(schema_floor.c.revision)
    floor: str = connection.execute(row.with_for_update(read=True) if locked else row).scalar_one()
    if floor != HEAD and floor not in known():
        raise SchemaError(
            f"the database's schema is at {found}, which servers without migration {floor} cannot use; this"
            f" code knows {HEAD}. Use the version that migrated it."
        )
    if usable and (left := _backfills(connection)):
        raise SchemaError(
            f"the back-fill of migration {left[0]} is not finished; run `reelgate migrate`, which goes on"
            " with it."
        )


def _backfills(connection: Connection) -> list[str]:
    name = upkeep_positions.c.name
    found = connection.execute(select(name).where(name.startswith(BACKFILL, autoescape=True)).order_by(name))
    return [one.removeprefix(BACKFILL) for one in found.scalars()]


def upgrade(url: str, tell: Callable[[str], None] = lambda _: None) -> tuple[str | None, str]:
    """Migrates the database to `head()`, and returns the revisions before and after.

    On PostgreSQL servers of the version before may run meanwhile. `tell` is told of each step.

    Raises:
        SchemaError: a migration takes away what a running server needs, or the schema is of a newer version.

    """
    if is_sqlite(url):
        path_of(url).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with write_lock(path_of(url)):
            make_private(path_of(url))
            return _upgrade(writer_engine(path_of(url)), tell)
    # Behind a pooler a statement that is prepared here would be another client's under the same name.
    arguments = CONNECT | {"prepare_threshold": None}
    return _upgrade(
        create_engine(sync_url(url), poolclass=NullPool, hide_parameters=True, connect_args=arguments), tell
    )


def _upgrade(engine: Engine, tell: Callable[[str], None]) -> tuple[str | None, str]:
    from app.db import migrating  # noqa: PLC0415 - it imports Alembic, which only migrating needs

    try:
        return migrating.bring_up(engine, alembic_config, tell, now_ms=time.time_ns() // 1_000_000)
    finally:
        engine.dispose()


def alembic_config(connection: Connection) -> "Config":
    """Alembic's configuration, made in code so that there is no second place to set a URL."""
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    config.attributes["connection"] = connection
    return config
