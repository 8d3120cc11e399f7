"""The units for systemd: they parse, they are hardened, and what they wait agrees with what they set."""

import re
from pathlib import Path

import pytest

from app.config import Settings
from app.settings.values import PREFIX
from tests.operations.tools import DEPLOY, ROOT, said, tool

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
MAX_EXPOSURE = 2.0  # of 10; above 2 something was loosened


def of_ours(unit: Path) -> dict[str, str]:
    """The gateway's variables that a unit sets."""
    found = re.findall(rf"{PREFIX}(\w+)=(\S+)", unit.read_text("utf-8"))
    return dict(found)


def test_systemd_parses_every_unit(tmp_path: Path) -> None:
    program = tmp_path / "reelgate"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for file in (DEPLOY / "systemd").glob("*.[st]*"):
        text = file.read_text("utf-8").replace("/opt/reelgate/.venv/bin/reelgate", str(program))
        name = file.name.replace("@.socket", "@8710.socket")  # its address is no address without a port
        (tmp_path / name).write_text(text)
    files = sorted(map(str, tmp_path.glob("reelgate*.[st]*")))
    assert len(files) == len(UNITS) + 2  # and a timer, and a socket
    assert said(tool("systemd-analyze"), "verify", "--man=no", *files) == ""


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_service_may_do_little(unit: Path) -> None:
    told = said(tool("systemd-analyze"), "security", "--offline=true", "--no-pager", unit)
    (score,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert float(score) <= MAX_EXPOSURE, told


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_sets_settings_that_exist_and_waits_longer_than_they_drain(unit: Path) -> None:
    settings = of_ours(unit)
    assert {name.lower() for name in settings if "DATABASE_URL" not in name} <= Settings.model_fields.keys()
    drains = float(settings.get("DRAIN_S", 0)) + float(settings.get("DRAIN_DELAY_S", 0))
    if drains:
        (patience,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit.read_text("utf-8"), re.MULTILINE)
        assert float(patience) > drains + 10


def test_a_server_that_was_replaced_is_asked_to_stop_with_its_successor_and_not_killed() -> None:
    unit = (DEPLOY / "systemd" / "reelgate@.service").read_text("utf-8")
    assert re.findall(r"^KillMode=(.*)$", unit, re.MULTILINE) == ["control-group"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_gives_no_program_a_secret_as_an_argument_which_every_user_can_read(unit: Path) -> None:
    secrets = re.compile(rf"\${PREFIX}\w*|\$\{{{PREFIX}")
    lines = re.findall(r"^Exec\w+=.*$", unit.read_text("utf-8"), re.MULTILINE)
    assert lines
    assert [line for line in lines if secrets.search(line)] == []


def test_the_example_of_the_environment_has_settings_that_exist() -> None:
    text = (DEPLOY / "systemd" / "reelgate.env.example").read_text("utf-8")
    names = re.findall(rf"^(?:# )?{PREFIX}(\w+)=", text, re.MULTILINE)
    assert {name.lower() for name in names} <= Settings.model_fields.keys()


def test_every_file_of_deploy_that_a_page_names_is_there() -> None:
    pages = [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")]
    named = {
        path for page in pages for path in re.findall(r"\bdeploy/([\w./@*-]*[\w@*])", page.read_text("utf-8"))
    }
    assert len(named) > 8
    assert [path for path in sorted(named) if not list(DEPLOY.glob(path))] == []


def test_what_the_steps_of_debian_copy_is_what_we_ship() -> None:
    page = (ROOT / "docs" / "deploying.md").read_text("utf-8")
    for pattern in re.findall(r"/opt/reelgate/(deploy/\S+)", page):
        assert list(ROOT.glob(pattern)), pattern
    units = re.findall(r"systemctl (?:start|enable --now) (.+)", page)
    for name in {one.split("@")[0] for line in units for one in line.split()}:
        assert list((DEPLOY / "systemd").glob(f"{name.removesuffix('.timer')}*")), name
