"""Every job is followed to its end whether or not anybody asks, at the cost of one look per gap."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.generations import events as event_rows
from app.generations import leases, retention, store
from app.generations.following.poller import TICK_S, Poller
from app.generations.following.schedule import Schedule
from app.generations.lifecycle import TERMINAL, State
from app.generations.store import Generation
from app.upstream.breaker import MAX_FAILURES, Condition, Health
from app.upstream.client import Upstream
from app.upstream.outcomes import Exchange
from tests.contract.published import problem_of
from tests.harness import MAX_POLLS, SUBMIT, World, open_world, settings_for, trying, until
from tests.sandbox.harness import TOKEN, Running
from tests.streams import streaming

pytestmark = pytest.mark.anyio

DAY_S = 86_400


def _poller(world: World) -> Poller:
    """Of test keys' jobs."""
    [found] = [one for one in world.gateway.following.pollers if one.credential.mode == "test"]
    return found


async def _tick(world: World, poller: Poller | None = None) -> int:
    """One turn of the loop, and what it began."""
    poller = poller or _poller(world)
    count = await poller.run_once()
    await until(lambda: not poller.under_way)
    return count


async def _row(world: World, request_id: str) -> Generation:
    """As it is stored: nobody asks for it."""
    found = await world.gateway.db.read(store.find, request_id, None)
    assert found is not None
    return found


async def _followed(
    world: World, request_id: str, *, step_s: float = 1, is_rendered: bool = True
) -> Generation:
    """The row, once the loop alone has brought it to its end."""
    for _ in range(MAX_POLLS):
        row = await _row(world, request_id)
        if row.terminal:
            return row
        world.clock.advance(step_s)
        await _tick(world)
        if is_rendered:
            await asyncio.sleep(0.02)  # in threads of this process
    raise AssertionError(row)


def _calls(world: World, mark: str | None = None) -> dict[str, int]:
    """How often the sandbox was asked about a job, by route."""
    calls: dict[str, int] = world.sandbox.ledger()["requests"].get(world.received(mark)[0]["request_id"], {})
    return calls


def _pass(world: World) -> None:
    """Let all of the jobs' least times in the sandbox pass."""
    world.sandbox.clock.now += world.sandbox.options.queue_s + world.sandbox.options.run_s


# --- every end


async def test_a_job_completes_and_its_output_is_stored_and_paid_without_any_client(world: World) -> None:
    request_id = await world.submitted("canned")
    world.clock.advance(2)
    assert await _tick(world) == 1
    assert (await _row(world, request_id)).state is State.IN_QUEUE
    world.sandbox.clock.now += world.sandbox.options.queue_s
    world.clock.advance(2)
    await _tick(world)
    assert (await _row(world, request_id)).state is State.IN_PROGRESS
    world.sandbox.clock.now += world.sandbox.options.run_s
    row = await _followed(world, request_id)
    assert (row.state, row.charge, row.lease_until_ms) == (State.COMPLETED, "settled", None)
    assert "video" in row.output
    calls = _calls(world)
    assert (await world.get(f"/v1/requests/{request_id}/result"))["output"] == row.output
    assert _calls(world) == calls, "what is stored is answered from the row"


async def test_every_other_end_is_found_as_well_and_paid_back(world: World) -> None:
    failed = await world.submitted("fail")
    cancelled = await world.submitted("queued")
    world.sandbox.cancel(world.received()[0]["request_id"])
    _pass(world)
    for request_id, state in ((failed, State.FAILED), (cancelled, State.CANCELLED)):
        row = await _followed(world, request_id)
        assert (row.state, row.charge) == (state, "refunded")


@pytest.mark.parametrize("world_settings", [{"missing_grace_s": 60.0}])
async def test_what_the_upstream_has_forgotten_is_lost_after_the_grace_and_not_before(world: World) -> None:
    request_id = await world.submitted("queued,vanish")
    begun_ms = world.clock.now_ms()
    row = await _followed(world, request_id, is_rendered=False)
    assert (row.state, row.charge, row.error["code"]) == (State.LOST, "refunded", "lost")
    assert row.finished_at_ms is not None
    assert 60_000 <= row.finished_at_ms - begun_ms <= 60_000 * 1.25


