"""What operators do with tenants' webhooks: by the admin API, the doctor and the metrics."""

from typing import Any

import pytest
from sqlalchemy import select, update

from app.admin.checks import doctor
from app.admin.checks.doctor import Configured
from app.admin.operations import webhooks as operations
from app.db.schema.tables import admin_calls, webhook_endpoints
from app.webhooks.registry import secrets
from tests.admin.counter import Counter
from tests.contract.published import problem_of
from tests.harness import World
from tests.webhooks.receiver import KEY, Receiver, deliver, endpoint

pytestmark = pytest.mark.anyio

NEW = "another key that seals the secrets of endpoints"
METRICS_TOKEN = "metrics-token-of-the-tests"


@pytest.fixture
def world_settings(receiver: Receiver) -> dict[str, Any]:
    return {
        "webhook_key": f"{NEW},{KEY}",
        "http_webhook_hosts": f"127.0.0.1:{receiver.port}",
        "admin_api": True,
        "metrics_token": METRICS_TOKEN,
    }


@pytest.fixture
def counter(world: World) -> Counter:
    return Counter(world)


async def _tenant(counter: Counter) -> str:
    found = await counter.done(operations.LIST)
    assert found == {"endpoints": [], "next_cursor": None}
    return str((await counter.world.get("/v1/quota"))["tenant"])


async def test_an_operator_makes_edits_and_rotates_and_a_secret_is_in_one_answer_alone(
    counter: Counter,
) -> None:
    tenant = await _tenant(counter)
    arguments: dict[str, Any] = {"tenant": tenant, "mode": "test", "url": "https://hooks.example/"}
    first = await counter.call(operations.CREATE, idempotency_key="one", **arguments)
    made = first.json()
    again = await counter.call(operations.CREATE, idempotency_key="one", **arguments)
    assert (again.json()["endpoint_id"], again.json()["secret"]) == (made["endpoint_id"], None)
    of: dict[str, Any] = {"endpoint_id": made["endpoint_id"]}
    shown = await counter.call(operations.SHOW, **of)
    assert shown.json() == {name: value for name, value in made.items() if name != "secret"}
    edited = {**of, "url": "https://hooks.example/2", "events": ["request.failed"]}
    stale = await counter.call(operations.EDIT, if_match='"other"', **edited)
    problem_of(stale, 412, "precondition_failed")
    done = await counter.call(operations.EDIT, if_match=shown.headers["etag"], **edited)
    assert done.json()["events"] == ["request.failed"]
    rotated = await counter.done(operations.ROTATE, **of, grace_s=60)
    problem_of(await counter.call(operations.ROTATE, **of), 409, "rotation_open")
    assert rotated["secret"] not in {made["secret"], None}
    stored = await counter.world.gateway.db.read(
        lambda connection: str(connection.execute(select(admin_calls)).all())
    )
    assert made["secret"] not in stored
    assert rotated["secret"] not in stored
    assert [one["endpoint_id"] for one in (await counter.done(operations.LIST, tenant=tenant))["endpoints"]]
    assert (await counter.done(operations.LIST, tenant=tenant, state="paused"))["endpoints"] == []
    wrong = await counter.call(operations.EDIT, **of, url="ftp://x", events=["nothing"])
    errors = problem_of(wrong, 422, "invalid_webhook_endpoint")["errors"]
    assert [one["pointer"] for one in errors] == ["#/url", "#/events/0"]


async def test_secrets_are_resealed_under_the_first_key_and_still_sign(
    counter: Counter, receiver: Receiver
) -> None:
    world = counter.world
    made = await endpoint(world, receiver)  # sealed with the older key
    other = await endpoint(world, receiver, "/other")
    spoilt = update(webhook_endpoints).where(webhook_endpoints.c.id == other.id)
    await world.gateway.db.write(lambda at: at.execute(spoilt.values(secret="v1.00000000.AAAA")) and None)
    done = await counter.done(operations.RESEAL)
    assert done == {"resealed": 1, "unreadable": [other.id], "last": None}
    row = await world.gateway.db.read(
        lambda at: at.execute(select(webhook_endpoints).where(webhook_endpoints.c.id == made.id)).one()
    )
    assert secrets.open(row.secret, [NEW], bound_to=made.id) == made.secret
    assert (await counter.done(operations.RESEAL))["resealed"] == 0
    checks = {one.name: one for one in await doctor.examine(Configured(world.gateway.settings))}
    assert checks["webhooks"].level == "bad"
    assert other.id in checks["webhooks"].finding
    assert made.id not in checks["webhooks"].finding


async def test_metrics_and_the_doctor_tell_what_waits_and_fails(counter: Counter, receiver: Receiver) -> None:
    world = counter.world
    await endpoint(world, receiver)
    paused = await endpoint(world, receiver, "/paused", state="paused")
    receiver.always["/hook"] = 599
    await world.finish(await world.submitted())
    world.clock.advance(30)
    await deliver(world)
    answer = await world.client.get("/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
    lines = answer.text.splitlines()
    assert 'reelgate_webhook_attempts_total{outcome="5xx"} 1.0' in lines
    assert 'reelgate_webhook_endpoints{state="paused"} 1.0' in lines
    assert 'reelgate_webhooks_waiting{state="enabled"} 0.0' in lines
    assert 'reelgate_webhooks_waiting{state="failing"} 1.0' in lines
    assert 'reelgate_webhooks_waiting{state="gone"} 0.0' in lines
    assert 'reelgate_webhooks_late_seconds{state="paused"} 30.0' in lines
    assert 'reelgate_webhooks_late_seconds{state="enabled"} 0.0' in lines
    (check,) = (
        one for one in await doctor.examine(Configured(world.gateway.settings)) if one.name == "webhooks"
    )
    assert "2 endpoints, 1 of them failing, 0 disabled; 2 webhooks wait" in check.finding
    found = await counter.done(operations.DELIVERIES, endpoint_id=paused.id)
    assert [one["state"] for one in found["deliveries"]] == ["pending"]
