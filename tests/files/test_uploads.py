"""Uploads: judged before they are kept, kept once for each owner, counted exactly, isolated, deletable."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.db.schema.tables import files, stored_bytes
from app.quotas import account
from app.quotas.account import Owner
from app.quotas.limits import Scope, parse_limit
from tests.harness import World
from tests.pictures import jpeg, png
from tests.sandbox.harness import DREAMINA

pytestmark = pytest.mark.anyio

PICTURE = png(640, 480)
FIELD = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n'


async def upload(world: World, data: bytes = PICTURE, key: str = "", **parameters: Any) -> httpx2.Response:
    headers = {"Content-Type": "application/octet-stream"} | (world.with_key(key) if key else {})
    return await world.client.post("/v1/files", content=data, params=parameters, headers=headers)


async def uploaded(world: World, data: bytes = PICTURE, key: str = "", **parameters: Any) -> str:
    answer = await upload(world, data, key, **parameters)
    assert answer.status_code in {200, 201}, answer.text
    file_id: str = answer.json()["file_id"]
    return file_id


async def token(world: World, **terms: Any) -> str:
    answer = await world.client.post("/v1/client-tokens", json=terms)
    assert answer.status_code == 201, answer.text
    text: str = answer.json()["token"]
    return text


async def counted(world: World) -> dict[tuple[str, str], int]:
    """How many bytes are counted: of the tenant, of its keys, and of end users."""
    found = await world.gateway.db.read(lambda connection: connection.execute(stored_bytes.select()).all())
    return {(one.kid and "key", one.end_user): one.bytes for one in found if one.bytes}


async def limit(world: World, text: str, **scope: str) -> None:
    await world.gateway.db.write(
        account.set_limit,
        Owner(world.tenant_id, "test"),
        parse_limit(text, Scope(**scope)),
        now_ms=world.clock.now_ms(),
    )


def on_disk(tmp_path: Path) -> list[Path]:
    return [one for one in (tmp_path / "files").rglob("*") if one.is_file()]


async def test_a_file_is_kept_with_its_facts_and_read_back_as_it_was(world: World, tmp_path: Path) -> None:
    answer = await upload(world, name="../../a \u202eboat.png", model_id=DREAMINA, expires_in_s=3600)
    assert answer.status_code == 201
    document = answer.json()
    shown = {"type": "image/png", "bytes": len(PICTURE), "width": 640, "height": 480, "name": "a boat.png"}
    assert document | shown == document
    assert document["sha256"] == hashlib.sha256(PICTURE).hexdigest()
    assert document["reference"] == f"rg-file:{document['file_id']}"
    assert document["expires_at"] == "2026-09-21T15:13:20.000Z"
    address = f"/v1/files/{document['file_id']}"
    assert await world.get(f"{address}/facts") == document
    assert (await world.get("/v1/files"))["files"] == [document]
    content = await world.client.get(address)
    assert (content.content, content.headers["content-type"]) == (PICTURE, "image/png")
    assert len(on_disk(tmp_path)) == 1
    assert (await world.client.delete(address)).status_code == 204
    for path in (address, f"{address}/facts"):
        assert (await world.get(path, expect=404))["code"] == "file_not_found"
    assert (on_disk(tmp_path), await counted(world)) == ([], {})


async def test_a_form_is_read_as_a_stream_with_its_fields_before_the_file(world: World) -> None:
    form = {"model_id": DREAMINA, "expires_in_s": "60"}
    answer = await world.client.post("/v1/files", data=form, files={"file": ("boat.png", PICTURE)})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["name"], answer.json()["model_id"]) == ("boat.png", DREAMINA)


@pytest.mark.parametrize(
    "form",
    [
        b"--b\r\n\r\n",
        b"no boundary",
        b"--b--",
        FIELD % b"file" + b"it ends here",
        FIELD % b"file" + b"x\r\n--b\r\nmore",
        FIELD % b"what" + b"1\r\n" + b"-" * 9_000,
        FIELD % b"size" + b"1\r\n" + FIELD % b"file" + b"x\r\n--b--",
    ],
)
async def test_a_form_that_cannot_be_read_is_refused_with_a_reason_and_leaves_nothing(
    world: World, tmp_path: Path, form: bytes
) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await world.client.post("/v1/files", content=form, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_form"), answer.text
    assert answer.json()["detail"]
    assert (on_disk(tmp_path), await counted(world)) == ([], {})


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"<html><script>alert(1)</script>", "media_unreadable"),
        (b"\0\0\0\x18ftypmp42<html>", ""),
        (b"", "media_unreadable"),
        (PICTURE[:40], "media_unreadable"),
        (b"PK\x03\x04" + b"\0" * 100, "media_unreadable"),
        (png(64, 64), "media_rule"),
        (b"\0\0\0\x18ftypmp42" + b"\0" * 64, "media_type"),
    ],
)
async def test_what_the_model_would_not_take_is_refused_and_leaves_nothing(
    world: World, tmp_path: Path, data: bytes, code: str
) -> None:
    answer = await upload(world, data, model_id=DREAMINA)
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "invalid_file"
    assert answer.json()["errors"][0]["pointer"] == "#/file"
    assert code in answer.json()["errors"][0]["code"]
    assert (on_disk(tmp_path), await counted(world)) == ([], {})


async def test_the_same_content_is_kept_once_for_its_owner_and_as_long_as_any_upload_asked(
    world: World, tmp_path: Path
) -> None:
    first = await upload(world, expires_in_s=100)
    again = await upload(world, expires_in_s=200, name="another name")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["file_id"] == first.json()["file_id"]
    assert again.json()["expires_at"] > first.json()["expires_at"]
    of_others = [
        await uploaded(world, key=await world.another_key(tenant="another")),
        await uploaded(world, key=await token(world, end_user="ada"), model_id=DREAMINA),
    ]
    assert len({first.json()["file_id"], *of_others}) == 3
    assert len(on_disk(tmp_path)) == 3


async def test_ten_uploads_of_one_content_at_once_leave_one_file_that_is_counted_once(
    world: World, tmp_path: Path
) -> None:
    ids = await asyncio.gather(*(uploaded(world) for _ in range(10)))
    assert len(set(ids)) == 1
    assert await counted(world) == {("", ""): len(PICTURE), ("key", ""): len(PICTURE)}
    assert len(on_disk(tmp_path)) == 1


async def test_a_limit_on_stored_bytes_holds_exactly_under_any_load_and_a_deletion_gives_back(
    world: World,
) -> None:
    size = len(PICTURE) + 10
    pictures = [png(640, 480, size_bytes=size) + bytes([number]) for number in range(12)]
    await limit(world, f"stored-bytes={5 * (size + 1)}")
    answers = await asyncio.gather(*(upload(world, one) for one in pictures))
    kept = [one for one in answers if one.status_code == 201]
    refused = [one.json() for one in answers if one.status_code == 429]
    assert (len(kept), len(refused)) == (5, 7)
    assert {one["code"] for one in refused} == {"quota_exhausted"}
    assert refused[0]["violated-policies"] == ["tenant-stored-bytes"]
    assert "delete some first" in refused[0]["detail"]
    standing = next(one for one in (await world.get("/v1/quota"))["limits"] if one["unit"] == "bytes")
    assert (standing["held"], standing["remaining"]) == (5 * (size + 1), 0)
    assert (await world.client.delete(f"/v1/files/{kept[0].json()['file_id']}")).status_code == 204
    assert (await upload(world, png(641, 480, size_bytes=size) + b"x")).status_code == 201
    assert (await upload(world, png(642, 480, size_bytes=size) + b"x")).status_code == 429


async def test_a_token_uploads_for_a_model_that_it_may_use_within_its_budget(world: World) -> None:
    text = await token(world, models=[DREAMINA], max_upload_bytes=len(PICTURE) + 5, end_user="ada")
    assert (await upload(world, key=text)).json()["code"] == "invalid_parameter"
    assert (await upload(world, key=text, model_id="no/model")).json()["code"] == "model_not_found"
    file_id = await uploaded(world, key=text, model_id=DREAMINA)
    assert await counted(world) == dict.fromkeys([("", ""), ("key", ""), ("", "ada")], len(PICTURE))
    await world.client.delete(f"/v1/files/{file_id}", headers=world.with_key(text))
    over = await upload(world, jpeg(640, 480, size_bytes=1_000), key=text, model_id=DREAMINA)
    assert (over.status_code, over.json()["violated-policies"]) == (429, ["token-stored-bytes"])


async def test_the_tokens_of_one_end_user_take_few_of_the_places_for_uploads(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.files.uploads._ROOM_WITHIN_S", 0)
    ada, bob = [await token(world, end_user=name) for name in ("ada", "bob")]
    rooms = world.gateway.uploads
    async with AsyncExitStack() as held:
        for _ in range(4):
            room = rooms.token_room.holding(1, f"{world.tenant_id}/user:ada", within_s=0)
            await held.enter_async_context(room)
        again = await token(world, end_user="ada")
        for key, status in ((ada, 503), (again, 503), (bob, 201), (world.key, 201)):
            answer = await upload(world, key=key, model_id=DREAMINA)
            assert answer.status_code == status, answer.text
    assert (await upload(world, key=ada, model_id=DREAMINA)).status_code == 201


async def test_a_file_is_there_for_its_owner_and_the_tenants_keys_of_its_mode_alone(world: World) -> None:
    adas = await token(world, end_user="ada")
    file_id = await uploaded(world, key=adas, model_id=DREAMINA)
    address = f"/v1/files/{file_id}"
    missing = await world.client.get("/v1/files/0190a0a0-0000-7000-8000-000000000000")
    for key in (
        await token(world, end_user="bob"),
        await token(world),
        await world.another_key(tenant="another"),
        await world.another_key(mode="live"),
    ):
        for method, path in (("GET", ""), ("GET", "/facts"), ("DELETE", ""), ("POST", "/links")):
            answer = await world.client.request(method, address + path, headers=world.with_key(key))
            assert answer.status_code == 404
            assert answer.json()["detail"] == missing.json()["detail"]
        listed = await world.client.get("/v1/files", headers=world.with_key(key))
        assert listed.json()["files"] == []
    for key in (adas, await token(world, end_user="ada"), world.key):
        assert (await world.client.get(address, headers=world.with_key(key))).status_code == 200


async def test_what_expired_is_gone_at_once_and_its_bytes_after_the_next_sweep(
    world: World, tmp_path: Path
) -> None:
    file_id = await uploaded(world, expires_in_s=60)
    kept = await uploaded(world, jpeg())
    world.clock.advance(60)
    await world.get(f"/v1/files/{file_id}", expect=404)
    assert len(on_disk(tmp_path)) == 2
    assert await world.gateway.upkeep.files.run_once() == 1
    assert [one.name for one in on_disk(tmp_path)] == [kept]
    assert await counted(world) == dict.fromkeys([("", ""), ("key", "")], len(jpeg()))


async def test_a_body_over_the_limit_is_refused_before_it_is_read_to_its_end(world: World) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1_000_000
            yield PICTURE.ljust(1_000_000, b"\0")

    object.__setattr__(world.gateway.uploads, "max_bytes", 3_000_000)
    answer = await world.client.post("/v1/files", content=endless())
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    announced = await world.client.post("/v1/files", content=b"x", headers={"Content-Length": "3000001"})
    assert announced.status_code == 413


async def test_a_form_may_have_a_file_as_large_as_may_be_and_no_larger(world: World) -> None:
    object.__setattr__(world.gateway.uploads, "max_bytes", len(PICTURE))
    fits = await world.client.post("/v1/files", files={"file": PICTURE})
    assert fits.status_code == 201, fits.text
    beyond = await world.client.post("/v1/files", files={"file": PICTURE + b"x"})
    assert (beyond.status_code, beyond.json()["code"]) == (413, "body_too_large")
    announced = await world.client.post(
        "/v1/files", files={"file": PICTURE}, headers={"Content-Length": "1000000"}
    )
    assert announced.status_code == 413


async def test_no_row_remembers_what_was_refused(world: World) -> None:
    await upload(world, b"nothing", model_id=DREAMINA)
    found = await world.gateway.db.read(lambda connection: connection.execute(files.select()).all())
    assert found == []
