"""Files that several calls or servers work on at one moment: none loses the bytes that a row still needs."""

from pathlib import Path
from typing import Any

import pytest

from app.files import direct, rows
from app.files.direct import DirectUploads
from app.storage.disk import DiskStore
from app.storage.store import StorageError
from tests.files.test_direct import begun, complete
from tests.files.test_direct import sent as sent  # noqa: PLC0414 - for the tests
from tests.files.test_uploads import PICTURE, counted, on_disk, uploaded
from tests.harness import World
from tests.pictures import jpeg

pytestmark = pytest.mark.anyio


async def test_a_file_that_is_kept_longer_while_the_sweeper_works_keeps_its_bytes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = await uploaded(world, expires_in_s=60)
    due = await world.gateway.db.read(rows.due, now_ms=world.clock.now_ms() + 61_000, limit=10)
    assert [one.id for one in due] == [file_id]
    world.clock.advance(59)
    assert await uploaded(world, expires_in_s=3_600) == file_id
    world.clock.advance(2)
    monkeypatch.setattr(rows, "due", lambda *_args, **_more: due)  # as the sweeper read it before
    assert await world.gateway.upkeep.files.run_once() == 0
    content = await world.client.get(f"/v1/files/{file_id}")
    assert content.content == PICTURE


async def test_a_file_that_is_completed_twice_at_one_moment_is_kept(
    world: World, sent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = await begun(world, 5_000)
    sent(file_id, PICTURE)
    measured = DirectUploads._measured
    answers: list[Any] = []

    async def then_completed(self: DirectUploads, file: rows.File) -> rows.File:
        found = await measured(self, file)
        if not answers:
            answers.append(None)
            answers[0] = await complete(world, file_id)
        return found

    monkeypatch.setattr(direct.DirectUploads, "_measured", then_completed)
    answer = await complete(world, file_id)
    assert sorted([answer.status_code, answers[0].status_code]) == [200, 201]
    content = await world.client.get(f"/v1/files/{file_id}")
    assert content.content == PICTURE
    assert (await counted(world))["", ""] == len(PICTURE)
    assert len(on_disk(tmp_path)) == 1


async def test_a_file_that_cannot_be_removed_keeps_nobody_from_removing_the_others(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = await uploaded(world, expires_in_s=60)
    await uploaded(world, jpeg(), expires_in_s=61)
    world.clock.advance(61)
    delete = DiskStore.delete

    async def fails_for_one(self: DiskStore, key: str) -> None:
        if key.endswith(stuck):
            raise StorageError("i/o_error")
        await delete(self, key)

    sweep = world.gateway.upkeep.files.run_once
    with monkeypatch.context() as patched:
        patched.setattr(DiskStore, "delete", fails_for_one)
        assert [await sweep(), await sweep()] == [0, 1]
        assert [one.name for one in on_disk(tmp_path)] == [stuck]
    world.clock.advance(600)
    assert await sweep() == 1
    assert (on_disk(tmp_path), await counted(world)) == ([], {})
