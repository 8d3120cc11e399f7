"""Files that several calls or servers work on at one moment: none loses the bytes that a row still needs."""

import pytest

from app.files import rows
from tests.files.test_uploads import PICTURE, uploaded
from tests.harness import World

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
    content = await world.client.get(f"/v1/files/{file_id}/content")
    assert content.content == PICTURE
