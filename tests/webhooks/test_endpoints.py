"""A tenant makes and changes its own webhook endpoints, and nobody else's."""

from typing import Any

import pytest

from app.db.schema.tables import webhook_endpoints
from app.webhooks.registry import secrets
from tests.contract.published import problem_of
from tests.harness import World

pytestmark = pytest.mark.anyio

ROOT = "/v1/webhooks/endpoints"
HOOK = "https://hooks.example/reelgate"


async def made(world: World, **more: Any) -> dict[str, Any]:
    answer = await world.client.post(ROOT, json={"url": HOOK, **more})
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def test_an_endpoint_is_made_with_a_secret_that_is_shown_once_and_stored_sealed(world: World) -> None:
    document = await made(world, description="orders", events=["request.completed", "request.failed"])
    secret = document.pop("secret")
    assert secret.startswith("whsec_")
    assert document["state"] == "enabled"
    assert document["health"]["failing_since"] is None
    path = f"{ROOT}/{document['endpoint_id']}"
    assert (await world.client.get(path)).json() == document
    assert (await world.get(ROOT)) == {"endpoints": [document], "next_cursor": None}
    (row,) = await world.gateway.db.read(lambda c: c.execute(webhook_endpoints.select()).all())
    assert secret.removeprefix("whsec_") not in str(row)
    opened = secrets.open(row.secret, world.gateway.settings.sealing_keys(), bound_to=document["endpoint_id"])
    assert secrets.shown(opened, "v1") == secret


async def test_an_edit_names_what_it_was_read_as_and_replaces_all_of_it(world: World) -> None:
    document = await made(world, description="orders", events=["request.completed"])
    path = f"{ROOT}/{document['endpoint_id']}"
    tag = (await world.client.get(path)).headers["etag"]
    assert (await world.client.get(path, headers={"If-None-Match": tag})).status_code == 304
    body = {"url": f"{HOOK}/2", "vendor_links": True}
    problem_of(await world.client.put(path, json=body), 428, "precondition_required")
    stale = await world.client.put(path, json=body, headers={"If-Match": '"other"'})
    problem_of(stale, 412, "precondition_failed")
    assert stale.headers["etag"] == tag
    world.clock.advance(1)
    changed = await world.client.put(path, json=body, headers={"If-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag
    after = changed.json()
    assert (after["url"], after["description"], after["events"], after["vendor_links"]) == (
        f"{HOOK}/2",
        "",
        None,
        True,
    )
    paused = await world.client.post(f"{path}/pause")
    assert paused.json()["state"] == "paused"
    assert paused.headers["etag"] == changed.headers["etag"], "its state is no part of the tag"
    assert (await world.client.post(f"{path}/enable")).json()["state"] == "enabled"


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["#/url"]),
    ({"url": "http://hooks.example/", "events": ["request.done"]}, ["#/url", "#/events/0"]),
    ({"url": "https://u:p@hooks.example/"}, ["#/url"]),
    ({"url": "https://hooks.example/#here"}, ["#/url"]),
    ({"url": "https://10.0.0.1/"}, ["#/url"]),
    ({"url": "https://[::1]/"}, ["#/url"]),
    ({"url": "https://localhost/"}, ["#/url"]),
    ({"url": "https://db.internal/"}, ["#/url"]),
    ({"url": "https://hooks.example:8443/"}, ["#/url"]),
    ({"url": "ftp://hooks.example/"}, ["#/url"]),
    ({"url": f"https://hooks.example/{'x' * 2048}"}, ["#/url"]),
    ({"url": HOOK, "events": ["request.failed", "request.failed"]}, ["#/events"]),
    ({"url": HOOK, "description": "a\nb", "events": ["x"]}, ["#/description", "#/events/0"]),
    ({"url": HOOK, "secret": "whsec_mine", "signature": "v2"}, ["#/secret", "#/signature"]),
]  # fmt: skip


async def test_everything_that_is_wrong_is_named_at_once(world: World) -> None:
    for body, pointers in WRONG:
        problem = problem_of(await world.client.post(ROOT, json=body), 422, "invalid_webhook_endpoint")
        assert sorted(one["pointer"] for one in problem["errors"]) == sorted(pointers), body
    assert (await world.get(ROOT))["endpoints"] == []


