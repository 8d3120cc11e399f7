"""A short command is not kept waiting for what only a server needs: it does not import it."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tests.processes import Place, place_for

HEAVY = {
    *("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "prometheus_client"),
    *(
        "alembic",
        "psycopg",
        "sqlalchemy.orm",
        "sqlalchemy.dialects.postgresql",
        "httpx2",
        "jsonschema_rs",
        "structlog",
        "rich",
    ),
    *("app.api", "app.gateway", "app.main", "app.sandbox", "app.cli.servers"),
}
_RUN = """
import json, sys
from app.cli.entry import main
sys.argv = ["reelgate", *sys.argv[1:]]
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


@pytest.fixture
def place(tmp_path: Path, sqlite_template: Path) -> Place:
    path = tmp_path / "own.db"
    path.write_bytes(sqlite_template.read_bytes())
    return place_for(tmp_path, f"sqlite:///{path}", "http://127.0.0.1:9")


def imported_by(place: Place, *arguments: str) -> set[str]:
    ended = subprocess.run(
        [sys.executable, "-c", _RUN, *arguments],
        cwd=place.folder,
        env=place.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return set(json.loads(ended.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "arguments",
    [
        ["tenants", "list"],
        ["tenants", "create", "acme"],
        ["keys", "list"],
        ["requests", "list"],
        ["limits", "list"],
        ["ledger", "list"],
        ["ledger", "verify"],
        ["dispatch", "pause"],
    ],
)
def test_a_command_that_does_not_serve_imports_nothing_of_a_server(
    place: Place, arguments: list[str]
) -> None:
    assert imported_by(place, *arguments) & HEAVY == set()


def test_one_group_of_commands_does_not_import_the_others(place: Place) -> None:
    groups = {one for one in imported_by(place, "tenants", "list") if one.startswith("app.cli.")}
    assert groups & {"app.cli.ledger", "app.cli.keys", "app.cli.dispatch", "app.cli.limits"} == set()


def test_the_command_says_its_version_and_needs_no_settings_for_that(place: Place) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "app.cli.entry", "--version"],
        cwd=place.folder,
        env=place.but(PORT="no port").environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, f"reelgate {version('reelgate')}\n")
