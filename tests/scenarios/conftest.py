from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.processes import Commands, commands


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """An own, migrated, empty SQLite database, for what has nothing to do with the kind of database."""
    path = tmp_path / "own.db"
    path.write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def reelgate() -> Iterator[Commands]:
    """The `reelgate` command."""
    with commands() as started:
        yield started
