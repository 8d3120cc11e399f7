"""Usage over HTTP: what a tenant's key may read, in which form, and how it is refused."""

import csv
import io

import pytest

from app.api.cursors import encode_key
from app.auth import tenants
from app.kit.clock import iso
from app.quotas.account import Owner
from app.quotas.balances import ledger
from app.quotas.balances.ledger import Kind
from app.quotas.limits import Scope
from tests.contract.published import problem_of
from tests.harness import World
from tests.quotas.accounts import DAY, MONTH, PRICE, kid_of
from tests.sandbox.harness import DREAMINA

pytestmark = pytest.mark.anyio


async def worked(world: World) -> None:
    """One request that completed, one that failed, one under way, and a top-up."""
    for directive in ("canned", "fail"):
        await world.finish(await world.submitted(directive))
    await world.submitted("queued")
    owner = Owner(world.tenant_id, "test")
    now_ms = world.clock.now_ms()
    await world.gateway.db.write(ledger.add, owner, Scope(), Kind.TOP_UP, 9_000_000, now_ms=now_ms)


async def test_usage_is_told_by_day_with_the_time_zone_and_in_any_grouping(world: World) -> None:
    await worked(world)
    found = await world.get("/v1/usage?group_by=model&group_by=outcome")
    assert (found["time_zone"], found["time_zone_since"], found["by"]) == ("UTC", None, "day")
    assert (found["first_day"], found["last_day"]) == (f"{MONTH}-01", DAY)
    told = {(one["model_id"], one["outcome"]): one for one in found["rows"]}
    assert set(told) == {(None, None), *((DREAMINA, one) for one in ("submitted", "completed", "failed"))}
    assert told[DREAMINA, "submitted"]["held_microcredits"] == 3 * PRICE
    assert told[DREAMINA, "completed"]["spent_microcredits"] == PRICE
    assert told[DREAMINA, "failed"]["refunded_generations"] == 1
    assert told[None, None]["added_microcredits"] == 9_000_000
    assert {one["period"] for one in found["rows"]} == {DAY}
    assert "cost_microusd" not in found["total"]
    for query in ("by=hour", "by=month", "group_by=key", "group_by=end_user&by=month", "group_by=token"):
        other = await world.get(f"/v1/usage?{query}")
        assert other["total"] == found["total"], query
        for name, total in found["total"].items():
            assert sum(one[name] for one in other["rows"]) == total, (query, name)
    mine = await world.get(f"/v1/usage?kid={kid_of(world.key)}&outcome=completed&by=month")
    assert [(one["period"], one["spent_generations"]) for one in mine["rows"]] == [(MONTH, 1)]


async def test_csv_has_the_rows_of_the_json_and_pages_follow_each_other(world: World) -> None:
    await worked(world)
    whole = await world.get("/v1/usage?by=hour&group_by=outcome")
    for query, headers in (("&format=csv", {}), ("", {"Accept": "text/csv"})):
        answer = await world.client.get(f"/v1/usage?by=hour&group_by=outcome{query}", headers=headers)
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert rows == [
            {key: "" if value is None else str(value) for key, value in one.items()} for one in whole["rows"]
        ]


@pytest.mark.parametrize("by", ["hour", "day", "month"])
async def test_pages_of_usage_are_as_the_whole(world: World, by: str) -> None:
    await worked(world)
    whole = await world.get(f"/v1/usage?by={by}&group_by=outcome")
    pages, address = [], f"/v1/usage?by={by}&group_by=outcome&limit=1"
    while address:
        answer = await world.client.get(address)
        assert answer.status_code == 200, answer.text
        pages += answer.json()["rows"]
        assert answer.json()["total"] == whole["total"]
        address = answer.links["next"]["url"] if "next" in answer.links else ""
    assert pages == whole["rows"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("from=2026-09-02&to=2026-09-01", "#/query/from"),
        ("from=2020-01-01&by=hour", "#/query/from"),
        ("from=1999-01-01&to=1999-01-02", "#/query/from"),
        ("group_by=end_user&group_by=token", "#/query/group_by"),
        ("group_by=end_user&by=hour", "#/query/by"),
        ("group_by=tenant", "#/query/group_by"),
        ("to=9999-12-31&from=9999-12-01", "#/query/to"),
        ("cursor=WzEsMl0", "#/query/cursor"),
        ("cursor=nonsense", "#/query/cursor"),
    ],
)
async def test_a_question_without_an_answer_is_refused_by_its_parameter(
    world: World, query: str, pointer: str
) -> None:
    problem = problem_of(await world.client.get(f"/v1/usage?{query}"), 400, "invalid_parameter")
    assert [one["pointer"] for one in problem["errors"]] == [pointer]


@pytest.mark.parametrize("period", [0, 202_613, 20_261_340, 10**15 - 1])
async def test_a_cursor_of_no_day_begins_where_the_question_does(world: World, period: int) -> None:
    await worked(world)
    cursor = encode_key((period, "", ""))
    page = await world.get(f"/v1/usage?by=day&group_by=model&group_by=outcome&cursor={cursor}")
    assert bool(page["rows"]) == (period < 20_260_000)


