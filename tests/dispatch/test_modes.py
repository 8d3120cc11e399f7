"""The modes take turns in the dispatch loop: an error of one leaves nothing of the other unsent."""

import pytest

from app.auth.keys import Mode
from app.generations.dispatch.loop import DispatchLoop
from app.generations.queue import backlog
from app.generations.store import Generation
from tests.harness import World, until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("world_settings", [{"queueing": True}])
async def test_a_request_that_was_dequeued_is_sent_although_the_next_dequeue_fails(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, dequeue = world.gateway.dispatch_loop, DispatchLoop._dequeue
    asked: list[Mode] = []

    async def dequeue_once(self: DispatchLoop, mode: Mode) -> Generation | None:
        asked.append(mode)
        if len(asked) > 1:
            raise OSError("broken on purpose")
        return await dequeue(self, "test")

    await world.gateway.db.write(backlog.pause, ["test"], 1)
    request_id = await world.submitted("queued")
    await world.gateway.db.write(backlog.pause, ["test"], None)
    monkeypatch.setattr(DispatchLoop, "_dequeue", dequeue_once)
    with pytest.raises(OSError, match="on purpose"):
        await loop.run_once()
    await until(lambda: not loop.under_way)
    assert (await world.record(request_id))["state"] == "in_queue"
