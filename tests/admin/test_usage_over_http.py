"""Usage, statements, thresholds and corrections of prices, as an operator has them over the admin API."""

import csv
import hashlib
import io
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from app.admin.operations.amounts import ledger, statements, thresholds, usage
from app.auth.tenants import by_id
from app.db.schema.tables import audit_entries
from tests.admin.counter import Counter
from tests.contract.published import problem_of
from tests.harness import World
from tests.quotas.accounts import DAY, PRICE, accepted, limited
from tests.sandbox.harness import DREAMINA

pytestmark = pytest.mark.anyio


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"admin_api": True}


@pytest.fixture
def counter(world: World) -> Counter:
    return Counter(world)


async def name_of(world: World) -> str:
    return (await world.gateway.db.read(by_id, world.tenant_id)).name


async def get(counter: Counter, address: str, **headers: str) -> Any:
    key = await counter.key("read")
    return await counter.world.client.get(address, headers=counter.world.with_key(key) | headers)


async def test_usage_is_in_pages_and_as_csv_whole_with_the_same_sums(counter: Counter) -> None:
    world = counter.world
    await world.finish(await world.submitted())
    await world.submitted("queued")
    asked: dict[str, Any] = {"mode": "test", "group_by": ["tenant", "model", "outcome"]}
    whole = await counter.done(usage.REPORT, **asked)
    assert (whole["time_zone"], whole["first_day"], whole["last_day"]) == (None, "2026-09-01", DAY)
    assert {one["outcome"] for one in whole["rows"]} == {"submitted", "completed"}
    refused = await get(counter, "/admin/v1/usage?group_by=tenant,model")
    assert "send several values as `group_by=…&group_by=…`" in refused.json()["detail"]
    assert {one["tenant"] for one in whole["rows"]} == {await name_of(world)}
    assert whole["total"]["held_microcredits"] == 2 * PRICE
    pages: list[Any] = []
    cursor = None
    while not pages or cursor is not None:
        page = await counter.done(usage.REPORT, **asked, limit=1, cursor=cursor)
        pages += page["rows"]
        cursor = page["next_cursor"]
    assert pages == whole["rows"]
    address = f"/admin/v1/usage?mode=test&limit=1&{'&'.join(f'group_by={one}' for one in asked['group_by'])}"
    answer = await get(counter, f"{address}&format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="usage.csv"'
    assert (await get(counter, address, Accept="text/csv")).text == answer.text
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    for name in ("held_microcredits", "cost_microusd", "margin_microcredits"):
        assert [int(one[name]) for one in rows] == [one[name] for one in pages]
    problem = problem_of(await get(counter, f"{address}&format=pdf"), 400, "invalid_parameter")
    assert problem["errors"][0]["pointer"] == "#/query/format"
    refused = await counter.call(usage.REPORT, first_day="2026-09-02", last_day="2026-09-01", cursor="x")
    assert problem_of(refused, 400, "invalid_parameter")["errors"][0]["pointer"] == "#/query/cursor"
    refused = await counter.call(usage.REPORT, first_day="2026-09-02", last_day="2026-09-01")
    assert problem_of(refused, 400, "invalid_parameter")["errors"][0]["pointer"] == "#/query/first_day"


async def test_a_month_is_closed_once_and_had_as_json_csv_and_pdf(counter: Counter) -> None:
    world = counter.world
    tenant = await name_of(world)
    await world.finish(await world.submitted())
    world.clock.advance(40 * 86_400)
    closed = await counter.call(statements.CLOSE, tenant=tenant, idempotency_key="once")
    assert closed.json() == {"closed": 1}
    assert (await counter.done(statements.CLOSE, tenant=tenant)) == {"closed": 0}
    again = await counter.call(statements.CLOSE, tenant=tenant, idempotency_key="once")
    assert (again.json(), again.headers["idempotent-replayed"]) == ({"closed": 1}, "true")
    (listed,) = (await counter.done(statements.LIST, tenant=tenant, test=True))["statements"]
    assert (listed["month"], listed["tenant"], listed["mode"]) == ("2026-09", tenant, "test")
    shown = await counter.done(statements.SHOW, month="2026-09", tenant=tenant, test=True, limit=1)
    assert [one["kind"] for one in shown["entries"]] == ["hold"]
    rest = await counter.done(
        statements.SHOW, month="2026-09", tenant=tenant, test=True, cursor=shown["next_cursor"]
    )
    assert ([one["kind"] for one in rest["entries"]], rest["next_cursor"]) == (["settle"], None)
    address = f"/admin/v1/statements/2026-09?tenant={tenant}&test=true"
    text = await get(counter, f"{address}&format=csv")
    assert hashlib.sha256(text.content).hexdigest() == listed["csv_sha256"]
    own = await world.client.get("/v1/statements/2026-09.csv")
    assert own.content == text.content
    assert own.headers["content-disposition"] == 'attachment; filename="statement-2026-09.csv"'
    pdf = await get(counter, address, Accept="application/pdf")
    assert pdf.content.startswith(b"%PDF")
    assert pdf.headers["content-disposition"] == 'attachment; filename="statements-2026-09.pdf"'
    assert (await counter.done(statements.VERIFY)) == {"statements": 1, "differences": []}
    absent = await get(counter, address.replace("2026-09", "2026-08") + "&format=csv")
    problem_of(absent, 404, "statement_not_found")


async def test_crossed_thresholds_are_listed_in_pages_the_newest_first(counter: Counter) -> None:
    world = counter.world
    await limited(world, "generations-day=2")
    await accepted(world)
    await accepted(world)
    found: list[Any] = []
    cursor = None
    while not found or cursor is not None:
        page = await counter.done(thresholds.LIST, tenant=await name_of(world), limit=1, cursor=cursor)
        found += page["thresholds"]
        cursor = page["next_cursor"]
    assert [one["percent"] for one in found] == [100, 95, 80, 50]
    assert (await counter.done(thresholds.LIST))["thresholds"] == found
    assert (found[0]["mode"], found[0]["policy"]) == ("test", "tenant-generations-day")


async def test_a_dry_run_of_a_correction_changes_nothing_and_leaves_no_row(counter: Counter) -> None:
    world = counter.world
    await world.finish(request_id := await world.submitted())
    version = world.gateway.catalog.models[DREAMINA].pricing.version
    of: dict[str, Any] = {
        "model_id": DREAMINA,
        "version": version,
        "first_day": DAY,
        "last_day": DAY,
        "price": "0.1",
        "test": True,
    }

    def rows(connection: Connection) -> int:
        return int(connection.scalar(select(func.count()).select_from(audit_entries)) or 0)

    await counter.key("root")
    preview = await counter.done(ledger.REPRICE, **of, dry_run=True)
    before = await world.gateway.db.read(rows)
    assert [one["request_id"] for one in preview["corrections"]] == [request_id]
    assert preview["change_microcredits"] == PRICE - 100_000
    assert (await counter.done(ledger.REPRICE, **of, dry_run=True)) == preview
    assert await world.gateway.db.read(rows) == before
    done = await counter.done(ledger.REPRICE, **of)
    assert done == preview | {"dry_run": False}
    assert await world.gateway.db.read(rows) == before + 1
    refused = await counter.call(ledger.REPRICE, **(of | {"first_day": "yesterday"}))
    assert problem_of(refused, 422, "invalid_change")["errors"][0]["pointer"] == "#/first_day"
