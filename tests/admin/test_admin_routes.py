"""Who may call the admin API: admin keys, each within its scopes; nobody else learns that it is there."""

from typing import Any

import httpx2
import pytest
from sqlalchemy import Connection, func, select

from app.admin.access import admin_keys
from app.admin.operations.access import admin_keys as operations
from app.admin.operations.access import keys, tenants
from app.admin.operations.every import OPERATIONS
from app.db.schema.tables import admin_calls, audit_entries
from tests.admin.counter import ACTOR, CONTRACT, Counter, sample
from tests.contract.published import problem_of
from tests.harness import World

pytestmark = pytest.mark.anyio

SCOPES = {"read": {"read"}, "operate": {"read", "operate"}, "money": {"read", "money"}}


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"admin_api": True}


@pytest.fixture
def counter(world: World) -> Counter:
    return Counter(world)


def _rows(connection: Connection) -> tuple[int | None, int | None]:
    return (
        connection.scalar(select(func.count()).select_from(audit_entries)),
        connection.scalar(select(func.count()).select_from(admin_calls)),
    )


def _without_names(answer: httpx2.Response, path: str) -> tuple[Any, ...]:
    """An answer but for what is particular to a call: its path, and its trace id."""
    headers = {
        name: value
        for name, value in answer.headers.items()
        if name not in {"reelgate-trace-id", "content-length"}
    }
    document = {name: value for name, value in answer.json().items() if name != "trace_id"}
    return answer.status_code, headers, str(document).replace(path, "PATH")


async def test_other_keys_are_answered_as_where_there_is_nothing(counter: Counter) -> None:
    world = counter.world
    minted = await world.client.post("/v1/client-tokens", json={})
    live = await world.another_key(mode="live")
    for key in (world.key, live, minted.json()["token"], "something else"):
        headers = world.with_key(key)
        for method, path in [
            *((one.method, one.path.replace("{", "").replace("}", "")) for one in OPERATIONS),
            *(("DELETE", "/admin/v1/keys"), ("GET", "/admin/openapi.json"), ("GET", "/admin/v1/events")),
            ("PATCH", "/admin/v1/nothing"),
        ]:
            nowhere = path.replace("/admin", "/nowhere")
            refused = await world.client.request(method, path, headers=headers)
            absent = await world.client.request(method, nowhere, headers=headers)
            assert _without_names(refused, path) == _without_names(absent, nowhere), (method, path)
    for method in ("OPTIONS", "HEAD"):
        answer = await world.client.request(method, "/admin/v1/keys")
        assert answer.status_code == 404
        assert "allow" not in answer.headers


async def test_an_admin_key_is_no_key_elsewhere(counter: Counter) -> None:
    headers = counter.world.with_key(await counter.key("root"))
    answer = await counter.world.client.get("/v1/models", headers=headers)
    problem_of(answer, 401, "invalid_api_key")


async def test_each_scope_may_call_what_it_has_and_scope_read_changes_nothing(counter: Counter) -> None:
    """What a key may not do is refused before anything else is looked at."""
    read = counter.world.gateway.db.read
    for scope, implied in SCOPES.items():
        key = await counter.key(scope)
        before = await read(_rows)
        for one in OPERATIONS:
            answer = await counter.call(one, key=key, **sample(one))
            allowed = one.scope in implied
            assert (answer.status_code == 403) != allowed, (scope, one.name, answer.text)
            if not allowed:
                problem_of(answer, 403, "insufficient_admin_scope")
        if scope == "read":
            assert await read(_rows) == before


async def test_whoever_sends_no_valid_key_is_told_so_and_too_many_wrong_ones_are_not_looked_at(
    counter: Counter,
) -> None:
    client, path = counter.world.client, tenants.LIST.path
    problem_of(await client.get(path, headers={"Authorization": ""}), 401, "missing_admin_key")
    right = await counter.key("read")
    wrong = [right[:-1] + ("a" if right[-1] != "a" else "b"), f"rg_admin_{'0' * 12}_{'0' * 39}"]
    for number in range(20):
        headers = counter.world.with_key(wrong[number % 2])
        problem_of(await client.get(path, headers=headers), 401, "invalid_admin_key")
    refused = await client.get(path, headers=counter.world.with_key(wrong[0]))
    assert problem_of(refused, 429, "too_many_attempts")["retry_after_s"] == 60
    assert (await client.get(path, headers=counter.world.with_key(right))).status_code == 200
    counter.world.clock.advance(61)
    problem_of(await client.get(path, headers=counter.world.with_key(wrong[0])), 401, "invalid_admin_key")


