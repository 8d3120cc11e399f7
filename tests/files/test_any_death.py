"""Wherever a process dies: no stored row without its bytes, nothing left behind, no byte counted twice."""

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Table, select

from app.auth import keys, tenants
from app.db.engines.engine import Database
from app.db.schema.tables import files, stored_bytes
from app.files.rows import FileState
from app.files.sweeping import Sweeper
from app.files.uploads import LEASE_MS, Asked
from app.storage.s3 import S3Store
from tests.files.doomed import PICTURES, Stage, chunks, principal_of, stage
from tests.harness import PEPPER, FakeClock
from tests.patience import PATIENCE_S
from tests.processes import bare_environment

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


@pytest.fixture
def launcher() -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", "from tests.files.doomed import take_orders; take_orders()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=bare_environment(),
        cwd=ROOT,
    ) as process:
        yield process
        process.communicate(timeout=PATIENCE_S)


def _tenant(connection: Connection, name: str) -> dict[str, str]:
    tenant = tenants.create(connection, name, now_ms=0)
    kid, _ = keys.create(connection, tenant.id, mode="test", name="", pepper=PEPPER, now_ms=0)
    return {"tenant_id": tenant.id, "kid": kid}


async def _recovered(one: Stage) -> None:
    """What the next start and the sweeper make of it."""
    await one.uploads.storage.intake.clear()
    one.clock.advance(2 * LEASE_MS / 1000)
    await Sweeper(db=one.db, clock=one.clock, uploads=one.uploads).run_once()


async def _check(one: Stage, tenant_id: str) -> int:
    """Compare a tenant's rows, bytes and sums; the number of its stored files."""
    rows = await one.db.read(lambda connection: connection.execute(_of(files, tenant_id)).all())
    sums = await one.db.read(lambda connection: connection.execute(_of(stored_bytes, tenant_id)).all())
    stored = await _stored(one)
    assert {row.state for row in rows} <= {"stored"}
    assert {row.id: row.sha256 for row in rows} == {
        name: hashlib.sha256(data).hexdigest() for name, data in stored.items()
    }
    total = sum(len(data) for data in stored.values())
    assert {one.bytes for one in sums} <= {total}
    assert len({row.sha256 for row in rows}) == len(rows)
    return len(rows)


def _of(table: Table, tenant_id: str) -> Any:
    return select(table).where(table.c.tenant_id == tenant_id)


async def _stored(one: Stage) -> dict[str, bytes]:
    """All that is on this machine and in the bucket, by the last part of its key."""
    found = {path.name: path.read_bytes() for path in one.folder.rglob("*") if path.is_file()}
    store = one.uploads.storage.store
    if isinstance(store, S3Store):
        assert found == {}, "nothing stays on this machine"
        for kind in ("files", "incoming"):
            async for key, size in store.keys(f"{kind}/"):
                found[key.rpartition("/")[2]] = b"".join([part async for part in store.read(key, 0, size)])
    return found


@pytest.mark.parametrize("server", [None, "seaweedfs"])
@pytest.mark.parametrize("direct", [False, True])
async def test_a_death_at_any_event_of_uploads_and_deletions_leaves_whole_files_or_none(
    launcher: "subprocess.Popen[str]",
    database_url: str,
    tmp_path: Path,
    endpoints: dict[str, str],
    *,
    server: str | None,
    direct: bool,
) -> None:
    assert launcher.stdin is not None
    assert launcher.stdout is not None
    endpoint = None if server is None else endpoints[server]
    deaths, seen = 0, set()
    for at in range(1, 250):
        folder = tmp_path / f"{at}-{uuid4().hex[:8]}" / "files"
        async with stage(database_url, folder, FakeClock(), endpoint=endpoint) as one:
            made = await one.db.write(_tenant, folder.parent.name)
        order = {"url": database_url, "folder": str(folder), "at": at, "endpoint": endpoint, "direct": direct}
        launcher.stdin.write(json.dumps(order | made) + "\n")
        launcher.stdin.flush()
        code = int(launcher.stdout.readline())
        assert code in {0, -signal.SIGKILL}, at
        async with stage(database_url, folder, FakeClock(), endpoint=endpoint) as one:
            await _recovered(one)
            seen.add(await _check(one, made["tenant_id"]))
        if code == 0:
            break
        deaths += 1
    assert deaths > 40
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("state", [FileState.STORING, FileState.DELETING, FileState.AWAITED])
@pytest.mark.parametrize("has_bytes", [True, False])
async def test_a_row_that_was_left_on_the_way_is_removed_with_its_bytes_once_its_time_is_over(
    sqlite_url: str, tmp_path: Path, state: FileState, has_bytes: bool
) -> None:
    async with stage(sqlite_url, tmp_path / "files", FakeClock()) as one:
        made = await one.db.write(_tenant, "acme")
        principal = principal_of(**made)
        uploaded: Any = await one.uploads.upload(principal, chunks(PICTURES[0]), Asked(), announced=None)
        file = uploaded[0]
        if not has_bytes:
            await one.uploads.storage.store.delete(file.key)
        lease = {"state": state, "lease_until_ms": one.clock.now_ms() + LEASE_MS}
        await _set(one.db, **lease)
        sweeper = Sweeper(db=one.db, clock=one.clock, uploads=one.uploads)
        assert await sweeper.run_once() == 0
        await _recovered(one)
        assert await _check(one, made["tenant_id"]) == 0


async def _set(db: Database, **values: Any) -> None:
    await db.write(lambda connection: connection.execute(files.update().values(values)) and None)
