"""Every command in the runbooks is one that works."""

import re
import shlex
import time
from pathlib import Path
from typing import Any

import httpx2
import typer.main
from sqlalchemy import Connection

from app.cli.entry import cli
from app.db.engines.engine import Database
from app.generations.advance import advance
from app.generations.lifecycle import State
from tests.operations.tools import DEPLOY, ROOT
from tests.processes import Commands, in_database, place_for, started
from tests.rows import add_generation
from tests.sandbox.harness import Running
from tools.docs import commands

PAGE = (ROOT / "docs" / "runbooks.md").read_text("utf-8")
LINES = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.strip().splitlines()
]
OURS = [line for line in LINES if line.startswith("reelgate ")]
OTHERS = {"curl", "df", "du", "journalctl", "systemctl", "timedatectl"}
EXIT_CODES = {"doctor": None}  # 1 where it finds something wrong, which is what it is for


def test_every_command_is_one_of_ours_with_its_options_or_a_usual_one_of_the_system() -> None:
    known: dict[str, Any] = dict(commands(typer.main.get_command(cli)))
    for line in LINES:
        words = shlex.split(line)
        if words[0] != "reelgate":
            assert words[0] in OTHERS, line
            continue
        name = max((one for one in known if line[len("reelgate ") :].startswith(one)), key=len, default="")
        assert name, line
        rest = words[1 + len(name.split()) :]
        known[name].make_context(name, list(rest), resilient_parsing=False)
    assert len(OURS) > 40


def test_commands_in_the_text_exist_too() -> None:
    known = dict(commands(typer.main.get_command(cli)))
    for told in re.findall(r"`reelgate ([a-z-]+(?: [a-z-]+)?)", PAGE):
        assert told in known or told.split()[0] in known, told


def test_units_of_systemd_that_are_named_are_those_that_we_ship() -> None:
    named = set(re.findall(r"(?:systemctl \w+|--unit) (reelgate[\w-]*@?)", PAGE))
    shipped = {path.stem for path in (DEPLOY / "systemd").glob("reelgate*")}
    assert named
    assert named <= shipped


def test_every_command_of_the_runbooks_runs(
    tmp_path: Path, sqlite_url: str, sandbox: Running, reelgate: Commands
) -> None:
    place = place_for(tmp_path, sqlite_url, sandbox.options.public_url, UPSTREAM_TOKEN="a-live-token")
    reelgate.run(place, "tenants", "create", "acme")
    owner = reelgate.run(place, "tenants", "list", "--json").json[0]["id"]
    kid = reelgate.run(place, "keys", "create", "--test", "--tenant", "acme", "--json").json["kid"]
    unknown = iter(_unknown(sqlite_url, owner, kid, count=10))
    values = {"TENANT": "acme", "KID": kid, "UPSTREAM_ID": "0" * 8, "REFERENCE": "letter-7"}
    values |= {"DATA_DIR": str(tmp_path), "URL": place.url}

    def run(line: str) -> None:
        words = [
            _filled(word, values | {"ID": next(unknown)} if "$ID" in word else values)
            for word in shlex.split(line)
        ]
        if words[0] == "curl":
            assert httpx2.get(words[-1], trust_env=False).status_code == 200
        elif words[0] == "reelgate" and words[1] != "migrate":  # with every server stopped
            expect = None if "--attach" in words or words[1] in EXIT_CODES else 0
            ended = reelgate.run(place, *words[1:], expect=expect)
            assert ended.code in {0, 1}, ended  # 2 is a wrong option

    restoring = next(number for number, line in enumerate(LINES) if line.startswith("reelgate restore "))
    with started(place) as server:
        for line in LINES[:restoring]:
            run(line)
        made = reelgate.run(place, "backup", "kept", "--json").json["folder"]
        values |= {"BACKUP": str(place.folder / made), "LOG": str(server.log)}
    reelgate.run(place, "migrate")
    for line in LINES[restoring:]:
        run(line)
    with started(place):
        paused = reelgate.run(place, "dispatch", "status", "--json").json["paused_since"]
        assert set(paused.values()) == {None}


def _filled(word: str, values: dict[str, str]) -> str:
    return re.sub(r"\$([A-Z_]+)", lambda found: values[found[1]], word)


def _unknown(url: str, owner: str, kid: str, *, count: int) -> list[str]:
    """The ids of unknown requests."""

    def lose(connection: Connection) -> list[str]:
        now_ms = time.time_ns() // 1_000_000
        lost = [add_generation(connection, owner=(owner, kid), now_ms=now_ms) for _ in range(count)]
        for one in lost:
            advance(connection, one.id, State.UNKNOWN, reason="timed_out", now_ms=now_ms)
        return [one.id for one in lost]

    async def write(db: Database) -> list[str]:
        return await db.write(lose)

    found: list[str] = in_database(url, write)
    return found
