"""The life of a copy: for how long it is kept, and that its bytes are gone before its row says so."""

from typing import Any

import pytest

from app.mirror import sweeper
from app.mirror.rows import Asset
from app.storage.disk import DiskStore
from app.storage.store import StorageError
from tests.files.test_uploads import counted
from tests.harness import SUBMIT, World, until
from tests.mirror.upstream import Upstream
from tests.mirror.worlds import completed, copies, copy, kept, mirrored, rows

pytestmark = pytest.mark.anyio

DAY_S = 86_400


async def stored(world: World) -> tuple[str, str]:
    """A request whose output is copied: its id and its asset's."""
    request_id = await completed(world)
    await copy(world)
    (asset,) = await copies(world, request_id)
    assert asset["state"] == "stored"
    return request_id, asset["asset_id"]


async def sweep(world: World) -> int:
    return await world.gateway.upkeep.sweeper.run_once()


@pytest.mark.parametrize(
    ("of_tenant_s", "of_request_s", "kept_s"),
    [
        (None, None, 30 * DAY_S),
        (7 * DAY_S, None, 7 * DAY_S),
        (7 * DAY_S, DAY_S, DAY_S),
        (7 * DAY_S, 9 * DAY_S, 7 * DAY_S),  # a request may only shorten it
        (0, DAY_S, DAY_S),
        (0, None, None),
    ],
)
async def test_a_copy_is_kept_for_the_shortest_of_the_times_that_count(
    of_tenant_s: int | None, of_request_s: int | None, kept_s: int | None, world: World
) -> None:
    await mirrored(world, keep_s=of_tenant_s)
    keep = {} if of_request_s is None else {"Reelgate-Keep-Output": str(of_request_s)}
    answer = await world.client.post(SUBMIT, json=world.body(), headers=keep)
    await world.finish(answer.json()["request_id"])
    await copy(world)
    (row,) = await rows(world)
    expected = None if kept_s is None else row.stored_at_ms + kept_s * 1000
    assert row.expires_at_ms == expected
    world.clock.advance((kept_s or 400 * DAY_S) - 1)
    assert await sweep(world) == 0
    world.clock.advance(1)
    assert await sweep(world) == (0 if kept_s is None else 1)
    assert len(kept(world)) == (1 if kept_s is None else 0)


async def test_a_submit_that_wants_no_copy_gets_none_and_one_that_says_it_wrong_is_told(world: World) -> None:
    await mirrored(world)
    answer = await world.client.post(SUBMIT, json=world.body(), headers={"Reelgate-Keep-Output": "0"})
    request_id = answer.json()["request_id"]
    await world.finish(request_id)
    assert await copies(world, request_id) == []
    for wrong in ("a day", "-1", "1.5", "", "9999999999"):
        answer = await world.client.post(SUBMIT, json=world.body(), headers={"Reelgate-Keep-Output": wrong})
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (400, "invalid_parameter"), wrong
        assert problem["errors"][0]["pointer"] == "#/header/Reelgate-Keep-Output"


async def test_a_copy_that_is_deleted_has_no_bytes_and_its_record_stays(world: World) -> None:
    await mirrored(world)
    request_id, asset_id = await stored(world)
    other, _ = await stored(world)
    for _ in range(2):
        answer = await world.client.delete(f"/v1/assets/{asset_id}")
        assert answer.status_code == 204
    (asset,) = await copies(world, request_id)
    assert (asset["state"], asset["media_type"]) == ("expired", "video/mp4")
    assert [one["state"] for one in await copies(world, other)] == ["stored"]
    assert len(kept(world)) == 1


