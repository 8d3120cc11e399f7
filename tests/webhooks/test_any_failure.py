"""A server that dies at any event of a delivery: what it did not record is sent again, under the same id."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from structlog.testing import capture_logs

from app.webhooks.deliveries.delivery import LEASE_S
from app.webhooks.kinds import Kind
from app.webhooks.messages import outbox
from app.webhooks.messages.outbox import Bodies, Message
from tests.gateway.dying import Dying, tick
from tests.gateway.events import counting
from tests.harness import World, open_world, settings_for
from tests.sandbox.harness import Running
from tests.webhooks.receiver import KEY, Receiver, attempts, deliver, deliveries, endpoint

pytestmark = pytest.mark.anyio

LEAST = 12  # events of two deliveries


@asynccontextmanager
async def a_world(url: str, folder: Path, sandbox: Running, receiver: Receiver) -> AsyncIterator[World]:
    more = {"webhook_key": KEY, "http_webhook_hosts": f"127.0.0.1:{receiver.port}"}
    async with open_world(settings_for(url, folder, sandbox.options.public_url, **more), sandbox) as world:
        yield world


def tell(connection: Connection, tenant_id: str, number: int, at_ms: int) -> None:
    message = Message(id=f"msg_{number}", tenant_id=tenant_id, mode="test", kind=Kind.COMPLETED, at_ms=at_ms)
    outbox.tell(connection, message, lambda _: Bodies(f'{{"number":{number}}}'))


async def test_a_death_at_any_event_of_a_delivery_loses_nothing_and_makes_no_second_id(
    database_url: str, tmp_path: Path, sandbox: Running, receiver: Receiver
) -> None:
    events = Dying(database_url)
    with capture_logs(), counting(events):
        async with a_world(database_url, tmp_path, sandbox, receiver) as world:
            made = [await endpoint(world, receiver, path) for path in ("/well", "/late")]
            world.gateway.db.announcements._run = None
            deliverer = world.gateway.webhooks
            for number in count(1):
                events.dies_at(number)
                receiver.answers["/late"] = [503]
                await world.gateway.db.write(tell, world.tenant_id, number, world.clock.now_ms())
                await tick(deliverer, events, lambda: deliverer._under_way)
                has_died = events.is_dead
                await _mended(world)
                _check(receiver, await deliveries(world), number, len(made))
                if not has_died:
                    break
            assert number > LEAST
            rows = await attempts(world)
            assert {one.error for one in rows} == {None, "interrupted"}
            by_delivery: dict[str, list[int]] = {}
            for row in rows:
                by_delivery.setdefault(row.delivery_id, []).append(row.n)
            assert all(sorted(each) == list(range(1, len(each) + 1)) for each in by_delivery.values())


async def _mended(world: World) -> None:
    """Another server comes: what was leased is due once the lease has ended, the rest by the schedule."""
    for _ in range(4):
        world.clock.advance(LEASE_S + 400)
        await deliver(world)


def _check(receiver: Receiver, rows: list[Any], number: int, endpoints: int) -> None:
    own = [one for one in rows if one.message_id == f"msg_{number}"]
    assert [one.state for one in own] == ["delivered"] * endpoints, (number, own)
    came = [one for one in receiver.received if one.id == f"msg_{number}"]
    assert {one.path for one in came} == {"/well", "/late"}
    assert {one.body for one in came} == {f'{{"number":{number}}}'.encode()}
