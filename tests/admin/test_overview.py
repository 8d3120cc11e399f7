"""What needs a decision is told, the most urgent first; and asking every few seconds costs the same."""

from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, insert

from app.admin.running import dispatch, overview
from app.db.schema.tables import webhook_deliveries, webhook_endpoints
from app.quotas.account import Owner, set_limit
from app.quotas.limits import parse_limit
from tests.admin.counter import ACTOR
from tests.harness import World

pytestmark = pytest.mark.anyio


async def _kinds(world: World) -> list[tuple[str, int]]:
    shown = await overview.show(world.gateway, mode="test")
    return [(one.kind, one.count) for one in shown.decisions]


async def test_nothing_needs_a_decision_where_nothing_is_wrong(world: World) -> None:
    await world.submitted()
    assert await _kinds(world) == []


async def test_what_needs_a_decision_is_told_with_its_number_the_most_urgent_first(world: World) -> None:
    now_ms = world.clock.now_ms()
    limit = parse_limit("generations-day=3")
    await world.gateway.db.write(set_limit, Owner(world.tenant_id, "test"), limit, now_ms=now_ms)
    await world.submit("html")  # an answer that proves nothing
    await world.submitted("queued")
    await world.submitted("queued")
    for _ in range(60):
        await world.submit()
    await world.gateway.access.refusals.run_once()
    await dispatch.pause(world.gateway, ACTOR, modes=["test"], reason="a ticket")
    world.clock.advance(120)
    assert await _kinds(world) == [
        ("unknown_requests", 1),
        ("polls_late", 2),
        ("dispatch_paused", 0),
        ("flood_of_refusals", 60),
        ("limit_reached", 1),
    ]
    live = await overview.show(world.gateway, mode="live")
    assert live.decisions == [], "the modes are apart"


async def test_webhooks_that_wait_too_long_or_do_not_arrive_need_a_decision(world: World) -> None:
    now_ms = world.clock.now_ms()
    whose = {"tenant_id": world.tenant_id, "mode": "test"}

    def furnish(connection: Connection) -> None:
        for number, (state, failing_ms) in enumerate(
            (("enabled", None), ("enabled", now_ms - 5000), ("gone", None), ("paused", None))
        ):
            row = {"id": f"ep_{number}", "url": "", "vendor_links": False, "signature": "v1", "secret": ""}
            times = {"state_since_ms": now_ms - 9000, "created_at_ms": 0, "changed_at_ms": 0}
            more = {"state": state, "failing_since_ms": failing_ms}
            connection.execute(insert(webhook_endpoints).values(**whose, **row, **times, **more))
            sent = {"id": f"dlv_{number}", "message_id": "msg_1", "endpoint_id": f"ep_{number}"}
            told = {"type": "request.completed", "cause": "event", "state": "pending", "created_at_ms": 0}
            connection.execute(
                insert(webhook_deliveries).values(**whose, **sent, **told, next_at_ms=now_ms - 1000 * number)
            )

    await world.gateway.db.write(furnish)
    assert await _kinds(world) == [("endpoints_failing", 2)]
    world.clock.advance(60)
    assert await _kinds(world) == [("webhooks_late", 2), ("endpoints_failing", 2)]
    shown = await overview.show(world.gateway, mode="test")
    assert (shown.webhooks.deliveries, shown.webhooks.due_ms) == (2, now_ms), "of those in use"
    assert [one.since_ms for one in shown.decisions] == [now_ms, now_ms - 9000]
    live = await overview.show(world.gateway, mode="live")
    assert (live.decisions, live.webhooks.deliveries) == ([], 0)


async def test_the_sums_of_today_are_those_of_its_hours(world: World) -> None:
    await world.finish(await world.submitted())
    world.clock.advance(86_400)
    await world.finish(await world.submitted())
    await world.submitted()
    shown = await overview.show(world.gateway, mode="test")
    assert shown.today["held_generations"] == 2
    assert sum(one.counts["held_generations"] for one in shown.hours) == 3


async def test_it_takes_the_same_statements_however_many_tenants_there_are(world: World) -> None:
    async def counted() -> int:
        seen: list[str] = []

        def note(_one: Any, _two: Any, statement: str, *_more: Any) -> None:
            if not statement.startswith(("PRAGMA", "BEGIN", "ROLLBACK")):
                seen.append(statement)

        event.listen(Engine, "before_cursor_execute", note)
        try:
            await overview.show(world.gateway, mode="test")
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        return len(seen)

    few = await counted()
    for number in range(5):
        await world.another_key(tenant=f"tenant-{number}")
    await world.submitted()
    assert await counted() == few
    assert few <= 15
