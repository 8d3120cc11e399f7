"""What was sent can be read and sent again, with the same id and bytes; of a range, exactly what failed."""

from typing import Any

import pytest
from sqlalchemy import Connection, update

from app.db.schema.tables import webhook_deliveries
from app.kit.clock import iso
from app.webhooks.history import log, replays
from tests.contract.published import Contract, problem_of
from tests.harness import World
from tests.webhooks.receiver import Receiver, deliver, deliveries, messages, reply

pytestmark = pytest.mark.anyio

ROOT = "/v1/webhooks"
LONG_AGO = "0001-01-01T00:00:00+14:00"


async def made(world: World, receiver: Receiver, path: str = "/hook", **more: Any) -> str:
    url = f"http://127.0.0.1:{receiver.port}{path}"
    answer = await world.client.post(f"{ROOT}/endpoints", json={"url": url, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["endpoint_id"])


def failing(receiver: Receiver, *answers: Any) -> None:
    receiver.answers.setdefault("/hook", []).extend(answers)


async def given_up(world: World) -> None:
    """Whatever waits is failed, as after the last attempt."""
    pending = webhook_deliveries.c.state == "pending"
    failed = update(webhook_deliveries).where(pending).values(state="failed", finished_at_ms=1)
    await world.gateway.db.write(lambda connection: connection.execute(failed) and None)


async def begun(world: World, endpoint_id: str, **more: Any) -> dict[str, Any]:
    answer = await world.client.post(
        f"{ROOT}/endpoints/{endpoint_id}/replays", json={"since": LONG_AGO, **more}
    )
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def run(world: World) -> int:
    return await world.gateway.upkeep.replays.run_once()


async def listed(world: World, query: str = "") -> list[dict[str, Any]]:
    await deliveries(world)  # so that all of them are made
    found: list[dict[str, Any]] = (await world.get(f"{ROOT}/deliveries?limit=100{query}"))["deliveries"]
    return found


async def test_a_replay_sends_exactly_what_has_failed_with_the_same_ids_and_bytes(
    world: World, receiver: Receiver
) -> None:
    endpoint_id = await made(world, receiver)
    ids = []
    for number in range(4):
        receiver.always["/hook"] = 500 if number % 2 else 200
        await world.finish(await world.submitted())
        await deliver(world)
        await given_up(world)
        ids.append(receiver.received[-1].id)
    receiver.always.clear()
    before = {one.id: one.body for one in receiver.received}
    receiver.received.clear()
    world.clock.advance(60)
    replay = await begun(world, endpoint_id)
    assert (replay["state"], replay["only_failed"]) == ("running", True)
    assert await run(world) == 2
    world.clock.advance(1)
    await deliver(world)  # to an endpoint that fails, one at a time
    await deliver(world)
    assert {one.id for one in receiver.received} == {ids[1], ids[3]}
    assert all(before[one.id] == one.body for one in receiver.received)
    done = await world.get(f"{ROOT}/replays/{replay['replay_id']}")
    assert (done["state"], done["deliveries_seen"], done["deliveries_made"]) == ("finished", 2, 2)
    assert (await world.get(f"{ROOT}/replays"))["replays"] == [done]
    world.clock.advance(1)
    again = await begun(world, endpoint_id, until=replay["until"])
    await run(world)
    assert (await world.get(f"{ROOT}/replays/{again['replay_id']}"))["deliveries_made"] == 0, (
        "all arrived, by deliveries that are not in its time"
    )
    everything = await begun(world, endpoint_id, only_failed=False, events=["request.completed"])
    await run(world)
    found = await listed(world, f"&replay_id={everything['replay_id']}")
    assert sorted(one["message_id"] for one in found) == sorted(ids)


async def test_a_replay_takes_what_its_time_and_types_name(world: World, receiver: Receiver) -> None:
    endpoint_id = await made(world, receiver)
    ends = {}
    for directives in ("canned", "fail"):
        ends[directives] = await world.submitted(directives)
        await world.finish(ends[directives])
        await deliver(world)
        world.clock.advance(60)
    between = iso(world.clock.now_ms() - 60_000)
    for wanted, found in (
        ({"events": ["request.failed"]}, ["fail"]),
        ({"since": between}, ["fail"]),
        ({"until": between}, ["canned"]),
        ({}, ["canned", "fail"]),
    ):
        world.clock.advance(1)
        replay = await begun(world, endpoint_id, only_failed=False, **wanted)
        await run(world)
        sent = await listed(world, f"&replay_id={replay['replay_id']}")
        told = {one["message_id"].split("_")[1] for one in sent}
        assert told == {ends[one] for one in found}, wanted
        await deliver(world)


async def test_a_replay_goes_on_where_it_was_makes_nothing_twice_and_can_be_cancelled(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint_id = await made(world, receiver)
    receiver.always["/hook"] = 500
    for _ in range(5):
        await world.finish(await world.submitted())
        await deliver(world)
        await given_up(world)
    monkeypatch.setattr(replays, "AT_ONCE", 2)
    world.clock.advance(1)
    replay = await begun(world, endpoint_id)
    problem = await world.client.post(f"{ROOT}/endpoints/{endpoint_id}/replays", json={"since": LONG_AGO})
    assert replay["replay_id"] in problem_of(problem, 409, "replay_running")["detail"]
    step, now_ms = world.gateway.db.write, world.clock.now_ms()
    assert await step(replays.step, now_ms=now_ms) == 2
    # A server that ends here has lost nothing: another one goes on with the row.
    assert await step(replays.step, now_ms=now_ms) == 2
    cancelled = (await world.client.post(f"{ROOT}/replays/{replay['replay_id']}/cancel")).json()
    assert (cancelled["state"], cancelled["deliveries_made"]) == ("cancelled", 4)
    assert await step(replays.step, now_ms=now_ms) == 0
    assert len([one for one in await deliveries(world) if one.cause == "replay"]) == 4
    world.clock.advance(1)
    await begun(world, endpoint_id)
    await run(world)
    made_again = [one.message_id for one in await deliveries(world) if one.cause == "replay"]
    assert len(made_again) == len(set(made_again)) == 5, "what is pending is not made a second time"


async def test_a_replay_waits_while_much_is_pending_and_ends_with_its_endpoint(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint_id = await made(world, receiver)
    for number in range(3):
        failing(receiver, *([500] if number < 2 else []))
        await world.finish(await world.submitted())
        if number < 2:
            await deliver(world)
            await given_up(world)
    monkeypatch.setattr(replays, "MAX_PENDING", 1)
    world.clock.advance(1)
    replay = await begun(world, endpoint_id)
    assert await run(world) == 0, "the third event comes first"
    await deliver(world)
    assert await run(world) == 2
    world.clock.advance(1)
    other = await begun(world, endpoint_id, only_failed=False)
    await world.client.post(f"{ROOT}/endpoints/{endpoint_id}/delete")
    assert await run(world) == 0
    assert (await world.get(f"{ROOT}/replays/{other['replay_id']}"))["state"] == "cancelled"
    assert (await world.get(f"{ROOT}/replays/{replay['replay_id']}"))["state"] == "finished"


async def test_one_delivery_is_sent_again_and_the_log_has_every_attempt(
    world: World, receiver: Receiver
) -> None:
    endpoint_id = await made(world, receiver)
    failing(receiver, reply(500, body=b"out of order"))
    request_id = await world.submitted()
    await world.finish(request_id)
    await deliver(world)
    (first,) = await listed(world, "&state=pending")
    world.clock.advance(6)
    await deliver(world)
    full = await world.get(f"{ROOT}/deliveries/{first['delivery_id']}")
    assert [(one["number"], one["status"], one["answer"]) for one in full["attempt_log"]] == [
        (1, 500, "out of order"),
        (2, 200, "ok"),
    ]
    assert (full["state"], full["request_id"]) == ("delivered", request_id)
    assert full["payload"] == receiver.received[0].document
    again = await world.client.post(f"{ROOT}/deliveries/{first['delivery_id']}/resend")
    assert (again.status_code, again.json()["cause"]) == (201, "replay")
    await deliver(world)
    assert len({(one.id, one.body) for one in receiver.received}) == 1
    assert len(receiver.received) == 3
    await world.finish(await world.submitted())
    assert len(await listed(world)) == 3
    assert len(await listed(world, f"&request_id={request_id}&endpoint_id={endpoint_id}")) == 2
    assert len(await listed(world, "&cause=event&type=request.completed")) == 2
    assert await listed(world, "&type=request.failed") == []
    world.clock.advance(1)
    now = iso(world.clock.now_ms())
    assert await listed(world, f"&created_after={now}") == []
    assert len(await listed(world, f"&created_before={now}&state=delivered&state=pending")) == 3
    page = await world.get(f"{ROOT}/deliveries?limit=2")
    rest = await world.get(f"{ROOT}/deliveries?limit=2&cursor={page['next_cursor']}")
    assert [*page["deliveries"], *rest["deliveries"]] == await listed(world)


async def test_a_search_for_what_is_rare_goes_on_in_bounded_steps(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint_id = await made(world, receiver)
    delivery = (await world.client.post(f"{ROOT}/endpoints/{endpoint_id}/test")).json()
    world.clock.advance(1)  # ids are in the order of their milliseconds
    for _ in range(3):
        await world.client.post(f"{ROOT}/deliveries/{delivery['delivery_id']}/resend")
    monkeypatch.setattr(log, "STEP", 2)
    first = await world.get(f"{ROOT}/deliveries?cause=test")
    assert first["deliveries"] == []
    rest = await world.get(f"{ROOT}/deliveries?cause=test&cursor={first['next_cursor']}")
    assert [one["delivery_id"] for one in rest["deliveries"]] == [delivery["delivery_id"]]
    last = await world.get(f"{ROOT}/deliveries?cause=test&cursor={rest['next_cursor']}")
    assert (last["deliveries"], last["next_cursor"]) == ([], None)


async def test_a_test_event_says_nothing_of_its_endpoint_and_stopped_ones_get_none(
    world: World, receiver: Receiver, contract: Contract
) -> None:
    endpoint_id = await made(world, receiver, events=["request.failed"])
    path = f"{ROOT}/endpoints/{endpoint_id}"
    failing(receiver, 500)
    delivery = (await world.client.post(f"{path}/test")).json()
    await deliver(world)
    (got,) = receiver.received
    assert (got.document["type"], got.id) == ("webhook.test", delivery["message_id"])
    published = contract.document["webhooks"]["webhook.test"]["post"]["requestBody"]["content"]
    assert contract.misfits(published["application/json"]["schema"], got.document) == []
    shown = await world.get(f"{ROOT}/deliveries/{delivery['delivery_id']}")
    assert (shown["state"], shown["attempts"], shown["last_status"]) == ("failed", 1, 500)
    assert (await world.get(path))["health"]["failing_since"] is None
    await _stop(world, endpoint_id)
    for act in (f"{path}/test", f"{path}/pause", f"{ROOT}/deliveries/{delivery['delivery_id']}/resend"):
        problem = problem_of(await world.client.post(act), 409, "webhook_endpoint_stopped")
        assert "disabled" in problem["detail"]
    answer = await world.client.post(f"{path}/replays", json={"since": LONG_AGO})
    problem_of(answer, 409, "webhook_endpoint_stopped")
    assert (await world.client.post(f"{path}/enable")).json()["state"] == "enabled"
    assert (await world.client.post(f"{path}/test")).status_code == 201
    world.clock.advance(1)
    replay = await begun(world, endpoint_id)
    await run(world)
    made_of_it = await world.get(f"{ROOT}/replays/{replay['replay_id']}")
    assert (made_of_it["state"], made_of_it["deliveries_made"]) == ("finished", 0), "tests are not sent again"


async def _stop(world: World, endpoint_id: str) -> None:
    from app.webhooks.deliveries import records  # noqa: PLC0415 - for this alone

    await world.gateway.db.write(
        records.stop,
        endpoint_id,
        world.tenant_id,
        records.UNREADABLE,
        append=lambda *_: None,
        tells_operator=False,
        now_ms=world.clock.now_ms(),
    )


async def test_what_waited_for_a_paused_endpoint_is_sent_and_nothing_is_once_it_was_disabled(
    world: World, receiver: Receiver
) -> None:
    endpoint_id = await made(world, receiver)
    path = f"{ROOT}/endpoints/{endpoint_id}"
    await world.client.post(f"{path}/pause")
    await world.finish(await world.submitted())
    await deliver(world)
    assert receiver.received == []
    await world.client.post(f"{path}/enable")
    await deliver(world)
    assert len(receiver.received) == 1
    await _stop(world, endpoint_id)
    await world.finish(await world.submitted())
    world.clock.advance(1)
    await world.client.post(f"{path}/enable")
    await deliver(world)
    assert len(receiver.received) == 1
    await begun(world, endpoint_id)
    await run(world)
    world.clock.advance(1)
    await deliver(world)
    assert len(receiver.received) == 2, "a replay sends what was missed"
    (row,) = [one for one in await deliveries(world) if one.state == "cancelled"]
    assert row.last_error == "endpoint_stopped"


async def test_the_log_is_kept_for_its_time_and_a_message_as_long_as_a_delivery_of_it(
    world: World, receiver: Receiver
) -> None:
    endpoint_id = await made(world, receiver)
    await world.finish(await world.submitted())
    await deliver(world)
    (first,) = await listed(world)
    retention = world.gateway.upkeep.webhook_log
    world.clock.advance(retention.keep_s - 3600)
    await world.client.post(f"{ROOT}/deliveries/{first['delivery_id']}/resend")
    await deliver(world)
    await begun(world, endpoint_id)
    await run(world)
    await world.client.post(f"{ROOT}/endpoints/{endpoint_id}/delete")
    assert await retention.run_once() == 0
    world.clock.advance(2 * 3600)
    assert await retention.run_once() == 1, "the first delivery"
    (second,) = await listed(world)
    assert (await world.get(f"{ROOT}/deliveries/{second['delivery_id']}"))["payload"] is not None
    world.clock.advance(retention.keep_s)
    await world.gateway.db.write(_all_deliveries, "delivering")
    assert await retention.run_once() == 1, "a replay; what is being sent is kept, with what belongs to it"
    await world.gateway.db.write(_all_deliveries, "delivered")
    assert await retention.run_once() == 3, "the other delivery, its message, the endpoint"
    assert await listed(world) == []
    assert await messages(world) == []
    assert await retention.run_once() == 0


def _all_deliveries(connection: Connection, state: str) -> None:
    connection.execute(update(webhook_deliveries).values(state=state))