@pytest.mark.parametrize("world_settings", [{"follow_for_s": 600.0}])
@pytest.mark.parametrize("directive", ["queued", "queued,status-500", "queued,status-malformed"])
async def test_what_never_ends_is_followed_for_as_long_as_the_setting_says(
    world: World, directive: str
) -> None:
    request_id = await world.submitted(directive)
    begun_ms = world.clock.now_ms()
    row = await _followed(world, request_id, step_s=5, is_rendered=False)
    assert (row.state, row.charge) == (State.LOST, "refunded")
    assert row.finished_at_ms is not None
    assert 600_000 <= row.finished_at_ms - begun_ms <= 640_000


async def test_what_has_ended_is_never_asked_about_again(world: World) -> None:
    request_id = await world.submitted("fail")
    _pass(world)
    await _followed(world, request_id)
    calls = _calls(world)
    for _ in range(5):
        world.clock.advance(DAY_S)
        assert await _tick(world) == 0
    assert _calls(world) == calls


async def test_no_answer_that_tells_nothing_ends_or_changes_a_job(world: World) -> None:
    for directive in ("status-500=2", "status-malformed=2", "status-429=2", "status-hang=1", "vanish-once"):
        request_id = await world.submitted(f"queued,{directive}")
        for look in range(4):
            world.clock.advance(2)
            await (world.hung(_tick(world)) if "hang" in directive and look == 0 else _tick(world))
            row = await _row(world, request_id)
            assert (row.state, row.version, row.lease_until_ms) == (State.IN_QUEUE, 2, None)
        assert row.stale_reason is None
        await world.client.post(f"/v1/requests/{request_id}/cancel")


# --- how often


def _looks_within(pace: Schedule, time_s: float, *, chance: float, late_s: float) -> int:
    """How many looks fit in, from the first one a second after the submit on."""
    at_ms, count = 1000.0, 0
    while at_ms <= time_s * 1000:
        count += 1
        at_ms += pace.gap_ms(age_ms=int(at_ms), usual_ms=None, chance=chance) + late_s * 1000
    return count


async def test_the_upstream_is_asked_once_per_gap_however_often_the_loops_turn(world: World) -> None:
    """Two loops over the same rows, four ticks a second each, for five minutes."""
    await world.submitted("queued")
    poller, pace = _poller(world), world.gateway.following.tracker.schedule
    other = Poller(poller.tracker, poller.credential, poller.at_once)
    for _ in range(300):
        for _ in range(2):
            world.clock.advance(0.5)
            await asyncio.gather(_tick(world, poller), _tick(world, other))
    looks = _calls(world)["status"]
    assert _looks_within(pace, 300, chance=0, late_s=0.5) <= looks
    assert looks <= _looks_within(pace, 300, chance=1, late_s=0)
    assert looks < 60


async def test_the_loop_rests_until_something_can_be_due(world: World) -> None:
    poller = _poller(world)
    poller.listen()
    await _tick(world)
    assert poller.pause_s() == 2
    await world.submitted("queued")
    assert poller.woken.is_set()
    await _tick(world)
    assert not poller.woken.is_set()
    assert poller.pause_s() == 1  # its first poll
    world.clock.advance(1)
    assert poller.pause_s() == TICK_S
    await _tick(world)
    assert _calls(world)["status"] == 1
    await _tick(world)
    assert TICK_S < poller.pause_s() <= 1


async def test_readers_and_the_loop_share_their_looks(world: World) -> None:
    request_id = await world.submitted("queued")
    for seconds in range(1, 31):
        world.clock.advance(1)
        await asyncio.gather(
            _tick(world), *(world.get(f"/v1/requests/{request_id}/status") for _ in range(5))
        )
        assert _calls(world)["status"] <= seconds + 1


