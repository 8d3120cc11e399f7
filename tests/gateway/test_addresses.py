"""Every address answers HEAD and OPTIONS, and slashes around our own segments do no harm and open nothing."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.api.addresses import Addresses
from app.api.routes import ROUTES, Route, _built_routes
from tests.harness import SUBMIT, World

pytestmark = pytest.mark.anyio

MODEL = SUBMIT.removeprefix("/v1/models/")
PAGES = ("/docs", "/client.js", "/client.d.ts", "/openapi.json", "/docs/files/docs.js")
TIME = {"reelgate-trace-id", "date"}


def place_of(route: Route, request_id: str = "0" * 36) -> str:
    path = route.path.replace("{model_id:path}", MODEL).replace("{request_id}", request_id)
    return path.replace("{token_id}", "a" * 12).replace("{slug}", "invalid-json")


def gets() -> Iterator[Route]:
    return (route for route in ROUTES if route.method == "GET")


def told(answer: httpx2.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in TIME}


async def test_head_answers_as_get_does_on_every_address_without_a_body(world: World) -> None:
    request_id = await world.submitted()
    places = [place_of(one, request_id) for one in gets() if not one.streams]
    for place in (*places, *PAGES, "/nothing", "/v1/requests?limit=0"):
        got, head = await world.client.get(place), await world.client.head(place)
        assert (head.status_code, head.content) == (got.status_code, b""), place
        assert set(told(head)) == set(told(got)), place
        if place != "/v1/quota":  # which shows the call itself
            assert told(head) == told(got), place


async def test_head_of_a_stream_ends_with_its_head_and_watches_nothing(world: World) -> None:
    request_id = await world.submitted()
    for route in gets():
        if route.streams:
            async with asyncio.timeout(10):
                # What a stream has to be told to begin, others refuse.
                of_some = f"?ids={request_id}" if route.path == "/v1/requests/events" else ""
                answer = await world.client.head(place_of(route, request_id) + of_some)
            assert (answer.status_code, answer.content) == (200, b"")
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert world.gateway.following.watch.watchers == 0


async def test_head_needs_a_key_and_counts_as_get_does(world: World) -> None:
    for route in gets():
        answer = await world.client.head(place_of(route), headers={"Authorization": ""})
        assert (answer.status_code == 401) == route.needs_key, route.path
    answer = await world.client.head(SUBMIT.replace("/v1/models", "/v1/quotes"))
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")


async def test_options_without_an_origin_is_answered_with_what_is_allowed(world: World) -> None:
    key = {"Authorization": ""}
    for route in ROUTES:
        answer = await world.client.options(place_of(route), headers=key)
        methods = {one.method for one in ROUTES if one.path == route.path}
        expected = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        assert (answer.status_code, answer.content) == (204, b""), route.path
        assert set(answer.headers["allow"].split(", ")) == expected
        unknown = next(one for one in ("DELETE", "PATCH") if one not in methods)
        other = await world.client.request(unknown, place_of(route))
        assert (other.status_code, other.headers["allow"]) == (405, answer.headers["allow"])
    for place in (*PAGES, "/"):
        assert (await world.client.options(place, headers=key)).status_code == 204, place
    assert (await world.client.options("/nothing")).status_code == 404


# --- slashes


def spelled(path: str) -> list[str]:
    """The same address with doubled and trailing slashes, around every segment of ours."""
    more = [f"/{path}", f"{path}/", f"//{path}//"]
    return [*more, path.replace("/", "//")] if MODEL not in path else more


async def test_every_address_is_found_with_doubled_and_trailing_slashes(world: World) -> None:
    request_id = await world.submitted()
    for route in ROUTES:
        if route.streams:
            continue
        place = place_of(route, request_id)
        body: dict[str, Any] = {"json": []} if route.method == "POST" else {}
        plain = await world.client.request(route.method, f"http://gateway.test{place}", **body)
        for other in spelled(place):
            answer = await world.client.request(route.method, f"http://gateway.test{other}", **body)
            assert answer.status_code == plain.status_code, (other, answer.text)
            if plain.headers["content-type"].startswith("text/"):
                assert answer.text == plain.text, other
            else:
                assert answer.json().get("code") == plain.json().get("code"), other


async def test_a_model_id_keeps_the_slashes_inside_it(world: World) -> None:
    for other in (f"//v1//models//{MODEL}//", f"/v1/models/{MODEL}/", f"/v1/models/%2F{MODEL}"):
        answer = await world.client.get(f"http://gateway.test{other}")
        assert (answer.status_code, answer.json()["model_id"]) == (200, MODEL), other
    answer = await world.client.get(f"/v1/models/{MODEL.replace('/', '//')}")
    assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")
    listed = await world.client.get("/v1/models/")
    assert listed.json() == (await world.client.get("/v1/models")).json()


async def test_the_log_has_the_path_that_was_judged_and_the_one_that_was_sent(world: World) -> None:
    with capture_logs() as lines:
        await world.client.head("http://gateway.test//v1/models/")
        await world.client.get("/v1/models")
    first, second = (line for line in lines if line["event"] == "A request was answered.")
    assert (first["method"], first["path"], first["sent_path"]) == ("HEAD", "/v1/models", "//v1/models/")
    assert "sent_path" not in second


async def test_no_rule_is_got_round_with_slashes(world: World) -> None:
    origin = {"Origin": "https://nobody.example", "Access-Control-Request-Method": "GET"}
    for path in ("//metrics", "/metrics/", "//playground//token", "/playground/token/", "/docs/"):
        assert (await world.client.get(f"http://gateway.test{path}")).status_code == 404, path
    for path in spelled("/v1/requests"):
        address = f"http://gateway.test{path}"
        assert (await world.client.get(address, headers={"Authorization": ""})).status_code == 401
        assert (await world.client.options(address, headers=origin)).status_code == 403
        refused = await world.client.get(address, headers={"Origin": origin["Origin"]})
        assert (refused.status_code, json.loads(refused.content)["code"]) == (403, "origin_not_allowed")
        assert (await world.client.get(f"{address}?nothing=1")).status_code == 400
    public = await world.client.get("http://gateway.test//client.js", headers={"Origin": "https://a.example"})
    assert public.headers["access-control-allow-origin"] == "*"


SEGMENTS = st.sampled_from(["v1", "models", "quotes", "requests", "metrics", "a", "..", "%", "", "\n"])


@given(st.lists(SEGMENTS, max_size=7).map(lambda parts: "/" + "/".join(parts)))
def test_tidying_is_final_and_only_takes_slashes_away(path: str) -> None:
    tidied = Addresses(_built_routes()).tidied(path)
    assert Addresses(_built_routes()).tidied(tidied) == tidied
    assert [one for one in tidied.split("/") if one] == [one for one in path.split("/") if one]
    if not path.startswith("/metrics") and "/models/" not in tidied and "/quotes/" not in tidied:
        assert "//" not in tidied or "metrics" in tidied


def test_a_path_without_such_slashes_is_left_alone() -> None:
    settings: dict[str, Any] = dict.fromkeys(map(place_of, ROUTES))
    for path in (*settings, *PAGES, "/", "/metrics", "/playground/token"):
        assert Addresses(_built_routes()).tidied(path) == path
