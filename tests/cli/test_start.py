"""What a server refuses to start with: one plain line each, and no stack trace."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from app.db import revision
from tests.patience import PATIENCE_S
from tests.processes import Commands, Ended, Place, bare_environment, place_for, started

SANDBOX = "http://127.0.0.1:9"


@pytest.fixture
def place(tmp_path: Path, sqlite_url: str) -> Place:
    return place_for(tmp_path, sqlite_url, SANDBOX)


def _one_plain_line(ended: Ended, *words: str) -> None:
    """Beside it, log lines at most: of a database that is away, one says why."""
    *logged, last = ended.err.splitlines()
    assert last.startswith("reelgate: "), ended.err
    assert "Traceback" not in ended.err
    assert not logged or (len(logged) == 1 and "The database is not available." in logged[0]), ended.err
    for word in words:
        assert word in last
    assert ended.out == ""


def test_a_second_server_on_one_sqlite_file_exits_1_and_leaves_the_first_alone(
    place: Place, tmp_path: Path, sqlite_url: str
) -> None:
    with started(place, anew=True) as first:
        second = subprocess.run(
            [sys.executable, "-m", "app.cli.entry", "serve"],
            cwd=tmp_path,
            env=place_for(tmp_path, sqlite_url, SANDBOX).environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        _one_plain_line(
            Ended(second.returncode, second.stdout, second.stderr), "another server", "PostgreSQL"
        )
        assert second.returncode == 1
        first.until_ready()


def test_a_port_that_is_taken_exits_1(place: Place, tmp_path: Path, reelgate: Commands) -> None:
    with started(place):
        other = place.but(DATABASE_URL=f"sqlite:///{tmp_path / 'other.db'}")
        revision.upgrade(other.settings["DATABASE_URL"])
        _one_plain_line(reelgate.run(other, "serve", expect=1), place.settings["PORT"], "REELGATE_PORT")


WEAK = "a pepper that is too short"
STARTS: dict[str, tuple[dict[str, str | None], int, tuple[str, ...]]] = {
    "no database": ({"DATABASE_URL": "sqlite:///{folder}/none.db"}, 1, ("reelgate migrate",)),
    "an empty schema": ({"DATABASE_URL": "sqlite:///{folder}/empty.db"}, 1, ("reelgate migrate",)),
    "a schema of the future": ({"DATABASE_URL": "sqlite:///{folder}/future.db"}, 1, ("9999",)),
    "a file that is no database": ({"DATABASE_URL": "sqlite:///{folder}/garbage.db"}, 1, ()),
    "a database below a file": ({"DATABASE_URL": "sqlite:///{folder}/garbage.db/x.db"}, 1, ()),
    "a database that is away": ({"DATABASE_URL": "postgresql://u:secret-word@127.0.0.1:1/x"}, 1, ()),
    "a URL that is none": ({"DATABASE_URL": "nonsense"}, 2, ("REELGATE_DATABASE_URL",)),
    "a database of another kind": ({"DATABASE_URL": "mysql://u@127.0.0.1/x"}, 2, ("REELGATE_DATABASE_URL",)),
    "no pepper": ({"PEPPER": None}, 1, ("REELGATE_PEPPER",)),
    "a weak pepper": ({"PEPPER": WEAK}, 1, ("REELGATE_PEPPER", "weak")),
    "a regular pepper": ({"PEPPER": "ab" * 40}, 1, ("REELGATE_PEPPER", "weak")),
    "an empty pepper file": ({"PEPPER": None, "PEPPER_FILE": "{folder}/empty"}, 2, ("REELGATE_PEPPER_FILE",)),
    "no pepper file": ({"PEPPER": None, "PEPPER_FILE": "{folder}/none"}, 2, ("REELGATE_PEPPER_FILE",)),
    "a pepper file that is no text": (
        {"PEPPER": None, "PEPPER_FILE": "{folder}/binary"},
        2,
        ("REELGATE_PEPPER_FILE",),
    ),
    "a port that is no number": ({"PORT": "http"}, 2, ("REELGATE_PORT",)),
    "a port out of range": ({"PORT": "65536"}, 2, ("REELGATE_PORT",)),
    "an unknown environment": ({"ENVIRONMENT": "staging"}, 2, ("REELGATE_ENVIRONMENT",)),
    "a deadline beyond ten seconds": ({"SUBMIT_DEADLINE_S": "10"}, 2, ("REELGATE_SUBMIT_DEADLINE_S",)),
    "a lease inside the deadline": (
        {"SUBMIT_DEADLINE_S": "5", "DISPATCH_LEASE_S": "5"},
        2,
        ("dispatch_lease_s", "submit_deadline_s"),
    ),
    "a base URL that is none": ({"UPSTREAM_BASE_URL": "ftp://x"}, 2, ("REELGATE_UPSTREAM_BASE_URL",)),
    "a token of odd characters": ({"UPSTREAM_TOKEN": "tökén"}, 2, ("REELGATE_UPSTREAM_TOKEN",)),
    "no catalogue folder": ({"CATALOG_DIR": "{folder}/none"}, 1, ("{folder}/none",)),
    "a broken model file": ({"CATALOG_DIR": "{folder}/models"}, 1, ("broken.json",)),
    "a host that is none": ({"HOST": "no.such.host.invalid"}, 1, ("no.such.host.invalid",)),
}


@pytest.fixture
def furnished(tmp_path: Path, sqlite_template: Path) -> Path:
    """A folder with everything that a start can stumble over."""
    (tmp_path / "empty").touch()
    (tmp_path / "empty.db").touch()
    (tmp_path / "binary").write_bytes(b"\xff\xfe" * 40)
    (tmp_path / "garbage.db").write_bytes(b"this is not a database\n" * 400)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "broken.json").write_text("{")
    (tmp_path / "future.db").write_bytes(sqlite_template.read_bytes())
    future = sqlite3.connect(tmp_path / "future.db")
    future.execute("UPDATE alembic_version SET version_num = '9999'")
    future.execute("UPDATE schema_floor SET revision = '9999'")
    future.commit()
    future.close()
    return tmp_path


@pytest.mark.parametrize("name", STARTS)
def test_a_start_that_cannot_go_well_is_refused_in_one_line(
    name: str, place: Place, furnished: Path, reelgate: Commands
) -> None:
    settings, code, words = STARTS[name]
    filled = {key: value and value.replace("{folder}", str(furnished)) for key, value in settings.items()}
    ended = reelgate.run(place.but(**filled), "serve", expect=code)
    _one_plain_line(ended, *(word.replace("{folder}", str(furnished)) for word in words))
    assert "secret-word" not in ended.err
    assert WEAK not in ended.err


def test_a_dotenv_file_that_is_no_text_is_refused_in_one_line(
    place: Place, tmp_path: Path, reelgate: Commands
) -> None:
    (tmp_path / ".env").write_bytes(b"REELGATE_PORT=\xff\xfe\n")
    _one_plain_line(reelgate.run(place, "serve", expect=2), ".env")


@pytest.mark.parametrize("command", ["serve", "migrate", "sandbox"])
def test_a_data_folder_that_cannot_be_made_is_refused_in_one_line(
    command: str, place: Place, furnished: Path, reelgate: Commands
) -> None:
    nowhere = place.but(
        DATABASE_URL=None,
        DATA_DIR=str(furnished / "garbage.db" / "data"),
        SANDBOX_PORT=place.settings["PORT"],
    )
    _one_plain_line(reelgate.run(nowhere, command, expect=1), "garbage.db")


@pytest.mark.parametrize("url", ["postgresql://u:secret-word@127.0.0.1:1/x", "sqlite:///{folder}/garbage.db"])
@pytest.mark.parametrize("arguments", [("migrate",), ("tenants", "list")], ids=" ".join)
def test_a_command_without_its_database_ends_in_one_line(
    url: str, arguments: tuple[str, ...], place: Place, furnished: Path, reelgate: Commands
) -> None:
    without = place.but(DATABASE_URL=url.replace("{folder}", str(furnished)))
    ended = reelgate.run(without, *arguments, expect=1)
    _one_plain_line(ended)
    assert "secret-word" not in ended.err


def test_in_development_a_pepper_is_made_once_and_kept_private(
    place: Place, tmp_path: Path, reelgate: Commands
) -> None:
    machine = place.but(PEPPER=None, ENVIRONMENT="development")
    reelgate.run(machine, "tenants", "create", "acme")
    assert not (tmp_path / "data" / "pepper").exists(), "what makes no key needs none"
    for _ in range(2):
        reelgate.run(machine, "keys", "create", "--tenant", "acme")
        kept = tmp_path / "data" / "pepper"
        assert kept.stat().st_mode & 0o777 == 0o600
        text = kept.read_text()
        assert len(text) == 64
    reelgate.run(machine, "tenants", "list")
    assert kept.read_text() == text


def test_no_command_needs_an_environment_to_explain_itself(tmp_path: Path, reelgate: Commands) -> None:
    assert bare_environment()["PATH"]
    for arguments in (["--help"], ["serve", "--help"], ["keys", "--help"], ["keys", "create", "--help"]):
        assert "Usage" in reelgate.run(Place(tmp_path, {}), *arguments).out
