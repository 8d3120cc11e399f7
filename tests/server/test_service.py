"""Alive, ready, what the errors mean, and what holds at every address."""

from typing import Any

import pytest

from app.api.routes import ROUTES
from app.db.engines import engine
from app.errors import CATALOGUE
from app.generations.following.tracker import Tracker
from tests.contract.published import OURS, problem_of, route_of
from tests.harness import SUBMIT, World
from tests.sandbox.harness import DREAMINA

pytestmark = pytest.mark.anyio

# --- livez, readyz


async def test_alive_and_ready_need_no_key(world: World) -> None:
    for path, status in (("/livez", "ok"), ("/readyz", "ready")):
        answer = await world.client.get(path, headers={"Authorization": ""})
        assert (answer.status_code, answer.json()) == (200, {"status": status})


async def test_a_stopping_server_is_alive_but_not_ready_and_finishes_what_it_has(world: World) -> None:
    world.app.state.draining = True
    problem = problem_of(await world.client.get("/readyz"), 503, "shutting_down")
    assert problem["retry_after_s"] >= 1
    assert (await world.client.get("/livez")).status_code == 200
    assert (await world.submit()).status_code == 200  # a balancer that has not looked yet loses nothing
    world.app.state.draining = False
    assert (await world.client.get("/readyz")).status_code == 200


async def test_a_server_without_its_database_is_alive_but_not_ready(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise world.gateway.db._unavailable(OSError("the disk is gone"))

    for name in ("read", "write", "write_for", "check_writes"):
        monkeypatch.setattr(engine.Database, name, away)
    answer = await world.client.get("/readyz")
    problem_of(answer, 503, "database_unavailable")
    assert "disk" not in answer.text
    assert (await world.client.get("/livez")).status_code == 200
    world.clock.advance(10)  # nobody remembers the key any more
    problem_of(await world.client.get("/v1/models"), 503, "database_unavailable")  # and never 401


# --- problems


async def test_every_type_of_problem_resolves_without_a_key_to_what_it_means(world: World) -> None:
    listed = (await world.client.get("/problems", headers={"Authorization": ""})).json()["problems"]
    assert [one["code"] for one in listed] == [fault.code for fault in CATALOGUE]
    for kind in listed:
        slug = kind["code"].replace("_", "-")
        if not kind["type"].startswith("https://iana.org/"):
            assert kind["type"] == f"{OURS}/problems/{slug}"
        answer = await world.client.get(f"/problems/{slug}", headers={"Authorization": ""})
        assert (answer.status_code, answer.json()) == (200, kind)
        assert kind["remedy"]
        assert kind["title"]


async def test_an_unknown_type_of_problem_is_itself_a_problem(world: World) -> None:
    for slug in ("nothing", "invalid_json", "INVALID-JSON", "invalid-json%00", "%F0%9F%9A%A4", "x" * 3000):
        problem_of(await world.client.get(f"/problems/{slug}"), 404, "route_not_found")


# --- every address


async def test_nothing_is_at_any_other_address_and_nothing_redirects(world: World) -> None:
    others = [
        "/",
        "//",
        "/v1",
        "/v1/",
        "/v2/models",
        "/admin",
        "/.env",
        "/%00",
        "/v1/requests/../..",
    ]
    others += [
        "/docs/files/nothing",
        "/docs/vendor/..%2f..%2fsecrets.py",
        "/V1/models",
        "/x" * 2000,
    ]
    for path in others:
        answer = await world.client.request("GET", f"{OURS}{path}")
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json", path
        assert answer.json()["code"] in {"route_not_found", "request_not_found"}, path


async def test_every_address_names_the_methods_that_it_takes(world: World) -> None:
    for route in ROUTES:
        path = route.path.replace("{model_id:path}", DREAMINA).replace("{request_id}", "0" * 36)
        path = path.replace("{slug}", "invalid-json")
        expected = {one.method for one in ROUTES if one.path == route.path} | {"OPTIONS"}
        expected |= {"HEAD"} if "GET" in expected else set()
        for method in {"PUT", "DELETE", "PATCH", "GET", "HEAD", "POST"} - expected:
            if route_of(method, path):  # by a route of wider addresses: a model may be called so
                continue
            answer = await world.client.request(method, path)
            assert answer.status_code == 405, (method, path)
            assert set(answer.headers["allow"].split(", ")) == expected


# --- 500


async def test_what_goes_wrong_in_here_is_a_problem_without_its_cause(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the secret is hunter2")

    request_id = await world.submitted()
    monkeypatch.setattr(Tracker, "find", broken)
    for path in ("", "/status", "/result"):
        answer = await world.client.get(f"/v1/requests/{request_id}{path}")
        problem = problem_of(answer, 500, "internal_error")
        assert problem["retryable"] is False
        assert problem["instance"] == f"/v1/requests/{request_id}{path}"
        assert "hunter2" not in answer.text
        assert "Traceback" not in answer.text
    assert (await world.client.get("/livez")).status_code == 200


async def test_a_submit_that_breaks_before_it_is_recorded_sends_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the secret is hunter2")

    monkeypatch.setattr("app.generations.store.insert", broken)
    answer = await world.client.post(SUBMIT, json=world.body())
    problem_of(answer, 500, "internal_error")
    assert "hunter2" not in answer.text
    assert world.received() == []


# --- the documents for people and tools


async def test_the_contract_is_served_without_a_key(world: World) -> None:
    answer = await world.client.get("/openapi.json", headers={"Authorization": ""})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert f"/v1/models/{DREAMINA}" in answer.json()["paths"]
