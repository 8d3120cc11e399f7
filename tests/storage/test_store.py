"""What every store promises, on disk and at two real S3 servers, of which one answers ranges oddly."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import httpx2
import pytest

from app.kit.ids import new_id
from app.storage.store import StorageError, key_of
from tests.storage.conftest import Stored

pytestmark = pytest.mark.anyio

DATA = bytes(range(256)) * 5_000  # more than four chunks


async def chunks(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def some_key(tenant: str = "acme") -> str:
    return key_of("files", tenant, new_id(1_900_000_000_000))


async def kept(stored: Stored, data: bytes = DATA, key: str | None = None) -> str:
    key = key or some_key()
    async with stored.intake.receive(chunks(data), max_bytes=len(data)) as received:
        assert (received.size_bytes, received.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert received.head == data[:4096]
        await stored.store.put(key, received, media_type="video/mp4")
    return key


async def read(stored: Stored, key: str, start: int = 0, end: int | None = None) -> bytes:
    async with aclosing(stored.store.read(key, start, end)) as found:
        return b"".join([chunk async for chunk in found])


async def test_what_is_kept_is_read_back_whole_and_in_parts_until_it_is_deleted(
    stored: Stored,
) -> None:
    key, last = await kept(stored), len(DATA)
    assert await stored.store.size(key) == last
    assert await read(stored, key) == DATA
    for start, end in ((0, 1), (1, last), (300_000, 700_001), (last - 1, last), (0, last), (7, 7)):
        assert await read(stored, key, start, end) == DATA[start:end], (start, end)
    assert await read(stored, key, last - 5) == DATA[-5:]
    await stored.store.delete(key)
    assert await stored.store.size(key) is None
    await stored.store.delete(key)
    with pytest.raises(StorageError):
        await read(stored, key)


async def test_a_part_beyond_the_end_is_an_error_and_not_a_short_answer(stored: Stored) -> None:
    key = await kept(stored, b"short")
    with pytest.raises(StorageError):
        await read(stored, key, 2, 9)


async def test_whoever_stops_reading_leaves_the_store_as_it_was(stored: Stored) -> None:
    key = await kept(stored)
    async with aclosing(stored.store.read(key)) as found:
        assert DATA.startswith(await anext(found))
    assert await read(stored, key) == DATA


async def test_keys_are_listed_by_their_prefix_with_their_sizes(stored: Stored) -> None:
    mine = {await kept(stored, b"x" * size, some_key("listed")): size for size in (1, 2, 3)}
    await kept(stored, b"another tenant's", some_key("listed-too"))
    assert {key: size async for key, size in stored.store.keys("files/listed/")} == mine
    assert [one async for one in stored.store.keys("files/nobody/")] == []
    assert [one async for one in stored.store.keys("assets/listed/")] == []


async def test_what_was_moved_is_under_its_new_key_alone(stored: Stored) -> None:
    source, key = await kept(stored), some_key()
    await stored.store.move(source, key)
    assert (await stored.store.size(source), await read(stored, key)) == (None, DATA)
    with pytest.raises(KeyError):
        await stored.store.move(source, some_key())


async def test_an_empty_file_can_be_kept(stored: Stored) -> None:
    key = await kept(stored, b"")
    assert (await stored.store.size(key), await read(stored, key)) == (0, b"")


async def test_a_link_reads_the_bytes_and_says_how_to_show_them_until_it_expires(stored: Stored) -> None:
    key = await kept(stored)
    shown = {"media_type": "video/mp4", "disposition": 'inline; filename="a.mp4"'}
    link, dead = (stored.store.link(key, expires_s=seconds, **shown) for seconds in (60, 0))
    if stored.kind == "disk":
        assert link is None
        return
    assert link is not None
    assert dead is not None
    async with httpx2.AsyncClient(trust_env=False) as client:
        response = await client.get(link)
        assert (response.status_code, response.content) == (200, DATA)
        if stored.kind == "seaweedfs":  # rclone keeps no such words
            assert response.headers["content-disposition"] == shown["disposition"]
            part = await client.get(link, headers={"range": "bytes=5-9"})
            assert (part.status_code, part.content) == (206, DATA[5:10])
            assert (await client.get(dead)).status_code == 403
        assert (await client.get(link.replace("Signature=", "Signature=0"))).status_code == 403


async def test_a_form_takes_one_file_of_its_key_type_and_size(stored: Stored) -> None:
    key = some_key()
    form = stored.store.post(key, expires_s=60, media_type="image/png", max_bytes=1_000)
    if stored.kind == "disk":
        assert form is None
        return
    if stored.kind == "rclone":
        pytest.skip("rclone does not judge the policy of a form")
    assert form is not None
    async with httpx2.AsyncClient(trust_env=False) as client:
        for changed, data in (
            ({}, b"x" * 1_001),
            ({"Content-Type": "text/html"}, b"x"),
            ({"key": form.fields["key"] + "x"}, b"x"),
            ({"x-amz-signature": "0" * 64}, b"x"),
        ):
            response = await client.post(form.url, data={**form.fields, **changed}, files={"file": data})
            assert response.status_code in {400, 403}, (changed, response.text)
        assert await stored.store.size(key) is None
        response = await client.post(form.url, data=dict(form.fields), files={"file": b"x" * 1_000})
        assert response.status_code == 204, response.text
    assert await read(stored, key) == b"x" * 1_000


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "files/../x", "files//x", "files/.x", "a/b\n", "a\0", "ä/b", "a/"]
)
async def test_what_is_no_key_of_ours_reaches_no_store(
    key: str, tmp_path: Path, stored_on_disk: Stored
) -> None:
    with pytest.raises(ValueError, match="no key"):
        await stored_on_disk.store.size(key)
    with pytest.raises(ValueError, match="identifiers"):
        key_of("files", "acme", key)
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240 - a folder of the test's own