async def test_a_key_that_is_revoked_rotated_or_expired_is_refused_at_once(counter: Counter) -> None:
    gateway, clock = counter.world.gateway, counter.world.clock
    key = await counter.key("read", lifetime_ms=60_000)
    kid = key.split("_")[2]
    made = await counter.done(operations.ROTATE, kid=kid, overlap_ms=5000)
    assert (await counter.call(tenants.LIST, key=key)).status_code == 200
    clock.advance(6)
    problem_of(await counter.call(tenants.LIST, key=key), 401, "invalid_admin_key")
    assert (await counter.call(tenants.LIST, key=made["key"])).status_code == 200
    await admin_keys.revoke(gateway, ACTOR, made["kid"])
    problem_of(await counter.call(tenants.LIST, key=made["key"]), 401, "invalid_admin_key")
    other = await counter.key("operate", lifetime_ms=1000)
    clock.advance(2)
    problem_of(await counter.call(tenants.LIST, key=other), 401, "invalid_admin_key")


async def test_queries_and_bodies_are_strict(counter: Counter) -> None:
    client, key = counter.world.client, await counter.key("operate")
    headers = counter.world.with_key(key)
    answer = await client.get("/admin/v1/keys?tenat=x&limit=0", headers=headers)
    assert {one["pointer"] for one in problem_of(answer, 400, "invalid_parameter")["errors"]} == {
        "#/query/tenat",
        "#/query/limit",
    }
    for path in ("requests?created_before=0.5", "audit?created_after=1", "usage?first_day=20261101"):
        answer = await client.get(f"/admin/v1/{path}", headers=headers)
        (error,) = problem_of(answer, 400, "invalid_parameter")["errors"]
        assert "such as 2026-11-30" in error["detail"]
    sent = headers | {"Idempotency-Key": "one"}
    answer = await client.post(
        "/admin/v1/tenants", json={"name": 3, "zone": "UTC", "reason": "x"}, headers=sent
    )
    assert {one["pointer"] for one in problem_of(answer, 422, "invalid_change")["errors"]} == {
        "#/name",
        "#/zone",
    }
    for reason in ({}, {"reason": " "}, {"reason": None}):
        answer = await client.post("/admin/v1/tenants", json={"name": "new", **reason}, headers=sent)
        assert problem_of(answer, 422, "invalid_reason")["errors"][0]["pointer"] == "#/reason"
    answer = await client.post("/admin/v1/tenants", json={"name": "new"}, headers=headers)
    problem_of(answer, 400, "missing_idempotency_key")
    problem_of(await client.delete("/admin/v1/tenants", headers=headers), 405, "method_not_allowed")
    problem_of(await client.get("/admin/v1/nothing", headers=headers), 404, "route_not_found")


async def test_no_page_may_call_it_and_its_contract_is_for_admin_keys(counter: Counter) -> None:
    client, key = counter.world.client, await counter.key("read")
    tenant_id = counter.world.tenant_id
    found = (await counter.done(tenants.LIST))["tenants"]
    name = next(one["name"] for one in found if one["id"] == tenant_id)
    await counter.done(tenants.SET_ORIGINS, name=name, origins=["https://app.example"])
    page = {"Origin": "https://app.example"}
    asks = page | {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    answer = await client.options("/admin/v1/tenants", headers=asks)
    assert answer.status_code == 403
    answer = await client.get("/admin/v1/tenants", headers=page | counter.world.with_key(key))
    assert not [one for one in answer.headers if one.startswith("access-control")]
    contract = await client.get("/admin/openapi.json", headers=counter.world.with_key(key))
    assert contract.json()["paths"] == CONTRACT.document["paths"]
    public = await client.get("/openapi.json")
    assert not [path for path in public.json()["paths"] if path.startswith("/admin")]
    shown = await counter.call(keys.LIST, key=key, prefix=counter.world.key[:14])
    assert [one["kid"] for one in shown.json()["keys"]] == [counter.world.key.split("_")[2]]
