"""A price below RunComfy's reported cost is found by the doctor and the metrics, until it is corrected."""

from typing import Any

import pytest
from sqlalchemy import Connection

from app.admin.checks import doctor
from app.kit.clock import SystemClock
from app.quotas.limits import Payer
from app.quotas.sums import rollups, usage
from tests.harness import World

pytestmark = pytest.mark.anyio
TOKEN = "metrics-token-of-tests"
DAY_MS = 86_400_000


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"metrics_token": TOKEN}


async def counted(world: World, model_id: str, *, at_ms: int, mode: str = "live", **counts: int) -> None:
    def write(connection: Connection) -> None:
        rollups.count(
            connection,
            world.tenant_id,
            mode,
            Payer("kid"),
            model_id,
            outcome="completed",
            zone=usage.zone_of_tenant(connection, world.tenant_id).zone,
            at_ms=at_ms,
            **counts,
        )

    await world.gateway.db.write(write)


async def metric(world: World) -> str:
    answer = await world.client.get("/metrics", headers=world.with_key(TOKEN))
    (line,) = [one for one in answer.text.splitlines() if one.startswith("reelgate_models_below_cost ")]
    return line.split()[1]


async def test_a_price_below_the_cost_is_found_until_it_was_corrected_or_is_old(world: World) -> None:
    now_ms = world.clock.now_ms()
    dear: dict[str, Any] = {"spent_microcredits": 100, "cost_microusd": 150}
    await counted(world, "too/cheap", at_ms=now_ms, **dear)
    await counted(world, "right", at_ms=now_ms, spent_microcredits=100, cost_microusd=100)
    await counted(world, "sandbox", at_ms=now_ms, mode="test", **dear)
    await counted(world, "old", at_ms=now_ms - 8 * DAY_MS, **dear)

    async def found() -> list[tuple[str, int, int]]:
        return [*await world.gateway.db.read(usage.below_cost, now_ms=now_ms)]

    assert await found() == [("too/cheap", 100, 150)]
    assert await metric(world) == "1.0"
    await counted(world, "too/cheap", at_ms=now_ms, adjusted_microcredits=-50)
    assert await found() == []
    assert await metric(world) == "1.0", "it is read every five minutes"
    world.clock.advance(300)
    assert await metric(world) == "0.0"


async def test_the_doctor_names_the_models(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SystemClock, "now_ms", lambda _: world.clock.now_ms())
    assert await doctor._prices(world.gateway.db) == []
    await counted(
        world, "too/cheap", at_ms=world.clock.now_ms(), spent_microcredits=100_000, cost_microusd=150_000
    )
    (check,) = await doctor._prices(world.gateway.db)
    assert (check.name, check.level) == ("prices", "note")
    assert "too/cheap (0.1 charged, 0.15 USD reported)" in check.finding
