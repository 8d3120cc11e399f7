"""From RunComfy's end to the first attempt there is one poll's interval, and no other timer."""

import pytest

from tests.harness import World, until
from tests.webhooks.receiver import Receiver, attempts, deliveries, endpoint

pytestmark = pytest.mark.anyio


async def test_the_poll_that_sees_the_end_wakes_the_sender_and_no_time_passes_until_the_attempt(
    world: World, receiver: Receiver
) -> None:
    await endpoint(world, receiver)
    deliverer = world.gateway.webhooks
    deliverer.due.listen()
    request_id = await world.submitted()
    deliverer.due.woken.clear()
    assert await deliverer.run_once() == 0
    await world.finish(request_id)
    ended_ms = world.clock.now_ms()
    await until(deliverer.due.woken.is_set)
    assert await deliverer.run_once() == 1, "it is due at once, not at the next tick"
    await until(lambda: not deliverer.under_way)
    (delivery,), (attempt,) = await deliveries(world), await attempts(world)
    assert (delivery.created_at_ms, attempt.at_ms) == (ended_ms, ended_ms)
    record = await world.get(f"/v1/requests/{request_id}")
    assert record["finished_at"] is not None
