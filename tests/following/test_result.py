"""GET /v1/requests/{request_id}/result: always 200, and the only place that tells success from failure."""

from datetime import datetime

import pytest

from app.generations import store
from app.sandbox.jobs import FAILURES
from tests.contract.published import problem_of
from tests.harness import World

PRICE_USD = 0.15  # of the first model's example table

pytestmark = pytest.mark.anyio


def _moment(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text.removesuffix("Z") + "+00:00")


# --- 200


async def test_an_unfinished_job_has_a_result_without_output_error_and_end(world: World) -> None:
    request_id = await world.submitted("canned")
    document = await world.result(request_id)
    assert set(document) == {"request_id", "status", "created_at"}
    assert document["status"] == "in_queue"
    world.sandbox.clock.now += world.sandbox.options.queue_s
    document = await world.result(request_id)
    assert set(document) == {"request_id", "status", "created_at"}
    assert document["status"] == "in_progress"


async def test_an_output_is_relayed_with_the_vendors_own_urls(world: World) -> None:
    for directive, member in (("canned", "video"), ("canned,as-list", "videos")):
        request_id = await world.submitted(directive)
        document = await world.finish(request_id)
        assert set(document) == {"request_id", "status", "output", "created_at", "finished_at"}
        assert (document["request_id"], document["status"]) == (request_id, "succeeded")
        assert document["output"] == world.sandbox.result(world.received()[0]["request_id"])["output"]
        assert set(document["output"]) == {member}
        assert _moment(document["finished_at"]) > _moment(document["created_at"])


async def test_a_failure_is_relayed_in_the_form_that_it_came_in(world: World) -> None:
    for directive in ("fail", "fail-object", "fail-list"):
        request_id = await world.submitted(directive)
        document = await world.finish(request_id)
        assert set(document) == {"request_id", "status", "error", "created_at", "finished_at"}
        assert (document["status"], document["error"]) == ("failed", FAILURES[directive])
        assert (await world.record(request_id))["error"] == FAILURES[directive]


async def test_a_cancelled_job_has_neither_output_nor_error(world: World) -> None:
    request_id = await world.submitted("queued")
    await world.client.post(f"/v1/requests/{request_id}/cancel")
    document = await world.result(request_id)
    assert set(document) == {"request_id", "status", "created_at", "finished_at"}
    assert document["status"] == "cancelled"


async def test_the_cost_is_what_the_tenant_pays_and_is_told_only_on_demand(world: World) -> None:
    """What RunComfy charges the operator is in the operator's record alone."""
    request_id = await world.submitted("canned")
    path = f"/v1/requests/{request_id}/result"
    assert "cost" not in await world.get(f"{path}?include_cost=true")
    await world.finish(request_id)
    upstream_request_id = world.received()[0]["request_id"]
    theirs = world.sandbox.result(upstream_request_id, "?include_cost=true")["cost"]
    row = await world.gateway.db.read(store.find, request_id, None)
    assert row is not None
    assert row.upstream_cost_usd == str(theirs)
    assert theirs != PRICE_USD
    for query in ("include_cost=true", "include_cost=True", "include_cost=1"):
        assert (await world.get(f"{path}?{query}"))["cost"] == PRICE_USD
    for query in ("", "include_cost=false", "include_cost=0"):
        assert "cost" not in await world.get(f"{path}?{query}")


async def test_a_failed_job_costs_nothing(world: World) -> None:
    request_id = await world.submitted("fail")
    await world.finish(request_id)
    assert (await world.get(f"/v1/requests/{request_id}/result?include_cost=true"))["cost"] == 0


async def test_a_result_that_cannot_be_had_yet_leaves_the_job_running(world: World) -> None:
    """The status says completed, but without its result nobody knows how it ended."""
    request_id = await world.submitted("canned,result-500=2")
    world.sandbox.clock.now += world.sandbox.options.queue_s
    assert (await world.status(request_id))["status"] == "in_progress"
    upstream_request_id = world.received()[0]["request_id"]
    world.sandbox.clock.now += world.sandbox.options.run_s
    while world.sandbox.status(upstream_request_id)["status"] != "completed":  # its file is being made
        pass
    for _ in range(2):
        world.clock.advance(2)
        answer = await world.client.get(f"/v1/requests/{request_id}/status")
        assert answer.json()["status"] == "in_progress"
        assert answer.headers["reelgate-stale"] == "upstream_unusable"
    assert (await world.result(request_id))["status"] == "succeeded"


async def test_a_success_without_an_output_is_never_shown_as_one(world: World) -> None:
    request_id = await world.submitted("canned,result-missing-output")
    world.sandbox.clock.now += world.sandbox.options.queue_s + world.sandbox.options.run_s
    upstream_request_id = world.received()[0]["request_id"]
    while world.sandbox.result(upstream_request_id)["status"] != "succeeded":
        pass
    for _ in range(3):
        assert (await world.result(request_id))["status"] in {"in_queue", "in_progress"}
    assert (await world.record(request_id))["finished_at"] is None


# --- 400


async def test_a_parameter_that_is_no_truth_value_is_pointed_at(world: World) -> None:
    request_id = await world.submitted()
    for value in ("maybe", "", "2", "%00", "null", "t%FFrue"):
        answer = await world.client.get(f"/v1/requests/{request_id}/result?include_cost={value}")
        (error,) = problem_of(answer, 400, "invalid_parameter")["errors"]
        assert error["pointer"] == "#/query/include_cost"
