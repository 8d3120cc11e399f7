"""Two servers that send webhooks at once: a message has one id, and limits hold for both together."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from app.webhooks.kinds import Kind
from app.webhooks.messages import outbox
from app.webhooks.messages.outbox import Bodies, Message
from tests.harness import World, open_world, settings_for, until
from tests.sandbox.harness import Running
from tests.webhooks.receiver import KEY, Answer, Receiver, attempts, deliveries, endpoint, reply

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("database_url", ["postgresql"], indirect=True),
]

EVENTS, PER_ENDPOINT, PER_TENANT = 20, 2, 3
PATHS = ("/0", "/1", "/2")


@pytest.fixture
async def replicas(
    database_url: str, tmp_path: Path, sandbox: Running, receiver: Receiver
) -> AsyncIterator[tuple[World, World]]:
    settings = settings_for(
        database_url,
        tmp_path,
        sandbox.options.public_url,
        webhook_key=KEY,
        http_webhook_hosts=f"127.0.0.1:{receiver.port}",
        webhooks_per_endpoint=PER_ENDPOINT,
        webhooks_per_tenant=PER_TENANT,
    )
    async with open_world(settings, sandbox) as one, open_world(settings, sandbox) as other:
        yield one, other


def tell(connection: Connection, tenant_id: str, number: int, at_ms: int) -> None:
    message = Message(id=f"msg_{number}", tenant_id=tenant_id, mode="test", kind=Kind.COMPLETED, at_ms=at_ms)
    outbox.tell(connection, message, lambda _: Bodies(f'{{"number":{number}}}'))


async def test_two_servers_send_each_message_once_and_keep_within_what_is_allowed_together(
    replicas: tuple[World, World], receiver: Receiver
) -> None:
    under_way: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def take(path: str, writer: asyncio.StreamWriter) -> None:
        under_way[path] += 1
        most[path] = max(most[path], under_way[path])
        most["in all"] = max(most["in all"], under_way.total())
        for _ in range(5):  # turns of the loop, in which others may come
            await asyncio.sleep(0)
        under_way[path] -= 1
        writer.write(reply(200))
        await writer.drain()

    def answering(path: str) -> Answer:
        return lambda _, writer: take(path, writer)

    one, _ = replicas
    for path in PATHS:
        receiver.always[path] = answering(path)
        await endpoint(one, receiver, path)
    for number in range(EVENTS):
        await one.gateway.db.write(tell, one.tenant_id, number, one.clock.now_ms())

    async def serve(world: World) -> None:
        while len(receiver.received) < EVENTS * len(PATHS):
            world.gateway.webhooks.due.woken.set()
            await world.gateway.webhooks.run_once()
            await asyncio.sleep(0)
        await until(lambda: not world.gateway.webhooks.under_way)

    await asyncio.gather(*(serve(world) for world in replicas))
    assert {row.state for row in await deliveries(one)} == {"delivered"}
    got = Counter((message.path, message.id, message.body) for message in receiver.received)
    assert set(got.values()) == {1}
    assert set(got) == {
        (path, f"msg_{number}", f'{{"number":{number}}}'.encode())
        for path in PATHS
        for number in range(EVENTS)
    }
    assert {row.n for row in await attempts(one)} == {1}
    assert all(sum(world.gateway.webhooks.attempts.values()) for world in replicas), "both took part"
    assert max(most[path] for path in PATHS) <= PER_ENDPOINT
    assert most["in all"] <= PER_TENANT
