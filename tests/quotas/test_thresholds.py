"""Thresholds: each is an event of the tenant's once in a window, numbered as all are."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, select

from app.admin.verifying.verify import verify
from app.db.schema.tables import threshold_events
from app.quotas import overrides
from app.quotas.account import Owner
from app.quotas.balances import ledger
from app.quotas.balances.ledger import Kind
from app.quotas.limits import Scope, parse_limit
from tests.harness import World
from tests.quotas.accounts import DAY, PRICE, accepted, kid_of, limited, refused
from tests.streams import streaming

pytestmark = pytest.mark.anyio


async def crossings(world: World) -> list[tuple[str, str, int, int]]:
    def read(connection: Connection) -> Sequence[Any]:
        query = select(threshold_events).where(threshold_events.c.tenant_id == world.tenant_id)
        return connection.execute(query.order_by(threshold_events.c.number)).all()

    rows = await world.gateway.db.read(read)
    return [(row.metric, row.window, row.percent, row.used) for row in rows]


async def test_each_threshold_is_crossed_once_in_a_window_and_again_in_the_next(world: World) -> None:
    await limited(world, "generations-day=2", scopes=(Scope(kid_of(world.key)),))
    first = await accepted(world)
    assert await crossings(world) == [("generations-day", f"{DAY}:2", 50, 1)]
    await world.client.post(f"/v1/requests/{first}/cancel")
    await accepted(world)
    await accepted(world)
    of_today = [
        ("generations-day", f"{DAY}:2", percent, used)
        for percent, used in ((50, 1), (80, 2), (95, 2), (100, 2))
    ]
    assert await crossings(world) == of_today
    world.clock.advance(86_400)
    await accepted(world)
    assert (await crossings(world))[4:] == [("generations-day", "2026-09-22:2", 50, 1)]
    assert (await world.gateway.db.snapshot(verify)).findings == []


async def test_a_temporary_override_has_thresholds_of_its_own_and_leaves_those_of_the_limit(
    world: World,
) -> None:
    await limited(world, "generations-day=1")
    await accepted(world)

    def override(connection: Connection) -> None:
        limit, now_ms = parse_limit("generations-day=4", Scope()), world.clock.now_ms()
        owner = Owner(world.tenant_id, "test")
        overrides.create(connection, owner, limit, until_ms=now_ms + 3_600_000, now_ms=now_ms)

    await world.gateway.db.write(override)
    for _ in range(3):
        await accepted(world)
    found = await crossings(world)
    assert [one[2:] for one in found if one[1] == f"{DAY}:1"] == [(50, 1), (80, 1), (95, 1), (100, 1)]
    assert [one[2:] for one in found if one[1] == f"{DAY}:4"] == [(50, 2), (80, 4), (95, 4), (100, 4)]
    world.clock.advance(3601)
    await refused(world, "quota_exceeded")
    await limited(world, "generations-day=5")
    await accepted(world)
    assert (await crossings(world))[8:] == [
        ("generations-day", f"{DAY}:5", percent, 5) for percent in (95, 100)
    ]


async def test_a_balance_is_told_of_again_once_it_was_topped_up(world: World) -> None:
    owner = Owner(world.tenant_id, "test")

    def pay(connection: Connection) -> bool:
        return ledger.add(connection, owner, Scope(), Kind.TOP_UP, 2 * PRICE, now_ms=world.clock.now_ms())

    await world.gateway.db.write(pay)
    await accepted(world)
    await world.gateway.db.write(pay)
    await accepted(world)
    assert [one[1:] for one in await crossings(world)] == [
        (f"total:{2 * PRICE}", 50, PRICE),
        (f"total:{4 * PRICE}", 50, 2 * PRICE),
    ]


async def test_a_threshold_is_in_the_tenants_stream_before_the_submit_that_crossed_it(world: World) -> None:
    await limited(world, "credits-day=0.3")
    await accepted(world)
    await accepted(world)
    async with streaming(world, "/v1/events?after=0") as stream:
        await stream.has(8)
        found = stream.events[:8]
    assert [one.id for one in found] == [*range(1, 9)]
    thresholds = [one for one in found if one.event == "threshold"]
    assert [(one.id, one.data and one.data["percent"]) for one in thresholds] == [
        (1, 50),
        (4, 80),
        (5, 95),
        (6, 100),
    ]
    assert thresholds[0].data == {
        "number": 1,
        "at": "2026-09-21T14:13:20.000Z",
        "policy": "tenant-credits-day",
        "kid": None,
        "model_id": None,
        "end_user": None,
        "period": DAY,
        "percent": 50,
        "amount": 2 * PRICE,
        "used": PRICE,
    }
