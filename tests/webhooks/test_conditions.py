"""The operator hears of a condition when it is raised and when it is cleared: once, whatever the servers."""

import base64
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, update

from app.admin.checks.conditions import Name
from app.admin.verifying import verify
from app.db.schema.tables import generations, webhook_endpoints
from app.upstream.breaker import Health
from app.webhooks.messages import conditions
from app.webhooks.messages.conditions import CALM_MS, Condition
from tests.harness import World
from tests.webhooks.receiver import KEY, Receiver, deliver, endpoint

pytestmark = pytest.mark.anyio

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def world_settings(receiver: Receiver) -> dict[str, Any]:
    return {
        "webhook_key": KEY,
        "operator_webhook_url": f"{receiver.base_url}/operator",
        "operator_webhook_secret": SECRET,
    }


def told(receiver: Receiver) -> list[tuple[str, str, str]]:
    documents = [one.document for one in receiver.at("/operator")]
    return [(one["type"], one["data"]["condition"], one["data"]["subject"]) for one in documents]


async def test_a_refused_credential_and_its_end_are_told_once_each(world: World, receiver: Receiver) -> None:
    examiner = world.gateway.upkeep.conditions
    credential = world.gateway.pool.all["sandbox"]
    well = credential.health
    credential.health = well.refused("http_401", world.clock.now_ms(), retry_after_s=None, looks_too=True)
    for _ in range(3):
        await examiner.run_once()
        world.clock.advance(15)
    await deliver(world)
    assert told(receiver) == [("condition.raised", "credential_refused", "sandbox")]
    assert receiver.received[0].document["data"]["details"]["reason"] == "http_401"
    credential.health = replace(Health(), openings=1)
    await examiner.run_once()
    await deliver(world)
    assert len(told(receiver)) == 1, "not before it has been calm for a while"
    world.clock.advance(CALM_MS / 1000)
    for _ in range(2):
        await examiner.run_once()
    await deliver(world)
    assert told(receiver)[1:] == [("condition.cleared", "credential_refused", "sandbox")]


async def test_of_several_servers_one_tells_and_one_that_sees_nothing_clears_nothing(world: World) -> None:
    seen, examined = [Condition(name="breaker_open", subject="default")], ("breaker_open",)

    async def observe(one: list[Condition]) -> int:
        how = {"examined": examined, "tells": True, "now_ms": world.clock.now_ms()}
        return len(await world.gateway.db.write(conditions.observe, one, **how))  # type: ignore[arg-type]

    assert [await observe(one) for one in (seen, seen, [], seen, [])] == [1, 0, 0, 0, 0]
    world.clock.advance(60)
    assert [await observe(one) for one in (seen, [])] == [0, 0]
    world.clock.advance(100)
    assert await observe([]) == 0, "another server saw it a moment ago"
    world.clock.advance(30)
    assert [await observe(one) for one in ([], [], seen)] == [1, 0, 1]


async def test_unknown_jobs_are_told_after_a_quarter_of_an_hour(world: World, receiver: Receiver) -> None:
    await world.submitted("queued")
    now_ms = world.clock.now_ms()
    await world.gateway.db.write(_all, state="unknown", changed_at_ms=now_ms)
    await world.gateway.upkeep.conditions.run_once()
    world.clock.advance(15 * 60)
    await world.gateway.upkeep.conditions.run_once()
    await deliver(world)
    assert told(receiver) == [("condition.raised", "unknown_jobs", "test")]


async def test_what_a_verification_finds_is_told_and_that_it_finds_nothing_any_more(
    world: World, receiver: Receiver
) -> None:
    await verify.report(world.gateway)
    await world.submitted("queued")
    await world.gateway.db.write(_all, price_microcredits=1)
    assert (await verify.report(world.gateway)).findings
    await verify.report(world.gateway)
    await deliver(world)
    assert told(receiver) == [("condition.raised", Name.LEDGER_VERIFY_FAILED, "")]


async def test_an_endpoint_that_is_disabled_is_told_with_its_tenant(world: World, receiver: Receiver) -> None:
    made = await endpoint(world, receiver, secret=bytes(32))
    spoilt = update(webhook_endpoints).where(webhook_endpoints.c.id == made.id).values(secret="v1.0.AAAA")
    await world.gateway.db.write(lambda connection: connection.execute(spoilt) and None)
    await world.finish(await world.submitted())
    for _ in range(2):
        await deliver(world)
    (one,) = receiver.received
    assert (one.path, one.document["type"]) == ("/operator", "endpoint.disabled")
    data = one.document["data"]
    assert (data["endpoint_id"], data["tenant_id"]) == (made.id, world.tenant_id)


def _all(connection: Connection, /, **values: Any) -> None:
    connection.execute(generations.update().values(**values))
