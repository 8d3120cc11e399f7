"""Copies are served to whoever may read the request, and to whoever has a link, as they are and in part."""

from typing import Any

import pytest

from app.quotas.account import Owner, set_limit
from app.quotas.limits import Payer, Scope, parse_limit
from app.quotas.sums import stored as stored_bytes
from tests.harness import World
from tests.mirror.worlds import completed, copies, copy, kept, mirrored

pytestmark = pytest.mark.anyio

NOBODY = {"Authorization": ""}


async def stored(world: World) -> tuple[dict[str, Any], bytes]:
    """The asset of a request that is copied, and what RunComfy has of it."""
    await mirrored(world)
    request_id = await completed(world)
    await copy(world)
    (asset,) = await copies(world, request_id)
    their_own = (await world.record(request_id))["output"]["video"]
    return asset, world.sandbox.client.get(their_own).content


async def test_a_copy_is_served_whole_in_part_and_by_its_hash(world: World) -> None:
    asset, data = await stored(world)
    assert asset["url"].startswith(world.gateway.base_url)
    path = asset["url"].removeprefix(world.gateway.base_url)
    whole = await world.client.get(path)
    assert (whole.status_code, whole.content) == (200, data)
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["etag"] == f'"{asset["sha256"]}"'
    assert whole.headers["content-disposition"] == f'inline; filename="{asset["asset_id"]}.mp4"'
    part = await world.client.get(path, headers={"Range": "bytes=0-"})
    assert (part.status_code, part.content) == (206, data)
    end = await world.client.get(path, headers={"Range": "bytes=-10"})
    assert (end.status_code, end.content) == (206, data[-10:])
    head = await world.client.head(path)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(data)))
    again = await world.client.get(path, headers={"If-None-Match": whole.headers["etag"]})
    assert again.status_code == 304
    known = await world.client.get(f"/v1/assets/{asset['asset_id']}/facts")
    assert known.json() == asset


async def test_a_link_serves_anybody_until_it_ends_or_the_copy_does(world: World) -> None:
    asset, data = await stored(world)
    made = await world.client.post(f"/v1/assets/{asset['asset_id']}/links?expires_in_s=60")
    assert made.status_code == 201
    path = made.json()["url"].removeprefix(world.gateway.base_url)
    answer = await world.client.get(path, headers=NOBODY)
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    forged = path[:-2] + ("AA" if path[-2:] != "AA" else "BB")
    refused = await world.client.get(forged, headers=NOBODY)
    assert (refused.status_code, refused.json()["code"]) == (404, "asset_not_found")
    as_file = await world.client.get(path.replace("/a/", "/f/"), headers=NOBODY)
    assert as_file.status_code == 404
    world.clock.advance(60)
    ended = await world.client.get(path, headers=NOBODY)
    assert (ended.status_code, ended.json()["code"]) == (410, "link_expired")
    longer = await world.client.post(f"/v1/assets/{asset['asset_id']}/links?expires_in_s=604801")
    assert longer.status_code == 400
    made = await world.client.post(f"/v1/assets/{asset['asset_id']}/links")
    await world.client.delete(f"/v1/assets/{asset['asset_id']}")
    gone = await world.client.get(made.json()["url"].removeprefix(world.gateway.base_url), headers=NOBODY)
    assert (gone.status_code, gone.json()["code"]) == (410, "asset_gone")


async def test_the_links_in_a_result_are_the_same_all_day_and_good_for_six_more(world: World) -> None:
    await mirrored(world, "instead")
    request_id = await completed(world)
    await copy(world)
    link = (await world.result(request_id))["output"]["video"]
    (asset,) = await copies(world, request_id)
    world.clock.advance(60)
    assert (await world.result(request_id))["output"]["video"] == link
    path = link.removeprefix(world.gateway.base_url)
    world.clock.advance(6 * 86_400)
    answer = await world.client.get(path, headers=NOBODY)
    assert (answer.status_code, answer.headers["etag"]) == (200, f'"{asset["sha256"]}"')
    world.clock.advance(86_400)
    assert (await world.client.get(path, headers=NOBODY)).status_code == 410


async def test_what_is_not_copied_yet_is_a_conflict_that_waiting_helps(world: World) -> None:
    await mirrored(world)
    request_id = await completed(world)
    (asset,) = await copies(world, request_id)
    for method, path in (("GET", ""), ("POST", "/links")):
        answer = await world.client.request(method, f"/v1/assets/{asset['asset_id']}{path}")
        assert (answer.status_code, answer.json()["code"]) == (409, "asset_not_stored")
        assert answer.headers["retry-after"] == "1"


async def test_a_copy_counts_as_stored_bytes_and_one_that_does_not_fit_is_not_kept(world: World) -> None:
    asset, data = await stored(world)
    assert await used(world) == len(data)
    limit = parse_limit(f"stored-bytes={2 * len(data) - 1}")
    owner = Owner(world.tenant_id, "test")
    await world.gateway.db.write(set_limit, owner, limit, now_ms=world.clock.now_ms())
    request_id = await completed(world)
    await copy(world)
    (other,) = await copies(world, request_id)
    assert (other["state"], other["error"]) == ("pending", "quota_exhausted")
    assert (await used(world), len(kept(world))) == (len(data), 1)
    await world.client.delete(f"/v1/assets/{asset['asset_id']}")
    assert await used(world) == 0
    world.clock.advance(12)
    await copy(world)
    (other,) = await copies(world, request_id)
    assert (other["state"], await used(world)) == ("stored", len(data))


async def used(world: World) -> int:
    """The stored bytes of the world's tenant."""
    found = await world.gateway.db.read(stored_bytes.used, Owner(world.tenant_id, "test"), Payer(""))
    return found.get(Scope(), 0)
