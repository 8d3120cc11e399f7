"""Outputs are copied once they are there, for whoever wants that; the record, streams and results say so."""

import json
from hashlib import sha256
from typing import Any

import pytest

from app.auth import keys
from app.mirror import rows as asset_rows
from app.mirror.claims import LEASE_S
from tests.harness import World
from tests.mirror.upstream import FILM, Upstream
from tests.mirror.worlds import completed, copies, copy, kept, mirrored
from tests.streams import streaming
from tests.webhooks.receiver import add_endpoint, messages

pytestmark = pytest.mark.anyio


async def test_an_output_of_the_sandbox_is_copied_and_its_record_has_both(world: World) -> None:
    await mirrored(world)
    request_id = await completed(world)
    (before,) = await copies(world, request_id)
    assert (before["state"], before["pointer"], before["url"]) == ("pending", "/video", None)
    await copy(world)
    (asset,) = await copies(world, request_id)
    record = await world.record(request_id)
    assert record["assets"] == [asset]
    assert (asset["state"], asset["media_type"], asset["error"]) == ("stored", "video/mp4", None)
    assert asset["url"].endswith(f"/v1/assets/{asset['asset_id']}")
    their_own = (await world.result(request_id))["output"]["video"]
    assert their_own == record["output"]["video"]
    data = world.sandbox.client.get(their_own).content
    assert (asset["size_bytes"], asset["sha256"]) == (len(data), sha256(data).hexdigest())
    assert len(kept(world)) == 1


async def test_nothing_is_copied_unless_the_tenant_or_the_key_wants_it(world: World) -> None:
    plain = await completed(world)
    assert (await world.record(plain))["assets"] == []
    kid = (await world.record(plain))["kid"]
    await world.gateway.db.write(keys.set_mirror, kid, "beside")
    by_key = await completed(world)
    assert len(await copies(world, by_key)) == 1
    await mirrored(world)
    await world.gateway.db.write(keys.set_mirror, kid, "off")
    assert await copies(world, await completed(world)) == []
    await world.gateway.db.write(keys.set_mirror, kid, None)
    assert len(await copies(world, await completed(world))) == 1


async def test_a_result_has_our_links_in_place_of_runcomfys_once_there_are_copies(world: World) -> None:
    await mirrored(world, "instead")
    request_id = await completed(world)
    their_own = (await world.record(request_id))["output"]["video"]
    before = await world.client.get(f"/v1/requests/{request_id}/result")
    assert before.json()["output"]["video"] == their_own
    await copy(world)
    after = await world.client.get(f"/v1/requests/{request_id}/result")
    (asset,) = await copies(world, request_id)
    assert asset["asset_id"].removeprefix("ast_") in after.json()["output"]["video"]
    assert after.headers["etag"] != before.headers["etag"]
    assert (await world.record(request_id))["output"]["video"] == their_own


async def test_the_end_of_a_copy_is_an_event_in_the_stream_of_its_tenant(world: World) -> None:
    await mirrored(world)
    request_id = await completed(world)
    last = (await world.record(request_id))["events"][-1]["number"]
    async with streaming(world, f"/v1/events?after={last}") as stream:
        await copy(world)
        await stream.has(1)
        (told,) = stream.events
    (asset,) = await copies(world, request_id)
    assert (told.id, told.event) == (last + 1, "asset")
    assert told.data == {
        "number": last + 1,
        "at": asset["stored_at"],
        "asset_id": asset["asset_id"],
        "request_id": request_id,
        "state": "stored",
        "reason": "copied",
    }


async def test_webhooks_are_told_of_every_end_of_a_copy(world: World) -> None:
    await mirrored(world)
    await world.gateway.db.write(add_endpoint, world.tenant_id, "https://example.com/hook")
    request_id = await completed(world)
    await copy(world)
    (asset,) = await copies(world, request_id)
    await world.client.delete(f"/v1/assets/{asset['asset_id']}")
    bodies = [json.loads(one.body) for one in await messages(world) if one.type.startswith("asset.")]
    assert [one["type"] for one in bodies] == ["asset.stored", "asset.expired"]
    assert bodies[0]["data"] == {
        "asset_id": asset["asset_id"],
        "request_id": request_id,
        "event_number": bodies[0]["data"]["event_number"],
        "pointer": "/video",
        "state": "stored",
        "reason": "copied",
        "mode": "test",
        "media_type": "video/mp4",
        "size_bytes": asset["size_bytes"],
        "sha256": asset["sha256"],
        "expires_at": asset["expires_at"],
        "links": {
            "request": f"/v1/requests/{request_id}",
            "assets": f"/v1/requests/{request_id}/assets",
            "asset": f"/v1/assets/{asset['asset_id']}",
        },
    }
    assert (bodies[1]["data"]["state"], bodies[1]["data"]["reason"]) == ("expired", "deleted")


