"""What ends is told: in its own transaction, signed, once per id, whatever the receiver does."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import delete, update
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.db.announcements import SENT
from app.db.schema.tables import webhook_endpoints, webhook_messages
from app.generations import events
from app.webhooks.deliveries import schedule
from app.webhooks.deliveries.sender import TIMEOUT_S
from tests.harness import World, until
from tests.webhooks.receiver import (
    Receiver,
    at_any_time,
    attempts,
    deliver,
    deliveries,
    endpoint,
    endpoint_row,
    messages,
    reply,
)

pytestmark = pytest.mark.anyio

HOUR_S = 3600
DAY_S = 24 * HOUR_S


async def test_an_end_is_told_signed_and_bytes_that_were_changed_are_refused(
    world: World, receiver: Receiver
) -> None:
    made = await endpoint(world, receiver)
    request_id = await world.submitted()
    assert await messages(world) == [], "nothing has ended"
    await world.finish(request_id)
    await deliver(world)
    (got,) = receiver.received
    assert got.id in {f"msg_{request_id}_{version}" for version in (3, 4)}, "a poll may miss `in_progress`"
    data = got.document["data"]
    assert got.document["type"] == "request.completed"
    assert (data["request_id"], data["state"], data["charge"]) == (request_id, "completed", "settled")
    assert "output" not in data
    assert "prompt" not in got.body.decode()
    assert len(got.body) < 20_000
    at = int(got.headers["webhook-timestamp"])
    hook = Webhook(made.shown)
    with at_any_time():
        hook.verify(got.body, got.headers)
        for position in (0, len(got.body) // 2, len(got.body) - 1):
            changed = bytearray(got.body)
            changed[position] ^= 1
            with pytest.raises(WebhookVerificationError):
                hook.verify(bytes(changed), got.headers)
        with pytest.raises(WebhookVerificationError):
            hook.verify(got.body, got.headers | {"webhook-timestamp": str(at + 1)})
    (row,) = await deliveries(world)
    assert (row.state, row.attempts, row.last_status) == ("delivered", 1, 200)
    (attempt,) = await attempts(world)
    assert (attempt.status, attempt.error, attempt.answer) == (200, None, "ok")


async def test_a_tenant_without_endpoints_and_the_other_mode_have_no_messages(
    world: World, receiver: Receiver
) -> None:
    await world.finish(await world.submitted())
    await endpoint(world, receiver, mode="live")
    await world.finish(await world.submitted())
    assert await messages(world) == []
    made = await endpoint(world, receiver)
    await world.finish(await world.submitted())
    assert [one.endpoint_id for one in await deliveries(world)] == [made.id]


async def test_an_endpoint_hears_what_it_chose(world: World, receiver: Receiver) -> None:
    await endpoint(world, receiver, "/failed", events=["request.failed"])
    await endpoint(world, receiver, "/all", vendor_links=True)
    await endpoint(world, receiver, "/completed", events=["request.completed"])
    await world.finish(await world.submitted())
    await world.finish(await world.submitted("fail"))
    await deliver(world)
    assert [one.document["type"] for one in receiver.at("/failed")] == ["request.failed"]
    assert sorted(one.document["type"] for one in receiver.at("/all")) == [
        "request.completed",
        "request.failed",
    ]
    completed = next(one for one in receiver.at("/all") if one.document["type"] == "request.completed")
    assert completed.document["data"]["output"]["video"].startswith("http")
    (thin,) = receiver.at("/completed")
    assert "output" not in thin.document["data"], "it did not ask for RunComfy's links"
    failed = {one.id: one.body for one in receiver.at("/failed")}
    again = {one.id: one.document for one in receiver.at("/all")}
    assert set(failed) < set(again), "one id for all endpoints"


async def test_a_failed_attempt_is_made_again_by_the_schedule_with_equal_bytes(
    world: World, receiver: Receiver
) -> None:
    await endpoint(world, receiver)
    receiver.always["/hook"] = 500
    await world.finish(await world.submitted())
    await deliver(world)
    for n, delay_ms in enumerate(schedule.DELAYS_MS, start=1):
        (row,) = await deliveries(world)
        assert (row.state, row.attempts) == ("pending", n)
        waits_ms = row.next_at_ms - world.clock.now_ms()
        assert abs(waits_ms - delay_ms) <= schedule.JITTER * delay_ms
        world.clock.advance(waits_ms / 1000 - 1)
        await deliver(world)
        assert len(receiver.received) == n, "not before its time"
        world.clock.advance(1)
        await deliver(world)
    (row,) = await deliveries(world)
    assert (row.state, row.attempts) == ("failed", schedule.MAX_ATTEMPTS)
    assert len({(one.id, one.body) for one in receiver.received}) == 1
    made = await attempts(world)
    assert [one.n for one in made] == list(range(1, schedule.MAX_ATTEMPTS + 1))
    assert [int(one.headers["webhook-timestamp"]) for one in receiver.received] == [
        one.at_ms // 1000 for one in made
    ], "of the attempt, or late ones would be refused as old"


async def test_what_is_under_way_is_leased_for_longer_than_an_attempt_can_last(
    world: World, receiver: Receiver
) -> None:
    leases = []

    async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        leases.extend(await deliveries(world))
        writer.write(reply(200))

    await endpoint(world, receiver)
    receiver.always["/hook"] = take
    await world.finish(await world.submitted())
    await deliver(world)
    (row,) = leases
    assert row.state == "delivering"
    assert row.lease_until_ms - world.clock.now_ms() > TIMEOUT_S * 1000


async def test_retry_after_holds_the_delivery_and_its_endpoint(world: World, receiver: Receiver) -> None:
    await endpoint(world, receiver)
    at_once = []

    async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at_once.append(world.gateway.webhooks.under_way)
        writer.write(reply(200))

    receiver.answers["/hook"] = [reply(429, Retry_After="120"), take, take]
    await world.finish(await world.submitted())
    await deliver(world)
    await world.finish(await world.submitted())
    await deliver(world)
    assert len(receiver.received) == 1, "the endpoint asked for a pause"
    world.clock.advance(121)
    await deliver(world)
    assert at_once == [1, 1], "one at a time, until it takes one"
    assert len(receiver.received) == 3


async def test_a_redirect_is_a_failure_and_never_followed(world: World, receiver: Receiver) -> None:
    await endpoint(world, receiver)
    receiver.always["/hook"] = reply(307, Location=f"{receiver.base_url}/else")
    await world.finish(await world.submitted())
    await deliver(world)
    assert [one.path for one in receiver.received] == ["/hook"]
    assert [one.status for one in await attempts(world)] == [307]
    assert [one.state for one in await deliveries(world)] == ["pending"]


async def test_of_an_endless_answer_a_kib_is_read(world: World, receiver: Receiver) -> None:
    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 x\r\nContent-Length: 1000000000\r\n\r\n")
        for _number in range(15_000):
            writer.write(b"x" * 65536)
            await writer.drain()
        raise AssertionError("all of it was read")

    await endpoint(world, receiver)
    receiver.always["/hook"] = endless
    await world.finish(await world.submitted())
    await deliver(world)
    (attempt,) = await attempts(world)
    assert (attempt.status, attempt.answer) == (200, "x" * 1024)


async def test_two_410_an_hour_apart_mean_that_the_endpoint_is_gone_and_the_others_are_told(
    world: World, receiver: Receiver
) -> None:
    made = await endpoint(world, receiver, "/gone")
    await endpoint(world, receiver, "/other", events=["endpoint.disabled"])
    receiver.always["/gone"] = 410
    await world.finish(await world.submitted())
    await deliver(world)
    world.clock.advance(0.5 * HOUR_S)
    await deliver(world)
    assert (await endpoint_row(world, made.id)).state == "enabled"
    assert len(receiver.at("/gone")) == 1, "not asked again within the hour"
    world.clock.advance(0.7 * HOUR_S)
    await deliver(world)
    assert (await endpoint_row(world, made.id)).state == "gone"
    await deliver(world)
    (told,) = receiver.at("/other")
    assert told.document["type"] == "endpoint.disabled"
    assert told.document["data"]["endpoint_id"] == made.id
    assert [one.state for one in await deliveries(world) if one.endpoint_id == made.id] == ["cancelled"]
    stream = await world.gateway.db.read(_events, world.tenant_id)
    assert [getattr(one, "endpoint_id", None) for one in stream][-1] == made.id
    assert [one.number for one in stream] == list(range(1, len(stream) + 1))


async def test_an_endpoint_that_answers_otherwise_between_two_410_is_not_gone(
    world: World, receiver: Receiver
) -> None:
    made = await endpoint(world, receiver)
    receiver.answers["/hook"] = [410, 500, 410, 410]
    await world.finish(await world.submitted())
    states = []
    for _ in range(4):
        await deliver(world)
        states.append((await endpoint_row(world, made.id)).state)
        world.clock.advance(1.2 * HOUR_S)
    assert states == ["enabled", "enabled", "enabled", "gone"]


def _events(connection: Any, tenant_id: str) -> list[Any]:
    return list(events.after(connection, tenant_id, "test", 0, limit=100))


async def test_five_days_of_failure_disable_an_endpoint_and_one_success_between_does_not(
    world: World, receiver: Receiver
) -> None:
    made = await endpoint(world, receiver)
    receiver.always["/hook"] = 503
    for day in range(6):
        await world.finish(await world.submitted())
        await deliver(world)
        if day == 4:
            receiver.answers["/hook"] = [200]
            world.clock.advance(DAY_S - 600)
            await deliver(world)
        world.clock.advance(DAY_S)
    assert (await endpoint_row(world, made.id)).state == "enabled"
    for _day in range(6):
        await world.finish(await world.submitted())
        await deliver(world)
        world.clock.advance(DAY_S)
    row = await endpoint_row(world, made.id)
    assert (row.state, row.state_reason) == ("disabled", "failing")
    sent = len(receiver.received)
    await world.finish(await world.submitted())
    await deliver(world)
    assert len(receiver.received) == sent
    assert (await deliveries(world))[-1].state == "cancelled", "recorded, to be replayed"


async def test_a_delivery_whose_message_is_gone_fails_at_once_and_its_endpoint_is_not_blamed(
    world: World, receiver: Receiver
) -> None:
    made = await endpoint(world, receiver)
    await world.finish(await world.submitted())
    assert len(await deliveries(world)) == 1
    await world.gateway.db.write(lambda connection: connection.execute(delete(webhook_messages)) and None)
    await deliver(world)
    (row,) = await deliveries(world)
    assert (row.state, row.last_error, row.last_status) == ("failed", "message_missing", None)
    assert (await endpoint_row(world, made.id)).failing_since_ms is None
    assert receiver.received == []


async def test_a_secret_that_cannot_be_read_ends_in_a_state_and_not_in_a_loop(
    world: World, receiver: Receiver
) -> None:
    made = await endpoint(world, receiver)
    await world.gateway.db.write(
        lambda connection: connection.execute(update(webhook_endpoints).values(secret="v1.00000000.AAAA"))
    )
    await world.finish(await world.submitted())
    await deliver(world)
    (row,) = await deliveries(world)
    assert (row.state, row.last_error) == ("failed", "secret_unreadable")
    assert (await endpoint_row(world, made.id)).state_reason == "secret_unreadable"
    assert receiver.received == []


async def test_pages_are_told_what_became_of_attempts_within_a_second_and_once_a_second(
    world: World, receiver: Receiver
) -> None:
    made = await endpoint(world, receiver)
    told: list[Any] = []
    world.gateway.db.announcements.subscribe(SENT, told.append)
    for _ in range(2):
        await world.finish(await world.submitted())
    await deliver(world)
    receiver.answers["/hook"] = [500]
    await world.client.post(f"/v1/webhooks/endpoints/{made.id}/test")
    await deliver(world)
    assert told == []
    world.clock.advance(1)
    await until(lambda: len(told) == 1)
    await world.client.post(f"/v1/webhooks/endpoints/{made.id}/test")
    await deliver(world)
    world.clock.advance(1)
    await until(lambda: len(told) == 2)
