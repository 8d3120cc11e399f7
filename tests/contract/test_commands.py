"""What the operator's page says of commands is what they have."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from app.cli.entry import cli

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")


def commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before}{name} ")
        else:
            yield before + name, command


@pytest.mark.parametrize("option", ["--json", "--quiet"])
def test_the_page_says_which_commands_print_for_programs(option: str) -> None:
    having = {
        name
        for name, command in commands(typer.main.get_command(cli))
        if any(option in one.opts for one in command.params)
    }
    (line,) = re.findall(rf"^- `{option}` .*$", PAGE, re.MULTILINE)
    assert set(re.findall(r"`([a-z -]+)`", line)) - {option} == having


def test_the_commands_stand_in_one_table() -> None:
    rows = [bool(re.match(r"\| `reelgate ", line)) for line in PAGE.splitlines()]
    first, count = rows.index(True), sum(rows)
    assert all(rows[first : first + count])
