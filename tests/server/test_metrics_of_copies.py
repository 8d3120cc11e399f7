"""Metrics of the mirror: attempts by their outcome, and what waits."""

from typing import Any

import pytest

from app.mirror.loop import Mirror
from tests.harness import World
from tests.mirror.upstream import FILM, Upstream, serving
from tests.mirror.worlds import completed, copy, mirrored
from tests.server.test_metrics_of_calls import TOKEN, values

pytestmark = pytest.mark.anyio


@pytest.fixture
async def upstream() -> Any:
    async with serving() as opened:
        yield opened


@pytest.fixture
def world_settings(upstream: Upstream) -> dict[str, Any]:
    return {
        "metrics_token": TOKEN["Authorization"][7:],
        "mirror_hosts": upstream.host,
        "mirror_per_tenant": 4,
    }


async def test_copies_are_counted_by_outcome_and_what_waits_is_told(world: World, upstream: Upstream) -> None:
    await mirrored(world)
    assert isinstance(world.gateway.mirror, Mirror)
    await completed(world, {"video": upstream.url("/film")})
    await completed(world, {"video": upstream.url("/status/502")})
    await completed(world, {"video": upstream.url("/status/404")})
    world.clock.advance(30)
    assert await values(world, "reelgate_assets_waiting") == {"": 3}
    (late,) = (await values(world, "reelgate_assets_late_seconds")).values()
    assert 30 <= late < 60
    await copy(world)
    attempts = await values(world, "reelgate_asset_attempts_total")
    assert attempts == {'outcome="stored"': 1, 'outcome="status_5xx"': 1, 'outcome="status_404"': 1}
    assert await values(world, "reelgate_asset_copied_bytes_total") == {"": len(FILM)}
    assert await values(world, "reelgate_assets_waiting") == {"": 2}
    assert await values(world, "reelgate_assets_late_seconds") == {"": 0}
