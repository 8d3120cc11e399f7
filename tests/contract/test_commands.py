"""What the operator's page says of commands is what they have."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")


def test_the_commands_stand_in_one_table() -> None:
    rows = [bool(re.match(r"\| `reelgate ", line)) for line in PAGE.splitlines()]
    first, count = rows.index(True), sum(rows)
    assert all(rows[first : first + count])
