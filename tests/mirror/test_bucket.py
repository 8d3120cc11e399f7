"""The mirror on a real server of the S3 protocol: copied, read, compared, and removed again."""

import hashlib
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from app.admin.verifying import store_check
from app.admin.verifying.store_check import StoreReport
from app.kit.clock import SystemClock
from tests.harness import World
from tests.mirror.worlds import completed, copies, copy, kept, mirrored, rows
from tests.storage.servers import BUCKET, KEYS, seaweedfs

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as address:
        yield address


@pytest.fixture
def world_settings(endpoint: str) -> dict[str, Any]:
    return {
        "storage": "s3",
        "bucket": BUCKET,
        "bucket_endpoint": endpoint,
        "bucket_key_id": KEYS.key_id,
        "bucket_secret": KEYS.secret,
        "bucket_in_path": True,
        "bucket_prefix": "outputs/",
    }


async def test_an_output_is_copied_into_a_bucket_read_from_there_and_removed(world: World) -> None:
    # A real server refuses signatures of another day than its own.
    world.clock.advance((SystemClock().now_ms() - world.clock.now_ms()) / 1000)
    await mirrored(world)
    request_id = await completed(world)
    await copy(world)
    (asset,) = await copies(world, request_id)
    assert (asset["state"], asset["error"]) == ("stored", None)
    size = asset["size_bytes"]
    right = StoreReport(rows=1, objects=1, sums=2, stored_bytes=size, is_deep=True)
    assert await store_check.verify(world.gateway, deep=True) == right
    answer = await world.client.get(f"/v1/assets/{asset['asset_id']}")
    assert answer.status_code == 302
    async with httpx2.AsyncClient(trust_env=False) as anybody:
        link = answer.headers["location"]
        whole = await anybody.get(link)
        end = await anybody.get(link, headers={"Range": "bytes=-100"})
    assert hashlib.sha256(whole.content).hexdigest() == asset["sha256"]
    assert (end.status_code, end.content) == (206, whole.content[-100:])
    assert kept(world) == []  # on this machine
    (row,) = await rows(world)
    assert (await world.client.delete(f"/v1/assets/{asset['asset_id']}")).status_code == 204
    assert await world.gateway.storage.store.size(row.storage_key) is None
    assert await store_check.verify(world.gateway, deep=True) == StoreReport(sums=2, is_deep=True)
