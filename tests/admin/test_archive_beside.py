"""Archiving beside another archive, and beside old logs: each row is in its file; no job is paid twice."""

import asyncio
import gzip
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.admin.actor import of_command
from app.admin.backups import archive as cases
from app.admin.backups import recover
from app.admin.backups.recover import Fate
from app.admin.verifying.verify import verify
from app.db.engines.engine import Database
from app.db.schema.tables import archive_batches
from app.generations import store
from app.generations.lifecycle import State
from tests.admin.desk import Desk, open_desk
from tests.admin.test_archive import BEFORE, LATER_MS, ended
from tests.admin.test_recover import line_of
from tests.harness import FakeClock
from tests.rows import NOW_MS

pytestmark = pytest.mark.anyio


@pytest.fixture
async def desk(db: Database) -> Desk:
    desk = await open_desk(db)
    desk.gateway.clock = FakeClock(LATER_MS)
    return desk


async def archive(desk: Desk, folder: Path, *, batch: int) -> int:
    return await cases.archive(desk.gateway, of_command(), folder, before=BEFORE, batch=batch)


async def archived_in(desk: Desk, folder: Path) -> Sequence[str]:
    """The ids in the files that batches name, each of which is what its batch says."""
    query = select(archive_batches.c.file, archive_batches.c.sha256)
    ids = []
    for file, sha256 in await desk.gateway.db.read(lambda connection: connection.execute(query).all()):
        packed = (folder / file).read_bytes()
        assert hashlib.sha256(packed).hexdigest() == sha256
        ids += [json.loads(line)["request"]["id"] for line in gzip.decompress(packed).splitlines()]
    return sorted(ids)


async def test_an_archive_never_overwrites_the_file_of_another_that_runs_at_the_same_time(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [(await ended(desk, State.COMPLETED, NOW_MS + number)).id for number in range(4)]
    loop, write = asyncio.get_running_loop(), cases._write

    def write_after_another(*arguments: Any) -> Any:
        if len(arguments[-1].requests) == 2 and not done:
            done.append(True)
            asyncio.run_coroutine_threadsafe(archive(desk, tmp_path, batch=4), loop).result(20)
        return write(*arguments)

    done: list[bool] = []
    monkeypatch.setattr(cases, "_write", write_after_another)
    assert await archive(desk, tmp_path, batch=2) == 0
    assert await archived_in(desk, tmp_path) == sorted(made)


async def test_a_line_of_the_log_about_an_archived_request_makes_it_not_again(
    desk: Desk, tmp_path: Path
) -> None:
    old = await ended(desk, State.COMPLETED, NOW_MS)
    assert await archive(desk, tmp_path, batch=2) == 1
    line = line_of(old, f"job-{old.id}")
    for dry_run in (True, False):
        [one] = await recover.recover(desk.gateway, of_command(), recover.jobs_in([line]), dry_run=dry_run)
        assert (one.fate, one.why.partition(", ")[0]) == (Fate.LEFT, "its request had ended")
    assert await desk.gateway.db.read(store.find, old.id, None) is None
    assert (await desk.gateway.db.snapshot(verify)).findings == []
