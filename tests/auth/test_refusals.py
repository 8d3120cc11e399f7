"""Refusals are counted by tenant, key, code and minute, within bounds, and never in the way of a call."""

from typing import Any

import pytest
from sqlalchemy import func, select

from app.admin.access import keys
from app.admin.actor import Actor
from app.admin.amounts import refusals
from app.auth import refusals as counting
from app.auth.refusals import KnownKey, Refusals
from app.db.engines.engine import Database
from app.db.schema.tables import refusals as table
from app.errors import DATABASE_UNAVAILABLE, Problem
from tests.harness import FakeClock, World

pytestmark = pytest.mark.anyio

KEY = KnownKey("tenant-1", "acme", "kid1", "live")
MINUTE = counting.MINUTE_MS


async def stored(db: Database) -> list[Any]:
    columns = (
        table.c.minute_ms,
        table.c.tenant_id,
        table.c.kid,
        table.c.code,
        table.c.network,
        table.c.count,
    )
    return await db.read(lambda at: [tuple(row) for row in at.execute(select(*columns).order_by(*columns))])


async def test_servers_add_to_the_same_rows_and_rows_expire(db: Database) -> None:
    clock = FakeClock()
    began_ms = clock.now_ms() - clock.now_ms() % MINUTE
    servers = [Refusals(db, clock), Refusals(db, clock)]
    for server in servers:
        for _ in range(3):
            server.note(KEY, "quota_exceeded")
        server.note(None, "invalid_api_key", "203.0.113.0/24")
        assert await server.run_once() == 4
    clock.advance(60)
    servers[0].note(KEY, "quota_exceeded")
    await servers[0].close()
    assert await servers[0].run_once() == 0
    assert await stored(db) == [
        (began_ms, "", "", "invalid_api_key", "203.0.113.0/24", 2),
        (began_ms, "tenant-1", "kid1", "quota_exceeded", "", 6),
        (began_ms + MINUTE, "tenant-1", "kid1", "quota_exceeded", "", 1),
    ]
    assert servers[0].totals == {("live", "acme", "quota_exceeded"): 4}
    wanted = counting.Filters(tenant_id="tenant-1", from_ms=began_ms + 30_000, before_ms=clock.now_ms() + 1)
    (one,) = await db.read(counting.ranked, wanted, limit=5)
    assert (one.count, one.max_per_minute, one.first_ms, one.last_ms) == (7, 6, began_ms, began_ms + MINUTE)
    assert await db.write(counting.expire, before_ms=began_ms + MINUTE) == 2
    assert await db.write(counting.expire, before_ms=began_ms + MINUTE) == 0
    assert len(await stored(db)) == 1


async def test_a_flood_from_everywhere_is_few_rows_and_loses_no_count(db: Database) -> None:
    counts = Refusals(db, FakeClock())
    for number in range(20_000):
        counts.note(None, "invalid_api_key", f"10.{number // 250}.{number % 250}.0/24")
        if number % 10 == 0:
            counts.note(None, "invalid_api_key", "203.0.113.0/24")
        counts.note(KnownKey("t", "t", f"k{number}", "live"), "quota_exceeded")
    held = len(counts._counts) + len(counts._networks)
    assert held < 12_000
    assert len(counts.totals) == 1
    await counts.run_once()
    rows = await stored(db)
    assert sum(row[-1] for row in rows) == 42_000
    networks = {row[4]: row[-1] for row in rows if row[3] == "invalid_api_key"}
    assert len(networks) <= 101
    assert networks["203.0.113.0/24"] == 2000, "the one that floods is told from the others"


async def test_what_cannot_be_written_is_written_later(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Refusals(db, FakeClock())
    counts.note(KEY, "quota_exceeded")
    counts.note(None, "invalid_api_key", "203.0.113.0/24")

    async def fail(*_: Any, **__: Any) -> None:
        raise Problem(DATABASE_UNAVAILABLE, "gone")

    with monkeypatch.context() as patched:
        patched.setattr(db, "write", fail)
        with pytest.raises(Problem):
            await counts.run_once()
    assert await counts.run_once() == 2
    assert await db.read(lambda at: at.scalar(select(func.sum(table.c.count)))) == 2


async def test_who_is_refused_and_why_is_one_query(world: World) -> None:
    gateway, kid = world.gateway, world.key.split("_")[2]
    for _ in range(3):
        await world.get("/v1/requests/none", 404)
    await world.client.get("/v1/requests", headers={"Authorization": "Bearer rg_test_nonsense"})
    spare = await world.another_key()
    await keys.revoke(gateway, Actor("command", "olga"), spare.split("_")[2])
    refused = await world.client.get("/v1/requests", headers=world.with_key(spare))
    assert refused.status_code == 401
    await gateway.access.refusals.run_once()
    found = await refusals.listed(gateway)
    assert [(one.kid, one.mode, one.code, one.network, one.count) for one in found.refusals] == [
        (kid, "test", "request_not_found", "", 3),
        ("", "", "invalid_api_key", "127.0.0.0/24", 1),
        (spare.split("_")[2], "test", "invalid_api_key", "", 1),
    ]
    name = next(iter(found.tenants.values()))
    for filters, expected in (
        ({"kid": kid}, 1),
        ({"tenant": name, "code": "invalid_api_key"}, 1),
        ({"mode": "live"}, 0),
        ({"code": "a\0b"}, 0),
    ):
        assert len((await refusals.listed(gateway, **filters)).refusals) == expected, filters  # type: ignore[arg-type]
    told = await world.get("/v1/refusals")
    assert [(one["kid"], one["code"], one["count"]) for one in told["refusals"]] == [
        (kid, "request_not_found", 3),
        (spare.split("_")[2], "invalid_api_key", 1),
    ]
    assert (await world.get(f"/v1/refusals?kid={kid}&code=none"))["refusals"] == []
    assert (await world.get("/v1/refusals?created_after=2020-01-01T00:00:00Z&limit=1"))["refusals"] == told[
        "refusals"
    ][:1]
    await world.get("/v1/refusals?created_after=yesterday", 400)
    for at in ("9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00%2B12:00"):  # of no year in UTC
        await world.get(f"/v1/refusals?created_after={at}&created_before={at}")
    elsewhere = await world.another_key(tenant="somebody else")
    answer = await world.client.get("/v1/refusals", headers=world.with_key(elsewhere))
    assert answer.json()["refusals"] == []
    world.clock.advance(gateway.settings.refusal_retention_s + 120)
    await gateway.upkeep.retention.run_once()
    assert await stored(gateway.db) == []