async def test_who_may_not_read_the_request_finds_no_asset(world: World) -> None:
    await mirrored(world)
    _, asset_id = await stored(world)
    foreign = world.with_key(await world.another_key(tenant="somebody else"))
    reader = world.with_key(await world.another_key(scopes=["read"]))
    for named in (asset_id, asset_id[:-1] + ("0" if asset_id[-1] != "0" else "1"), "ast_", "a%00b"):
        path = f"/v1/assets/{named}"
        for method, place in (
            ("DELETE", path),
            ("GET", path),
            ("GET", f"{path}/facts"),
            ("POST", f"{path}/links"),
        ):
            answer = await world.client.request(method, place, headers=foreign)
            assert (answer.status_code, answer.json()["code"]) == (404, "asset_not_found"), place
    refused = await world.client.delete(f"/v1/assets/{asset_id}", headers=reader)
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert len(kept(world)) == 1


async def test_a_row_never_says_expired_while_its_bytes_are_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await mirrored(world)
    request_id, asset_id = await stored(world)

    async def fails(_self: DiskStore, _key: str) -> None:
        raise StorageError("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(DiskStore, "delete", fails)
        answer = await world.client.delete(f"/v1/assets/{asset_id}")
        assert answer.status_code == 204
        (asset,) = await copies(world, request_id)
        assert (asset["state"], asset["url"]) == ("expired", None)  # it is not served any more
        assert await sweep(world) == 0
        (row,) = await rows(world)
        assert (row.state, row.finished_at_ms) == ("stored", None)
    assert await sweep(world) == 1
    (row,) = await rows(world)
    assert (row.state, row.storage_key) == ("expired", None)
    assert kept(world) == []
    assert [one["state"] for one in await copies(world, request_id)] == ["expired"]


class TestWhileItIsCopied:
    """What becomes of an asset that is deleted in the middle of its copy."""

    @pytest.fixture
    def world_settings(self, upstream: Upstream) -> dict[str, Any]:
        return {"mirror_hosts": upstream.host}

    async def test_the_copy_ends_and_is_removed_and_nobody_is_told_that_it_was_stored(
        self, world: World, upstream: Upstream
    ) -> None:
        await mirrored(world)
        request_id = await completed(world, {"video": upstream.url("/held")})
        mirror = world.gateway.mirror
        mirror.due.woken.set()
        await mirror.run_once()
        await upstream.hanging.wait()
        (asset,) = await copies(world, request_id)
        answer = await world.client.delete(f"/v1/assets/{asset['asset_id']}")
        assert answer.status_code == 204
        assert await sweep(world) == 0
        upstream.go.set()
        await copy(world)
        assert (await copies(world, request_id))[0]["url"] is None
        assert await sweep(world) == 1
        assert kept(world) == []
        assert [one["state"] for one in await copies(world, request_id)] == ["expired"]

    async def test_a_copy_that_ends_while_it_is_deleted_leaves_no_bytes_and_counts_no_more(
        self, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await mirrored(world)
        request_id = await completed(world, {"video": upstream.url("/held")})
        mirror = world.gateway.mirror
        mirror.due.woken.set()
        await mirror.run_once()
        await upstream.hanging.wait()
        (asset,) = await copies(world, request_id)
        delete_all = sweeper.Sweeper._delete_all

        async def then_copied(self: sweeper.Sweeper, asset: Asset) -> bool:
            deleted = await delete_all(self, asset)
            if mirror.under_way:
                upstream.go.set()
                await until(lambda: not mirror.under_way)
            return deleted

        monkeypatch.setattr(sweeper.Sweeper, "_delete_all", then_copied)
        answer = await world.client.delete(f"/v1/assets/{asset['asset_id']}")
        assert answer.status_code == 204
        await sweep(world)
        assert kept(world) == []
        assert await counted(world) == {}
        assert [one["state"] for one in await copies(world, request_id)] == ["expired"]

    async def test_a_server_that_stops_gives_back_what_it_has_not_copied(
        self, world: World, upstream: Upstream
    ) -> None:
        await mirrored(world)
        request_id = await completed(world, {"video": upstream.url("/held")})
        mirror = world.gateway.mirror
        mirror.due.woken.set()
        await mirror.run_once()
        await upstream.hanging.wait()
        mirror.close()
        await world.gateway.tasks.drain(5)
        assert kept(world) == []
        (asset,) = await copies(world, request_id)
        assert (asset["state"], asset["error"]) == ("pending", "interrupted")
