"""Balances: what a top-up adds to, and how a debt is told."""

from typing import Any

import pytest

from app.quotas.account import Owner
from app.quotas.balances import ledger
from app.quotas.balances.ledger import Kind
from app.quotas.limits import Scope
from tests.harness import World
from tests.quotas.accounts import EXHAUSTED, PRICE, accepted, kid_of, limited, quota, refused

pytestmark = pytest.mark.anyio


class TestDefaultLine:
    """A balance whose credit line is the settings' default."""

    @pytest.fixture
    def world_settings(self) -> dict[str, Any]:
        return {"default_limits": ["credits-total=0.3"], "reads_per_minute": 0}

    async def top_up(self, world: World, scope: Scope = Scope()) -> None:  # noqa: B008 - a constant
        owner, defaults = Owner(world.tenant_id, "test"), world.gateway.policy.default_limits
        await world.gateway.db.write(
            ledger.add, owner, scope, Kind.TOP_UP, PRICE, now_ms=world.clock.now_ms(), defaults=defaults
        )

    async def test_a_top_up_adds_to_the_default_line(self, world: World) -> None:
        await accepted(world)
        await self.top_up(world)
        (limit,) = (await quota(world))["limits"]
        assert (limit["limit"], limit["held"], limit["remaining"]) == (3 * PRICE, PRICE, 2 * PRICE)
        await self.top_up(world)
        for _ in range(3):
            await accepted(world)
        await refused(world, EXHAUSTED)
        await refused(world, EXHAUSTED)

    async def test_the_default_line_is_the_tenants_and_not_a_keys(self, world: World) -> None:
        await self.top_up(world, Scope(kid_of(world.key)))
        limits = {one["policy"]: one["limit"] for one in (await quota(world))["limits"]}
        assert limits == {"tenant-credits-total": 2 * PRICE, "key-credits-total": PRICE}


async def test_a_debt_is_called_one(world: World) -> None:
    await limited(world, "credits-total=0")
    owner = Owner(world.tenant_id, "test")
    await world.gateway.db.write(
        ledger.add, owner, Scope(), Kind.ADJUSTMENT, -3_850_000, now_ms=world.clock.now_ms(), note="x"
    )
    problem = await refused(world, EXHAUSTED)
    assert "is overdrawn by 3.85 credits" in problem["detail"]
    assert problem["detail"].endswith("raise the limit, by at least 4 credits.")
    assert [(one["limit"], one["remaining"]) for one in problem["limits"]] == [(-3_850_000, 0)]
