"""GET /v1/quota: what may be used and what was used, whatever becomes of a job."""

from pathlib import Path
from typing import Any

import pytest

from app.admin.actor import Actor
from app.admin.running import requests
from app.kit.clock import iso
from app.quotas.balances import ledger
from app.quotas.limits import Scope
from tests.harness import MORE_MODELS, World, open_world, settings_for
from tests.quotas.accounts import DAY, MONTH, PRICE, Usage, everywhere, limited, usage
from tests.sandbox.harness import DREAMINA, Running

pytestmark = pytest.mark.anyio

AUDIO, AUDIO_PRICE = "bytedance/seed-audio-1.0/text-to-audio", 40_000
NOW = "2026-09-21T14:13:20.000Z"  # of the tests' clock
HELD, SPENT, GIVEN_BACK = (1, 0, PRICE, 0, 0), (0, 1, 0, PRICE, 0), (0, 0, 0, 0, 0)
"""Generations held and spent, micro-credits held, spent and added."""
LOST_FROM_UNKNOWN = {"given-up", "closed-charged", "closed-free"}
CHARGES = {"held": HELD, "settled": SPENT, "refunded": GIVEN_BACK}


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"catalog_dir": MORE_MODELS}


async def ended(world: World, how: str) -> str:
    """The id of a generation that has come to this end."""
    if how in {"rejected", "unknown"} or how in LOST_FROM_UNKNOWN:
        answer = await world.submit("reject=422" if how == "rejected" else "html,canned")
        assert answer.status_code == (422 if how == "rejected" else 504)
        request_id = str(answer.json()["request_id"])
    else:
        directives = {"completed": "canned", "failed": "fail", "vanished": "vanish,queued"}
        request_id = await world.submitted(directives.get(how, "queued"))
    match how:
        case "completed" | "failed":
            await world.finish(request_id)
        case "cancelled":
            await world.client.post(f"/v1/requests/{request_id}/cancel")
        case "vanished":
            for pause_s in (0, 0, 300):
                world.clock.advance(pause_s)
                await world.record(request_id)
        case "given-up":
            world.clock.advance(601)
            await world.gateway.upkeep.rescuer.run_once()
        case "closed-charged" | "closed-free":
            await requests.resolve(
                world.gateway, Actor("command", "tests"), request_id, charged=how == "closed-charged"
            )
    return request_id


async def assert_charged(world: World, request_id: str, charge: str) -> None:
    """The record, the result, the ledger and every window say so."""
    record = await world.record(request_id)
    assert (record["charge"], record["price_microcredits"]) == (charge, PRICE)
    result = await world.get(f"/v1/requests/{request_id}/result?include_cost=true")
    assert result.get("cost") == {"held": None, "settled": 0.15, "refunded": 0.0}[charge]
    entries = await world.gateway.db.read(ledger.entries, generation_id=request_id, limit=10)
    ends = {"held": [], "settled": [("settle", 0)], "refunded": [("refund", PRICE)]}[charge]
    assert [(entry.kind, entry.microcredits) for entry in entries] == [*ends, ("hold", -PRICE)]
    assert await usage(world) == everywhere(CHARGES[charge])


# --- what a price becomes

USUAL: dict[str, Any] = {}
ACCEPTANCE: dict[str, Any] = {"settle_on": "acceptance"}
FAILED: dict[str, Any] = {"charge_for": ["failed"]}
OTHERS: dict[str, Any] = {"charge_for": ["cancelled", "lost"]}
ENDS = [
    (terms, how, charge)
    for terms, charge, each in (
        (USUAL, "held", "in_queue unknown"),
        (USUAL, "settled", "completed closed-charged"),
        (USUAL, "refunded", "failed cancelled rejected vanished given-up closed-free"),
        (ACCEPTANCE, "held", "unknown"),
        (ACCEPTANCE, "settled", "in_queue completed failed cancelled vanished"),
        (ACCEPTANCE, "refunded", "rejected given-up"),
        (FAILED, "settled", "completed failed"),
        (FAILED, "refunded", "cancelled rejected vanished"),
        (OTHERS, "held", "in_queue"),
        (OTHERS, "settled", "completed cancelled vanished given-up"),
        (OTHERS, "refunded", "failed rejected closed-free"),
    )
    for how in each.split()
]


class TestEnds:
    @pytest.fixture
    def world_settings(self, terms: dict[str, Any]) -> dict[str, Any]:
        return terms | {"unknown_refund_after_s": 600}

    @pytest.mark.parametrize(("terms", "how", "charge"), ENDS)
    async def test_a_price_is_held_until_an_end_that_spends_it_or_gives_it_back(
        self, world: World, how: str, charge: str
    ) -> None:
        request_id = await ended(world, how)
        state = "lost" if how == "vanished" or how in LOST_FROM_UNKNOWN else how
        assert (await world.record(request_id))["state"] == state
        await assert_charged(world, request_id, charge)


@pytest.mark.parametrize(
    ("before", "after", "charge"),
    [
        (USUAL, FAILED, "refunded"),
        (FAILED, USUAL, "settled"),
        (USUAL, ACCEPTANCE, "refunded"),
        (ACCEPTANCE, USUAL, "settled"),
    ],
)
async def test_a_job_under_way_keeps_the_terms_under_which_it_was_submitted(
    database_url: str,
    tmp_path: Path,
    sandbox: Running,
    *,
    before: dict[str, Any],
    after: dict[str, Any],
    charge: str,
) -> None:
    url = sandbox.options.public_url
    async with open_world(settings_for(database_url, tmp_path, url, **before), sandbox) as first:
        request_id = await first.submitted("fail")
    async with open_world(settings_for(database_url, tmp_path, url, **after), sandbox) as second:
        second.key = first.key
        second.client.headers.update(second.with_key(first.key))
        assert (await second.finish(request_id))["status"] == "failed"
        await assert_charged(second, request_id, charge)


