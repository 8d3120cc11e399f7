"""A request copied from RunComfy's page works with a test key and without a network, media checks and all."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from app import gateway
from app.catalog.catalog import SHIPPED
from app.gateway import reaches_of
from app.media.formats import see
from app.sandbox.pictures import EXAMPLES_URL
from tests.harness import SUBMIT, World
from tests.sandbox.harness import DREAMINA, Running

PROPERTIES = json.loads((SHIPPED / f"{DREAMINA}.json").read_text())["input_schema"]["properties"]
PAGE: dict[str, Any] = {name: PROPERTIES[name]["default"] for name in ("image_urls", "prompt")}
"""What RunComfy's page says to send."""
(EXAMPLE,) = PAGE["image_urls"]


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """Of one kind only: where a file is fetched does not depend on it."""
    path = tmp_path / "reelgate.db"
    path.write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{path}"


@pytest.mark.anyio
async def test_the_request_of_the_vendors_page_is_checked_and_accepted(world: World) -> None:
    assert world.gateway.settings.media_checks == "enforce"
    answer = await world.client.post(SUBMIT, json=PAGE)
    assert answer.status_code == 200, answer.text
    request_id = answer.json()["request_id"]
    (file,) = (await world.get(f"/v1/requests/{request_id}"))["media"]
    assert (file["type"], file["width"], file["height"], file["errors"]) == ("image/jpeg", 1600, 900, [])
    (received,) = [
        one["input"]
        for one in world.sandbox.ledger()["submissions"]
        if one["input"]["prompt"] == PAGE["prompt"]
    ]
    assert received["image_urls"] == [EXAMPLE], "what is sent is what the caller sent"


@pytest.mark.anyio
async def test_an_example_of_a_live_key_is_fetched_where_it_is(world: World) -> None:
    reaches = reaches_of(world.gateway.settings)
    live, test = (reaches[mode].read(EXAMPLE) for mode in ("live", "test"))
    assert (live.scheme, live.host, live.port) == ("https", urlsplit(EXAMPLE).hostname, 443)
    assert test.authority == urlsplit(world.gateway.settings.sandbox_base_url).netloc


def test_gateway_and_sandbox_know_the_same_place_of_examples() -> None:
    assert gateway._EXAMPLES_URL == EXAMPLES_URL
    assert EXAMPLE.startswith(f"{EXAMPLES_URL}/")


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        (urlsplit(EXAMPLE).path, "image/jpeg"),
        ("/no-ending", "image/jpeg"),
        ("/a/b.PNG", "image/png"),
        ("/clip.mp4", "video/mp4"),
        ("/clip.mov", "video/mp4"),
        ("/song.mp3", "audio/wav"),
    ],
)
def test_there_is_a_stand_in_for_an_example_of_any_kind(shared: Running, path: str, media_type: str) -> None:
    answer = shared.client.get(f"/examples{path}", headers={"Authorization": "", "Range": "bytes=0-65535"})
    assert answer.status_code == 206
    assert answer.headers["content-type"] == media_type
    assert see(answer.content).type == media_type


def test_the_picture_that_was_checked_is_the_one_that_is_drawn(shared: Running) -> None:
    drawn = [
        shared.finish(shared.submit(model_id="a/b/image-to-image", image_urls=[url]))["output"]["image"]
        for url in (EXAMPLE, shared.options.url("/samples/harbour.jpg"))
    ]
    assert shared.client.get(drawn[0]).content == shared.client.get(drawn[1]).content
