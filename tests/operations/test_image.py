"""The image: what it is made of, and that its steps work without an engine."""

import json
import re
import subprocess
import sys
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from tests.operations.tools import ROOT
from tools import sbom

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))


def test_the_bill_of_materials_has_every_package_of_the_lock_and_the_base_image() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    bill = json.loads(json.dumps(sbom.bill()))
    names = [one["name"] for one in bill["components"]]
    assert len(names) == len(re.findall(r"^[a-z0-9]\S*==", lock, re.MULTILINE)) + 1 > 30
    assert {"fastapi", "psycopg", "uvicorn"} <= set(names)
    assert all(len(one["properties"]) for one in bill["components"][1:]), "each has hashes"
    assert bill["components"][0]["version"].startswith("sha256:")


def test_the_image_runs_as_somebody_without_rights_says_what_it_is_and_checks_its_health() -> None:
    last = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    assert "\nUSER reelgate\n" in last
    assert "--uid 10001" in last
    assert "\nHEALTHCHECK " in last
    assert "org.opencontainers.image.revision" in last
    assert "pip install" not in last, "what installs stays in the stage before"


def test_every_service_of_compose_has_a_read_only_root_and_no_rights() -> None:
    for name, service in COMPOSE["services"].items():
        assert "no-new-privileges:true" in service["security_opt"], name
        if service["image"] == "reelgate":
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
    profiles = {name: service.get("profiles") for name, service in COMPOSE["services"].items()}
    assert profiles["sandbox"] == ["sandbox"]
    assert profiles["worker"] == ["worker"]
    assert profiles["backup"] == ["backup"]
    assert profiles["gateway"] is profiles["postgres"] is None


def test_what_the_image_copies_is_enough_to_run_and_writes_nowhere_but_to_its_folder(tmp_path: Path) -> None:
    """The folders that the Dockerfile copies, made read-only, with another folder for the data."""
    root, data = tmp_path / "root", tmp_path / "data"
    root.mkdir()
    data.mkdir()
    build = DOCKERFILE.split("AS build", 1)[1].split("\nFROM ", 1)[0]
    for source in re.findall(r"^COPY (\w+) \1$", build, re.MULTILINE):
        subprocess.run(["cp", "-a", ROOT / source, root / source], check=True)  # noqa: S607 - of the system
    subprocess.run(["chmod", "-R", "a-w", root], check=True)  # noqa: S607 - as above
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(root),
        "PYTHONDONTWRITEBYTECODE": "1",
        "REELGATE_DATA_DIR": str(data),
        "REELGATE_PEPPER": "a pepper for tests, long enough to be taken for one",
    }
    before = sorted(map(str, root.rglob("*")))
    for arguments in (["migrate"], ["tenants", "create", "acme"]):
        subprocess.run(
            [sys.executable, "-c", "from app.cli.entry import main; main()", *arguments],
            cwd=data,
            env=environment,
            check=True,
            capture_output=True,
            timeout=60,
        )
    assert sorted(map(str, root.rglob("*"))) == before
    assert (data / "reelgate.db").exists()
    subprocess.run(["chmod", "-R", "u+w", root], check=True)  # noqa: S607 - so that it can be removed
