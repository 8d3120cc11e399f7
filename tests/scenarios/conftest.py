import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.harness import ManualClock, Running, running
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


class RealClock(ManualClock):
    def __call__(self) -> float:
        return time.time()


@pytest.fixture
def brisk(tmp_path: Path) -> Iterator[Running]:
    """A sandbox whose jobs end by themselves, soon."""
    with running(tmp_path / "brisk", RealClock(), concurrency=100, queue_s=0.1, run_s=0.1) as served:
        yield served