async def test_an_endpoint_may_hear_nothing_but_what_submits_name(world: World) -> None:
    assert (await made(world, events=[]))["events"] == []
    assert (await made(world))["events"] is None


async def test_an_unknown_event_is_answered_with_those_there_are(world: World) -> None:
    answer = await world.client.post(ROOT, json={"url": HOOK, "events": ["request.done"]})
    (error,) = problem_of(answer, 422, "invalid_webhook_endpoint")["errors"]
    assert "request.completed" in error["detail"]
    assert "webhook.test" not in error["detail"], "nobody chooses tests"


async def test_a_tenant_has_as_many_endpoints_as_the_setting_allows_in_each_mode(world: World) -> None:
    for _ in range(world.gateway.settings.webhook_endpoints):
        last = await made(world)
    problem_of(await world.client.post(ROOT, json={"url": HOOK}), 409, "too_many_webhook_endpoints")
    deleted = await world.client.post(f"{ROOT}/{last['endpoint_id']}/delete")
    assert deleted.json() == {"endpoint_id": last["endpoint_id"]}
    problem_of(await world.client.get(f"{ROOT}/{last['endpoint_id']}"), 404, "webhook_endpoint_not_found")
    await made(world)
    first = await world.get(f"{ROOT}?limit=15")
    rest = await world.get(f"{ROOT}?limit=15&cursor={first['next_cursor']}")
    shown = [one["endpoint_id"] for one in (*first["endpoints"], *rest["endpoints"])]
    assert len(set(shown)) == len(shown) == 20
    assert shown == sorted(shown, reverse=True)
    assert rest["next_cursor"] is None


class TestWithoutAKey:
    @pytest.fixture
    def world_settings(self) -> dict[str, Any]:
        return {"webhook_key": []}

    async def test_no_endpoint_is_made_and_the_answer_says_what_to_set(self, world: World) -> None:
        answer = await world.client.post(ROOT, json={"url": HOOK})
        problem = problem_of(answer, 503, "webhooks_not_configured")
        assert "REELGATE_WEBHOOK_KEY" in problem["remedy"]
        assert not problem["retryable"]


async def test_a_second_rotation_waits_for_the_first_unless_it_is_forced(world: World) -> None:
    document = await made(world)
    path = f"{ROOT}/{document['endpoint_id']}"
    first = (await world.client.post(f"{path}/rotate", json={"grace_s": 3600})).json()
    assert first["secret"] not in {document["secret"], None}
    assert first["previous_secret_ends_at"] is not None
    problem_of(await world.client.post(f"{path}/rotate", json={}), 409, "rotation_open")
    second = (await world.client.post(f"{path}/rotate", json={"force": True})).json()
    assert second["secret"] != first["secret"]
    revoked = (await world.client.post(f"{path}/revoke-previous")).json()
    assert revoked["previous_secret_ends_at"] is None
    assert (await world.client.post(f"{path}/rotate", json={"grace_s": 0})).status_code == 200
    assert (await world.get(path))["previous_secret_ends_at"] is None
    assert (await world.client.post(f"{path}/rotate", json={"grace_s": 60})).status_code == 200
    world.clock.advance(61)
    assert (await world.client.post(f"{path}/rotate", json={})).status_code == 200
    for wrong in (-1, 7 * 86_400 + 1):
        answer = await world.client.post(f"{path}/rotate", json={"grace_s": wrong})
        (error,) = problem_of(answer, 422, "invalid_webhook_endpoint")["errors"]
        assert error["pointer"] == "#/grace_s"


async def test_an_endpoint_with_ed25519_shows_public_keys_and_no_secret(world: World) -> None:
    document = await made(world, signature="v1a")
    assert document["secret"] is None
    (before,) = document["public_keys"]
    path = f"{ROOT}/{document['endpoint_id']}"
    rotated = (await world.client.post(f"{path}/rotate", json={"grace_s": 60})).json()
    assert rotated["public_keys"][1] == before
    assert (await world.get(path))["public_keys"] == rotated["public_keys"]
    world.clock.advance(61)
    assert (await world.get(path))["public_keys"] == rotated["public_keys"][:1]
