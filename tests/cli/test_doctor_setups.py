"""Broken set-ups: the doctor names what is wrong with each, and never ends in a stack trace."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from app.db.engines.engine import sync_url
from tests.processes import Commands, Place, place_for

SANDBOX = "http://127.0.0.1:9"
WORD = "secret-word"


@pytest.fixture
def furnished(tmp_path: Path, sqlite_template: Path) -> Path:
    """A folder of databases, of which one is good."""
    good = sqlite_template.read_bytes()
    (tmp_path / "good.db").write_bytes(good)
    (tmp_path / "empty.db").touch()
    (tmp_path / "garbage.db").write_bytes(b"this is not a database\n" * 400)
    (tmp_path / "folder.db").mkdir()
    (tmp_path / "read-only.db").write_bytes(good[:18] + b"\x03" + good[19:])  # too new to be written
    (tmp_path / "future.db").write_bytes(good)
    with sqlite3.connect(tmp_path / "future.db") as future:
        future.execute("UPDATE alembic_version SET version_num = '9999'")
        future.execute("UPDATE schema_floor SET revision = '9999'")
        (root,) = future.execute("SELECT rootpage FROM sqlite_master WHERE name = 'generations'").fetchone()
    future.close()
    start = (root - 1) * 4096
    (tmp_path / "damaged.db").write_bytes(good[:start] + b"\xff" * 4096 + good[start + 4096 :])
    return tmp_path


SETUPS: dict[str, tuple[dict[str, str | None], int, tuple[str, ...]]] = {
    "no file": ({"DATABASE_URL": "sqlite:///{folder}/none.db"}, 1, ("reelgate migrate",)),
    "a path below a file": ({"DATABASE_URL": "sqlite:///{folder}/good.db/x.db"}, 1, ("no such database",)),
    "an empty file": (
        {"DATABASE_URL": "sqlite:///{folder}/empty.db"},
        1,
        ("schema is at nothing", "reelgate migrate"),
    ),
    "another schema": ({"DATABASE_URL": "sqlite:///{folder}/future.db"}, 1, ("schema is at 9999",)),
    "no database": ({"DATABASE_URL": "sqlite:///{folder}/garbage.db"}, 1, ("not a database",)),
    "a folder": ({"DATABASE_URL": "sqlite:///{folder}/folder.db"}, 1, ("is a folder",)),
    "a damaged file": ({"DATABASE_URL": "sqlite:///{folder}/damaged.db"}, 1, ("damaged", "restore a backup")),
    "a file that may only be read": (
        {"DATABASE_URL": "sqlite:///{folder}/read-only.db"},
        1,
        ("writes", "every submit is a 503", "read-only"),
    ),
    "a server that is away": (
        {"DATABASE_URL": f"postgresql://u:{WORD}@127.0.0.1:1/x"},
        1,
        ("cannot be reached", "check host, port"),
    ),
    "a host without a name": (
        {"DATABASE_URL": f"postgresql://u:{WORD}@no.such.host.invalid/x"},
        1,
        ("cannot be reached",),
    ),
    "a certificate that is not there": (
        {"DATABASE_URL": f"postgresql://u:{WORD}@127.0.0.1:1/x?sslmode=verify-full&sslrootcert=/none.pem"},
        1,
        ("database",),
    ),
    "another driver": ({"DATABASE_URL": f"postgresql+asyncpg://u:{WORD}@h/x"}, 2, ("write postgresql://",)),
    "a placeholder": ({"DATABASE_URL": "postgres://u:[YOUR-PASSWORD]@h/x"}, 2, ("placeholder",)),
    "a parameter of another library": (
        {"DATABASE_URL": f"postgres://u:{WORD}@h/x?connection_limit=5"},
        2,
        ("REELGATE_DATABASE_URL", "REELGATE_DATABASE_POOL"),
    ),
    "quotes that were kept": ({"PORT": '"8700"'}, 2, ("REELGATE_PORT", "without them")),
    "a blank that was kept": (
        {"UPSTREAM_BASE_URL": "https://x.example "},
        2,
        ("REELGATE_UPSTREAM_BASE_URL",),
    ),
    "Windows line ends": ({"LOG_LEVEL": "INFO\r"}, 2, ("REELGATE_LOG_LEVEL", "Unix line ends")),
    "a character that cannot be seen": ({"HOST": "127.0.0.1\u200b"}, 2, ("REELGATE_HOST", "U+200B")),
    "a limit that is none": ({"DEFAULT_LIMITS": "submits-minute=many"}, 1, ("REELGATE_DEFAULT_LIMITS",)),
    "a network that is none": ({"MEDIA_NETWORKS": "10.0.0.0/99"}, 1, ("REELGATE_MEDIA_NETWORKS",)),
    "a weak pepper": ({"PEPPER": "short"}, 1, ("REELGATE_PEPPER",)),
}


@pytest.mark.parametrize("name", SETUPS)
def test_a_broken_set_up_is_named(name: str, furnished: Path, reelgate: Commands) -> None:
    settings, code, words = SETUPS[name]
    filled = {key: value and value.replace("{folder}", str(furnished)) for key, value in settings.items()}
    place = place_for(furnished, f"sqlite:///{furnished / 'good.db'}", SANDBOX).but(**filled)
    ended = reelgate.run(place, "doctor", expect=code)
    said = ended.out + ended.err
    assert "Traceback" not in said
    assert WORD not in said
    for word in words:
        assert word in said, said
    if code == 2:
        assert all(line.startswith("reelgate: ") for line in ended.err.splitlines()), ended.err


def test_a_good_set_up_is_good_and_says_that_it_was_written_to(furnished: Path, reelgate: Commands) -> None:
    place = place_for(furnished, f"sqlite:///{furnished / 'good.db'}", SANDBOX)
    (furnished / "good.db").chmod(0o600)
    found = {one["name"]: one for one in reelgate.run(place, "doctor", "--json").json}
    assert {name: one["level"] for name, one in found.items() if name in {"database", "writes"}} == {
        "database": "good",
        "writes": "good",
    }
    assert "file" not in found


def _postgres_setups(url: str) -> dict[str, tuple[str, str]]:
    name = url.rpartition("/")[2].partition("?")[0]
    mark = "&" if "?" in url else "?"
    return {
        "no such database": (url.replace(name, "no_such_name"), "does not exist"),
        "no such user": (url.replace("//postgres", "//no_such_user"), "no_such_user"),
        "an option that is none": (f"{url}{mark}options=-cno_such_setting%3D1", "no_such_setting"),
        "a standby": (url, "target_session_attrs=read-write"),
        "only standbys": (f"{url}{mark}target_session_attrs=read-write", "read-only"),
        "no table": (f"{url}{mark}options=-csearch_path%3Dnowhere", "reelgate migrate"),
    }


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_broken_postgresql_is_named(database_url: str, tmp_path: Path, reelgate: Commands) -> None:
    name = database_url.rpartition("/")[2].partition("?")[0]
    engine = create_engine(sync_url(database_url), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    engine.dispose()
    for setup, (url, word) in _postgres_setups(database_url).items():
        ended = reelgate.run(place_for(tmp_path, url, SANDBOX), "doctor", expect=1)
        assert word in ended.out, (setup, ended)
        assert "Traceback" not in ended.out + ended.err, setup


@pytest.mark.parametrize("setup", ["read-only.db", "garbage.db"])
def test_a_server_does_not_start_on_a_database_that_takes_no_writes(
    setup: str, furnished: Path, reelgate: Commands
) -> None:
    place = place_for(furnished, f"sqlite:///{furnished / setup}", SANDBOX)
    ended = reelgate.run(place, "serve", expect=1)
    assert ended.err.splitlines()[-1] in {
        "reelgate: The database is read-only.",
        "reelgate: The database is damaged.",
    }


def test_whoever_makes_them_files_are_their_owners_alone(tmp_path: Path, reelgate: Commands) -> None:
    """With the usual umask of 022, SQLite itself would let everybody read."""
    place: Place = place_for(tmp_path, "", SANDBOX).but(DATABASE_URL=None)
    reelgate.run(place, "migrate")
    reelgate.run(place, "tenants", "create", "acme")
    reelgate.run(place.but(PEPPER=None, ENVIRONMENT="development"), "keys", "create", "--tenant", "acme")
    data = tmp_path / "data"
    made = {path.name: path.stat().st_mode & 0o777 for path in (data, *data.iterdir())}
    assert made.pop("data") == 0o700
    assert {"reelgate.db", "reelgate.db.lock", "pepper"} <= made.keys()
    assert set(made.values()) == {0o600}
    checked = {one["name"] for one in reelgate.run(place, "doctor", "--json", expect=None).json}
    assert "files" not in checked
    data.chmod(0o755)
    (data / "reelgate.db").chmod(0o644)
    ended = reelgate.run(place, "doctor", "--json", expect=None)
    found = {one["name"]: one for one in ended.json}
    assert found["files"]["level"] == "note"
    assert f"{data} (0755)" in found["files"]["finding"]
    assert "reelgate.db (0644)" in found["files"]["finding"]
    assert data.stat().st_mode & 0o777 == 0o755, "a mode that somebody set is theirs"
