"""Ten endpoints, of which one hangs, one fails and one drips: the other seven hear at once."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection, select

from app.config import Settings
from app.db.schema.tables import webhook_attempts, webhook_deliveries
from app.webhooks.kinds import Kind
from app.webhooks.messages import outbox
from app.webhooks.messages.outbox import Bodies, Message
from tests.harness import World, until
from tests.webhooks.receiver import KEY, Receiver, endpoint

pytestmark = pytest.mark.anyio

ENDPOINTS, EVENTS = 10, 30
SHARE = Settings.model_fields["webhooks_per_endpoint"].default
BAD = {"/0": "hangs", "/1": "fails", "/2": "drips"}


@pytest.fixture
def world_settings(receiver: Receiver) -> dict[str, Any]:
    return {
        "webhook_key": KEY,
        "http_webhook_hosts": f"127.0.0.1:{receiver.port}",
        "webhooks_per_tenant": 40,
    }


def tell(connection: Connection, tenant_id: str, number: int, at_ms: int) -> None:
    message = Message(id=f"msg_{number}", tenant_id=tenant_id, mode="test", kind=Kind.COMPLETED, at_ms=at_ms)
    outbox.tell(connection, message, lambda _: Bodies("{}"))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_three_bad_endpoints_take_their_own_room_and_delay_no_other(
    world: World, receiver: Receiver
) -> None:
    """In counts, not in time: what the seven hear does not wait for the end of any bad attempt."""
    held = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, _: Any) -> None:
        await held.wait()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 x\r\n")
        await writer.drain()
        await held.wait()

    receiver.always |= {"/0": hang, "/1": 500, "/2": drip}
    ids = {path: (await endpoint(world, receiver, path)).id for path in map("/{}".format, range(ENDPOINTS))}
    deliverer = world.gateway.webhooks
    for number in range(EVENTS):
        await world.gateway.db.write(tell, world.tenant_id, number, world.clock.now_ms())
    well = [path for path in ids if path not in BAD]
    for _ in range(EVENTS):
        deliverer.due.woken.set()
        await deliverer.run_once()
        await until(lambda: deliverer.under_way <= 2 * SHARE)  # those that hang and those that drip
    assert [len(receiver.at(path)) for path in well] == [EVENTS] * len(well), (
        "while the bad ones are under way"
    )
    assert [len(receiver.at(path)) for path in ("/0", "/2")] == [SHARE, SHARE], "no more than their own"
    held.set()
    await until(lambda: not deliverer.under_way)
    first = select(webhook_attempts.c.at_ms, webhook_deliveries.c.created_at_ms).join_from(
        webhook_attempts, webhook_deliveries, webhook_attempts.c.delivery_id == webhook_deliveries.c.id
    )
    assert await world.gateway.db.read(lambda connection: len(connection.execute(first).all())) >= 7 * EVENTS
