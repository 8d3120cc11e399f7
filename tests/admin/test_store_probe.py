"""The doctor tries the store, and says whether outputs are copied in time."""

import pytest

from app.admin.checks import store_probe
from app.storage.disk import DiskStore
from app.storage.incoming import Received
from app.storage.store import StorageError
from tests.harness import World
from tests.mirror.worlds import completed, copy, kept, mirrored

pytestmark = pytest.mark.anyio


async def test_the_store_is_written_read_and_left_as_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (good,) = await store_probe.store(world.gateway.settings)
    assert (good.name, good.level) == ("store", "good")
    assert kept(world) == []

    async def away(_self: DiskStore, *_: object, **__: object) -> None:
        raise StorageError("no answer")

    monkeypatch.setattr(DiskStore, "put", away)
    (bad,) = await store_probe.store(world.gateway.settings)
    assert bad.level == "bad"
    assert "no answer" in bad.finding
    assert kept(world) == []


async def test_a_store_that_gives_back_something_else_is_bad(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = DiskStore.put

    def spoil(received: Received) -> None:
        received.path.write_bytes(b"?" * received.size_bytes)

    async def put(self: DiskStore, key: str, received: Received, *, media_type: str) -> None:
        spoil(received)
        await whole(self, key, received, media_type=media_type)

    monkeypatch.setattr(DiskStore, "put", put)
    (bad,) = await store_probe.store(world.gateway.settings)
    assert bad.level == "bad"


async def test_copies_that_nobody_makes_are_told(world: World) -> None:
    db = world.gateway.db
    (good,) = await store_probe.mirror(db, late_s=60)
    assert (good.level, good.finding) == ("good", "0 files of outputs wait to be copied")
    await mirrored(world)
    await completed(world)
    (late,) = await store_probe.mirror(db, late_s=-(10**9))
    assert late.level == "bad"
    assert late.finding.startswith("1 files of outputs wait to be copied, one is ")
    await copy(world)
    (good,) = await store_probe.mirror(db, late_s=60)
    assert good.level == "good"
