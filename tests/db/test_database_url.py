"""Addresses of databases as dashboards give them: taken where they mean the same, else refused by name."""

import pytest
from psycopg import pq

from app.database_url import PARAMETERS, normalised, secrets_of

TAKEN = {
    "postgres://u:p@h/db": "postgresql://u:p@h/db",
    "postgresql+psycopg://u:p@h:5433/db?sslmode=require": "postgresql://u:p@h:5433/db?sslmode=require",
    "POSTGRES://u:p@h/db": "postgresql://u:p@h/db",
    "postgres://u:p@h/db?pgbouncer=true": "postgresql://u:p@h/db",
    "postgres://u:p@h/db?sslmode=require&pgbouncer=true": "postgresql://u:p@h/db?sslmode=require",
    "postgresql://u:p@h/db?sslmode=require&channel_binding=require": (
        "postgresql://u:p@h/db?sslmode=require&channel_binding=require"
    ),
    "postgresql://u:p%40ss@h/db?options=-csearch_path%3Dx": (
        "postgresql://u:p%40ss@h/db?options=-csearch_path%3Dx"
    ),
    "postgresql://u:p$word@h/db": "postgresql://u:p$word@h/db",
    "sqlite+aiosqlite:////data/x.db": "sqlite:////data/x.db",
    "sqlite+pysqlite:///x.db": "sqlite:///x.db",
}
REFUSED = {
    "postgresql+asyncpg://u:secret@h/db": "write postgresql:// instead of postgresql\\+asyncpg://",
    "postgresql+psycopg2://u:secret@h/db": "write postgresql:// instead",
    "psql 'postgresql://u:secret@h/x'": "the address alone",
    "jdbc:postgresql://h/db?password=secret": "the address alone",
    "mysql://u:secret@h/db": "must be sqlite:///PATH or postgresql://",
    "postgres://u:secret#x@h/db": "%23",
    "postgres://u:secret/x@h/db": "%2F",
    "postgres://u:secret?x@h/db": "%3F",
    "postgres://u:secret@x@h/db": "%40",
    "postgres://u:[YOUR-PASSWORD]@h:6543/postgres": "placeholder",
    "postgres://u:<password>@h/db": "placeholder",
    "postgres://u:${PASSWORD}@h/db": "placeholder",
    "postgres://u:********@h/db": "masked",
    "postgres://u:secret@h/db?ssl=true": "write sslmode=require instead",
    "postgres://u:secret@h/db?sslmod=require": "did you mean sslmode",
    "postgres://u:secret@h/db?sslmode=no-verify": "one of disable, allow",
    "postgres://u:secret@h/db?sslmode=": "without a value",
    "postgres://u:secret@h/db?sslmode=require&sslmode=disable": "more than once",
    "postgres://u:secret@h/db?channel_binding=yes": "one of disable, prefer, require",
    "postgres://u:secret@h/db?connection_limit=1": "REELGATE_DATABASE_POOL",
    "postgres://u:secret@h/db?schema=public": "search_path",
    "postgres://u:secret@h/db?prepared_statement_cache_size=0": "leave it out",
    "postgres://u:secret@h/db?supa=base-pooler.x": "leave it out",
    "sqlite://x.db": "three slashes",
    "sqlite:///~/x.db": "path in full",
    "sqlite:////data/": "not a folder",
    "sqlite+libsql:///x.db": "write sqlite://",
}


@pytest.mark.parametrize("written", TAKEN)
def test_what_means_the_same_is_taken(written: str) -> None:
    assert normalised(written) == TAKEN[written]
    assert normalised(TAKEN[written]) == TAKEN[written]


@pytest.mark.parametrize("written", REFUSED)
def test_what_does_not_is_refused_with_what_to_write_and_without_the_password(written: str) -> None:
    with pytest.raises(ValueError, match=REFUSED[written]) as refused:
        normalised(written)
    assert "secret" not in str(refused.value)


def test_every_parameter_that_is_taken_is_one_of_the_client_librarys() -> None:
    known = {one.keyword.decode() for one in pq.Conninfo.get_defaults()}
    assert known >= PARAMETERS


def test_every_password_in_an_address_is_known_as_a_secret() -> None:
    url = "postgresql://u:first%40@h/db?password=second&sslpassword=third"
    assert set(secrets_of(url)) == {"first%40", "first@", "second", "third"}
    assert secrets_of("sqlite:///a@b.db") == []