async def test_a_look_tells_how_late_it_was(world: World) -> None:
    await world.submitted("queued")
    world.clock.advance(11)
    await _tick(world)
    assert _poller(world).lag_ms == 10_000
    await _tick(world)
    assert _poller(world).lag_ms == 0


class TestBudget:
    @pytest.fixture
    def world_settings(self) -> dict[str, Any]:
        return {"polls_at_once": 3}

    async def test_no_more_are_looked_at_at_once_than_the_budget_and_all_in_one_tick(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = [await world.submitted("queued") for _ in range(14)]
        ask, at_once, most = Upstream.status, 0, 0

        async def counted(upstream: Upstream, upstream_request_id: str) -> Exchange:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            try:
                return await ask(upstream, upstream_request_id)
            finally:
                at_once -= 1

        monkeypatch.setattr(Upstream, "status", counted)
        world.clock.advance(2)
        assert await _tick(world) == 14
        assert most == 3
        for request_id in made:
            assert (await _row(world, request_id)).polled_at_ms == world.clock.now_ms()

    async def test_what_waits_behind_slow_answers_is_given_back_and_polled_for_who_asks(
        self, world: World
    ) -> None:
        for _ in range(3):
            await world.submitted("queued,status-hang")
        world.clock.advance(1)
        behind = [await world.submitted("queued") for _ in range(3)]
        world.clock.advance(2)
        poller = _poller(world)
        ticking = asyncio.create_task(poller.run_once())
        await until(lambda: poller.under_way == 3)
        assert (await _row(world, behind[0])).lease_until_ms is not None
        world.clock.advance(1)
        assert await ticking == 3
        for request_id in behind:
            row = await _row(world, request_id)
            assert (row.lease_until_ms, row.next_poll_at_ms) == (None, world.clock.now_ms())
        await world.get(f"/v1/requests/{behind[0]}/status")
        assert (await _row(world, behind[0])).polled_at_ms == world.clock.now_ms()
        await world.gateway.tasks.drain(0)

    async def test_a_slow_answer_delays_no_other_job_and_no_tick(self, world: World) -> None:
        slow = await world.submitted("queued,status-hang")
        others = [await world.submitted("queued") for _ in range(4)]
        world.clock.advance(2)
        poller = _poller(world)
        assert await poller.run_once() == 5
        await until(lambda: poller.under_way == 1)
        for _ in range(3):
            world.clock.advance(2)
            assert await poller.run_once() == 4, "it is not claimed again while it is looked at"
            await until(lambda: poller.under_way == 1)
        for request_id in others:
            assert (await _row(world, request_id)).polled_at_ms == world.clock.now_ms()
        assert (await _row(world, slow)).polled_at_ms is None
        await world.gateway.tasks.drain(0)


# --- leases


async def test_what_a_dead_servers_lease_covers_is_taken_over_when_it_ends(world: World) -> None:
    request_id = await world.submitted("fail")
    _pass(world)
    world.clock.advance(2)
    tracker = world.gateway.following.tracker
    [claimed] = await world.gateway.db.write(
        leases.claim_due,
        "sandbox",
        now_ms=world.clock.now_ms(),
        lease_until_ms=tracker.lease_until_ms(),
        limit=10,
    )
    assert claimed.id == request_id  # and its holder is never heard of again
    until_ms = tracker.lease_until_ms()
    while world.clock.now_ms() < until_ms - 1000:
        world.clock.advance(1)
        assert await _tick(world) == 0
        document = await world.get(f"/v1/requests/{request_id}/status")
        assert document["status"] == "in_queue"
    assert _calls(world) == {}
    world.clock.advance(1)
    assert await _tick(world) == 1
    assert (await _row(world, request_id)).state is State.FAILED
    assert _calls(world) == {"status": 1, "result": 1}


async def test_a_server_that_stops_gives_its_leases_back(world: World) -> None:
    request_id = await world.submitted("queued,status-hang=1")
    world.clock.advance(2)
    assert await _poller(world).run_once() == 1
    await until(lambda: _calls(world).get("status"))
    assert (await _row(world, request_id)).lease_until_ms is not None
    await world.gateway.tasks.drain(0)
    row = await _row(world, request_id)
    assert (row.lease_until_ms, row.next_poll_at_ms) == (None, world.clock.now_ms())
    assert await _tick(world) == 1
    assert (await _row(world, request_id)).polled_at_ms == world.clock.now_ms()


async def test_a_holder_that_comes_back_after_its_lease_changes_nothing_of_what_has_ended(
    world: World,
) -> None:
    """Its answer is of before the end; it comes when another one has seen that."""
    request_id = await world.submitted("fail")
    tracker, credential = world.gateway.following.tracker, _poller(world).credential
    world.clock.advance(2)
    [claimed] = await world.gateway.db.write(
        leases.claim_due,
        "sandbox",
        now_ms=world.clock.now_ms(),
        lease_until_ms=tracker.lease_until_ms(),
        limit=10,
    )
    observation, _ = await tracker._observe(claimed, credential)
    assert observation.seen == "in_queue"
    _pass(world)
    ended = await _followed(world, request_id)
    assert await tracker.apply(claimed, observation) == ended
    assert await _row(world, request_id) == ended


async def test_a_clock_that_is_set_back_stops_nothing(world: World) -> None:
    request_id = await world.submitted("fail")
    world.clock.advance(2)
    await _tick(world)
    world.clock.advance(-30 * DAY_S)
    _pass(world)
    assert await _tick(world) == 1
    assert (await _row(world, request_id)).state is State.FAILED


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_the_loops_of_two_servers_end_each_job_once(world: World, sandbox: Running) -> None:
    made = [await world.submitted(one) for one in ("canned", "fail") * 10]
    marks = world.marks[-20:]
    _pass(world)
    async with open_world(world.gateway.settings, sandbox) as other:
        rows: list[Generation] = []
        for _ in range(MAX_POLLS):
            rows = [await _row(world, one) for one in made]
            if all(one.terminal for one in rows):
                break
            for one in (world, other):
                one.clock.advance(1)
            await asyncio.gather(_tick(world), _tick(other))
            await asyncio.sleep(0.02)  # as above
    assert {one.state for one in rows} == {State.COMPLETED, State.FAILED}
    for row, mark in zip(rows, marks, strict=True):
        events = await world.gateway.db.read(event_rows.of_generation, row.id)
        assert [one.version for one in events] == list(range(1, row.version + 1))
        assert [one.state in TERMINAL for one in events] == [False] * (len(events) - 1) + [True]
        assert _calls(world, mark)["result"] == 1


# --- results


async def test_completed_is_said_only_once_the_result_is_stored(world: World) -> None:
    request_id = await world.submitted("canned,result-500=3")
    _pass(world)
    seen = []
    async with streaming(world, f"/v1/requests/{request_id}/events") as stream:
        while not stream.over:
            world.clock.advance(1)
            await _tick(world)
            row = await _row(world, request_id)
            assert (row.state is State.COMPLETED) == (row.output_text is not None)
            status = (await world.get(f"/v1/requests/{request_id}/status"))["status"]
            seen.append(status)
            if status == "completed":
                assert (await world.get(f"/v1/requests/{request_id}/result"))["output"]
                await stream.ends()
    assert seen[-1] == "completed"
    assert _calls(world)["result"] >= 4, "the first three showed nothing"
    assert stream.states[-1] == "completed"


class TestRetention:
    @pytest.fixture
    def world_settings(self) -> dict[str, Any]:
        return {"result_retention_s": 1000.0}

    async def test_an_output_is_erased_after_its_time_and_its_record_says_so(self, world: World) -> None:
        request_id = await world.submitted("canned")
        _pass(world)
        finished_ms = (await _followed(world, request_id)).finished_at_ms or 0
        before = await world.get(f"/v1/requests/{request_id}")
        assert before["output_expires_at"] > before["finished_at"]
        assert (before["output_erased_at"], "video" in before["output"]) == (None, True)
        world.clock.advance(1000 - (world.clock.now_ms() - finished_ms) / 1000)
        assert await world.gateway.upkeep.retention.run_once() == 0
        assert (await world.get(f"/v1/requests/{request_id}/result"))["output"] == before["output"]
        world.clock.advance(0.001)
        assert await world.gateway.upkeep.retention.run_once() == 1
        problem_of(await world.client.get(f"/v1/requests/{request_id}/result"), 410, "result_erased")
        after = await world.get(f"/v1/requests/{request_id}")
        assert (after["output"], after["output_expires_at"]) == (None, None)
        assert after["output_erased_at"] > before["output_expires_at"]
        same = set(after) - {"output", "output_expires_at", "output_erased_at"}
        assert {name: after[name] for name in same} == {name: before[name] for name in same}
        assert (await world.get(f"/v1/requests/{request_id}/status"))["status"] == "completed"
        assert await world.gateway.upkeep.retention.run_once() == 0, "it is erased once"

    async def test_what_has_no_output_keeps_what_it_has(self, world: World) -> None:
        failed, live = await world.submitted("fail"), await world.submitted("queued")
        _pass(world)
        await _followed(world, failed)
        error = (await world.get(f"/v1/requests/{failed}/result"))["error"]
        world.clock.advance(DAY_S)
        assert await world.gateway.upkeep.retention.run_once() == 0
        assert (await world.get(f"/v1/requests/{failed}/result"))["error"] == error
        assert (await world.get(f"/v1/requests/{live}/result"))["status"] == "in_queue"

    async def test_more_than_a_batch_is_erased_in_one_tick(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "_BATCH", 2)
        made = [await world.submitted("canned") for _ in range(5)]
        _pass(world)
        for request_id in made:
            await _followed(world, request_id)
        world.clock.advance(2000)
        assert await world.gateway.upkeep.retention.run_once() == 5


@pytest.mark.parametrize(
    "world_settings", [{"result_retention_s": 0.0, "caller_retention_s": 0.0, "hourly_usage_days": 3660}]
)
async def test_outputs_are_kept_for_ever_where_the_setting_says_so(world: World) -> None:
    request_id = await world.submitted("canned")
    _pass(world)
    await _followed(world, request_id)
    world.clock.advance(3600 * DAY_S)
    assert await world.gateway.upkeep.retention.run_once() == 0
    record = await world.get(f"/v1/requests/{request_id}")
    assert (record["output_expires_at"], "video" in record["output"]) == (None, True)


# --- a credential that is not there, or left alone


@asynccontextmanager
async def _with_credentials(
    database_url: str, data_dir: Path, sandbox: Running, *names: str
) -> AsyncIterator[World]:
    """A gateway whose live credentials have these names; each of them is the sandbox's."""
    more: dict[str, Any] = {"upstream_base_url": sandbox.options.public_url}
    if names:
        more["upstream_credentials"] = json.dumps([{"name": one, "token": TOKEN} for one in names])
    settings = settings_for(database_url, data_dir, sandbox.options.public_url, **more)
    async with open_world(settings, sandbox) as opened:
        yield opened


async def test_what_a_removed_credential_made_stays_as_it_was_until_that_is_back(
    database_url: str, tmp_path: Path, sandbox: Running
) -> None:
    async with _with_credentials(database_url, tmp_path, sandbox, "old") as world:
        key = await world.another_key(mode="live")
        answer = await world.client.post(SUBMIT, json=world.body("fail"), headers=world.with_key(key))
        request_id, mark = answer.json()["request_id"], world.marks[-1]
        before = await _row(world, request_id)
    _pass(world)
    for names in (("new",), ()):
        async with _with_credentials(database_url, tmp_path, sandbox, *names) as world:
            world.client.headers["Authorization"] = f"Bearer {key}"
            for _ in range(3):
                world.clock.advance(3600)
                for poller in world.gateway.following.pollers:
                    assert await poller.run_once() == 0
                for path in ("", "/status", "/result"):
                    assert (await world.get(f"/v1/requests/{request_id}{path}"))["status"] == "in_queue"
                answer = await world.client.post(f"/v1/requests/{request_id}/cancel")
                assert (answer.status_code, answer.json()["outcome"]) == (202, "not_cancellable")
            assert await _row(world, request_id) == before
            assert _calls(world, mark) == {}
    async with _with_credentials(database_url, tmp_path, sandbox, "new", "old") as world:
        world.clock.advance(7200)
        for poller in world.gateway.following.pollers:
            await _tick(world, poller)
        assert (await _row(world, request_id)).state is State.FAILED


class TestPaused:
    @pytest.fixture
    def world_settings(self, sandbox: Running) -> dict[str, Any]:
        return {"upstream_base_url": sandbox.options.public_url, "upstream_token": TOKEN}

    @pytest.fixture
    async def world(self, world: World) -> World:
        world.client.headers["Authorization"] = f"Bearer {await world.another_key(mode='live')}"
        return world

    def _health(self, world: World) -> Health:
        return world.gateway.pool.all["default"].health

    def _condition(self, world: World) -> Condition:
        return self._health(world).condition(world.clock.now_ms())

    async def _live_tick(self, world: World) -> int:
        [poller] = [one for one in world.gateway.following.pollers if one.credential.mode == "live"]
        return await _tick(world, poller)

    async def test_while_the_breaker_is_open_nobody_is_asked_and_reads_say_that_they_are_old(
        self, world: World
    ) -> None:
        request_id = await world.submitted(f"queued,status-500={MAX_FAILURES}")
        mark = world.marks[-1]
        for failures in range(1, MAX_FAILURES + 1):
            assert self._condition(world) is Condition.CLOSED
            world.clock.advance(2)
            answer = await world.client.get(f"/v1/requests/{request_id}/status")
            assert answer.headers["reelgate-stale"] == "upstream_unusable"
            assert _calls(world)["status"] == failures
        assert self._condition(world) is Condition.OPEN
        health = self._health(world)
        await world.gateway.pool.run_once(world.gateway.db)
        world.clock.advance(4)
        for path in ("", "/status", "/result"):
            answer = await world.client.get(f"/v1/requests/{request_id}{path}")
            assert (answer.status_code, answer.json()["status"]) == (200, "in_queue")
            assert answer.headers["reelgate-stale"] == "upstream_paused"
        assert await self._live_tick(world) == 0
        assert _calls(world, mark) == {"status": MAX_FAILURES}
        assert self._health(world) == health
        problem_of(await world.submit(), 503, "upstream_unreachable")

        await trying(world, lambda: self._condition(world) is Condition.CLOSED)
        assert await self._live_tick(world) == 1
        answer = await world.client.get(f"/v1/requests/{request_id}/status")
        assert "reelgate-stale" not in answer.headers
        assert _calls(world, mark) == {"status": MAX_FAILURES + 1}

    async def test_one_answer_in_between_keeps_it_closed(self, world: World) -> None:
        await world.submitted(f"queued,status-500={MAX_FAILURES - 1}")
        for _ in range(MAX_FAILURES):
            world.clock.advance(3)
            await self._live_tick(world)
        assert _calls(world)["status"] == MAX_FAILURES
        assert self._health(world) == Health()

    async def test_the_sandboxs_faults_are_nobody_elses(self, world: World) -> None:
        key = world.with_key(world.key)
        body = world.body("queued,status-500")
        answer = await world.client.post(SUBMIT, json=body, headers=key)
        for _ in range(MAX_FAILURES * 2):
            world.clock.advance(40)
            await _tick(world)
        assert _calls(world)["status"] == MAX_FAILURES * 2
        assert (await _row(world, answer.json()["request_id"])).stale_reason == "upstream_unusable"
        assert world.gateway.pool.all["sandbox"].health == Health()
        answer = await world.client.post(SUBMIT, json=world.body("queued"), headers=key)
        assert answer.status_code == 200


def test_the_bounds_of_five_minutes_leave_room_for_chance_and_for_nothing_else() -> None:
    pace = Schedule()
    least = _looks_within(pace, 300, chance=0, late_s=0.5)
    most = _looks_within(pace, 300, chance=1, late_s=0)
    assert 30 <= least <= most <= 60
