"""GET /v1/requests/{request_id}/events and GET /v1/events: each change once, in order, from any cut on."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import Connection

from app.api.v1 import events as streams_of_events
from app.generations import events
from app.generations.following import watch
from tests.contract.published import Contract, keep_promises, problem_of
from tests.harness import SUBMIT, World, open_world, settings_for, until
from tests.sandbox.harness import TOKEN, Running
from tests.streams import Stream, begin, finish, moving, parse, resuming, streaming

pytestmark = pytest.mark.anyio

LIFE = ["dispatching", "in_queue", "in_progress", "completed"]
MISSING = "01890000-0000-7000-8000-000000000000"
ALL = "/v1/events"


def of(request_id: str) -> str:
    return f"/v1/requests/{request_id}/events"


def _start(world: World) -> None:
    """Let every job's least time in the sandbox's queue pass."""
    world.sandbox.clock.now += world.sandbox.options.queue_s


def _end(world: World) -> None:
    """And the time that it runs."""
    world.sandbox.clock.now += world.sandbox.options.run_s


def _numbers(*streams: Stream) -> list[int | None]:
    return [one.id for stream in streams for one in stream.events]


async def _lived(world: World, stream: Stream, count: int = 3) -> None:
    """The stream of one request, to its end, with each state on its own; it has so many before that."""
    _start(world)
    await moving(world, lambda: len(stream.events) >= count)
    _end(world)
    await moving(world, lambda: stream.over)


# --- one request: 200


async def test_each_state_comes_once_and_in_order_and_the_last_one_ends_the_stream(
    world: World, contract: Contract
) -> None:
    request_id = await world.submitted("canned")
    async with streaming(world, of(request_id)) as stream:
        assert stream.status == 200
        await _lived(world, stream)
        assert (stream.ended, stream.error) == (True, None)
        assert stream.states == LIFE
        assert _numbers(stream) == [1, 2, 3, 4]
        assert [one.data and one.data["final"] for one in stream.events] == [False, False, False, True]
        assert {one.event for one in stream.events} == {"state"}
        keep_promises(stream.answer)
        assert contract.breaches(stream.answer) == []
        recorded = (await world.record(request_id))["events"]
        shown = [
            {name: one.data and one.data[name] for name in ("version", "number", "state", "at", "reason")}
            for one in stream.events
        ]
        assert shown == recorded


async def test_a_stream_says_that_it_is_not_to_be_kept_or_held_up(world: World) -> None:
    async with streaming(world, of(await world.submitted("queued"))) as stream:
        await stream.has(2)
        assert stream.headers["content-type"].partition(";")[0] == "text/event-stream"
        assert (stream.headers["cache-control"], stream.headers["x-accel-buffering"]) == ("no-store", "no")
        assert stream.text.count("retry: ") == 1


async def test_what_is_over_is_told_from_the_beginning_at_once(world: World) -> None:
    request_id = await world.submitted("fail")
    await world.finish(request_id)
    async with streaming(world, of(request_id)) as stream:
        await stream.ends()
        assert stream.ended
        assert stream.states[-1] == "failed"
        assert _numbers(stream) == list(range(1, len(stream.events) + 1))


async def test_every_end_is_the_last_message(world: World) -> None:
    cancelled = await world.submitted("queued")
    rejected = problem_of(await world.submit("reject=422"), 422, "upstream_rejected")["request_id"]
    for request_id, last in ((cancelled, "cancelled"), (rejected, "rejected")):
        async with streaming(world, of(request_id)) as stream:
            await stream.has(2)
            if not stream.over:
                await world.client.post(f"/v1/requests/{request_id}/cancel")
            await stream.ends()
            assert (stream.ended, stream.states[-1]) == (True, last)
            assert stream.messages[-1].id is not None


async def test_a_stream_cut_at_any_byte_and_resumed_shows_each_event_exactly_once(world: World) -> None:
    request_id = await world.submitted("canned")
    await world.finish(request_id)
    whole = begin(world, of(request_id))
    await whole.ends()
    assert whole.states[-1] == "completed"
    rest: dict[int | None, list[int | None]] = {}
    for cut in range(len(whole.text) + 1):
        seen = [one.id for one in parse(whole.text[:cut]) if one.id is not None]
        last = seen[-1] if seen else None
        if last not in rest:
            resumed = begin(world, of(request_id), **resuming(last))
            await resumed.ends()
            assert resumed.status == (204 if last == whole.events[-1].id else 200)
            rest[last] = _numbers(resumed)
        assert seen + rest[last] == _numbers(whole)
    assert len(rest) == len(whole.events) + 1


async def test_a_live_stream_cut_after_every_event_shows_each_exactly_once(world: World) -> None:
    request_id = await world.submitted("canned")
    collected: list[Any] = []
    last = None
    for _ in LIFE:
        async with streaming(world, of(request_id), **resuming(last)) as stream:
            await moving(world, lambda stream=stream: stream.events)  # type: ignore[misc]
            collected.append(stream.states[0])
            last = stream.events[0].id
        if collected[-1] == "in_queue":
            _start(world)
        if collected[-1] == "in_progress":
            _end(world)
    assert collected == LIFE
    assert (await world.client.get(of(request_id), headers={"Last-Event-ID": "4"})).status_code == 204


async def test_the_last_event_can_be_named_in_the_query_and_the_header_goes_first(world: World) -> None:
    request_id = await world.submitted("fail")
    await world.finish(request_id)
    everything = (await world.record(request_id))["version"]
    for path, headers, first in (
        ("?after=1", {}, 2),
        ("?after=1", {"last_event_id": "2"}, 3),
        ("?after=0", {}, 1),
    ):
        async with streaming(world, of(request_id) + path, **headers) as stream:
            await stream.ends()
            assert _numbers(stream) == list(range(first, everything + 1))


async def test_a_place_in_the_queue_comes_without_an_id_and_only_when_it_changes(world: World) -> None:
    before, watched = await world.submitted("queued"), await world.submitted("queued")

    def places() -> list[Any]:
        return [one.data and one.data["queue_position"] for one in stream.messages if one.event == "position"]

    async with streaming(world, of(watched)) as stream:
        await moving(world, places)
        for _ in range(5):
            world.clock.advance(1)
            await world.get(f"/v1/requests/{watched}/status")
        assert len(places()) == 1
        await world.client.post(f"/v1/requests/{before}/cancel")
        await moving(world, lambda: len(places()) > 1)
        assert places() == [places()[0], places()[0] - 1]
        assert all(one.id is None for one in stream.messages if one.event == "position")
        assert stream.states == ["dispatching", "in_queue"]


async def test_a_quiet_stream_shows_a_sign_of_life_when_the_time_has_come_and_no_sooner(
    world: World,
) -> None:
    request_id = await world.submitted("queued")
    async with streaming(world, of(request_id)) as one, streaming(world, ALL) as all_of_them:
        await one.has(2)
        for stream in (one, all_of_them):
            before_ms, pings = world.clock.now_ms(), stream.pings
            await moving(world, lambda stream=stream, pings=pings: stream.pings > pings)  # type: ignore[misc]
            if stream is one:
                assert world.clock.now_ms() - before_ms >= world.gateway.settings.heartbeat_s * 1000
        assert one.states == ["dispatching", "in_queue"]


# --- one request: 400, 404


ODD_IDS = ["x", "-1", "1.5", "1 2", "0x1", "1e3", '"3"', "1" * 16]


async def test_what_is_no_events_id_is_refused(world: World) -> None:
    request_id = await world.submitted("queued")
    for path in (of(request_id), ALL):
        for odd in ODD_IDS:
            answer = await world.client.get(path, headers={"Last-Event-ID": odd})
            problem = problem_of(answer, 400, "invalid_parameter")
            assert [one["pointer"] for one in problem["errors"]] == ["#/header/Last-Event-ID"]
            answer = await world.client.get(path, params={"after": odd})
            problem = problem_of(answer, 400, "invalid_parameter")
            assert [one["pointer"] for one in problem["errors"]] == ["#/query/after"]


async def test_another_tenants_request_is_as_missing_as_none(world: World) -> None:
    request_id = await world.submitted("queued")
    stranger = world.with_key(await world.another_key(tenant="another"))
    problem_of(await world.client.get(of(request_id), headers=stranger), 404, "request_not_found")
    live = world.with_key(await world.another_key(mode="live"))
    problem_of(await world.client.get(of(request_id), headers=live), 404, "request_not_found")
    for none in (MISSING, "x"):
        problem_of(await world.client.get(of(none)), 404, "request_not_found")


# --- all of a tenant's: 200


async def test_all_requests_are_in_one_stream_numbered_without_a_gap(
    world: World, contract: Contract
) -> None:
    async with streaming(world, ALL, last_event_id="0") as stream:
        made = [await world.submitted(one) for one in ("canned", "fail", "queued")]
        await world.client.post(f"/v1/requests/{made[2]}/cancel")
        for request_id in made[:2]:
            await world.finish(request_id)
        ends = {"completed", "failed", "cancelled"}
        await until(lambda: len(ends & set(stream.states)) == 3)
        assert _numbers(stream) == list(range(1, len(stream.events) + 1))
        for request_id, end in zip(made, ("completed", "failed", "cancelled"), strict=True):
            own = [one.data for one in stream.events if one.data and one.data["request_id"] == request_id]
            assert [one["version"] for one in own] == list(range(1, len(own) + 1))
            assert [one["state"] for one in own if one["final"]] == [end]
        assert not stream.over, "a tenant has no last event"
        keep_promises(stream.answer)
        assert contract.breaches(stream.answer) == []


async def test_without_a_last_event_it_begins_with_what_comes(world: World) -> None:
    await world.submitted("queued")
    async with streaming(world, ALL) as stream:
        request_id = await world.submitted("queued")
        await stream.has(2)
        assert {one.data and one.data["request_id"] for one in stream.events} == {request_id}
        assert _numbers(stream) == [3, 4]


async def test_what_was_missed_comes_at_once_though_nothing_new_happens(world: World) -> None:
    for _ in range(3):
        await world.submitted("queued")
    for last in range(6):
        async with streaming(world, ALL, last_event_id=str(last)) as stream:
            await stream.has(6 - last)
            assert _numbers(stream) == list(range(last + 1, 7))
    async with streaming(world, f"{ALL}?after=5") as stream:
        await stream.has(1)


async def test_what_was_missed_comes_once_beside_another_stream_that_is_up_to_date(world: World) -> None:
    await world.submitted("queued")
    async with streaming(world, ALL) as other:
        await world.submitted("queued")
        await other.has(2)
        for last in range(5):
            async with streaming(world, ALL, last_event_id=str(last)) as stream:
                await stream.has(4 - last)
                assert _numbers(stream) == list(range(last + 1, 5))
        assert _numbers(other) == [3, 4]


async def test_who_is_further_behind_than_memory_goes_reads_the_rows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_MAX_KEPT", 3)
    monkeypatch.setattr(watch, "_PAGE", 2)
    monkeypatch.setattr(streams_of_events, "_PAGE", 2)
    await world.submitted("queued")
    async with streaming(world, ALL, last_event_id="0") as prompt, streaming(world, ALL) as slow:
        await prompt.has(2)
        slow.stop_reading()
        for count in range(2, 6):
            await world.submitted("queued")
            await prompt.has(2 * count)
        slow.read_on()
        await slow.has(8)
        assert _numbers(prompt) == list(range(1, 11))
        assert _numbers(slow) == list(range(3, 11))


async def test_a_database_that_fails_half_way_through_a_look_makes_no_event_come_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_PAGE", 2)
    read, failing = events.after, True

    def half_way(connection: Connection, *args: Any, limit: int) -> list[Any]:
        if failing and args[2] >= 2:
            raise ZeroDivisionError
        return read(connection, *args, limit=limit)

    monkeypatch.setattr(events, "after", half_way)
    async with streaming(world, ALL, last_event_id="0") as stream:
        for _ in range(3):
            await world.submitted("queued")
            world.clock.advance(1)
        failing = False
        await moving(world, lambda: len(stream.events) >= 6)
        assert _numbers(stream) == [1, 2, 3, 4, 5, 6]


async def test_another_tenants_events_are_another_stream(world: World) -> None:
    stranger = await world.another_key(tenant="another")
    headers = {"authorization": f"Bearer {stranger}", "last_event_id": "0"}
    async with streaming(world, ALL, last_event_id="0") as own, streaming(world, ALL, **headers) as theirs:
        await world.submitted("queued")
        answer = await world.client.post(SUBMIT, json=world.body("queued"), headers=world.with_key(stranger))
        await own.has(2)
        await theirs.has(2)
        assert _numbers(own) == _numbers(theirs) == [1, 2]
        assert {one.data and one.data["request_id"] for one in theirs.events} == {answer.json()["request_id"]}


async def test_a_stream_goes_on_after_a_restart_of_the_gateway(
    database_url: str, tmp_path: Path, sandbox: Running
) -> None:
    settings = settings_for(database_url, tmp_path, sandbox.options.public_url)
    seen: list[int | None] = []
    async with open_world(settings, sandbox) as one:
        key = one.key
        async with streaming(one, ALL, last_event_id="0") as stream:
            for _ in range(3):
                await one.submitted("queued")
            await stream.has(3)
            seen += _numbers(stream)[:3]
    async with open_world(settings, sandbox) as other:
        other.client.headers["Authorization"] = f"Bearer {key}"
        async with streaming(other, ALL, **resuming(seen[-1])) as stream:
            await stream.has(3)
            await other.submitted("queued")
            await stream.has(5)
            seen += _numbers(stream)
    assert seen == list(range(1, 9))


class TestLiveAndTest:
    @pytest.fixture
    def world_settings(self, live_sandbox: Running) -> dict[str, Any]:
        return {"upstream_base_url": live_sandbox.options.public_url, "upstream_token": TOKEN}

    async def test_each_kind_of_key_has_a_stream_and_numbers_of_its_own(self, world: World) -> None:
        live = await world.another_key(mode="live")
        headers = {"authorization": f"Bearer {live}", "last_event_id": "0"}
        async with (
            streaming(world, ALL, last_event_id="0") as testing,
            streaming(world, ALL, **headers) as living,
        ):
            tested = await world.submitted("queued")
            body = world.body("queued")
            lived = (await world.client.post(SUBMIT, json=body, headers=world.with_key(live))).json()
            for stream, request_id in ((testing, tested), (living, lived["request_id"])):
                await stream.has(2)
                assert _numbers(stream) == [1, 2]
                assert {one.data and one.data["request_id"] for one in stream.events} == {request_id}


# --- 429 and 503


class TestBounded:
    @pytest.fixture
    def world_settings(self) -> dict[str, Any]:
        return {"streams_per_tenant": 3}

    @pytest.fixture
    async def full(self, world: World) -> AsyncIterator[list[Stream]]:
        """As many streams as the tenant may have, of both kinds."""
        request_id = await world.submitted("queued")
        opened = [begin(world, path) for path in (ALL, of(request_id), of(request_id))]
        await until(lambda: all(one.status for one in opened))
        yield opened
        await finish(*opened)

    async def _refusal(self, world: World, path: str) -> dict[str, Any]:
        answer = await world.client.get(path)
        assert int(answer.headers["retry-after"]) >= 1
        return problem_of(answer, 429, "too_many_streams")

    async def test_one_more_than_a_tenant_may_have_is_refused(self, world: World, full: list[Stream]) -> None:
        assert [one.status for one in full] == [200] * 3
        for path in (ALL, full[1].path):
            assert (await self._refusal(world, path))["retryable"] is True
        assert world.gateway.following.watch.watchers == 3

    @pytest.mark.usefixtures("full")
    async def test_another_tenant_is_not_held_by_it(self, world: World) -> None:
        stranger = await world.another_key(tenant="another")
        async with streaming(world, ALL, authorization=f"Bearer {stranger}") as stream:
            assert stream.status == 200

    async def test_a_place_is_free_when_the_client_leaves(self, world: World, full: list[Stream]) -> None:
        await finish(full[0])
        async with streaming(world, ALL) as stream:
            assert stream.status == 200
            await self._refusal(world, ALL)

    async def test_a_place_is_free_when_the_stream_has_ended(self, world: World, full: list[Stream]) -> None:
        await world.client.post(full[1].path.replace("/events", "/cancel"))
        await full[1].ends()
        await full[2].ends()
        assert world.gateway.following.watch.watchers == 1

    async def test_a_held_answer_takes_a_place_and_is_not_held_where_there_is_none(
        self, world: World, full: list[Stream]
    ) -> None:
        status = full[1].path.replace("/events", "/status")
        answer = await world.client.get(status, params={"wait": 30})
        assert answer.json()["status"] == "in_queue"
        await finish(full[0])
        held = begin(world, f"{status}?wait=30")
        await until(lambda: world.gateway.following.watch.watchers == 3)
        await self._refusal(world, ALL)
        await moving(world, lambda: held.over)
        assert held.status == 200
        assert world.gateway.following.watch.watchers == 2


async def test_nothing_is_watched_any_more_once_everybody_has_left(world: World) -> None:
    request_id = await world.submitted("queued")
    opened = [begin(world, path) for path in (ALL, of(request_id)) for _ in range(5)]
    await until(lambda: all(one.pings or one.messages or one.path == ALL for one in opened))
    await until(lambda: all(one.status for one in opened))
    await finish(*opened)
    assert world.gateway.following.watch.watchers == 0
    await until(lambda: not world.gateway.following.watch._all())
    await until(lambda: not len(world.gateway.tasks))
    upstream_request_id = world.received()[0]["request_id"]
    calls = world.sandbox.ledger()["requests"][upstream_request_id]
    for _ in range(20):
        world.clock.advance(1)
        await world.get("/v1/requests")
    assert world.sandbox.ledger()["requests"][upstream_request_id] == calls


async def test_a_reader_who_does_not_read_is_dropped_and_the_others_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_of_events, "_SLOWEST_S", 0.05)
    request_id = await world.submitted("canned")
    async with (
        streaming(world, of(request_id)) as good,
        streaming(world, of(request_id)) as bad,
        streaming(world, ALL) as good_of_all,
        streaming(world, ALL) as bad_of_all,
    ):
        await good.has(2)
        await bad.has(2)
        bad.stop_reading()
        bad_of_all.stop_reading()
        await _lived(world, good)
        await good_of_all.has(2)
        await bad.ends()
        await bad_of_all.ends()
        assert (good.states, good.ended) == (LIFE, True)
        assert good_of_all.states == LIFE[2:]
        for stream in (bad, bad_of_all):
            assert not stream.ended, "the connection is closed in the middle, so that it is resumed"
            assert stream.error is None
        assert bad.states == LIFE[:2]
        assert world.gateway.following.watch.watchers == 1
        assert [one.watchers for one in world.gateway.following.watch._all()] == [1]
        async with streaming(world, of(request_id), **resuming(bad.events[-1].id)) as resumed:
            await resumed.ends()
            assert bad.states + resumed.states == LIFE


async def test_a_stopping_server_ends_its_streams_cleanly_and_takes_no_new_ones(world: World) -> None:
    request_id = await world.submitted("queued")
    async with streaming(world, of(request_id)) as one, streaming(world, ALL, last_event_id="0") as other:
        await one.has(2)
        await other.has(2)
        world.gateway.following.watch.close()
        for stream in (one, other):
            await stream.ends()
            assert (stream.ended, stream.error) == (True, None)
            assert stream.states == ["dispatching", "in_queue"]
    for path in (of(request_id), ALL):
        answer: httpx2.Response = await world.client.get(path)
        problem_of(answer, 503, "shutting_down")
        assert int(answer.headers["retry-after"]) >= 1
    assert world.gateway.following.watch.watchers == 0
    assert (await world.get(f"/v1/requests/{request_id}/status"))["status"] == "in_queue"


async def test_an_id_that_is_still_to_come_hides_nothing(world: World) -> None:
    request_id = await world.submitted("canned")
    async with streaming(world, of(request_id), last_event_id="999") as stream:
        await until(lambda: world.gateway.following.watch.watchers)
        _start(world)
        _end(world)
        await moving(world, lambda: stream.over)
        assert _numbers(stream)[-1] == (await world.record(request_id))["version"]
