"""`/metrics`: what a process knows of itself, for whoever has the token."""

import re
from dataclasses import replace

import pytest

from app.upstream.breaker import Health
from tests.contract.published import problem_of
from tests.harness import World

pytestmark = pytest.mark.anyio

TOKEN = {"Authorization": "Bearer the-token-of-the-metrics"}
with_token = pytest.mark.parametrize("world_settings", [{"metrics_token": "the-token-of-the-metrics"}])


async def metrics(world: World) -> dict[str, float]:
    answer = await world.client.get("/metrics", headers=TOKEN)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", answer.text, re.MULTILINE)
    return {name: float(value) for name, value in found}


async def test_without_the_setting_there_are_none(world: World) -> None:
    problem_of(await world.client.get("/metrics", headers=TOKEN), 404, "route_not_found")


@with_token
async def test_nobody_else_reads_them(world: World) -> None:
    problem_of(await world.client.get("/metrics", headers={"Authorization": ""}), 401, "missing_api_key")
    problem_of(await world.client.get("/metrics"), 401, "invalid_api_key")  # a tenant's key


@with_token
async def test_they_tell_of_credentials_lag_and_watchers(world: World) -> None:
    found = await metrics(world)
    assert found['reelgate_credential_condition{condition="closed",credential="sandbox"}'] == 1
    assert found["reelgate_watchers"] == 0
    assert found["reelgate_large_bodies_bytes"] == 0
    assert found["reelgate_recent_rows_bytes"] == 0
    sandbox = world.gateway.pool.all["sandbox"]
    now_ms = world.clock.now_ms()
    sandbox.health = replace(Health(), until_ms=now_ms + 1000, reason="http_429")
    for poller in world.gateway.following.pollers:
        poller.lag_ms = 1500
    found = await metrics(world)
    assert found['reelgate_credential_condition{condition="open",credential="sandbox"}'] == 1
    assert found['reelgate_credential_condition{condition="closed",credential="sandbox"}'] == 0
    assert found['reelgate_poll_lag_seconds{credential="sandbox"}'] == 1.5
    world.clock.advance(2)
    found = await metrics(world)
    assert found['reelgate_credential_condition{condition="half_open",credential="sandbox"}'] == 1
