"""What a client holds is given back when the client goes: places of streams and of held answers."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from app.server.protocol import GuardedProtocol, Limits
from tests.client_tokens.pages import page
from tests.console.network import served
from tests.harness import SUBMIT, World, until
from tests.streams import Stream, begin, finish

pytestmark = pytest.mark.anyio

READS = ("/status?wait=30", "/result?wait=30")


def _held(world: World) -> int:
    return world.gateway.following.watch.watchers


async def _leave(world: World, *calls: Stream) -> None:
    """The clients go, no time passes, and the server is through with their calls."""
    await until(lambda: _held(world) == len(calls))
    before_ms = world.clock.now_ms()
    await finish(*calls)
    assert (_held(world), world.clock.now_ms()) == (0, before_ms)
    assert len(world.gateway.access.permits) == 0


@pytest.mark.parametrize("path", READS)
async def test_a_held_answer_gives_its_place_back_when_its_client_goes(world: World, path: str) -> None:
    request_id = await world.submitted("queued")
    await world.status(request_id)
    calls = [begin(world, f"/v1/requests/{request_id}{path}") for _ in range(3)]
    await _leave(world, *calls)


async def test_a_stream_gives_its_place_back_when_its_client_goes(world: World) -> None:
    request_id = await world.submitted("queued")
    paths = (f"/v1/requests/{request_id}/events", f"/v1/requests/events?ids={request_id}", "/v1/events")
    calls = [begin(world, path) for path in paths]
    await until(lambda: all(one.status for one in calls))
    await _leave(world, *calls)
    await until(lambda: not world.gateway.following.watch._all())
    await until(lambda: not len(world.gateway.tasks))


async def test_a_token_whose_waits_were_all_given_up_may_wait_again_at_once(world: World) -> None:
    most = world.gateway.settings.streams_per_token
    mine = await page(world)
    request_id = await mine.submitted()
    path = f"/v1/requests/{request_id}/status?wait=30"
    who = {"authorization": f"Bearer {mine.token}"}
    given_up = [begin(world, path, **who) for _ in range(most)]
    await _leave(world, *given_up)
    again = [begin(world, path, **who) for _ in range(most)]
    await until(lambda: _held(world) == most)
    assert not any(one.over for one in again)
    await finish(*again)


async def test_a_change_still_reaches_those_who_stay(world: World) -> None:
    request_id = await world.submitted("queued")
    await world.status(request_id)
    path = f"/v1/requests/{request_id}/status?wait=30"
    stays, goes = begin(world, path), begin(world, path)
    await until(lambda: _held(world) == 2)
    await finish(goes)
    assert (_held(world), stays.over) == (1, False)
    await world.client.post(f"/v1/requests/{request_id}/cancel")
    await stays.ends()
    assert stays.answer.json()["status"] == "cancelled"


class TestOnSockets:
    """A real server, and clients that close their connections."""

    @pytest.fixture
    async def port(self, world: World) -> AsyncIterator[int]:
        edge: Any = world.client._transport
        protocol = partial(GuardedProtocol, Limits.of(world.gateway.settings))
        async with served(edge.app, http=protocol) as port:
            yield port

    async def _ask(
        self, world: World, port: int, method: str, path: str, body: bytes = b"", **headers: str
    ) -> asyncio.StreamWriter:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        sent = {
            "Host": "gateway.test",
            "Authorization": world.client.headers["authorization"],
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        } | headers
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()
        return writer

    async def test_a_closed_connection_ends_a_wait(self, world: World, port: int) -> None:
        request_id = await world.submitted("queued")
        await world.status(request_id)
        writers = [await self._ask(world, port, "GET", f"/v1/requests/{request_id}{path}") for path in READS]
        await until(lambda: _held(world) == len(READS))
        for writer in writers:
            writer.close()
        await until(lambda: _held(world) == 0)

    async def test_a_submit_whose_client_has_gone_waits_no_longer_and_its_job_goes_on(
        self, world: World, port: int
    ) -> None:
        body = world.client.build_request("POST", SUBMIT, json=world.body("queued")).content
        writer = await self._ask(world, port, "POST", SUBMIT, body, Prefer="wait=30")
        await until(lambda: _held(world) == 1)
        writer.close()
        await until(lambda: _held(world) == 0)
        (listed,) = (await world.get("/v1/requests"))["requests"]
        assert listed["state"] == "in_queue"

    async def test_a_quote_whose_client_has_gone_gives_its_fetches_back_and_a_submit_does_not(
        self, world: World, port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prober = world.gateway.submitter.inspector.prober
        never = asyncio.Event()

        async def hang(*_: Any) -> Any:
            await never.wait()

        def running() -> list[bool]:
            return [task.cancelling() > 0 for task in prober._running.values()]

        monkeypatch.setattr(prober, "_fetch", hang)
        body = world.client.build_request("POST", SUBMIT, json=world.body("queued")).content
        quote = SUBMIT.replace("/models/", "/quotes/")
        quotes = [await self._ask(world, port, "POST", quote, body) for _ in range(2)]
        await until(lambda: sum(prober._callers.values()) == 2)
        quotes[0].close()
        await until(lambda: sum(prober._callers.values()) == 1)
        assert running() == [False], "the other one still waits for it"
        quotes[1].close()
        await until(lambda: not prober._running)
        submit = await self._ask(world, port, "POST", SUBMIT, body)
        await until(lambda: sum(prober._callers.values()) == 1)
        submit.close()
        for _ in range(20):
            await asyncio.sleep(0.002)
        assert running() == [False]
        for task in prober._running.values():
            task.cancel()
