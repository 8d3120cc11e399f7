"""What a tenant or an end user left is erased: inputs, outputs, copies and callers; what was paid stays."""

from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from app.admin.access import erasure, tenants
from app.admin.access.erasure import Erased
from app.admin.actor import Actor
from app.db.schema.tables import (
    assets,
    audit_entries,
    generations,
    ledger_entries,
    webhook_deliveries,
    webhook_messages,
)
from app.errors import Problem
from app.webhooks.messages.fan_out import fan_out
from tests.harness import World
from tests.mirror.worlds import completed, copy, kept, mirrored
from tests.pictures import png
from tests.webhooks.receiver import add_endpoint

pytestmark = pytest.mark.anyio

OPERATOR = Actor("command", "test")


async def all_of(world: World, table: Any, *order: str) -> list[dict[str, Any]]:
    def read(connection: Connection) -> list[dict[str, Any]]:
        query = select(table).order_by(*(table.c[name] for name in order))
        return [dict(row) for row in connection.execute(query).mappings()]

    return await world.gateway.db.read(read)


async def for_user(world: World, request_id: str, end_user: str) -> None:
    def change(connection: Connection) -> None:
        of_it = update(generations).where(generations.c.id == request_id)
        connection.execute(of_it.values(end_user=end_user, caller_address="192.0.2.7"))

    await world.gateway.db.write(change)


async def test_an_end_users_requests_keep_their_price_and_lose_everything_else(world: World) -> None:
    await mirrored(world)
    await world.gateway.db.write(add_endpoint, world.tenant_id, "https://example.com/hook")
    theirs, other = await completed(world), await completed(world)
    await for_user(world, theirs, "ann")
    await for_user(world, other, "bob")

    def own_copies(connection: Connection) -> None:

        for request_id, end_user in ((theirs, "ann"), (other, "bob")):
            of_it = update(assets).where(assets.c.generation_id == request_id)
            connection.execute(of_it.values(end_user=end_user))

    await world.gateway.db.write(own_copies)
    await copy(world)
    assert len(kept(world)) == 2
    ledger = await all_of(world, ledger_entries, "id")
    before = {one["id"]: one for one in await all_of(world, generations, "id")}
    done = await erasure.erase(world.gateway, OPERATOR, world.tenant_id, end_user="ann", reason="asked for")
    left = {"requests_left": 0, "assets_left": 1, "files_left": 0}
    assert done == Erased(tenant=done.tenant, end_user="ann", requests=1, assets=1, files=0, **left)
    await world.gateway.upkeep.sweeper.run_once()
    after = {one["id"]: one for one in await all_of(world, generations, "id")}
    assert after[other] == before[other]
    gone = after[theirs]
    assert (gone["input"], gone["output"], gone["media"], gone["caller_address"]) == ("{}", None, None, None)
    kept_of_it = (
        "state",
        "price_microcredits",
        "charge",
        "created_at_ms",
        "finished_at_ms",
        "idempotency_key",
    )
    assert [gone[name] for name in kept_of_it] == [before[theirs][name] for name in kept_of_it]
    assert await all_of(world, ledger_entries, "id") == ledger
    assert len(kept(world)) == 1
    told = await all_of(world, webhook_messages, "id")
    assert {one["generation_id"] for one in told} == {other}
    await world.gateway.db.write(fan_out)
    assert {one["message_id"] for one in await all_of(world, webhook_deliveries, "id")} == {
        one["id"] for one in told
    }
    answer = await world.client.get(f"/v1/requests/{theirs}/result")
    assert (answer.status_code, answer.json()["code"]) == (410, "result_erased")
    again = await erasure.erase(world.gateway, OPERATOR, world.tenant_id, end_user="ann", reason="asked for")
    assert (again.requests, again.assets, again.assets_left) == (0, 0, 0)
    entries = await all_of(world, audit_entries, "seq")
    assert [one["action"] for one in entries].count("tenant.erase") == 3


async def test_a_tenants_everything_is_erased_once_it_is_disabled_and_its_requests_have_ended(
    world: World,
) -> None:
    await mirrored(world)
    await completed(world)
    uploaded = await world.client.post("/v1/files", content=png())
    assert uploaded.status_code == 201, uploaded.text
    under_way = await world.submitted("queued")
    with pytest.raises(Problem, match="disable it first"):
        await erasure.erase(world.gateway, OPERATOR, world.tenant_id)
    await tenants.disable(world.gateway, OPERATOR, world.tenant_id)
    done = await erasure.erase(world.gateway, OPERATOR, world.tenant_id)
    assert (done.requests, done.requests_left, done.assets, done.files) == (1, 1, 1, 1)
    await world.gateway.upkeep.sweeper.run_once()
    await world.gateway.upkeep.files.run_once()
    assert kept(world) == []
    left = [one["id"] for one in await all_of(world, generations, "id") if one["input"] != "{}"]
    assert left == [under_way]


@pytest.mark.parametrize("label", ["", "two words", "x" * 65, "*"])
async def test_what_is_no_label_erases_nothing(label: str, world: World) -> None:
    with pytest.raises(Problem, match="label"):
        await erasure.erase(world.gateway, OPERATOR, world.tenant_id, end_user=label)