# --- GET /v1/quota


def shown(policy: str, unit: str, numbers: tuple[int, ...], **more: Any) -> dict[str, Any]:
    """A limit of all models beside the numbers of its amount, held, spent and left."""
    holder, _, metric = policy.partition("-")
    names = ("policy", "holder", "model_id", "metric", "unit", "limit", "held", "spent", "remaining")
    values = (policy, holder, None, metric, unit, *numbers)
    nothing = dict.fromkeys(("burst", "period", "resets_at", "override_until"))
    return dict(zip(names, values, strict=True)) | nothing | more


async def test_a_fresh_account_has_the_default_limits_and_no_usage(world: World) -> None:
    document = await world.get("/v1/quota")
    assert document.pop("tenant").startswith("tenant-")
    submits = shown("tenant-submits-minute", "submits", (600, 0, 0, 600), resets_at=NOW)
    reads = shown("key-reads-minute", "reads", (6000, 0, 1, 5999), resets_at=NOW.replace("000Z", "010Z"))
    assert document == {
        "kid": world.key.split("_")[2],
        "token_id": None,
        "end_user": None,
        "mode": "test",
        "at": NOW,
        "time_zone": "UTC",
        "limits": [submits, reads],
        "queue": {
            "queueable": False,
            "queued": 0,
            "max_queued": 1000,
            "weight": 1,
            "paused": False,
        },
        "usage": [],
    }


async def test_a_limit_stands_beside_what_is_held_spent_and_left_of_it(world: World) -> None:
    kid, day_ends = world.key.split("_")[2], "2026-09-22T00:00:00.000Z"
    await limited(world, "in-flight=4", "submits-minute=60/10")
    await limited(world, "generations-total=3")
    await limited(world, "credits-day=1", scopes=(Scope(kid),))
    await limited(world, "credits-month=2", scopes=(Scope(kid, DREAMINA),))
    await world.finish(await world.submitted())
    await world.submitted("queued")
    limits = {one["policy"]: one for one in (await world.get("/v1/quota"))["limits"]}
    of_model = {"policy": "key-model-credits-month", "model_id": DREAMINA}
    for expected in (
        shown("tenant-in-flight", "requests", (4, 1, 0, 3)),
        shown("tenant-submits-minute", "submits", (60, 0, 1, 9), burst=10)
        | {"resets_at": iso(world.clock.now_ms() + 1000)},
        shown("tenant-generations-total", "generations", (3, 1, 1, 1), period="total"),
        shown(
            "key-credits-day", "microcredits", (10**6, PRICE, PRICE, 700_000), period=DAY, resets_at=day_ends
        ),
        shown("key-credits-month", "microcredits", (2 * 10**6, PRICE, PRICE, 1_700_000), period=MONTH)
        | {"resets_at": "2026-10-01T00:00:00.000Z", **of_model},
    ):
        assert limits[expected["policy"]] == expected


async def test_usage_is_kept_by_tenant_key_and_model_and_never_shown_to_another(world: World) -> None:
    second, stranger = await world.another_key(), await world.another_key(tenant="a neighbour")
    await world.submitted("queued")
    for key in (second, stranger):
        answer = await world.client.post(
            f"/v1/models/{AUDIO}", json={"prompt": "[sandbox:queued]"}, headers=world.with_key(key)
        )
        assert answer.status_code == 200, answer.text
    audio = (1, 0, AUDIO_PRICE, 0, 0)
    of_tenant: Usage = {
        ("tenant", None, "total"): (2, 0, PRICE + AUDIO_PRICE, 0, 0),
        ("tenant", DREAMINA, "total"): HELD,
        ("tenant", AUDIO, "total"): audio,
    }
    of_first: Usage = {("key", None, "total"): HELD, ("key", DREAMINA, "total"): HELD}
    of_second: Usage = {("key", None, "total"): audio, ("key", AUDIO, "total"): audio}
    of_stranger: Usage = {(*where[:2], "total"): audio for where in (("tenant", None), ("tenant", AUDIO))}
    for key, expected in (
        (world.key, of_tenant | of_first),
        (second, of_tenant | of_second),
        (stranger, of_stranger | of_second),
    ):
        seen = await usage(world, key)
        assert {where: one for where, one in seen.items() if where[2] == "total"} == expected


async def test_polling_costs_nothing_before_and_after_the_end(world: World) -> None:
    request_id = await world.submitted()

    async def poll() -> None:
        for path in ("/status", "/result", ""):
            world.clock.advance(2)
            await world.get(f"/v1/requests/{request_id}{path}")
        await world.get("/v1/requests")

    async def account() -> tuple[Any, ...]:
        entries = await world.gateway.db.read(ledger.entries, tenant_id=world.tenant_id, limit=100)
        return await usage(world), entries

    for counters in (HELD, SPENT):
        before = await account()
        assert before[0] == everywhere(counters)
        for _ in range(10):
            await poll()
        assert await account() == before
        await world.finish(request_id)


async def test_a_day_and_a_month_end_and_the_total_does_not(world: World) -> None:
    await world.submitted("queued")
    world.clock.advance(86_400)
    assert await usage(world) == everywhere(HELD, MONTH, "total")
    world.clock.advance(30 * 86_400)
    assert await usage(world) == everywhere(HELD, "total")
