"""Uploads that somebody has made to do harm: each is refused, or does none."""

import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.storage.store import Post
from tests.files.test_uploads import PICTURE, counted, upload
from tests.harness import World
from tests.sandbox.harness import DREAMINA

pytestmark = pytest.mark.anyio


def _png(width: int) -> bytes:
    """A PNG that says that it is so wide."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, 1, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0\0\0\0")
    chunks = b"".join(
        struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one))
        for one in (header, data, b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def _tiff(width: int) -> bytes:
    """A BigTIFF that says that it is so wide."""
    entries = b"".join(struct.pack("<HHQQ", tag, 16, 1, width) for tag in (256, 257))
    return struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) + struct.pack("<Q", 2) + entries


@pytest.mark.parametrize("data", [_png(2**32 - 1), _png(2**31), _tiff(2**63), _tiff(2**64 - 1)])
async def test_a_picture_that_says_it_is_wider_than_any_is_refused(world: World, data: bytes) -> None:
    answer = await upload(world, data)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_file"), answer.text
    assert await counted(world) == {}


class TestFormsThatDoNotEnd:
    @pytest.fixture
    def world_settings(self) -> dict[str, Any]:
        return {"max_upload_bytes": 100_000}

    async def test_what_follows_a_form_is_not_read_without_end(self, world: World) -> None:
        sent = 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal sent
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            yield PICTURE + b"\r\n--b--\r\n"
            for _ in range(1_000):
                sent += 10_000
                yield b"x" * 10_000

        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = await world.client.post("/v1/files", content=body(), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_form"), answer.text
        assert sent < 1_000_000
        assert await counted(world) == {}


@pytest.mark.parametrize("name", ["place", "name", "model_id"])
async def test_parameters_that_no_database_stores_are_refused_or_cleaned(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        world.gateway.storage.store, "post", lambda key, **_: Post("https://b/", {"key": key})
    )
    for text in ("a\0b", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")):
        parameters: dict[str, Any] = {name: text}
        answer = await upload(world, **parameters)
        assert answer.status_code < 500, answer.text
        asked: dict[str, Any] = {"size_bytes": 5, "model_id": DREAMINA} | parameters
        assert (await world.client.post("/v1/direct-uploads", params=asked)).status_code < 500
