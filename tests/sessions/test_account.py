"""A tenant's own people manage its keys and origins: within their key's terms, tenant and mode."""

from typing import Any

import pytest

from app.auth import keys
from app.auth.keys import SCOPES
from tests.contract.published import problem_of
from tests.harness import World
from tests.sandbox.harness import DREAMINA
from tests.sessions.browsing import Tab

pytestmark = pytest.mark.anyio
CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "list_keys": ("GET /v1/keys", {}),
    "create_key": ("POST /v1/keys", {"name": "web"}),
    "narrow_key": ("POST /v1/keys/{kid}/narrow", {"name": "narrow"}),
    "rotate_key": ("POST /v1/keys/{kid}/rotate", {}),
    "revoke_key": ("POST /v1/keys/{kid}/revoke", {}),
    "get_origins": ("GET /v1/origins", {}),
    "set_origins": ("POST /v1/origins", {"origins": ["https://app.example"]}),
    "create_portal_link": ("POST /v1/portal-links", {}),
}
"""Every operation of the tag `account`, with a body that it accepts."""


async def _call(world: World, name: str, key: str, *, kid: str = "", **more: Any) -> Any:
    call, body = CHANGES[name]
    method, path = call.split(" ")
    return await world.client.request(
        method,
        path.format(kid=kid),
        json=None if method == "GET" else body | more,
        headers=world.with_key(key),
    )


async def test_the_sweep_below_knows_every_operation(world: World) -> None:
    contract = await world.get("/openapi.json")
    found = {
        one["operationId"]
        for path in contract["paths"].values()
        for one in path.values()
        if isinstance(one, dict) and "account" in one.get("tags", ())
    }
    assert found == set(CHANGES)


async def test_only_the_scope_of_it_manages_and_only_the_tenants_own_keys_of_the_mode(world: World) -> None:
    """Every operation, with a key of each other scope, and with keys of another tenant and mode."""
    manager = await world.another_key(scopes=SCOPES)
    kid = manager.split("_")[2]
    strangers = [
        await world.another_key(tenant="stranger", scopes=SCOPES),
        await world.another_key(mode="live", scopes=SCOPES),
    ]
    for name in CHANGES:
        for scope in set(SCOPES) - {"account:manage"}:
            narrow = await world.another_key(scopes=[scope])
            problem_of(await _call(world, name, narrow, kid=kid), 403, "insufficient_scope")
        for stranger in strangers:
            answer = await _call(world, name, stranger, kid=kid)
            if "{kid}" in CHANGES[name][0]:
                problem_of(answer, 404, "api_key_not_found")
                nothing = await _call(world, name, stranger, kid="nobodyskid00")
                assert answer.json()["detail"] == nothing.json()["detail"]
            else:
                assert answer.status_code < 300, (name, answer.text)
                assert kid not in answer.text
    record = await world.gateway.db.read(keys.to_read, kid)
    assert (record.name, record.state(world.clock.now_ms())) == ("", "active")


async def test_no_key_makes_a_key_that_may_do_more_than_itself(world: World) -> None:
    manager = await world.another_key(scopes=["account:manage", "read"], models=[DREAMINA])
    wider = await _call(world, "create_key", manager, scopes=["read", "submit"])
    assert problem_of(wider, 422, "invalid_account_change")["errors"][0]["pointer"] == "#/scopes/1"
    made = await _call(world, "create_key", manager, scopes=["read"], lifetime_s=60)
    assert made.status_code == 201
    assert made.json()["models"] == [DREAMINA], "without a list it would have all models"
    assert made.json()["mode"] == "test"
    powerful = world.key.split("_")[2]
    problem_of(await _call(world, "rotate_key", manager, kid=powerful), 422, "invalid_account_change")
    unknown = await _call(world, "create_key", manager, scopes=["read"], models=["acme/none"])
    problem_of(unknown, 422, "invalid_account_change")
    late = await _call(world, "narrow_key", manager, kid=made.json()["kid"], lifetime_s=3600)
    assert problem_of(late, 422, "invalid_account_change")["errors"][0]["pointer"] == "#/lifetime_s"


async def test_a_person_makes_narrows_rotates_and_revokes_a_key_in_the_portal(world: World) -> None:
    tab = Tab(world)
    await tab.sign_in("portal", key=await world.another_key(scopes=SCOPES))
    made = (await tab.call("POST", "/v1/keys", {"name": "web", "scopes": ["read", "submit"]})).json()
    assert (await world.client.get("/v1/quota", headers=world.with_key(made["key"]))).status_code == 200
    narrowed = await tab.call("POST", f"/v1/keys/{made['kid']}/narrow", {"scopes": ["submit"]})
    assert narrowed.json()["scopes"] == ["submit"]
    assert "key" not in narrowed.json()
    rotated = (await tab.call("POST", f"/v1/keys/{made['kid']}/rotate", {"overlap_s": 0})).json()
    assert rotated["replaces"] == made["kid"]
    await tab.call("POST", f"/v1/keys/{rotated['kid']}/revoke", {})
    listed = (await tab.call("GET", "/v1/keys")).json()["keys"]
    states = {one["kid"]: one["state"] for one in listed}
    assert states[rotated["kid"]] == "revoked"
    assert made["key"] not in str(listed)
    origins = await tab.call("POST", "/v1/origins", {"origins": ["https://app.example"]})
    assert origins.json() == {"origins": ["https://app.example"]}
    wrong = await tab.call("POST", "/v1/origins", {"origins": ["not an origin"]})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "#/origins/0")
