"""What an error means: an outage with a sentence of ours, or a fault of our own, which stays what it is."""

import errno
import sqlite3
from typing import Any

import psycopg
import pytest
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import DBAPIError

from app.db import outage
from app.db.outage import DatabaseBusyError, Outage, drops_connection, outage_of


def of_postgres(state: str) -> DBAPIError:
    kind = psycopg.errors.lookup(state)
    return _wrapped(kind("words of the driver about 10.1.2.3"), psycopg.Error)


def of_sqlite(code: int) -> DBAPIError:
    error = sqlite3.OperationalError("words of the driver about /srv/secret.db")
    error.sqlite_errorcode = code
    return _wrapped(error, sqlite3.Error)


def refused(words: str) -> DBAPIError:
    return _wrapped(psycopg.OperationalError(f"connection failed: FATAL:  {words}"), psycopg.Error)


def _wrapped(error: Exception, base: type[Exception]) -> DBAPIError:
    wrapped = DBAPIError.instance("INSERT", {}, error, base, dialect=_dialect_of(base))
    assert isinstance(wrapped, DBAPIError)
    return wrapped


def _dialect_of(base: type[Exception]) -> Any:
    kind = PGDialect_psycopg if base is psycopg.Error else SQLiteDialect_pysqlite
    return kind(dbapi=kind.import_dbapi())


MEANINGS: list[tuple[Exception, Outage | None]] = [
    (of_postgres("25006"), outage.READ_ONLY),
    (of_postgres("53100"), outage.NO_SPACE),
    (of_postgres("53300"), outage.CROWDED),
    (of_postgres("42501"), outage.REFUSED),
    (of_postgres("28P01"), outage.REFUSED),
    (of_postgres("3D000"), outage.REFUSED),
    (of_postgres("42P05"), outage.REFUSED),
    (of_postgres("57P01"), outage.STARTING),
    (of_postgres("57P03"), outage.STARTING),
    (of_postgres("57014"), outage.SLOW),
    (of_postgres("55P03"), outage.LOCKED),
    (of_postgres("08006"), outage.UNREACHABLE),
    (of_postgres("XX001"), outage.DAMAGED),
    (of_postgres("40001"), outage.UNREACHABLE),
    (of_postgres("23505"), None),
    (of_postgres("42601"), None),
    (of_postgres("22001"), None),
    (refused("the database system is starting up"), outage.STARTING),
    (refused("sorry, too many clients already"), outage.CROWDED),
    (refused('password authentication failed for user "u"'), outage.REFUSED),
    (refused("unsupported startup parameter: options"), outage.REFUSED),
    (of_sqlite(sqlite3.SQLITE_READONLY), outage.READ_ONLY),
    (of_sqlite(sqlite3.SQLITE_READONLY_DBMOVED), outage.GONE),
    (of_sqlite(sqlite3.SQLITE_FULL), outage.NO_SPACE),
    (of_sqlite(sqlite3.SQLITE_NOTADB), outage.DAMAGED),
    (of_sqlite(sqlite3.SQLITE_CORRUPT_INDEX), outage.DAMAGED),
    (of_sqlite(sqlite3.SQLITE_IOERR_FSYNC), outage.IO_ERROR),
    (of_sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT), outage.LOCKED),
    (of_sqlite(sqlite3.SQLITE_ERROR), None),
    (OSError(errno.ENOSPC, "x"), outage.NO_SPACE),
    (OSError(errno.EROFS, "x"), outage.READ_ONLY),
    (PermissionError(errno.EACCES, "x"), outage.REFUSED),
    (OSError("the network is down"), outage.UNREACHABLE),
    (DatabaseBusyError("no answer"), outage.SLOW),
    (DatabaseBusyError("x is gone", outage.GONE), outage.GONE),
    (ZeroDivisionError(), None),
]


@pytest.mark.parametrize(("error", "meaning"), MEANINGS, ids=lambda one: repr(one)[:50])
def test_an_error_means_one_outage_or_is_our_own(error: Exception, meaning: Outage | None) -> None:
    assert outage_of(error) is meaning


def test_no_sentence_for_callers_repeats_the_drivers_words() -> None:
    sentences = [one.sentence for one in vars(outage).values() if isinstance(one, Outage)]
    assert len(set(sentences)) == len(sentences) == 11
    assert all("database" in one and one.endswith(".") for one in sentences)


@pytest.mark.parametrize("state", ["25006", "57P01", "57P03", "08006", "42501", "42P05", "26000", "28000"])
def test_a_connection_that_can_only_repeat_its_refusal_is_dropped(state: str) -> None:
    assert drops_connection(of_postgres(state).orig)


@pytest.mark.parametrize("state", ["23505", "40001", "40P01", "57014", "55P03", "42601", "53100"])
def test_a_connection_that_can_go_on_is_kept(state: str) -> None:
    assert not drops_connection(of_postgres(state).orig)
    assert not drops_connection(None)
