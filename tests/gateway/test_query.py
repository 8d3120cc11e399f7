"""No address ignores a query parameter: it takes it, or names it in a refusal."""

from typing import Any

import httpx2
import pytest

from app.api.openapi import build
from app.api.routes import ROUTES, Route
from app.generations.lifecycle import State
from tests.harness import SUBMIT, World

pytestmark = pytest.mark.anyio

MODEL = SUBMIT.removeprefix("/v1/models/")
INTERNAL = (("GET", "/metrics"), ("GET", "/openapi.json"))
MAY_BE_EMPTY = {"search", "category"}  # of forms whose fields are left blank
TAKES: dict[str, Any] = {
    "cause": "event",
    "group_by": "model",
    "kind": "hold",
    "limit": "5",
    "offset": "0",
    "state": "failed",
    "include_cost": "true",
    "wait": "0",
}


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"metrics_token": "m" * 40}


def place_of(route: Route) -> str:
    path = route.path.replace("{model_id:path}", MODEL).replace("{request_id}", "0" * 36)
    path = path.replace("{token_id}", "a" * 12).replace("{month}", "2020-01")
    return path.replace("{slug}", "invalid-json")


def names_of(world: World, route: Route) -> dict[str, bool]:
    """The query parameters that the contract publishes for a route, and whether each is a list."""
    if not hasattr(world.app.state, "contract"):
        world.app.state.contract = build(world.app, world.gateway.catalog)
    parameters = world.app.state.contract["paths"][route.path.replace(":path", "")][route.method.lower()].get(
        "parameters", ()
    )
    return {one["name"]: one["schema"].get("type") == "array" for one in parameters if one["in"] == "query"}


async def refused(world: World, method: str, place: str, **more: Any) -> list[dict[str, str]]:
    answer = await world.client.request(method, place, json={} if method == "POST" else None, **more)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter"), (place, answer.text)
    errors: list[dict[str, str]] = answer.json()["errors"]
    return [one for one in errors if one["code"] != "missing"]  # what the route needs besides


async def test_every_route_refuses_what_it_does_not_take_and_names_the_nearest(world: World) -> None:
    for route in ROUTES:
        place, names = place_of(route), names_of(world, route)
        for strange in ("_", "request_id", "model_id", "api_key"):
            strange += " " if strange in names else ""  # noqa: PLW2901 - one that it does not take
            (error,) = await refused(world, route.method, f"{place}?{strange}=123")
            assert error["code"] == "unknown_parameter", (place, strange)
        assert error["pointer"] == "#/query/api_key"
        for name in names:
            (error,) = await refused(world, route.method, f"{place}?{name.replace('_', '').upper()}x=1")
            assert f"did you mean `{name}`?" in error["detail"], (place, error)
            if name not in MAY_BE_EMPTY:
                (error,) = await refused(world, route.method, f"{place}?{name}=")
                assert error["pointer"].startswith(f"#/query/{name}"), (place, error)
        if not names:
            assert "takes no query parameters" in error["detail"]


async def test_every_parameter_that_takes_one_value_is_refused_twice(world: World) -> None:
    for route in ROUTES:
        for name, is_list in names_of(world, route).items():
            value = TAKES.get(name, "a" * 12)
            place = f"{place_of(route)}?{name}={value}&{name}={value}"
            if is_list:
                assert (await world.client.request(route.method, place)).status_code == 200, place
            else:
                errors = await refused(world, route.method, place)
                assert ("repeated", f"#/query/{name}") in {(one["code"], one["pointer"]) for one in errors}


async def test_addresses_outside_the_contract_are_as_strict(world: World) -> None:
    key = {"Authorization": f"Bearer {'m' * 40}"}
    for method, place in INTERNAL:
        assert (await world.client.request(method, place, headers=key)).status_code == 200
        (error,) = await refused(world, method, f"{place}?x", headers=key)
        assert error["pointer"] == "#/query/x"


async def test_pages_and_their_files_may_have_a_query(world: World) -> None:
    for place in ("/docs", "/client.js", "/docs/files/docs.js"):
        assert (await world.client.get(f"{place}?utm_source=mail&v=2")).status_code == 200, place


async def test_a_caller_without_a_key_is_told_that_first(world: World) -> None:
    for route in ROUTES:
        if route.needs_key:
            place = f"{place_of(route)}?nothing=1"
            answer = await world.client.request(route.method, place, headers={"Authorization": ""})
            assert answer.status_code == 401, place


async def test_everything_wrong_with_a_query_is_named_at_once_and_no_value_is_repeated(world: World) -> None:
    errors = await refused(world, "GET", "/v1/requests?limit=0&enduser=s3cr3t&cursor=a&cursor=b&state=odd")
    assert {one["pointer"] for one in errors} == {
        "#/query/limit",
        "#/query/enduser",
        "#/query/cursor",
        "#/query/state",
    }
    answer = await world.client.get("/v1/requests?enduser=s3cr3t&limit=")
    assert "s3cr3t" not in answer.text


async def test_the_refusal_of_many_names_is_bounded(world: World) -> None:
    errors = await refused(world, "GET", "/v1/requests?" + "&".join(f"n{i}={'x' * 9}" for i in range(900)))
    assert len(errors) <= 20
    (error,) = await refused(world, "GET", f"/v1/requests?{'n' * 9000}=1")
    assert len(error["pointer"]) < 150


async def test_a_repeated_state_lists_the_requests_in_any_of_them(world: World) -> None:
    one, other = await world.submitted(), await world.submitted()
    await world.client.post(f"/v1/requests/{other}/cancel")

    async def listed(query: str) -> httpx2.Response:
        answer = await world.client.get(f"/v1/requests?{query}")
        assert answer.status_code == 200, answer.text
        return answer

    states = {(await world.record(each))["state"] for each in (one, other)}
    query = "&".join(f"state={state}" for state in sorted(states | {State.LOST}))
    found = (await listed(query)).json()["requests"]
    assert {each["request_id"] for each in found} == {one, other}
    page = await listed(f"{query}&limit=1")
    following = page.headers["link"].partition(">")[0].removeprefix("<http://gateway.test")
    (second,) = (await world.get(following))["requests"]
    assert {second["request_id"], page.json()["requests"][0]["request_id"]} == {one, other}
