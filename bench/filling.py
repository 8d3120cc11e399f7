"""Databases with a long history in them: made for a run, or kept in a folder for the next one."""

# ruff: noqa: S608 - its statements are made of its own constants

import random
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.pool import StaticPool

from app.db import revision
from app.db.engines.engine import is_sqlite, sync_url
from app.db.engines.sqlite import path_of, writer_engine
from bench.children import RunError
from bench.databases import FROM_WHEEL, SQLITE, database_of_its_own, kept_database
from bench.history import TABLES, History
from bench.statements import captured

_GB: Final = 2**30
_CHUNK: Final = 2**24


@contextmanager
def filled(
    choice: str, history: History, names: Sequence[str], *, folder: Path | None, keep: Path | None = None
) -> Iterator[Connection]:
    """Yields a connection to a database with this history: with the tables that these statements read.

    Its files are in the folder, and gone afterwards; with `keep`, they stay in that folder, and what is there
    already is used again.
    """
    if keep is not None:
        if choice not in {SQLITE, FROM_WHEEL}:
            raise RunError("--keep is for sqlite, and for postgresql from its wheel")
        keep.mkdir(parents=True, exist_ok=True)
        with kept_database(choice, keep, f"rows_{history.rows}") as url:
            _fill(url, history, names, keep / f"{choice}-{history.rows}.filled")
            with _measuring(url) as connection:
                yield connection
        return
    with ExitStack() as stack:
        own = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plans-", dir=folder)))
        url = stack.enter_context(database_of_its_own(choice, own))
        _fill(url, history, names, own / "filled")
        yield stack.enter_context(_measuring(url))


def _fill(url: str, history: History, names: Sequence[str], done: Path) -> None:
    """Fills a database, unless the file says that it is filled, and with which tables."""
    revision.upgrade(url)
    with _bulk(url) as connection:
        tables = _tables(connection, history, names)
        if done.exists():
            if missing := tables - set(done.read_text(encoding="utf-8").split()):
                raise RunError(f"{done.parent} has no rows of {', '.join(sorted(missing))}: remove it")
        else:
            _load(connection, history, tables)
            connection.exec_driver_sql("ANALYZE")
            if not is_sqlite(url):
                connection.exec_driver_sql("VACUUM")
            done.write_text(" ".join(sorted(tables)) + "\n", encoding="utf-8")
    if is_sqlite(url):
        _warm(path_of(url))


def _warm(file: Path) -> None:
    """Reads a file once, so that the kernel has as much of it as fits: a server has run for a while."""
    began_s = time.monotonic()
    with file.open("rb", buffering=0) as opened:
        while opened.read(_CHUNK):
            pass
    say(f"  {file.stat().st_size / _GB:.1f} GiB read in {time.monotonic() - began_s:.0f} s")


def _tables(connection: Connection, history: History, names: Sequence[str]) -> set[str]:
    """Returns the tables that these statements read, and those that every row refers to."""
    list(history.fill(connection, ()))  # which tables usage is read from depends on what is summed
    draw = history.draw(random.Random(0))  # noqa: S311 - guards nothing
    texts = [sql for name in names for sql, _ in captured(connection, name, draw)]
    return {"tenants", "api_keys"} | {one for one in TABLES if any(one in text for text in texts)}


def _load(connection: Connection, history: History, tables: Collection[str]) -> None:
    """Fills the tables without their secondary indexes, and then creates those."""
    sqlite = connection.dialect.name == "sqlite"
    if sqlite:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    else:
        query = (
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
            " AND indexname NOT LIKE 'pk_%' AND indexname NOT LIKE '%_pkc'"
            f" AND tablename IN ({', '.join(repr(table) for table in TABLES)})"
            " AND indexname NOT IN (SELECT conname FROM pg_constraint)"
        )
    indexes = connection.execute(text(query)).all()
    began_s = time.monotonic()
    for name, _ in indexes:
        connection.exec_driver_sql(f'DROP INDEX "{name}"')
    for table in history.fill(connection, tables):
        say(f"  {time.monotonic() - began_s:4.0f} s: {table}")
    for name, definition in indexes:
        say(f"  {time.monotonic() - began_s:4.0f} s: {name}")
        connection.exec_driver_sql(definition)
    say(f"  {time.monotonic() - began_s:4.0f} s: analyze")


@contextmanager
def _bulk(url: str) -> Iterator[Connection]:
    """Yields a connection that commits each statement, and neither waits for a disk nor checks references."""
    engine = _engine(url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        commands = (
            ("PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF", "PRAGMA cache_size=-1000000")
            if is_sqlite(url)
            else (
                "SET session_replication_role = replica",
                "SET synchronous_commit = off",
                "SET maintenance_work_mem = '1GB'",
                "SET statement_timeout = 0",
            )
        )
        for command in commands:
            connection.exec_driver_sql(command)
        yield connection
    engine.dispose()


@contextmanager
def _measuring(url: str) -> Iterator[Connection]:
    # The SQLite driver itself begins no transaction for a statement that starts with WITH; this engine does.
    engine = writer_engine(path_of(url)) if is_sqlite(url) else _engine(url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def _engine(url: str) -> Engine:
    return create_engine(url if is_sqlite(url) else sync_url(url), poolclass=StaticPool)


def say(line: str) -> None:
    """Prints a line of progress."""
    print(line, file=sys.stderr, flush=True)