async def test_several_values_with_commas_are_told_how_they_are_sent(world: World) -> None:
    answer = await world.client.get("/v1/usage?group_by=model,outcome")
    problem = problem_of(answer, 400, "invalid_parameter")
    assert problem["detail"].endswith("; send several values as `group_by=…&group_by=…`.")


@pytest.mark.parametrize("address", ["/v1/usage", "/v1/ledger"])
async def test_a_key_without_the_scope_and_a_client_token_read_no_usage(world: World, address: str) -> None:
    key = await world.another_key()
    answer = await world.client.get(address, headers=world.with_key(key))
    assert "`usage:read`" in problem_of(answer, 403, "insufficient_scope")["detail"]
    made = (await world.client.post("/v1/client-tokens", json={})).json()
    answer = await world.client.get(address, headers=world.with_key(made["token"]))
    problem_of(answer, 403, "insufficient_scope")


async def test_the_ledger_names_what_each_entry_is_about(world: World) -> None:
    await worked(world)
    found = await world.get("/v1/ledger")
    kinds = [one["kind"] for one in found["entries"]]
    assert sorted(kinds) == ["hold", "hold", "hold", "refund", "settle", "top-up"]
    assert sum(one["microcredits"] for one in found["entries"]) == 9_000_000 - 2 * PRICE
    assert [one["entry"] for one in found["entries"]] == sorted(
        (one["entry"] for one in found["entries"]), reverse=True
    )
    hold = next(one for one in found["entries"] if one["kind"] == "hold")
    assert (hold["model_id"], hold["kid"]) == (DREAMINA, kid_of(world.key))
    of_one = await world.get(f"/v1/ledger?request_id={hold['request_id']}")
    assert {one["request_id"] for one in of_one["entries"]} == {hold["request_id"]}
    refunds = await world.get("/v1/ledger?kind=refund&kind=top-up")
    assert [one["kind"] for one in refunds["entries"]] == ["top-up", "refund"]
    paged, address = [], "/v1/ledger?limit=4"
    while address:
        answer = await world.client.get(address)
        paged += answer.json()["entries"]
        address = answer.links["next"]["url"] if "next" in answer.links else ""
    assert paged == found["entries"]
    assert (await world.get("/v1/ledger?created_before=2026-09-21T00:00:00Z"))["entries"] == []
    assert (await world.get("/v1/ledger?created_after=2026-09-21T02:00:00%2B02:00")) == found


async def test_requests_are_listed_by_when_they_were_made(world: World) -> None:
    first = await world.submitted("queued")
    world.clock.advance(60)
    second = await world.submitted("queued")
    made = (await world.get(f"/v1/requests/{second}"))["created_at"]
    after = await world.get(f"/v1/requests?created_after={made}")
    before = await world.get(f"/v1/requests?created_before={made}")
    assert [[one["request_id"] for one in page["requests"]] for page in (after, before)] == [
        [second],
        [first],
    ]
    problem = problem_of(
        await world.client.get("/v1/requests?created_after=yesterday"), 400, "invalid_parameter"
    )
    assert problem["errors"][0]["pointer"] == "#/query/created_after"


@pytest.mark.parametrize("world_settings", [{"hourly_usage_days": 2, "caller_retention_s": 0.0}])
async def test_hours_are_forgotten_after_their_time_and_days_are_kept(world: World) -> None:
    await world.submitted("queued")
    retention, query = world.gateway.upkeep.retention, f"?from={iso(world.clock.now_ms())[:10]}"
    day = (await world.get(f"/v1/usage{query}"))["rows"]
    world.clock.advance(2 * 86_400 - 3600)
    assert await retention.run_once() == 0
    world.clock.advance(2 * 3600)
    assert await retention.run_once() == 1
    assert (await world.get(f"/v1/usage{query}"))["rows"] == day


async def test_what_another_tenant_used_is_not_told(world: World) -> None:
    await worked(world)
    stranger = await world.another_key(tenant="stranger", scopes=["usage:read"])
    headers = world.with_key(stranger)
    usage = (await world.client.get("/v1/usage", headers=headers)).json()
    assert usage["rows"] == []
    assert (await world.client.get("/v1/ledger", headers=headers)).json()["entries"] == []
    world.clock.advance(40 * 86_400)
    assert (await world.client.get("/v1/statements", headers=headers)).json()["statements"] == []


async def test_a_changed_time_zone_moves_nothing_that_was_counted(world: World) -> None:
    await worked(world)
    before = await world.get("/v1/usage")
    now_ms = world.clock.now_ms()
    await world.gateway.db.write(tenants.set_time_zone, world.tenant_id, "Asia/Kathmandu", now_ms=now_ms)
    world.clock.advance(6 * 3600)  # 20:13 in UTC, the next day in Kathmandu
    await world.submitted("queued")
    found = await world.get("/v1/usage")
    assert found["time_zone"] == "Asia/Kathmandu"
    assert found["time_zone_since"] is not None
    assert found["rows"][0] == before["rows"][0]
    assert [(one["period"], one["held_generations"]) for one in found["rows"]] == [
        (DAY, 3),
        ("2026-09-22", 1),
    ]
    hours = await world.get("/v1/usage?by=hour")
    assert hours["rows"][-1]["period"] == "2026-09-21T19:15:00.000Z"  # an hour of Kathmandu
