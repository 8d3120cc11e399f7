"""What may not be sent yet waits: for a place of its tenant's or of the upstream's, or for a breaker."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, update

from app.api.headers.request import START_DEADLINE
from app.auth import keys, tenants
from app.db.engines.engine import Database
from app.db.schema.tables import ledger_entries
from app.db.schema.tables import tenants as tenants_table
from app.errors import DATABASE_UNAVAILABLE, Problem
from app.generations.dispatch import dequeue
from app.generations.lifecycle import State
from app.generations.queue import backlog
from app.generations.queue import rows as queue
from app.kit.clock import iso
from app.quotas.limits import Scope
from app.upstream.outcomes import Outcome, Verdict
from tests.contract.published import problem_of
from tests.harness import MORE_MODELS, SUBMIT, World, until
from tests.quotas.accounts import AUDIO, limited
from tests.sandbox.harness import DREAMINA
from tests.streams import moving, streaming

pytestmark = pytest.mark.anyio


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"queueing": True, "max_queued_per_tenant": 5, "max_queued": 8, "catalog_dir": MORE_MODELS}


async def full(world: World, jobs: int = 1) -> list[str]:
    """As many jobs in flight as the tenant may have."""
    await limited(world, f"in-flight={jobs}")
    return [await world.submitted("queued") for _ in range(jobs)]


async def tick(world: World) -> int:
    """What the dispatch loop does when it is woken, and what it began."""
    count = await world.gateway.dispatch_loop.run_once()
    await until(lambda: not world.gateway.dispatch_loop.under_way)
    return count


async def cancelled(world: World, request_id: str) -> dict[str, Any]:
    answer = await world.client.post(f"/v1/requests/{request_id}/cancel")
    assert answer.status_code == 202
    document = answer.json()
    assert isinstance(document, dict)
    return document


async def state_of(world: World, request_id: str) -> str:
    record = await world.get(f"/v1/requests/{request_id}")
    return str(record["state"])


class TestWaiting:
    async def test_beyond_what_may_be_in_flight_it_is_accepted_and_sent_when_a_place_is_free(
        self, world: World
    ) -> None:
        (first,) = await full(world)
        answer = await world.submit("canned")
        assert answer.status_code == 200
        waiting = answer.json()["request_id"]
        assert world.received() == []
        assert await world.get(f"/v1/requests/{waiting}/status") == {
            "request_id": waiting,
            "status": "in_queue",
            "queue_position": 1,  # the one at the upstream
            **{
                f"{what}_url": f"http://gateway.test/v1/requests/{waiting}/{what}"
                for what in ("status", "result")
            },
        }
        assert await tick(world) == 0
        assert (await cancelled(world, first))["outcome"] == "cancelled"
        assert await tick(world) == 1
        assert len(world.received()) == 1
        assert (await world.finish(waiting))["status"] == "succeeded"
        record = await world.get(f"/v1/requests/{waiting}")
        assert [one["state"] for one in record["events"]][:3] == ["accepted", "dispatching", "in_queue"]
        assert record["charge"] == "settled"
        assert record["sent_at"] is not None

    async def test_its_price_is_held_and_its_limits_are_taken_when_it_is_accepted(self, world: World) -> None:
        await full(world)
        await limited(world, "generations-total=2")
        await world.submitted()
        (usage,) = [
            one
            for one in (await world.get("/v1/quota"))["usage"]
            if one["holder"] == "tenant" and one["model_id"] is None and one["period"] == "total"
        ]
        assert (usage["held_generations"], usage["held_microcredits"]) == (2, 300_000)
        refused = await world.submit()
        assert (refused.status_code, refused.json()["violated-policies"]) == (
            429,
            ["tenant-generations-total"],
        )

    async def test_a_limit_of_nothing_in_flight_refuses_as_before(self, world: World) -> None:
        await limited(world, "in-flight=0")
        answer = await world.submit()
        assert (answer.status_code, answer.json()["code"]) == (429, "quota_exhausted")

    async def test_first_come_first_served_within_a_tenant(self, world: World) -> None:
        (running,) = await full(world)
        waiting = [await world.submitted("queued") for _ in range(4)]
        positions = [(await world.get(f"/v1/requests/{one}/status"))["queue_position"] for one in waiting]
        assert positions == [1, 2, 3, 4]
        for one in waiting:
            await cancelled(world, running)
            assert await tick(world) == 1
            assert await state_of(world, one) == "in_queue"
            running = one

    async def test_what_a_limit_of_its_model_keeps_back_lets_others_pass(self, world: World) -> None:
        await limited(world, "in-flight=1", scopes=(Scope("", AUDIO),))
        sound = {"prompt": "[sandbox:queued]"}
        for _ in range(2):
            assert (await world.client.post(f"/v1/models/{AUDIO}", json=sound)).status_code == 200
        passing = await world.submitted("queued")  # behind the sound that waits
        assert await state_of(world, passing) == "accepted"
        assert await tick(world) == 1
        assert await state_of(world, passing) == "in_queue"
        assert (await world.get("/v1/quota"))["queue"]["queued"] == 1

    async def test_a_repetition_is_the_same_job_whether_it_waits_or_is_sent(self, world: World) -> None:
        (first,) = await full(world)
        body, key = world.body("queued"), {"Idempotency-Key": "k"}
        made = await world.client.post(SUBMIT, json=body, headers=key)
        again = await world.client.post(SUBMIT, json=body, headers=key)
        assert made.json() == again.json()
        assert again.headers["Idempotent-Replayed"] == "true"
        await cancelled(world, first)
        await tick(world)
        once_more = await world.client.post(SUBMIT, json=body, headers=key)
        assert (once_more.status_code, once_more.json()) == (200, made.json())
        assert len(world.received()) == 1

    async def test_of_many_at_once_as_many_are_sent_as_may_and_the_rest_waits(self, world: World) -> None:
        await limited(world, "in-flight=3")
        answers = await asyncio.gather(*(world.submit("queued") for _ in range(10)))
        told = sorted(answer.status_code for answer in answers)
        assert told == [200] * 8 + [429] * 2  # three in flight, five wait
        states = [one["state"] for one in (await world.get("/v1/requests"))["requests"]]
        assert sorted(states) == ["accepted"] * 5 + ["in_queue"] * 3
        assert {answer.json().get("code") for answer in answers} == {None, "queue_full"}

    async def test_a_key_without_queueing_is_refused_as_before(self, world: World) -> None:
        kid = world.key.split("_")[2]
        await full(world)
        await world.gateway.db.write(keys.set_queueing, kid, queueing=False)
        world.clock.advance(2)
        answer = await world.submit()
        assert (answer.status_code, answer.json()["code"]) == (429, "quota_exceeded")
        await world.gateway.db.write(keys.set_queueing, kid, queueing=None)
        await world.gateway.db.write(
            tenants.set_queueing, world.tenant_id, queueing=False, max_queued=None, weight=1
        )
        world.clock.advance(2)
        assert (await world.submit()).status_code == 429

    async def test_cancelled_while_it_waits_it_costs_nothing_and_nobody_hears_of_it(
        self, world: World
    ) -> None:
        await full(world)
        waiting = await world.submitted()
        assert await cancelled(world, waiting) == {
            "request_id": waiting,
            "status": "cancelled",
            "outcome": "cancelled",
        }
        record = await world.get(f"/v1/requests/{waiting}")
        assert (record["state"], record["charge"], record["sent_at"]) == ("cancelled", "refunded", None)
        assert (await world.get("/v1/quota"))["queue"]["queued"] == 0
        assert await tick(world) == 0
        assert world.received() == []

    async def test_its_stream_tells_of_its_place_and_of_its_start(self, world: World) -> None:
        (first,) = await full(world)
        ahead, waiting = await world.submitted("queued"), await world.submitted("queued")
        async with streaming(world, f"/v1/requests/{waiting}/events") as stream:
            await stream.has(1)
            assert stream.states == ["accepted"]

            def places() -> list[int]:
                return [
                    one.data["queue_position"]
                    for one in stream.messages
                    if one.event == "position" and one.data
                ]

            await moving(world, lambda: places() == [2])
            await cancelled(world, ahead)
            await moving(world, lambda: places() == [2, 1])
            await cancelled(world, first)
            await tick(world)
            await moving(world, lambda: "in_queue" in stream.states)
            assert stream.states == ["accepted", "dispatching", "in_queue"]

    async def test_an_answer_is_held_while_it_waits(self, world: World) -> None:
        (first,) = await full(world)
        waiting = await world.submitted("queued")
        held = asyncio.create_task(world.client.get(f"/v1/requests/{waiting}/status?wait=30"))
        await until(lambda: world.gateway.following.watch.watchers)
        await cancelled(world, first)
        await moving(world, held.done)
        assert (await held).json()["queue_position"] == 0


class TestLimitsOfTheQueue:
    async def test_a_tenant_has_its_own_number(self, world: World) -> None:
        await world.gateway.db.write(
            tenants.set_queueing, world.tenant_id, queueing=None, max_queued=1, weight=1
        )
        await full(world)
        await world.submitted()
        answer = await world.submit()
        problem = problem_of(answer, 429, "queue_full")
        assert (problem["retryable"], answer.headers["retry-after"]) == (True, "5")
        assert (await world.get("/v1/quota"))["queue"] == {
            "queueable": True,
            "queued": 1,
            "max_queued": 1,
            "weight": 1,
            "paused": False,
        }

    async def test_nothing_is_taken_by_what_is_refused(self, world: World) -> None:
        await full(world)
        for _ in range(5):
            await world.submitted()
        before = await world.get("/v1/quota")
        assert (await world.submit()).status_code == 429
        after = await world.get("/v1/quota")
        assert after["usage"] == before["usage"]
        assert after["queue"] == before["queue"]

    async def test_of_all_tenants_together_exactly_as_many_wait_as_may(self, world: World) -> None:
        await world.gateway.db.write(backlog.pause, ["test"], 1)
        tokens = [await world.another_key(tenant=f"neighbour {number}") for number in range(4)]

        async def post(key: str) -> int:
            answer = await world.client.post(SUBMIT, json=world.body(), headers=world.with_key(key))
            if answer.status_code != 200:
                problem_of(answer, 503, "gateway_queue_full")
            return answer.status_code

        told = await asyncio.gather(*(post(key) for key in tokens for _ in range(5)))
        assert sorted(told) == [200] * 8 + [503] * 12


class TestStartDeadline:
    async def test_it_ends_what_waits_and_gives_its_price_back(self, world: World) -> None:
        await full(world)
        body = world.body()
        answer = await world.client.post(SUBMIT, json=body, headers={START_DEADLINE: "600"})
        waiting = answer.json()["request_id"]
        record = await world.get(f"/v1/requests/{waiting}")
        assert record["start_deadline"] == iso(world.clock.now_ms() + 600_000)
        world.clock.advance(599)
        assert await tick(world) == 0
        world.clock.advance(1)
        assert await tick(world) == 1
        record = await world.get(f"/v1/requests/{waiting}")
        assert (record["state"], record["status"], record["charge"]) == ("expired", "cancelled", "refunded")
        assert record["error"]["code"] == "expired"
        assert world.received() == []

    async def test_it_is_not_sent_late_even_where_its_turn_comes_first(self, world: World) -> None:
        (first,) = await full(world)
        answer = await world.client.post(SUBMIT, json=world.body(), headers={START_DEADLINE: "10"})
        await cancelled(world, first)
        world.clock.advance(11)
        await tick(world)
        assert await state_of(world, answer.json()["request_id"]) == "expired"
        assert world.received() == []

    async def test_what_waits_at_the_upstream_is_cancelled_there(self, world: World) -> None:
        answer = await world.client.post(SUBMIT, json=world.body("queued"), headers={START_DEADLINE: "60"})
        request_id = answer.json()["request_id"]
        assert (await world.status(request_id))["status"] == "in_queue"
        world.clock.advance(60)
        assert (await world.status(request_id))["status"] == "cancelled"
        record = await world.get(f"/v1/requests/{request_id}")
        assert (record["state"], record["charge"]) == ("cancelled", "refunded")

    async def test_what_has_started_goes_on(self, world: World) -> None:
        answer = await world.client.post(SUBMIT, json=world.body("canned"), headers={START_DEADLINE: "60"})
        request_id = answer.json()["request_id"]
        world.sandbox.clock.now += world.sandbox.options.queue_s
        assert (await world.status(request_id))["status"] == "in_progress"
        world.clock.advance(100)
        assert (await world.status(request_id))["status"] == "in_progress"
        assert (await world.finish(request_id))["status"] == "succeeded"

    async def test_its_look_comes_no_later_than_it(self, world: World) -> None:
        answer = await world.client.post(SUBMIT, json=world.body("queued"), headers={START_DEADLINE: "100"})
        request_id = answer.json()["request_id"]
        world.clock.advance(90)
        await world.status(request_id)  # whose next one would be ten seconds later
        row = await world.gateway.following.tracker.find(request_id, None)
        assert row is not None
        assert row.next_poll_at_ms is not None
        assert row.next_poll_at_ms <= (row.start_deadline_ms or 0)

    @pytest.mark.parametrize(
        ("text", "after_s"),
        [
            ("1", 1),
            ("Mon, 21 Sep 2026 14:14:20 GMT", 60),
            ("2026-09-21T14:14:20Z", 60),
            ("2026-09-21T16:14:20.000+02:00", 60),
            (str(30 * 86_400), 30 * 86_400),
        ],
    )
    async def test_it_is_seconds_or_a_date(self, world: World, text: str, after_s: int) -> None:
        answer = await world.client.post(SUBMIT, json=world.body("queued"), headers={START_DEADLINE: text})
        record = await world.get(f"/v1/requests/{answer.json()['request_id']}")
        assert record["start_deadline"] == iso(world.clock.now_ms() + after_s * 1000)

    @pytest.mark.parametrize(
        "text",
        [
            *("", "0", "-1", "1.5", "soon", "2026-09-21T14:14:20", "2026-09-21"),
            *("Mon, 21 Sep 2020 14:14:20 GMT", "Mon, 99 Sep 2026 14:14:20 GMT", "Mon, 21 Sep 2026 14:15:00"),
            *(str(30 * 86_400 + 1), "9" * 30, "1, 2"),
        ],
    )
    async def test_anything_else_is_refused_and_nothing_is_made(self, world: World, text: str) -> None:
        answer = await world.client.post(SUBMIT, json=world.body("queued"), headers={START_DEADLINE: text})
        problem = problem_of(answer, 400, "invalid_parameter")
        assert [one["pointer"] for one in problem["errors"]] == [f"#/header/{START_DEADLINE}"]
        assert (await world.get("/v1/requests"))["requests"] == []


class TestUpstream:
    async def test_a_credential_without_a_place_makes_it_wait(self, world: World) -> None:
        world.gateway.pool.all["sandbox"].concurrency = 1
        first, second = await world.submitted("queued"), await world.submitted("queued")
        assert [await state_of(world, one) for one in (first, second)] == ["in_queue", "accepted"]
        assert await tick(world) == 0
        await cancelled(world, first)
        assert await tick(world) == 1
        assert await state_of(world, second) == "in_queue"

    @pytest.mark.parametrize(
        "directive", ["rate-limit=20", "503-retry-after=20", "no-balance", "unauthorized"]
    )
    async def test_what_it_does_not_take_now_waits_and_is_not_refused(
        self, world: World, directive: str
    ) -> None:
        world.gateway.pool.all["sandbox"].guarded = True
        refused = await world.submitted(f"{directive},queued")
        record = await world.get(f"/v1/requests/{refused}")
        assert (record["state"], record["charge"], record["sent_at"]) == ("accepted", "held", None)
        assert [one["state"] for one in record["events"]] == ["dispatching", "accepted"]
        assert len(world.received()) == 1
        behind = await world.submitted("queued")  # its breaker is open
        assert await state_of(world, behind) == "accepted"
        assert await tick(world) == 0
        assert (await world.get("/v1/quota"))["queue"]["queued"] == 2

    async def test_after_a_pause_one_is_tried_and_then_the_others_go(self, world: World) -> None:
        sandbox = world.gateway.pool.all["sandbox"]
        sandbox.guarded = True
        await world.gateway.db.write(backlog.pause, ["test"], 1)
        waiting = [await world.submitted("queued") for _ in range(5)]
        busy, now_ms = Outcome(Verdict.BUSY, "http_503", retry_after_s=5), world.clock.now_ms()
        world.gateway.pool.record_submit(sandbox, busy, now_ms=now_ms)
        await world.gateway.db.write(backlog.pause, ["test"], None)
        world.clock.advance(10)
        assert await tick(world) == 0
        await world.gateway.pool.run_once(world.gateway.db)
        assert await world.gateway.dispatch_loop.run_once() == 1  # the others wait for what becomes of it
        assert world.gateway.dispatch_loop.under_way == 1
        await until(lambda: not world.gateway.dispatch_loop.under_way)
        assert await tick(world) == 4
        assert {await state_of(world, one) for one in waiting} == {"in_queue"}

    async def test_what_is_refused_for_its_own_sake_does_not_keep_the_others(self, world: World) -> None:
        sandbox = world.gateway.pool.all["sandbox"]
        poisoned = await world.submitted("credential")
        assert await state_of(world, poisoned) == "accepted"
        for _ in range(3):
            world.clock.advance(60)
            await world.gateway.pool.run_once(world.gateway.db)
            assert await tick(world) == 1
        record = await world.get(f"/v1/requests/{poisoned}")
        assert (record["state"], record["charge"]) == ("rejected", "refunded")
        assert record["error"]["code"] == "upstream_credential_refused"
        assert sandbox.health.may_submit

    async def test_what_comes_back_again_and_again_goes_to_the_end(self, world: World) -> None:
        await world.gateway.db.write(backlog.pause, ["test"], 1)
        poisoned = await world.submitted("no-balance")
        behind = await world.submitted("queued")
        await world.gateway.db.write(backlog.pause, ["test"], None)
        world.gateway.dispatch_loop.at_once = 1
        sent = 0
        while await state_of(world, behind) == "accepted":
            world.clock.advance(60)
            sent += await tick(world)
            assert sent <= 7
        assert sent == 7  # six times the first, and then the one behind it
        assert await state_of(world, poisoned) == "accepted"

    async def test_an_answer_that_cannot_be_read_is_unknown_as_ever(self, world: World) -> None:
        (first,) = await full(world)
        waiting = await world.submitted("malformed,canned")
        await cancelled(world, first)
        await tick(world)
        assert await state_of(world, waiting) == "unknown"
        assert len(world.received()) == 1

    async def test_what_the_upstream_refuses_for_good_is_rejected(self, world: World) -> None:
        (first,) = await full(world)
        waiting = await world.submitted("reject=422")
        await cancelled(world, first)
        await tick(world)
        record = await world.get(f"/v1/requests/{waiting}")
        assert (record["state"], record["status"], record["charge"]) == ("rejected", "completed", "refunded")

    async def test_a_capacity_is_learnt_from_a_429_and_forgotten(self, world: World) -> None:
        sandbox = world.gateway.pool.all["sandbox"]
        sandbox.guarded = True
        running = [await world.submitted("queued") for _ in range(2)]
        waiting = await world.submitted("rate-limit=1,queued")
        assert sandbox.room(world.clock.now_ms()) == 2
        world.clock.advance(5)
        await world.gateway.pool.run_once(world.gateway.db)
        assert sandbox.health.may_submit
        assert await tick(world) == 0  # two are in flight, as many as it takes
        behind = await world.submitted("queued")
        await cancelled(world, running[0])
        world.clock.advance(5)
        await tick(world)
        assert await state_of(world, waiting) == "accepted"  # refused once more: it says so each time
        assert await state_of(world, behind) == "accepted"
        assert sandbox.room(world.clock.now_ms()) == 1
        assert sandbox.room(world.clock.now_ms() + 5 * 60_000) == 2
        assert sandbox.room(world.clock.now_ms() + 30 * 60_000) is None
        metrics = sandbox.capacity
        assert metrics is not None


class TestLoop:
    async def test_a_server_that_stops_takes_nothing_more(self, world: World) -> None:
        await world.gateway.db.write(backlog.pause, ["test"], 1)
        waiting = await world.submitted("queued")
        await world.gateway.db.write(backlog.pause, ["test"], None)
        world.gateway.dispatch_loop.close()
        assert await tick(world) == 0
        assert await state_of(world, waiting) == "accepted"

    async def test_what_hangs_with_test_keys_keeps_no_live_job(self, world: World) -> None:
        loop = world.gateway.dispatch_loop
        loop.at_once = 1
        await world.gateway.db.write(backlog.pause, ["test"], 1)
        await world.submitted("hang")
        await world.submitted("queued")
        await world.gateway.db.write(backlog.pause, ["test"], None)
        assert await loop.run_once() == 1
        assert loop.under_way == 1
        live = replace(world.gateway.pool.all["sandbox"], name="live", mode="live")
        world.gateway.pool._all["live"] = live
        await world.gateway.db.write(backlog.pause, ["live"], 1)
        key = world.with_key(await world.another_key(mode="live"))
        made = await world.client.post(SUBMIT, json=world.body("queued"), headers=key)
        await world.gateway.db.write(backlog.pause, ["live"], None)
        assert await loop.run_once() == 1
        row = await world.gateway.following.tracker.find(made.json()["request_id"], None)
        assert row is not None
        assert row.state in {State.DISPATCHING, State.IN_QUEUE}
        world.gateway.tasks._running.clear()  # what hangs ends with the test's loop

    async def test_a_neighbours_failures_are_not_felt(self, world: World) -> None:
        neighbour = world.with_key(await world.another_key(tenant="a neighbour"))
        for _ in range(3):
            assert (
                await world.client.post(SUBMIT, json=world.body("rate-limit=9"), headers=neighbour)
            ).status_code == 200
            await tick(world)
        mine = await world.submitted("queued")
        await tick(world)
        assert await state_of(world, mine) == "in_queue"

    async def test_a_cancel_that_meets_one_on_its_way_back_cancels_it(self, world: World) -> None:
        await world.gateway.db.write(backlog.pause, ["test"], 1)
        waiting = await world.submitted("rate-limit=9")
        await world.gateway.db.write(backlog.pause, ["test"], None)
        # Its send is under way. Where that is over before the tick is, the tick may begin another.
        assert await world.gateway.dispatch_loop.run_once() >= 1
        assert (await cancelled(world, waiting))["outcome"] == "cancelled"
        assert await state_of(world, waiting) == "cancelled"

    async def test_one_row_whose_books_are_wrong_stops_no_other(self, world: World) -> None:
        await full(world)
        body = world.body("queued")
        spoilt = (await world.client.post(SUBMIT, json=body, headers={START_DEADLINE: "10"})).json()[
            "request_id"
        ]
        await world.gateway.db.write(_spoil, spoilt)
        other = world.with_key(await world.another_key(tenant="a neighbour"))
        made = await world.client.post(SUBMIT, json=world.body("queued"), headers=other)
        world.clock.advance(11)
        await tick(world)
        assert await state_of(world, spoilt) == "accepted"
        row = await world.gateway.following.tracker.find(made.json()["request_id"], None)
        assert row is not None
        assert row.state is State.IN_QUEUE

    async def test_a_take_of_which_nobody_heard_is_undone(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await world.gateway.db.write(backlog.pause, ["test"], 1)
        waiting = await world.submitted("queued")
        await world.gateway.db.write(backlog.pause, ["test"], None)
        write = Database.write_for

        async def unheard(db: Database, tenant_id: str, fn: Any, *given: Any, **more: Any) -> Any:
            done = await write(db, tenant_id, fn, *given, **more)
            if fn is dequeue.dequeue:
                monkeypatch.undo()
                raise Problem(DATABASE_UNAVAILABLE, "cut off")
            return done

        monkeypatch.setattr(Database, "write_for", unheard)
        with pytest.raises(Problem):
            await world.gateway.dispatch_loop.run_once()
        await until(lambda: not len(world.gateway.tasks))
        assert await state_of(world, waiting) == "accepted"
        assert await tick(world) == 1
        assert len(world.received()) == 1


def _spoil(connection: Connection, request_id: str) -> None:
    """A refund that is there already: the row cannot end."""
    row = connection.execute(select(ledger_entries).where(ledger_entries.c.generation_id == request_id)).one()
    values = {name: value for name, value in row._mapping.items() if name != "id"}
    connection.execute(
        insert(ledger_entries).values(**values | {"kind": "refund", "microcredits": -row.microcredits})
    )


class TestPause:
    async def test_nothing_is_sent_and_everything_is_accepted(self, world: World) -> None:
        await world.gateway.db.write(backlog.pause, ["test"], world.clock.now_ms())
        waiting = await world.submitted("queued")
        assert await state_of(world, waiting) == "accepted"
        assert await tick(world) == 0
        assert (await world.get("/v1/quota"))["queue"]["paused"] is True
        await world.gateway.db.write(backlog.pause, ["test"], None)
        assert await tick(world) == 1
        assert await state_of(world, waiting) == "in_queue"

    async def test_of_one_tenant_the_others_go_on(self, world: World) -> None:
        other = world.with_key(await world.another_key(tenant="a neighbour"))
        await world.gateway.db.write(tenants.set_dispatch_paused, world.tenant_id, world.clock.now_ms())
        waiting = await world.submitted("queued")
        assert await state_of(world, waiting) == "accepted"
        assert (await world.client.post(SUBMIT, json=world.body("queued"), headers=other)).status_code == 200
        await tick(world)
        assert len(world.received()) == 1
        assert await state_of(world, waiting) == "accepted"

    async def test_what_may_not_wait_is_refused_and_told_so(self, world: World) -> None:
        await world.gateway.db.write(keys.set_queueing, world.key.split("_")[2], queueing=False)
        await world.gateway.db.write(backlog.pause, ["test"], world.clock.now_ms())
        answer = await world.submit()
        problem_of(answer, 503, "dispatch_paused")
        assert answer.headers["retry-after"] == "60"

    async def test_a_disabled_tenants_jobs_wait(self, world: World) -> None:
        (first,) = await full(world)
        waiting = await world.submitted()
        await cancelled(world, first)
        await world.gateway.db.write(_disable, world.tenant_id, world.clock.now_ms())
        assert await tick(world) == 0
        row = await world.gateway.following.tracker.find(waiting, None)
        assert row is not None
        assert row.state is State.ACCEPTED


class TestEstimates:
    async def test_a_start_is_estimated_from_what_jobs_took(self, world: World) -> None:
        for _ in range(2):
            await world.finish(await world.submitted())
        usual_ms = world.gateway.following.tracker.positions.durations.usual_ms(DREAMINA)
        assert usual_ms is not None
        await full(world, 2)
        first, second = await world.submitted("queued"), await world.submitted("queued")
        now_ms = world.clock.now_ms()
        for number, one in enumerate((first, second), 1):
            record = await world.get(f"/v1/requests/{one}")
            assert record["estimated_start_at"] == iso(now_ms + int(usual_ms * number / 2))
        await world.gateway.db.write(backlog.pause, ["test"], now_ms)
        world.clock.advance(2)
        assert (await world.get(f"/v1/requests/{first}"))["estimated_start_at"] is None

    async def test_without_any_there_is_none(self, world: World) -> None:
        await full(world)
        waiting = await world.submitted()
        assert (await world.get(f"/v1/requests/{waiting}"))["estimated_start_at"] is None

    async def test_a_quote_says_whether_it_would_wait(self, world: World) -> None:
        async def quoted() -> tuple[bool, bool]:
            answer = await world.client.post(f"/v1/quotes/{DREAMINA}", json=world.body())
            document = answer.json()
            return document["admissible"], document["would_queue"]

        assert await quoted() == (True, False)
        await full(world)
        assert await quoted() == (True, True)
        await world.gateway.db.write(keys.set_queueing, world.key.split("_")[2], queueing=False)
        world.clock.advance(2)
        assert await quoted() == (False, False)

    async def test_the_place_of_one_far_behind_is_never_told_too_near(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await full(world)
        waiting = [await world.submitted("queued") for _ in range(5)]
        await cancelled(world, waiting[2])
        monkeypatch.setattr(queue, "_COUNTED", 1)
        world.clock.advance(2)
        positions = [
            (await world.get(f"/v1/requests/{one}/status"))["queue_position"]
            for one in waiting
            if one != waiting[2]
        ]
        assert positions == [1, 2, 4, 4]  # by tickets, and never more than there are


def _disable(connection: Connection, tenant_id: str, at_ms: int) -> None:
    connection.execute(
        update(tenants_table).where(tenants_table.c.id == tenant_id).values(disabled_at_ms=at_ms)
    )
