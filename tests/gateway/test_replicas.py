"""Several gateways over one PostgreSQL are one gateway."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.auth import keys
from app.generations import store
from tests.harness import SUBMIT, World, open_world, settings_for
from tests.sandbox.harness import Running

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("database_url", ["postgresql"], indirect=True),
]


@pytest.fixture
async def replicas(database_url: str, tmp_path: Path, sandbox: Running) -> AsyncIterator[tuple[World, World]]:
    """Two serving gateways; both clients carry the first one's key."""
    settings = settings_for(database_url, tmp_path, sandbox.options.public_url)
    async with open_world(settings, sandbox) as one, open_world(settings, sandbox) as other:
        other.client.headers["Authorization"] = f"Bearer {one.key}"
        yield one, other


async def test_a_job_submitted_here_is_followed_and_ended_there(replicas: tuple[World, World]) -> None:
    one, other = replicas
    request_id = await one.submitted()
    assert (await other.status(request_id))["request_id"] == request_id
    assert (await other.finish(request_id))["status"] == "succeeded"
    calls = one.sandbox.ledger()["calls"]
    assert (await one.result(request_id))["status"] == "succeeded"
    assert one.sandbox.ledger()["calls"] == calls, "what has ended is asked about nowhere"
    assert (await one.record(request_id))["events"] == (await other.record(request_id))["events"]


async def test_the_listing_is_the_same_everywhere(replicas: tuple[World, World]) -> None:
    one, other = replicas
    made = await asyncio.gather(*(world.submitted() for world in (one, other) * 5))
    for world in (one, other):
        listed = await world.get("/v1/requests?limit=100")
        assert {request["request_id"] for request in listed["requests"]} == set(made)


async def test_replicas_that_look_at_one_job_at_once_end_it_once(replicas: tuple[World, World]) -> None:
    one, other = replicas
    request_id = await one.submitted("fail")
    one.sandbox.clock.now += 100
    words = {"in_queue", "in_progress", "failed"}
    results = await asyncio.gather(*(world.result(request_id) for world in (one, other) * 20))
    assert {result["status"] for result in results} <= words
    record = await other.record(request_id)
    assert record["state"] == "failed"
    assert [event["version"] for event in record["events"]] == list(range(1, record["version"] + 1))
    assert [event["state"] for event in record["events"]].count("failed") == 1


async def test_a_key_revoked_here_is_refused_there_within_five_seconds(replicas: tuple[World, World]) -> None:
    one, other = replicas
    assert (await other.client.get("/v1/models")).status_code == 200
    await one.gateway.db.write(keys.revoke, one.key.split("_")[2], now_ms=one.clock.now_ms())
    for world in (one, other):
        world.clock.advance(5)
        assert (await world.client.get("/v1/models")).status_code == 401
        assert (await world.client.post(SUBMIT, json=world.body("canned"))).status_code == 401


async def test_one_idempotency_key_sent_to_both_at_once_makes_one_job(replicas: tuple[World, World]) -> None:
    one, other = replicas
    body, headers = one.body(), {"Idempotency-Key": "the same"}
    answers = await asyncio.gather(
        *(world.client.post(SUBMIT, json=body, headers=headers) for world in (one, other) * 25)
    )
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len({answer.json()["request_id"] for answer in answers}) == 1
    first = [one for one in answers if one.status_code == 200 and "idempotent-replayed" not in one.headers]
    assert len(first) == 1
    assert len(one.received()) == 1
    assert len(await one.gateway.db.read(store.page, one.tenant_id, limit=10, mode="test")) == 1