async def test_no_defect_in_reading_an_output_undoes_the_record_of_a_paid_job(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await mirrored(world)
    monkeypatch.setattr(asset_rows, "first_places", lambda _: 1 / 0)
    request_id = await completed(world)
    assert (await world.record(request_id))["state"] == "completed"
    assert await copies(world, request_id) == []


def test_a_file_that_stands_in_two_places_of_an_output_is_copied_once() -> None:
    output = {
        "image": "https://a/1",
        "images": ["https://a/1", "https://a/2", 7],
        "videos": "no list",
        "x": 1,
    }
    assert asset_rows.first_places(output) == {"https://a/1": "/image", "https://a/2": "/images/1"}
    assert asset_rows.with_links(output, {"/image": "ours"}) == {
        "image": "ours",
        "images": ["ours", "https://a/2", 7],
        "videos": "no list",
        "x": 1,
    }
    oddities: tuple[Any, ...] = (
        None,
        [],
        "https://a/1",
        {"video": {"url": "https://a/1"}},
        {"videos": [["https://a/1"]]},
    )
    for odd in oddities:
        assert asset_rows.first_places(odd) == {}
    assert len(asset_rows.first_places({"images": [f"https://a/{one}" for one in range(500)]})) == 100


class TestServersThatDoWrong:
    """What comes of an asset whose server is like that."""

    @pytest.fixture
    def world_settings(self, upstream: Upstream) -> dict[str, object]:
        return {"mirror_hosts": upstream.host, "mirror_max_bytes": 500_000}

    async def test_a_link_that_has_ended_is_gone_at_the_end_of_the_schedule(
        self, world: World, upstream: Upstream
    ) -> None:
        await mirrored(world)
        request_id = await completed(world, {"video": upstream.url("/status/404")})
        states = []
        for pause_s in (0, 12, 70, 340, 2000, 8000):
            world.clock.advance(pause_s)
            await copy(world)
            states.append((await copies(world, request_id))[0]["state"])
        assert states == ["pending"] * 5 + ["gone"]
        (asset,) = await copies(world, request_id)
        assert (asset["error"], asset["attempts"]) == ("status_404", 6)
        world.clock.advance(100_000)
        await copy(world)
        assert len(upstream.asked) == 6
        assert kept(world) == []

    async def test_a_film_that_is_whole_the_second_time_is_stored_then(
        self, world: World, upstream: Upstream
    ) -> None:
        await mirrored(world)
        request_id = await completed(world, {"video": upstream.url("/film")})
        upstream.film = FILM[:-10]
        await copy(world)
        (asset,) = await copies(world, request_id)
        assert (asset["state"], asset["error"]) == ("pending", "truncated")
        assert asset["next_attempt_at"] is not None
        upstream.film = FILM
        world.clock.advance(12)
        await copy(world)
        (asset,) = await copies(world, request_id)
        assert (asset["state"], asset["sha256"]) == ("stored", sha256(FILM).hexdigest())

    async def test_a_lease_is_renewed_for_as_long_as_the_copy_goes_on(
        self, world: World, upstream: Upstream
    ) -> None:
        await mirrored(world)
        request_id = await completed(world, {"video": upstream.url("/held")})
        mirror = world.gateway.mirror
        mirror.due.woken.set()
        assert await mirror.run_once() == 1
        await upstream.hanging.wait()
        for _ in range(6):
            world.clock.advance(LEASE_S / 2)
            assert await mirror.run_once() == 0
        upstream.go.set()
        await copy(world)
        (asset,) = await copies(world, request_id)
        assert (asset["state"], asset["attempts"]) == ("stored", 1)
