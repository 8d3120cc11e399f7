"""A temporary override counts in place of its limit until its moment, and not a millisecond longer."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from app.admin.accounts import AccountName
from app.admin.actor import Actor
from app.admin.amounts import overrides
from app.auth.tenants import by_id
from app.errors import INVALID_LIMIT, OVERRIDE_EXISTS, OVERRIDE_NOT_FOUND, Problem
from app.kit.clock import iso
from tests.contract.published import problem_of
from tests.harness import World
from tests.quotas.accounts import limited, submit

pytestmark = pytest.mark.anyio
ACTOR = Actor("command", "olga")


async def override(world: World, text: str, *, for_s: float, **of: Any) -> str:
    """Overrides a limit of the tenant's test keys, and returns the override's id."""
    tenant = await world.gateway.db.read(by_id, world.tenant_id)
    until = datetime.fromtimestamp(world.clock.now_ms() / 1000 + for_s, UTC)
    name = AccountName(tenant=tenant.name, test=True, **of)
    made = await overrides.create(world.gateway, ACTOR, name, text, until)
    return made.override.id


async def the_limit(world: World) -> dict[str, Any]:
    limits = (await world.get("/v1/quota"))["limits"]
    (found,) = [one for one in limits if one["policy"] == "tenant-generations-day"]
    assert isinstance(found, dict)
    return found


async def test_its_amount_counts_until_its_moment_to_the_millisecond(world: World) -> None:
    await limited(world, "generations-day=1")
    assert (await submit(world)).status_code == 200
    problem_of(await submit(world), 429, "quota_exceeded")
    until = iso(world.clock.now_ms() + 60_000)
    await override(world, "generations-day=3", for_s=60)
    found = await the_limit(world)
    assert (found["limit"], found["remaining"], found["override_until"]) == (3, 2, until)
    world.clock.advance(59.999)
    assert (await submit(world)).status_code == 200
    world.clock.advance(0.001)
    problem_of(await submit(world), 429, "quota_exceeded")
    found = await the_limit(world)
    assert (found["limit"], found["remaining"], found["override_until"]) == (1, 0, None)


async def test_it_stands_in_for_a_default_or_for_no_limit_at_all(world: World) -> None:
    await override(world, "generations-total=1", for_s=60)
    assert (await submit(world)).status_code == 200
    refused = problem_of(await submit(world), 429, "quota_exceeded")
    assert refused["retry_after_s"] == 60  # which is when it ends: by itself this limit never begins anew
    assert f"ends at {iso(world.clock.now_ms() + 60_000)}: try again then" in refused["detail"]
    world.clock.advance(60)
    assert (await submit(world)).status_code == 200
    assert [
        one["policy"] for one in (await world.get("/v1/quota"))["limits"] if "total" in one["policy"]
    ] == []


@pytest.mark.parametrize("world_settings", [{"default_limits": ["in-flight=1"]}])
async def test_a_block_lasts_until_its_end_and_none_lifts_a_default(world: World) -> None:
    assert (await submit(world)).status_code == 200
    problem_of(await submit(world), 429, "quota_exceeded")
    await override(world, "in-flight=none", for_s=60)
    assert (await submit(world)).status_code == 200
    world.clock.advance(60)
    await override(world, "in-flight=0", for_s=90)
    assert problem_of(await submit(world), 429, "quota_exceeded")["retry_after_s"] == 90


async def test_it_can_be_ended_before_its_end_and_one_lasts_at_a_time(world: World) -> None:
    await limited(world, "generations-day=0")
    made = await override(world, "generations-day=5", for_s=60)
    with pytest.raises(Problem) as refused:
        await override(world, "generations-day=6", for_s=30)
    assert refused.value.fault is OVERRIDE_EXISTS
    await override(world, "generations-day=1", for_s=30, kid=world.key.split("_")[2])  # of another scope
    await overrides.end(world.gateway, ACTOR, made)
    problem_of(await submit(world), 429, "quota_exhausted")
    at = world.clock.now_ms()
    world.clock.advance(1)
    ended = await overrides.end(world.gateway, ACTOR, made)
    assert ended.override.until_ms == at, "an override that is over keeps its end"
    await override(world, "generations-day=6", for_s=30)
    lasting = await overrides.listed(world.gateway)
    every = await overrides.listed(world.gateway, ended=True, limit=2)
    rest = await overrides.listed(world.gateway, ended=True, cursor=every.next_cursor)
    ids = [one.override.id for one in (*every.entries, *rest.entries)]
    assert (len(lasting.entries), len(set(ids)), len(ids)) == (2, 3, 3)
    assert made in ids
    assert made not in {one.override.id for one in lasting.entries}
    for text, for_s, fault in (("nonsense", 60, INVALID_LIMIT), ("in-flight=1", 0, INVALID_LIMIT)):
        with pytest.raises(Problem) as refused:
            await override(world, text, for_s=for_s)
        assert refused.value.fault is fault
    with pytest.raises(Problem) as refused:
        await overrides.end(world.gateway, ACTOR, "nothing")
    assert refused.value.fault is OVERRIDE_NOT_FOUND


async def test_a_crowd_at_its_end_gets_what_it_allows_and_no_more(world: World) -> None:
    await limited(world, "generations-day=2")
    await override(world, "generations-day=7", for_s=60)
    answers = await asyncio.gather(*(submit(world) for _ in range(20)))
    assert sorted(one.status_code for one in answers) == [200] * 7 + [429] * 13


async def test_each_end_users_limit_can_be_overridden_without_touching_ones_own(world: World) -> None:
    of_all, of_one = {"end_user": "*"}, {"end_user": "ann"}
    await override(world, "generations-day=1", for_s=60, **of_all)
    await override(world, "generations-day=2", for_s=60, **of_one)
    allowed = {}
    for name in ("ann", "bob"):
        minted = await world.client.post("/v1/client-tokens", json={"end_user": name})
        key = minted.json()["token"]
        allowed[name] = [(await submit(world, key)).status_code for _ in range(3)].count(200)
    assert allowed == {"ann": 2, "bob": 1}
