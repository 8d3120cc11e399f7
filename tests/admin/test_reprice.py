"""Repricing: what was charged wrongly is corrected once, in every balance, with an entry for each."""

from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import Connection

from app.admin.actor import Actor
from app.admin.amounts import reprice, statements
from app.admin.amounts.reprice import Prices
from app.admin.verifying.verify import verify
from app.errors import Problem
from app.quotas.account import Owner
from app.quotas.balances import ledger
from app.quotas.balances.ledger import Kind
from app.quotas.limits import Scope
from tests.harness import World
from tests.quotas.accounts import DAY, PRICE, kid_of
from tests.sandbox.harness import DREAMINA

pytestmark = pytest.mark.anyio

ACTOR = Actor("command", "tester")
TODAY = date.fromisoformat(DAY)


def prices(world: World, **more: object) -> Prices:
    version = world.gateway.catalog.models[DREAMINA].pricing.version
    given = {
        "model_id": DREAMINA,
        "version": version,
        "first_day": TODAY,
        "last_day": TODAY,
        "price": "0.1",
        "test": True,
    }
    return Prices(**(given | more))  # type: ignore[arg-type]


async def test_a_wrong_price_is_corrected_once_in_every_balance_and_named_in_the_ledger(world: World) -> None:
    owner, key = Owner(world.tenant_id, "test"), Scope(kid_of(world.key))

    def pay(connection: Connection) -> None:
        for scope in (Scope(), key):
            ledger.add(connection, owner, scope, Kind.TOP_UP, 10 * PRICE, now_ms=world.clock.now_ms())

    await world.gateway.db.write(pay)
    charged = await world.submitted()
    await world.finish(charged)
    await world.finish(await world.submitted("fail"))
    await world.submitted("queued")
    preview = await reprice.reprice(world.gateway, ACTOR, prices(world), dry_run=True)
    assert [(one.request_id, one.from_microcredits, one.to_microcredits) for one in preview.corrections] == [
        (charged, PRICE, 100_000)
    ]
    done = await reprice.reprice(world.gateway, ACTOR, prices(world), reason="a wrong list")
    assert done == replace(preview, dry_run=False)
    again = await reprice.reprice(world.gateway, ACTOR, prices(world))
    assert again.corrections == []
    of_one = (await world.get(f"/v1/ledger?request_id={charged}"))["entries"]
    assert (of_one[0]["kind"], of_one[0]["microcredits"]) == ("adjustment", PRICE - 100_000)
    record = await world.get(f"/v1/requests/{charged}")
    assert (record["price_microcredits"], record["repriced_microcredits"]) == (PRICE, 100_000)
    assert (await world.get(f"/v1/requests/{charged}/result?include_cost=true"))["cost"] == 0.1
    limits = {one["policy"]: one for one in (await world.get("/v1/quota"))["limits"]}
    for policy in ("tenant-credits-total", "key-credits-total"):
        assert limits[policy]["spent"] == 100_000, policy
    total = (await world.get("/v1/usage"))["total"]
    assert (total["spent_microcredits"], total["adjusted_microcredits"]) == (PRICE, PRICE - 100_000)
    await reprice.reprice(world.gateway, ACTOR, prices(world, price="0.2"))
    assert (await world.gateway.db.snapshot(verify)).findings == []
    assert (await statements.verify(world.gateway)).differences == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"price": None}, "is the version of the model's present prices"),
        ({"price": "-1"}, "is less than 0"),
        ({"first_day": date(2026, 9, 22)}, "is before the first"),
    ],
)
async def test_what_makes_no_sense_is_refused(world: World, more: dict[str, object], said: str) -> None:
    with pytest.raises(Problem) as refused:
        await reprice.reprice(world.gateway, ACTOR, prices(world, **more))
    assert refused.value.fault.code == "invalid_repricing"
    assert said in refused.value.errors[0].detail
