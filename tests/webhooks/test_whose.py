"""No key sees or changes webhooks of another tenant or mode, or without the scope; a client token never does.

The routes are read from the table of routes, so that a new one is swept as well.
"""

from collections.abc import Mapping
from typing import Any

import pytest

from app.api.routes import ROUTES, Route
from app.auth.keys import SCOPES
from app.kit.ids import new_id
from tests.contract.published import problem_of
from tests.harness import World

pytestmark = pytest.mark.anyio

SWEPT = [one for one in ROUTES if one.tag == "webhooks"]
HOOK = {"url": "https://hooks.example/"}
PREFIXES = {"endpoint_id": "ep_", "delivery_id": "dlv_", "replay_id": "rpl_"}


def body_of(route: Route) -> dict[str, Any] | None:
    if not route.body:
        return None
    return {
        "WebhookRotation": {},
        "NewWebhookReplay": {"since": "2020-01-01T00:00:00Z"},
    }.get(route.body, HOOK)


async def called(world: World, route: Route, key: str, ids: Mapping[str, str]) -> Any:
    headers = world.with_key(key) | ({"If-Match": "*"} if route.edits else {})
    path = route.path.format(**ids)
    return await world.client.request(route.method, path, json=body_of(route), headers=headers)


async def _ids(world: World, key: str) -> dict[str, str]:
    """An endpoint of this key's, a delivery of a test to it, and a replay."""
    made: dict[str, str] = {}
    for name, last in (("create_webhook_endpoint", "endpoint_id"), ("test_webhook_endpoint", "delivery_id"),
                       ("replay_webhooks", "replay_id")):  # fmt: skip
        (route,) = (one for one in SWEPT if one.operation_id == name)
        answer = await called(world, route, key, made)
        assert answer.status_code == 201, answer.text
        made[last] = answer.json()[last]
    return made


async def test_every_route_demands_its_scope_and_refuses_client_tokens(world: World) -> None:
    ids = await _ids(world, world.key)
    token = (await world.client.post("/v1/client-tokens", json={})).json()["token"]
    keys = {scope: await world.another_key(scopes=[scope]) for scope in SCOPES}
    for route in SWEPT:
        needed = "webhooks:read" if route.method == "GET" else "webhooks:write"
        for scope, key in keys.items():
            if scope != needed:
                problem = problem_of(await called(world, route, key, ids), 403, "insufficient_scope")
                assert f"`{needed}`" in problem["detail"], route.operation_id
        problem_of(await called(world, route, token, ids), 403, "insufficient_scope")
    for route in SWEPT:  # the rotation is open, the deletion comes last
        if route.operation_id not in {"delete_webhook_endpoint", "replay_webhooks"}:
            answer = await called(
                world, route, keys["webhooks:read" if route.method == "GET" else "webhooks:write"], ids
            )
            assert answer.status_code == route.status, (route.operation_id, answer.text)


async def test_what_is_another_tenants_or_of_the_other_mode_is_answered_as_what_never_was(
    world: World,
) -> None:
    ids = await _ids(world, world.key)
    never = {name: prefix + new_id(world.clock.now_ms()) for name, prefix in PREFIXES.items()}
    broken = dict.fromkeys(PREFIXES, "%00")
    others = [
        await world.another_key(tenant="stranger", scopes=SCOPES),
        await world.another_key(mode="live", scopes=SCOPES),
    ]
    before = await world.get(f"/v1/webhooks/endpoints/{ids['endpoint_id']}")
    for key in others:
        for route in SWEPT:
            if "{" in route.path:
                said = []
                for one in (ids, never, broken):
                    answer = await called(world, route, key, one)
                    problem = answer.json()
                    assert answer.status_code == 404, (route.operation_id, answer.text)
                    said.append({name: problem[name] for name in ("code", "title", "detail", "remedy")})
                assert said[0] == said[1] == said[2], route.operation_id
            elif route.method == "GET":
                for query in (
                    "",
                    *(f"?{name}={one}" for name, one in ids.items() if f"{name}=" in _taken(route)),
                ):
                    answer = await world.client.get(route.path + query, headers=world.with_key(key))
                    assert answer.status_code == 200
                    (listed,) = (value for value in answer.json().values() if isinstance(value, list))
                    assert listed == [], (route.operation_id, query)
    assert await world.get(f"/v1/webhooks/endpoints/{ids['endpoint_id']}") == before


def _taken(route: Route) -> str:
    names = {
        "list_webhook_deliveries": ("endpoint_id", "replay_id"),
        "list_webhook_replays": ("endpoint_id",),
    }
    return " ".join(f"{name}=" for name in names.get(route.operation_id, ()))
