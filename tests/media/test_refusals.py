"""What callers are told of files that cannot be fetched: what helps them, and nothing of our networks."""

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.contract.published import problem_of
from tests.gallery import Gallery, Picture, open_gallery
from tests.harness import World
from tests.loops import skipped
from tests.pictures import jpeg, png

pytestmark = pytest.mark.anyio

HIDDEN = (
    "media_unreachable",
    "could not be reached: its address must be public, and a server must answer there",
)


@pytest.fixture
async def gallery() -> AsyncIterator[Gallery]:
    async with open_gallery() as opened:
        yield opened


@pytest.fixture
def world_settings(gallery: Gallery) -> dict[str, Any]:
    return {"http_media_hosts": gallery.host, "media_networks": f"127.0.0.2/32:{gallery.port}"}


async def refusal(world: World, url: str, code: str) -> dict[str, Any]:
    """The problem that a submit of this picture meets; nothing is sent."""
    answer = await world.submit(image_urls=[url])
    problem = problem_of(answer, 422, code)
    assert ("Retry-After" in answer.headers) == problem["retryable"] == (code == "media_unavailable")
    assert world.received() == []
    return problem


async def told(world: World, url: str, code: str) -> tuple[str, str]:
    (error,) = (await refusal(world, url, code))["errors"]
    assert error["pointer"] == "#/image_urls/0"
    return error["code"], error["detail"]


@pytest.mark.parametrize(
    ("picture", "code", "words"),
    [
        (None, "media_not_served", "is at a server that answered 404: there is no file at this address"),
        (Picture(png(), status=403), "media_not_served", "answered 403: the link may have expired"),
        (Picture(png(), status=401), "media_not_served", "answered 401: it must be readable without a login"),
        (Picture(png(), status=410), "media_not_served", "answered 410: the file is no longer there"),
        (Picture(png(), status=418), "media_not_served", "answered 418"),
        (Picture(png(), status=206, ranges=False), "media_not_served", "answered 206"),
        (Picture(b"<!DOCTYPE html><p>Sign in"), "media_unreadable", "is a web page, not a media file"),
        (Picture(b"\xef\xbb\xbf\n <html>"), "media_unreadable", "is a web page"),
        (Picture(b'{"error":"expired"}'), "media_unreadable", "is JSON, not a media file"),
        (Picture(b"<?xml version='1.0'?><Error/>"), "media_unreadable", "is XML"),
        (Picture(b"<svg xmlns='x'/>"), "media_unreadable", "is an SVG drawing"),
        (Picture(jpeg()[:15]), "media_unreadable", "can be read: it ends before"),
        (Picture(png(), ranges=False, headers=("Content-Encoding: br",)), "media_unreadable", "'br'"),
        (Picture(b"x", status=302, headers=("Location: /loop",)), "media_not_served", "redirects too often"),
        (Picture(b"x", status=302), "media_not_served", "redirects without saying where to"),
    ],
)
async def test_what_time_does_not_change_is_named_and_not_to_be_tried_again(
    world: World, gallery: Gallery, picture: Picture | None, code: str, words: str
) -> None:
    url = f"http://{gallery.host}/nothing" if picture is None else gallery.hang("loop", picture)
    got = await told(world, url, "invalid_input")
    assert got[0] == code
    assert words in got[1]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_a_server_that_is_busy_or_failing_is_one_to_try_again(
    world: World, gallery: Gallery, status: int
) -> None:
    url = gallery.hang("a", Picture(png(), status=status))
    got = await told(world, url, "media_unavailable")
    assert got == ("media_unavailable", f"is at a server that answered {status}")


async def test_a_slow_server_is_one_to_try_again(world: World, gallery: Gallery) -> None:
    url = gallery.hang("a", Picture(png(), hangs=True))
    got = await skipped(told(world, url, "media_unavailable"), 4, once=lambda: gallery.heads)
    assert got == ("media_unavailable", "could not be fetched within 4 s")


async def test_an_answer_that_breaks_off_is_one_to_try_again(world: World, gallery: Gallery) -> None:
    url = gallery.hang(
        "a", Picture(jpeg()[:15], ranges=False, length=False, headers=("Content-Length: 9999",))
    )
    assert (await told(world, url, "media_unavailable"))[1] == "has a server that broke off its answer"


async def test_refused_unknown_and_silent_addresses_are_told_alike(
    world: World, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def look_up(host: str, *rest: Any, **more: Any) -> list[Any]:
        if host == "inner.test":
            return real("10.0.0.7", *rest, **more)
        if host.endswith(".test"):
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    places = ("https://10.0.0.7/", "https://outer.test/", "https://[::1]/x", "ftp://x/")
    redirects = [
        gallery.hang(f"r{number}", Picture(b"x", status=302, headers=(f"Location: {place}",)))
        for number, place in enumerate(places)
    ]
    silent = f"https://127.0.0.2:{gallery.port}/"  # allowed, and nobody listens there
    urls = ["https://inner.test/", "https://outer.test/", "https://10.0.0.7/", silent, *redirects]
    problems = [await refusal(world, url, "media_unreachable") for url in urls]
    assert {(one["errors"][0]["code"], one["errors"][0]["detail"]) for one in problems} == {HIDDEN}
    for problem in problems:
        problem.pop("trace_id")
    assert all(one == problems[0] for one in problems)


async def test_of_several_files_what_cannot_be_cured_by_time_decides(world: World, gallery: Gallery) -> None:
    busy = gallery.hang("busy", Picture(png(), status=503))
    answer = await world.submit(image_urls=[busy], prompt="")
    assert problem_of(answer, 422, "media_unavailable")["retryable"] is True
    answer = await world.submit(image_urls=[busy], resolution="4K")
    assert problem_of(answer, 422, "invalid_input")["retryable"] is False
