"""No event without the state, no state without the event; and no defect in telling loses the record."""

from typing import Any

import jsonschema_rs
import pytest
from sqlalchemy import Connection, delete, update

from app.db.schema.tables import generation_events, generations
from app.documents import webhooks as shapes
from app.documents.schema import components
from app.generations import advance
from app.generations import messages as telling
from app.generations.lifecycle import State
from app.quotas.account import Owner, set_limit
from app.quotas.limits import Limit, Scope
from app.quotas.metrics import Metric
from tests.harness import World
from tests.webhooks.receiver import Receiver, deliver, deliveries, endpoint, messages

pytestmark = pytest.mark.anyio


def ended(connection: Connection, /, request_id: str, to: State, **more: Any) -> Any:
    return advance.advance(connection, request_id, to, reason="for a test", now_ms=1_790_000_000_000, **more)


async def test_a_state_that_is_not_committed_has_no_message(world: World, receiver: Receiver) -> None:
    await endpoint(world, receiver)
    request_id = await world.submitted("queued")

    def undone(connection: Connection) -> None:
        assert ended(connection, request_id, State.CANCELLED)
        raise LookupError("undone")

    with pytest.raises(LookupError):
        await world.gateway.db.write(undone)
    assert await messages(world) == []
    await world.gateway.db.write(ended, request_id, State.CANCELLED)
    assert [one.type for one in await messages(world)] == ["request.cancelled"]
    assert await world.gateway.db.write(ended, request_id, State.CANCELLED) is None
    assert len(await messages(world)) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_ends_and_what_is_known_again_has_its_message(world: World, receiver: Receiver) -> None:
    await endpoint(world, receiver)
    db = world.gateway.db
    for path, told in (
        ((State.UNKNOWN, State.IN_QUEUE, State.COMPLETED), ["unknown", "resolved", "completed"]),
        ((State.UNKNOWN, State.LOST), ["unknown", "failed", "resolved"]),
        ((State.UNKNOWN, State.REJECTED), ["unknown", "failed", "resolved"]),
        ((State.IN_QUEUE, State.IN_PROGRESS, State.FAILED), ["failed"]),
        ((State.IN_QUEUE, State.LOST), ["failed"]),
        ((State.REJECTED,), ["failed"]),
        ((State.IN_QUEUE, State.CANCELLED), ["cancelled"]),
        ((State.ACCEPTED, State.EXPIRED), ["cancelled"]),
    ):
        request_id = await world.submitted("queued")
        await db.write(_being_sent, request_id)
        before = {one.id for one in await messages(world)}
        for state in path:
            assert await db.write(ended, request_id, state), (path, state)
        new = [one for one in await messages(world) if one.id not in before]
        assert sorted(one.type for one in new) == sorted(f"request.{one}" for one in told), path
        assert {one.generation_id for one in new} == {request_id}


def _being_sent(connection: Connection, request_id: str) -> None:
    """As it was before RunComfy answered."""
    row = {"state": "dispatching", "version": 1}
    connection.execute(generations.update().where(generations.c.id == request_id).values(row))
    of_it = generation_events.c.generation_id == request_id
    connection.execute(delete(generation_events).where(of_it, generation_events.c.version > 1))
    connection.execute(update(generation_events).where(of_it).values(state="dispatching"))


async def test_a_defect_in_making_a_body_loses_neither_the_record_nor_the_message(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await endpoint(world, receiver)
    request_id = await world.submitted()
    with monkeypatch.context() as patch:
        patch.setattr(telling, "request_data", lambda *_, **__: 1 / 0)
        result = await world.finish(request_id)
        assert result["status"] == "succeeded"
        (owed,) = await messages(world)
        assert (owed.body, await deliveries(world)) == (None, [])
        assert await telling.complete_all(world.gateway.db) == 0, "the defect is still there"
    assert await telling.complete_all(world.gateway.db) == 1
    assert await telling.complete_all(world.gateway.db) == 0
    await deliver(world)
    (got,) = receiver.received
    assert got.id == owed.id
    assert got.document["data"]["request_id"] == request_id


async def test_a_crossed_threshold_is_told_also_when_its_body_was_owed(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await endpoint(world, receiver, events=["quota.threshold"])
    limit = Limit(Scope(), Metric.GENERATIONS_TOTAL, 2)
    await world.gateway.db.write(set_limit, Owner(world.tenant_id, "test"), limit, now_ms=0)
    with monkeypatch.context() as patch:
        patch.setattr(telling, "_threshold_bodies", lambda *_: None.nothing)  # type: ignore[attr-defined]
        await world.submitted("queued")
        await world.submitted("queued")
    assert await telling.complete_all(world.gateway.db) > 0
    await deliver(world)
    told = [one.document["data"] for one in receiver.received]
    assert {one["percent"] for one in told} == {50, 80, 95, 100}
    ids = {one.id for one in receiver.received}
    assert len(ids) == 4
    assert not any(world.tenant_id in one for one in ids), "an id says nothing to its receiver"
    assert {one["policy"] for one in told} == {"tenant-generations-total"}


async def test_an_endpoint_hears_of_what_commits_after_it_until_it_is_deleted(
    world: World, receiver: Receiver
) -> None:
    first, second, third = [await world.submitted("queued") for _ in range(3)]
    await world.gateway.db.write(ended, first, State.CANCELLED)
    made = await endpoint(world, receiver)
    await world.gateway.db.write(ended, second, State.CANCELLED)
    await endpoint(world, receiver, events=["request.failed"])
    await world.client.post(f"/v1/webhooks/endpoints/{made.id}/delete")
    await world.gateway.db.write(ended, third, State.CANCELLED)
    assert [one.generation_id for one in await messages(world)] == [second]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_every_body_has_the_shape_that_is_published(world: World, receiver: Receiver) -> None:
    await endpoint(world, receiver, vendor_links=True)
    await world.finish(await world.submitted())
    await world.finish(await world.submitted("fail"))
    await deliver(world)
    (schema,) = components([shapes.RequestMessage]).values()
    for one in receiver.received:
        closed = schema | {"additionalProperties": False}
        jsonschema_rs.validate(closed, one.document)
        assert set(one.document["data"]) - {"output"} == shapes.RequestData.__required_keys__
