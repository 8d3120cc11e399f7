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
        "pydantic.v1",
    ),
    *("app.api", "app.gateway", "app.main", "app.sandbox", "app.cli.serving.servers"),
}
_CONTRACT = Path(__file__).parents[2] / "openapi.json"
_NOT_FOR_LISTS = {"app.quotas.account", "app.auth.principal", "app.auth.client_tokens"}
_NOT_FOR_MONEY = {
    "app.generations.store",
    "app.upstream.outcomes",
    "app.media.formats",
    "app.webhooks.messages.outbox",
}
_GROUPS = {
    "app.cli.amounts.ledger",
    "app.cli.running.requests",
    "app.cli.running.dispatch",
    "app.cli.amounts.limits",
}
_RUN = """
import json, sys
from app.cli.entry import main
found = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["reelgate", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (arguments, end.code)
    found.append(sorted(name for name, module in sys.modules.items() if module is not None))
print(json.dumps(found), file=sys.stderr)
"""
_SERVER = """
import json, sys
from app.server.light_fastapi import import_fastapi
import_fastapi()
from app.catalog.catalog import open_catalog
from app.cli.serving import servers
from app.config import Settings
from app.main import contract, create_server_app
settings = Settings(port=8700)
create_server_app(settings)
print(json.dumps([name for name, module in sys.modules.items() if module is not None]))
print(json.dumps(contract(settings, open_catalog(settings))))
"""


@pytest.fixture
def place(tmp_path: Path, sqlite_template: Path) -> Place:
    path = tmp_path / "own.db"
    path.write_bytes(sqlite_template.read_bytes())
    return place_for(tmp_path, f"sqlite:///{path}", "http://127.0.0.1:9")


def printed_by(place: Place, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=place.folder,
        env=place.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended


def imported_by(place: Place, *commands: str) -> dict[str, set[str]]:
    """Returns what each of these commands, which run in one process, had imported at its end."""
    written = json.dumps([command.split() for command in commands])
    found = json.loads(printed_by(place, _RUN, written).stderr.splitlines()[-1])
    return {command: set(names) for command, names in zip(commands, found, strict=True)}


def test_a_command_that_does_not_serve_imports_nothing_of_a_server(place: Place) -> None:
    imported = imported_by(
        place,
        *("tenants list", "keys list", "limits list", "ledger list", "tenants create acme"),
        *("requests list", "ledger verify", "dispatch pause"),
    )
    assert {command: names & HEAVY for command, names in imported.items() if names & HEAVY} == {}
    assert imported["tenants list"] & (_GROUPS | {"app.cli.access.keys"}) == set()
    assert imported["tenants list"] & _NOT_FOR_LISTS == set()
    assert imported["keys list"] & _GROUPS == set()
    assert imported["ledger list"] & _NOT_FOR_MONEY == set()


def test_a_server_imports_what_makes_its_contract_when_that_is_asked_for(place: Place) -> None:
    names, contract = printed_by(place, _SERVER).stdout.splitlines()
    late = {"pydantic.v1", "app.api.openapi", "app.documents.published", "app.documents.admin.published"}
    assert set(json.loads(names)) & late == set()
    assert json.loads(contract) == json.loads(_CONTRACT.read_text(encoding="utf-8"))


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
