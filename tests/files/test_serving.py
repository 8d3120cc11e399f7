"""Serving: ranges as players ask for them, entity tags, links that end, and nothing that a browser runs."""

import pytest

from app.api.serving import Served
from app.config import SettingsError
from tests.files.test_uploads import PICTURE, uploaded
from tests.harness import World

pytestmark = pytest.mark.anyio

LAST = len(PICTURE) - 1


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-", 206, (0, LAST)),  # Safari begins with it, and plays nothing after a 200
        ("bytes=0-1", 206, (0, 1)),
        ("bytes=10-10", 206, (10, 10)),
        ("bytes=5-99999999999", 206, (5, LAST)),
        ("bytes=-7", 206, (LAST - 6, LAST)),
        ("bytes=-99999999", 206, (0, LAST)),
        (f"bytes={LAST + 1}-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=0-1,4-5", 200, (0, LAST)),
        ("bytes=5-1", 200, (0, LAST)),
        ("bytes=x-1", 200, (0, LAST)),
        ("lines=0-1", 200, (0, LAST)),
        ("bytes=", 200, (0, LAST)),
        ("bytes=" + "9" * 50 + "-", 200, (0, LAST)),
    ],
)
async def test_one_range_is_served_and_whatever_is_none_is_ignored(
    world: World, asked: str, status: int, part: tuple[int, int] | None
) -> None:
    address = f"/v1/files/{await uploaded(world)}"
    for method in ("GET", "HEAD"):
        answer = await world.client.request(method, address, headers={"Range": asked})
        assert answer.status_code == status
        if part is None:
            assert answer.headers["content-range"] == f"bytes */{len(PICTURE)}"
            continue
        first, last = part
        assert answer.headers["content-length"] == str(last + 1 - first)
        wanted = f"bytes {first}-{last}/{len(PICTURE)}" if status == 206 else None
        assert answer.headers.get("content-range") == wanted
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.content == (PICTURE[first : last + 1] if method == "GET" else b"")


async def test_the_tag_is_the_hash_and_decides_between_nothing_a_part_and_the_whole(world: World) -> None:
    file_id = await uploaded(world)
    address, sha256 = f"/v1/files/{file_id}", (await world.get(f"/v1/files/{file_id}/facts"))["sha256"]
    tag = f'"{sha256}"'
    for headers, status in (
        ({"If-None-Match": tag}, 304),
        ({"If-None-Match": f'W/{tag}, "x"'}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-Range": tag, "Range": "bytes=0-1"}, 206),
        ({"If-Range": '"x"', "Range": "bytes=0-1"}, 200),
        ({"If-Range": f"W/{tag}", "Range": "bytes=0-1"}, 200),
        ({"If-Range": "Mon, 30 Nov 2026 12:00:00 GMT", "Range": "bytes=0-1"}, 200),
    ):
        answer = await world.client.get(address, headers=headers)
        assert (answer.status_code, answer.headers["etag"]) == (status, tag), headers
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert answer.headers["content-disposition"] == f'inline; filename="{file_id}"'
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "sandbox" in answer.headers["content-security-policy"]


async def test_a_link_reads_one_file_without_a_key_until_it_ends(world: World) -> None:
    file_id, other = await uploaded(world), await uploaded(world, PICTURE + b"x")
    made = await world.client.post(f"/v1/files/{file_id}/links", params={"expires_in_s": 60})
    path = made.json()["url"].removeprefix("http://gateway.test")
    nobody = {"Authorization": ""}
    assert (await world.client.get(path, headers=nobody)).content == PICTURE
    part = await world.client.get(path, headers=nobody | {"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, PICTURE[:4])
    key_id, row_id, expires, signature = path.removeprefix("/f/").split(".")
    for forged in (
        f"{key_id}.{other}.{expires}.{signature}",
        f"{key_id}.{row_id}.zzzzzzz.{signature}",
        f"00000000.{row_id}.{expires}.{signature}",
        f"{key_id}.{row_id}.{expires}.{signature[::-1]}",
        "x",
        "..%2f..%2fetc%2fpasswd",
    ):
        answer = await world.client.get(f"/f/{forged}", headers=nobody)
        assert answer.status_code == 404, forged
    world.clock.advance(60)
    answer = await world.client.get(path, headers=nobody)
    assert (answer.status_code, answer.json()["code"]) == (410, "link_expired")
    assert (await world.client.post(f"/v1/files/{file_id}/links", params={"expires_in_s": 604_801})).is_error


async def test_a_link_ends_with_its_file_and_with_its_key(world: World) -> None:
    file_id = await uploaded(world)
    made = await world.client.post(f"/v1/files/{file_id}/links")
    path = made.json()["url"].removeprefix("http://gateway.test")
    links = world.gateway.file_links.links
    keys, links._keys = links._keys, {"ffffffff": "another key"}
    assert (await world.client.get(path)).status_code == 404
    links._keys = keys
    assert (await world.client.get(path)).status_code == 200
    await world.client.delete(f"/v1/files/{file_id}")
    assert (await world.client.get(path)).status_code == 404


def test_only_pictures_videos_and_sound_are_shown_and_a_name_cannot_break_out_of_its_header() -> None:
    def served(media_type: str, name: str = "a") -> Served:
        return Served(key="k", size_bytes=1, sha256="", media_type=media_type, name=name)

    for media_type in ("video/mp4", "image/png", "audio/mpeg"):
        assert (served(media_type).shown_type, served(media_type).disposition[:6]) == (media_type, "inline")
    for media_type in ("text/html", "image/svg+xml", "application/pdf", "video/mp4; x", "VIDEO/MP4", ""):
        assert served(media_type).shown_type == "application/octet-stream"
        assert served(media_type).disposition.startswith("attachment")
    odd = served("video/mp4", 'a"\r\nSet-Cookie: x; %41é.mp4').disposition
    assert odd == (
        'inline; filename="a___Set-Cookie: x; _41_.mp4";'
        " filename*=UTF-8''a%22%0D%0ASet-Cookie%3A%20x%3B%20%2541%C3%A9.mp4"
    )


def test_a_weak_key_of_links_is_refused_outside_development(world_settings: dict[str, object]) -> None:
    from app.config import Settings  # noqa: PLC0415 - the class itself, not the tests' own

    settings = Settings(_env_file=None, pepper="p" * 40, link_key="short")
    with pytest.raises(SettingsError, match="LINK_KEY is weak"):
        settings.link_keys()


async def test_who_asks_for_the_head_alone_is_not_sent_to_the_bucket_whose_link_is_for_reading(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"/v1/files/{await uploaded(world)}"
    store = world.gateway.storage.store
    monkeypatch.setattr(store, "link", lambda *_args, **_more: "https://bucket.example/signed-for-get")
    assert (await world.client.get(address, follow_redirects=False)).status_code == 302
    answer = await world.client.head(address, follow_redirects=False)
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(PICTURE)))
