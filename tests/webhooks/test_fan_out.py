"""A message is told to exactly the endpoints that heard it, whoever makes its deliveries and when."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from app.db.schema.tables import webhook_deliveries, webhook_endpoints
from app.webhooks.deliveries import backlog, claims
from app.webhooks.kinds import Kind
from app.webhooks.messages import outbox
from app.webhooks.messages.fan_out import fan_out, unmade, waiting_since
from app.webhooks.messages.outbox import Bodies, Message
from app.webhooks.registry import subscriptions
from app.webhooks.registry.subscriptions import Subscription
from tests.harness import World
from tests.webhooks.receiver import Receiver, deliver, endpoint, messages

pytestmark = pytest.mark.anyio


async def made(world: World) -> list[Any]:
    """The deliveries that are there, without those that are still to be made."""
    query = select(webhook_deliveries).order_by(webhook_deliveries.c.id)
    return await world.gateway.db.read(lambda connection: list(connection.execute(query).all()))


async def state_of(world: World, endpoint_id: str, **values: Any) -> None:
    def change(connection: Connection) -> None:
        changed = update(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id).values(**values)
        connection.execute(changed)
        subscriptions.changed(connection, world.tenant_id, "test")

    await world.gateway.db.write(change)


async def test_who_hears_is_decided_when_it_happens_and_an_end_writes_the_message_alone(
    world: World, receiver: Receiver
) -> None:
    first, second = await endpoint(world, receiver), await endpoint(world, receiver)
    await state_of(world, second.id, state="disabled")
    await world.finish(await world.submitted())
    assert await made(world) == []
    (message,) = await messages(world)
    assert sorted(message.heard_by.split()) == sorted([first.id, f"-{second.id}"])
    await state_of(world, second.id, state="enabled")
    await endpoint(world, receiver)
    await deliver(world)
    assert {(one.endpoint_id, one.state, one.last_error) for one in await made(world)} == {
        (first.id, "delivered", None),
        (second.id, "cancelled", "endpoint_stopped"),
    }
    (message,) = await messages(world)
    assert (message.heard_by, len(receiver.received)) == (None, 1)


async def test_servers_that_make_deliveries_at_once_make_each_one_once(
    world: World, receiver: Receiver
) -> None:
    for _ in range(3):
        await endpoint(world, receiver)
    await world.finish(await world.submitted())
    db = world.gateway.db
    await asyncio.gather(*(db.write_for(f"lane {number}", fan_out) for number in range(6)))
    assert len({one.endpoint_id for one in await made(world)}) == len(await made(world)) == 3


async def test_what_is_still_to_be_made_is_due_counted_and_made_where_there_is_no_room(
    world: World, receiver: Receiver
) -> None:
    hearing = await endpoint(world, receiver)
    await world.finish(await world.submitted())
    db = world.gateway.db
    (message,) = await messages(world)
    assert await db.read(waiting_since) == await db.read(claims.next_due) == message.created_at_ms
    for waits in ((await db.read(backlog.waiting))["enabled"], await db.read(backlog.of_mode, "test")):
        assert (waits.deliveries, waits.due_ms) == (1, message.created_at_ms)
    assert (await db.read(backlog.of_mode, "live")).deliveries == 0
    world.clock.advance(1)
    path, body = f"/v1/webhooks/endpoints/{hearing.id}/replays", {"since": "2001-01-01T00:00:00Z"}
    replay = (await world.client.post(path, json={**body, "only_failed": False})).json()
    assert await world.gateway.upkeep.replays.run_once() == 0, "the range's deliveries are not all made"
    deliverer = world.gateway.webhooks
    deliverer.at_once = 0
    deliverer.due.woken.set()
    assert await deliverer.run_once() == 0
    (row,) = await made(world)
    assert (row.state, row.attempts, row.created_at_ms) == ("pending", 0, message.created_at_ms)
    assert (await db.read(backlog.waiting))["enabled"].deliveries == 1
    assert await world.gateway.upkeep.replays.run_once() == 1
    assert (await world.get(f"/v1/webhooks/replays/{replay['replay_id']}"))["state"] == "finished"


async def test_what_happens_now_does_not_wait_until_a_backlog_has_its_deliveries(world: World) -> None:
    def tell(connection: Connection, of: range) -> None:
        for number in of:
            message = Message(f"msg_{number}", world.tenant_id, "test", Kind.THRESHOLD, number)
            outbox.write(connection, message, Bodies("{}"), [Subscription("ep_1", False, True)] * 2)

    db = world.gateway.db
    await db.write(tell, range(1_000, 1_600))
    assert [(one.deliveries, one.due_ms) for one in await db.read(unmade, limit=150)] == [(300, 1_000)]
    assert await db.write(fan_out)
    told = {one.message_id for one in await made(world)}
    assert {"msg_1000", "msg_1599"} <= told
    assert "msg_1400" not in told
    while await db.write(fan_out):
        pass
    assert len(await made(world)) == 1_200
    assert await db.read(waiting_since) is None


async def test_many_endpoints_have_the_deliveries_of_few_messages_made_at_a_time(world: World) -> None:
    heard = [Subscription(f"ep_{number}", False, True) for number in range(300)]

    def tell(connection: Connection) -> None:
        for number in range(40):
            message = Message(f"msg_{number}", world.tenant_id, "test", Kind.THRESHOLD, number)
            outbox.write(connection, message, Bodies("{}"), heard if number < 12 else heard[:1])

    db = world.gateway.db
    await db.write(tell)
    assert await db.write(fan_out), "others wait"
    of_message = Counter(one.message_id for one in await made(world))
    assert sum(of_message.values()) <= 1_920 + 640 + 2 * 300
    assert {"msg_0", "msg_39"} <= set(of_message)
    while await db.write(fan_out):
        pass
    assert (await db.read(waiting_since), len(await made(world))) == (None, 12 * 300 + 28)
