"""RunComfy's bill over the admin API: its lines are named where they are wrong, and its size is bounded."""

from typing import Any
from unittest.mock import patch

import httpx2
import pytest

from app.admin.operations.amounts import ledger
from app.admin.verifying import reconcile
from tests.admin.counter import Counter, sample
from tests.contract.published import problem_of
from tests.harness import World

pytestmark = pytest.mark.anyio


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"admin_api": True}


async def _sent(counter: Counter, bill: bytes, **given: Any) -> httpx2.Response:
    return await counter.call(ledger.RECONCILE, **sample(ledger.RECONCILE, bill=bill), **given)


async def test_every_wrong_line_is_named_with_a_pointer(world: World) -> None:
    refused = await _sent(Counter(world), b"request_id,cost\na,1\nb,x\nc,1,50\n,2\n")
    errors = problem_of(refused, 422, "invalid_bill")["errors"]
    assert [(one["pointer"], one["detail"]) for one in errors] == [
        ("#/lines/3", "line 3 of the bill has no cost in plain US dollars, such as 0.25: 'x'."),
        ("#/lines/4", "line 4 of the bill has more fields than its header."),
        ("#/lines/5", "line 5 of the bill has no id."),
    ]
    many = await _sent(Counter(world), b"request_id,cost\n" + 50 * b",\n")
    assert len(problem_of(many, 422, "invalid_bill")["errors"]) == 20


async def test_a_bill_is_csv_within_bounds_and_with_the_columns_that_are_named(world: World) -> None:
    counter = Counter(world)
    answer = await _sent(counter, b"job,usd\nnobodys,0.25\n", id_column="job", cost_column="usd")
    assert answer.json()["differences"] == [
        {"rule": "billed-and-not-ours", "subject": "nobodys", "detail": "line 2, 0.25 USD"}
    ]
    problem_of(await _sent(counter, b"request_id,cost\n\xe9,1\n"), 422, "invalid_bill")
    problem_of(await _sent(counter, b""), 422, "invalid_bill")
    problem_of(await _sent(counter, b"\n" * (reconcile.MAX_BILL_BYTES + 1)), 413, "body_too_large")
    headers = counter.world.with_key(await counter.key("read")) | {"Content-Type": "application/json"}
    as_json = await world.client.post(
        f"{ledger.RECONCILE.path}?first_day=2026-11-01&last_day=2026-11-30", content=b"{}", headers=headers
    )
    problem_of(as_json, 415, "unsupported_media_type")


async def test_all_differences_are_counted_where_not_all_are_named(world: World) -> None:
    with patch.object(reconcile, "MAX_DIFFERENCES", 2):
        found = (await _sent(Counter(world), b"request_id,cost\na,1\nb,1\nc,1\n")).json()
    assert [(one["rule"], one["count"]) for one in found["rules"]] == [("billed-and-not-ours", 3)]
    assert len(found["differences"]) == 2
