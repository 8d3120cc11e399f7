"""A request with a copy of its output is archived once that is removed, and its assets go with it."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select, update

from app.admin.actor import of_command
from app.admin.backups import archive
from app.admin.verifying import verify
from app.db.schema.tables import asset_events, assets
from tests.harness import World
from tests.mirror.worlds import completed, copy, mirrored

pytestmark = pytest.mark.anyio


async def test_a_request_is_archived_with_its_assets_once_its_copies_are_removed(
    world: World, tmp_path: Path
) -> None:
    await mirrored(world, keep_s=200 * 86_400)
    request_id = await completed(world)
    await copy(world)
    day = (datetime.fromtimestamp(world.clock.now_ms() / 1000, UTC) + timedelta(days=40)).date()
    world.clock.advance(190 * 86_400)
    folder = tmp_path / "archive"

    async def archived() -> int:
        return await archive.archive(world.gateway, of_command(), folder, before=day)

    assert await archived() == 0
    world.clock.advance(11 * 86_400)
    assert await world.gateway.upkeep.sweeper.run_once() == 1
    may_have_left = update(assets).values(interrupted_from=1)
    await world.gateway.db.write(Connection.execute, may_have_left)
    assert await archived() == 0  # as nobody would look for these bytes any more
    await world.gateway.upkeep.sweeper.run_once()
    assert await archived() == 1
    (file,) = folder.rglob("*.gz")
    (line,) = gzip.decompress(file.read_bytes()).splitlines()
    kept = json.loads(line)
    assert kept["request"]["id"] == request_id
    assert [one["state"] for one in kept["assets"]] == ["expired"]
    assert [one["state"] for one in kept["asset_events"]] == ["stored", "expired"]
    for table in (assets, asset_events):
        count = select(func.count()).select_from(table)
        assert await world.gateway.db.read(Connection.scalar, count) == 0
    report = await verify.report(world.gateway)
    assert report.findings == []
