"""One job with a thousand watchers costs the upstream what one watcher costs it, and all see its end."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.harness import World, until
from tests.streams import Stream, begin, finish

pytestmark = pytest.mark.anyio

OF_EACH_KIND = 250
QUEUED_S, RUNNING_S = 8, 6
OVER = {"completed", "cancelled"}
WATCHED = {"streams_per_tenant": 4 * OF_EACH_KIND, "reads_per_minute": 0, "max_wait_s": 5}


@dataclass
class Crowd:
    """Polls at every second, long polls one after the other, and streams of the request and of the tenant.

    `ends` are the words that each of those who ask ended with.
    """

    world: World
    request_id: str
    ends: list[str] = field(default_factory=list)
    polls: int = 0
    resting: int = 0
    streams: list[Stream] = field(default_factory=list)
    _tasks: "list[asyncio.Task[None]]" = field(default_factory=list)
    _bell: asyncio.Event = field(default_factory=asyncio.Event)

    def come(self) -> None:
        paths = (f"/v1/requests/{self.request_id}/events", "/v1/events")
        self.streams = [begin(self.world, path) for path in paths for _ in range(OF_EACH_KIND)]
        ways = (self._poll, self._wait)
        self._tasks = [asyncio.create_task(way()) for way in ways for _ in range(OF_EACH_KIND)]

    async def second(self) -> None:
        """Let one second pass, and everybody who polls ask at its end and be answered."""
        await until(lambda: self.resting == OF_EACH_KIND)
        self.world.clock.advance(1)
        self.resting = sum(one.done() for one in self._tasks[:OF_EACH_KIND])
        bell, self._bell = self._bell, asyncio.Event()
        bell.set()
        await until(lambda: self.resting == OF_EACH_KIND)

    async def gone(self) -> None:
        await finish(*self.streams)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def waiting(self) -> int:
        """How many still wait for the end."""
        of_request, of_tenant = self.streams[:OF_EACH_KIND], self.streams[OF_EACH_KIND:]
        return (
            2 * OF_EACH_KIND
            - len(self.ends)
            + sum(not one.over for one in of_request)
            + sum(b'"final":true' not in one.body for one in of_tenant)
        )

    async def _poll(self) -> None:
        while (word := (await self._status())["status"]) not in OVER:
            self.polls += 1
            self.resting += 1
            await self._bell.wait()
        self.ends.append(word)
        self.resting += 1

    async def _wait(self) -> None:
        while (word := (await self._status("?wait=5"))["status"]) not in OVER:
            pass
        self.ends.append(word)

    async def _status(self, query: str = "") -> dict[str, Any]:
        return await self.world.get(f"/v1/requests/{self.request_id}/status{query}")


@pytest.mark.parametrize("world_settings", [WATCHED])
async def test_a_thousand_watchers_of_one_job_cost_the_polls_of_one_and_all_see_its_end(
    world: World,
) -> None:
    request_id = await world.submitted("fail")
    upstream_request_id = world.received()[0]["request_id"]
    begun_ms = world.clock.now_ms()
    crowd = Crowd(world, request_id)
    crowd.come()
    try:
        await until(lambda: all(one.status for one in crowd.streams))
        for _ in range(QUEUED_S):
            await crowd.second()
        world.sandbox.clock.now += world.sandbox.options.queue_s
        for _ in range(RUNNING_S):
            await crowd.second()
        world.sandbox.clock.now += world.sandbox.options.run_s
        seconds = 0
        while crowd.waiting and (seconds := seconds + 1) < 30:
            await crowd.second()
            await asyncio.sleep(0.05)
        assert crowd.waiting == 0
        assert crowd.ends == ["completed"] * 2 * OF_EACH_KIND
        life = ["dispatching", "in_queue", "in_progress", "failed"]
        for at, stream in enumerate(crowd.streams):
            own = stream.states
            assert own == life[len(life) - len(own) :]
            assert len(own) >= (4 if at < OF_EACH_KIND else 2), "a tenant's begins with what comes"
    finally:
        await crowd.gone()
    passed_s = (world.clock.now_ms() - begun_ms) / 1000
    calls = world.sandbox.ledger()["requests"][upstream_request_id]
    # One look for each second of freshness at most, the one at the very beginning, and the result once.
    assert calls["status"] <= passed_s / world.gateway.settings.freshness_s + 1
    assert calls["result"] == 1
    assert crowd.polls > OF_EACH_KIND * (QUEUED_S + RUNNING_S), "they did ask"
    assert world.gateway.following.watch.watchers == 0


@pytest.mark.parametrize("world_settings", [WATCHED])
async def test_watchers_that_come_one_after_the_other_cost_no_more_than_their_time(world: World) -> None:
    """Each is the only one while it is there: what is watched ends and begins with every one of them."""
    request_id = await world.submitted("queued")
    upstream_request_id = world.received()[0]["request_id"]
    for _ in range(5):
        for _ in range(20):
            stream = begin(world, f"/v1/requests/{request_id}/events")
            await stream.has(2)
            await finish(stream)
        world.clock.advance(1)
    calls = world.sandbox.ledger()["requests"][upstream_request_id]
    assert calls["status"] <= 5
