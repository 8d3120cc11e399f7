"""Direct uploads: nothing is kept before it was judged, and no form changes what was kept."""

import hashlib
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.files.direct import DirectUploads
from app.files.uploads import Uploads
from app.storage.disk import DiskStore
from app.storage.store import Post
from tests.files.test_references import ABSENT
from tests.files.test_uploads import PICTURE, counted, on_disk, token, uploaded
from tests.harness import World
from tests.pictures import jpeg, png
from tests.sandbox.harness import DREAMINA
from tests.storage.servers import store_at

pytestmark = pytest.mark.anyio


@pytest.fixture
def sent(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has the disk behave as a bucket does, which takes forms; what is sent to it, by the file's id."""
    store = world.gateway.storage.store

    def post(key: str, **_: Any) -> Post:
        return Post("https://bucket.example/", {"key": key})

    def put(file_id: str, data: bytes) -> None:
        path = tmp_path / "files" / "incoming" / world.tenant_id / file_id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    monkeypatch.setattr(store, "post", post)
    return put


async def begun(world: World, size: int = len(PICTURE), **parameters: Any) -> str:
    answer = await world.client.post("/v1/direct-uploads", params={"size_bytes": size, **parameters})
    assert answer.status_code == 201, answer.text
    file_id: str = answer.json()["file_id"]
    return file_id


async def complete(world: World, file_id: str, **more: Any) -> httpx2.Response:
    return await world.client.post(f"/v1/files/{file_id}/complete", **more)


async def test_a_direct_upload_is_kept_after_it_was_measured_and_counts_what_came(
    world: World, sent: Any, tmp_path: Path
) -> None:
    file_id = await begun(world, 5_000, model_id=DREAMINA, name="boat.png")
    assert (await counted(world))["", ""] == 5_000
    await world.get(f"/v1/files/{file_id}", expect=404)
    assert (await complete(world, file_id)).json()["code"] == "upload_incomplete"
    sent(file_id, PICTURE)
    answer = await complete(world, file_id)
    assert answer.status_code == 201, answer.text
    document = answer.json()
    assert (document["sha256"], document["width"]) == (hashlib.sha256(PICTURE).hexdigest(), 640)
    assert (await counted(world))["", ""] == len(PICTURE)
    sent(file_id, b"<html> by the same form")
    again = await complete(world, file_id)
    assert (again.status_code, again.json()) == (200, document)
    content = await world.client.get(f"/v1/files/{file_id}")
    assert content.content == PICTURE


@pytest.mark.parametrize("data", [b"<html>", png(64, 64), b""])
async def test_what_is_refused_on_completion_is_gone_and_counts_no_more(
    world: World, sent: Any, tmp_path: Path, data: bytes
) -> None:
    file_id = await begun(world, 5_000, model_id=DREAMINA)
    sent(file_id, data)
    answer = await complete(world, file_id)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_file")
    assert (on_disk(tmp_path), await counted(world)) == ([], {})


async def test_more_than_was_announced_is_not_kept_and_the_same_content_is_kept_once(
    world: World, sent: Any, tmp_path: Path
) -> None:
    first = await uploaded(world)
    file_id = await begun(world)
    sent(file_id, PICTURE)
    answer = await complete(world, file_id)
    assert (answer.status_code, answer.json()["file_id"]) == (200, first)
    assert (await counted(world))["", ""] == len(PICTURE)
    larger = await begun(world, 100)
    sent(larger, jpeg(size_bytes=101))
    refused = await complete(world, larger)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_file")
    assert refused.json()["errors"] == [
        {"pointer": "#/file", "code": "too_large", "detail": "has 101 bytes, and 100 were announced"}
    ]
    assert (await complete(world, larger)).status_code == 404
    assert len(on_disk(tmp_path)) == 1


async def test_completions_take_the_places_of_uploads_as_they_read_all_of_a_file(
    world: World, sent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = await begun(world)
    sent(file_id, PICTURE)
    room = world.gateway.uploads.room
    monkeypatch.setattr(room, "_share", 0)
    monkeypatch.setattr("app.files.uploads._ROOM_WITHIN_S", 0)
    answer = await complete(world, file_id)
    assert (answer.status_code, answer.json()["code"]) == (503, "uploads_busy")
    monkeypatch.undo()
    assert (await complete(world, file_id)).status_code == 201


async def test_nobody_else_completes_an_upload_and_what_nobody_completes_is_given_up(
    world: World, sent: Any, tmp_path: Path
) -> None:
    file_id = await begun(world)
    sent(file_id, PICTURE)
    for key in (await token(world, end_user="bob"), await world.another_key(tenant="another")):
        assert (await complete(world, file_id, headers=world.with_key(key))).status_code == 404
    world.clock.advance(3_600 + 600)
    assert await world.gateway.upkeep.files.run_once() == 1
    assert (on_disk(tmp_path), await counted(world)) == ([], {})
    assert (await complete(world, file_id)).status_code == 404


async def test_what_a_form_brings_after_its_upload_has_ended_is_removed_within_an_hour(
    world: World, sent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiskStore, "takes_forms", True)
    done, open_ = await begun(world), await begun(world)
    sent(done, PICTURE)
    assert (await complete(world, done)).status_code == 201
    await world.gateway.upkeep.files.run_once()
    for file_id in (done, open_, ABSENT):
        sent(file_id, PICTURE)
    await world.gateway.upkeep.files.run_once()
    assert len(on_disk(tmp_path)) == 4  # of which it looked for some less than an hour ago
    world.clock.advance(3_600)
    await world.gateway.upkeep.files.run_once()
    assert sorted(one.name for one in on_disk(tmp_path)) == sorted([done, open_])
    assert (await complete(world, open_)).json()["file_id"] == done


async def test_what_no_form_brought_is_left_in_the_bucket_and_in_the_way_of_nothing(
    world: World, sent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket may be shared: folders that people made, and what others keep there, are not ours."""
    monkeypatch.setattr(DiskStore, "takes_forms", True)
    sent(ABSENT, PICTURE)
    others = ["a report.csv", "report.csv", f"others/{ABSENT}", f"{world.tenant_id}/deeper/{ABSENT}"]
    for name in others:
        path = tmp_path / "files" / "incoming" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURE)
    await world.gateway.upkeep.files.run_once()
    left = [str(one.relative_to(tmp_path / "files" / "incoming")) for one in on_disk(tmp_path)]
    assert sorted(left) == sorted(others)


async def test_on_disk_there_are_no_direct_uploads(world: World) -> None:
    answer = await world.client.post("/v1/direct-uploads", params={"size_bytes": 5})
    assert (answer.status_code, answer.json()["code"]) == (409, "direct_uploads_unavailable")
    assert await counted(world) == {}


@pytest.mark.parametrize("server", ["seaweedfs"])
async def test_a_real_bucket_takes_the_form_and_what_was_sent_is_kept(
    world: World, endpoints: dict[str, str], server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads: Uploads = world.gateway.uploads
    store = store_at(endpoints[server], uploads.storage.threads)
    object.__setattr__(uploads.storage, "store", store)
    direct = DirectUploads(uploads=uploads)
    object.__setattr__(world.gateway, "direct_uploads", direct)
    try:
        answer = await world.client.post("/v1/direct-uploads", params={"size_bytes": len(PICTURE)})
        form = answer.json()
        async with httpx2.AsyncClient(trust_env=False) as client:
            sent = await client.post(form["url"], data=form["fields"], files={"file": PICTURE})
        assert sent.status_code == 204, sent.text
        kept = await complete(world, form["file_id"])
        assert kept.status_code == 201, kept.text
        assert kept.json()["sha256"] == hashlib.sha256(PICTURE).hexdigest()
        led = await world.client.get(f"/v1/files/{form['file_id']}", follow_redirects=False)
        assert led.status_code == 302
        async with httpx2.AsyncClient(trust_env=False) as client:
            assert (await client.get(led.headers["location"])).content == PICTURE
        assert (await world.client.delete(f"/v1/files/{form['file_id']}")).status_code == 204
    finally:
        await store.close()
