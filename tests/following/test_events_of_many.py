"""One event stream for many requests, and what strict readers make of any stream."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.api.v1.events import MAX_REQUESTS
from app.kit.ids import new_id
from tests.client_tokens.pages import page
from tests.contract.published import problem_of
from tests.harness import World, until
from tests.streams import Message, Stream, moving, streaming

pytestmark = pytest.mark.anyio

MANY = "/v1/requests/events"


def _of(*request_ids: str) -> str:
    return f"{MANY}?ids={','.join(request_ids)}"


def _states(stream: Stream, request_id: str) -> list[str | None]:
    return [one.state for one in _about(stream, request_id) if one.event == "state"]


def _about(stream: Stream, request_id: str) -> list[Message]:
    return [one for one in stream.messages if one.data and one.data["request_id"] == request_id]


async def test_every_request_is_told_from_its_beginning_to_its_end_in_one_stream(world: World) -> None:
    ends = {"canned": "completed", "fail": "failed", "queued": "cancelled"}
    made = {await world.submitted(directive): end for directive, end in ends.items()}
    first, *_, last = made
    await world.finish(first)
    async with streaming(world, _of(*made)) as stream:
        await until(lambda: len(_states(stream, last)) == 2)
        assert world.gateway.following.watch.watchers == 1, "one place, however many requests"
        await world.client.post(f"/v1/requests/{last}/cancel")
        world.sandbox.clock.now += world.sandbox.options.queue_s + world.sandbox.options.run_s
        await moving(world, lambda: stream.over)
        assert (stream.status, stream.ended) == (200, True)
        for request_id, end in made.items():
            versions = [one.data and one.data.get("version") for one in _about(stream, request_id)]
            told = [one for one in versions if one]
            assert told == list(range(1, len(told) + 1))
            assert _states(stream, request_id)[-1] == end
        assert [one.id for one in stream.messages] == [None] * len(stream.messages)


async def test_a_request_that_has_ended_is_read_no_more_while_the_others_go_on(world: World) -> None:
    done, live = await world.submitted("canned"), await world.submitted("queued")
    await world.finish(done)
    async with streaming(world, _of(done, live, done)) as stream:
        await until(lambda: _states(stream, done)[-1:] == ["completed"] and len(_states(stream, live)) == 2)
        await until(lambda: len(world.gateway.following.watch._all()) == 1)
        assert not stream.over


async def test_what_has_ended_is_told_at_once_and_so_is_the_end(world: World) -> None:
    request_id = await world.submitted("canned")
    await world.finish(request_id)
    async with streaming(world, _of(request_id)) as stream:
        await stream.ends()
        assert _states(stream, request_id)[-1] == "completed"


async def test_one_request_that_is_not_visible_is_named(world: World) -> None:
    own = await world.submitted("queued")
    stranger = world.with_key(await world.another_key(tenant="another"))
    problem = problem_of(await world.client.get(_of(own), headers=stranger), 404, "request_not_found")
    assert problem["request_id"] == own
    missing = new_id(world.clock.now_ms())
    for path, named in ((_of(own, missing), missing), (_of(own, "x"), None)):
        problem = problem_of(await world.client.get(path), 404, "request_not_found")
        assert problem.get("request_id") == named


async def test_a_token_follows_its_own_requests_and_a_watching_one_its_request(world: World) -> None:
    mine, theirs = await page(world, end_user="a"), await page(world, end_user="b")
    made = [await mine.submitted(), await mine.submitted()]
    watching = await page(world, request_id=made[0])
    for who, ids in ((mine, made), (watching, made[:1])):
        async with streaming(world, _of(*ids), authorization=f"Bearer {who.token}") as stream:
            await until(lambda stream=stream, ids=ids: _states(stream, ids[-1]))  # type: ignore[misc]
    for who in (theirs, watching):
        problem_of(await who.get(_of(*made)), 404, "request_not_found")


async def test_more_than_one_stream_may_name_is_refused(world: World) -> None:
    ids = [new_id(world.clock.now_ms()) for _ in range(MAX_REQUESTS + 1)]
    problem = problem_of(await world.client.get(_of(*ids)), 400, "invalid_parameter")
    assert [one["pointer"] for one in problem["errors"]] == ["#/query/ids"]
    problem_of(await world.client.get(_of(*ids[1:])), 404, "request_not_found")
    problem_of(await world.client.get(MANY), 400, "invalid_parameter")
    problem_of(await world.client.get(_of(*ids, *ids)), 400, "invalid_parameter")


# --- readers


@dataclass
class Decoder:
    """A reader of event streams as strict as `httpx-sse` 0.4, a common one, whose decoder this follows.

    A blank line is an event if anything stands before it, also a `retry` alone; and once an event had an id,
    every blank line is one.
    """

    event: str = ""
    data: list[str] = field(default_factory=list)
    id: str = ""
    retry: int | None = None

    def events(self, text: str) -> Iterator[tuple[str, str, str, int | None]]:
        for line in text.split("\n")[:-1]:
            if line.startswith(":"):
                continue
            if line:
                self._take(line)
            elif self.event or self.data or self.id or self.retry is not None:
                yield self.event or "message", "\n".join(self.data), self.id, self.retry
                self.event, self.data, self.retry = "", [], None

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self.event = value
            case "data":
                self.data.append(value)
            case "id":
                self.id = value
            case "retry":
                self.retry = int(value)


@pytest.mark.parametrize("path", ["/v1/requests/{id}/events", MANY + "?ids={id}", "/v1/events"])
async def test_a_strict_reader_sees_no_empty_event(world: World, path: str) -> None:
    before: dict[str, Any] = {"last_event_id": "0"} if path == "/v1/events" else {}
    request_id = await world.submitted("queued")
    async with streaming(world, path.replace("{id}", request_id), **before) as stream:
        await until(lambda: len([one for one in stream.messages if one.event]) >= 2)
        pings = stream.pings
        await moving(world, lambda: stream.pings > pings + 1, step_s=5)
        await world.client.post(f"/v1/requests/{request_id}/cancel")
        await until(lambda: "cancelled" in stream.text)
        seen = list(Decoder().events(stream.text))
    assert {name for name, *_ in seen} <= {"state", "position"}
    assert all(data for _, data, *_ in seen)
    assert [retry for *_, retry in seen] == [1000] + [None] * (len(seen) - 1)
