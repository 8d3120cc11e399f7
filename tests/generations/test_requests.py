"""GET /v1/requests/{request_id} and GET /v1/requests: our own record, and the listing of a tenant's own."""

import base64
import re
from typing import Any

import pytest

from app.generations import store
from app.generations.advance import begin
from app.generations.lifecycle import State
from app.kit.ids import new_id
from app.quotas import limits
from app.quotas.amounts import Amounts
from tests.contract.published import OURS, problem_of
from tests.harness import World
from tests.sandbox.harness import DREAMINA

pytestmark = pytest.mark.anyio


async def _rows(world: World, count: int, **more: Any) -> list[str]:
    """Rows of the world's tenant, made at the clock's moment without asking anybody; their ids."""
    ids = [new_id(world.clock.now_ms()) for _ in range(count)]
    for generation_id in ids:
        await world.gateway.db.write(
            begin,
            store.SubmitIntent(
                generation_id=generation_id,
                tenant_id=world.tenant_id,
                kid=world.key.split("_")[2],
                payer=limits.Payer(world.key.split("_")[2]),
                mode="test",
                model_id=more.get("model_id", DREAMINA),
                input_json=b"{}",
                amounts=Amounts(generations=1, microcredits=0, output_seconds=0),
                price_version="1",
                settles_in="completed",
                trace_id="0" * 32,
                choices=(),
            ),
            credential="sandbox",
            state=more.get("state", State.REJECTED),
            quota_day="2026-09-21",
            now_ms=world.clock.now_ms(),
            lease_until_ms=None,
        )
    return ids


async def _pages(world: World, query: str = "limit=3") -> list[list[str]]:
    """The ids of every page, following the Link header, which must agree with `next_cursor`."""
    pages, path = [], f"/v1/requests?{query}"
    while path:
        answer = await world.client.get(path)
        assert answer.status_code == 200, answer.text
        document = answer.json()
        pages.append([one["request_id"] for one in document["requests"]])
        link = re.fullmatch(r'<([^<>]+)>; rel="next"', answer.headers.get("link", ""))
        assert (link is None) == (document["next_cursor"] is None)
        assert link is None or document["next_cursor"] in link[1]
        path = link[1].removeprefix(OURS) if link else ""
    return pages


# --- one record: 200


async def test_the_record_has_the_whole_history_of_a_job(world: World) -> None:
    body = world.body("canned", seed=5)
    request_id = (await world.client.post(f"/v1/models/{DREAMINA}", json=body)).json()["request_id"]
    world.sandbox.clock.now += world.sandbox.options.queue_s
    await world.status(request_id)
    result = await world.finish(request_id)
    record = await world.record(request_id)
    assert [(one["version"], one["state"]) for one in record["events"]] == [
        (1, "dispatching"),
        (2, "in_queue"),
        (3, "in_progress"),
        (4, "completed"),
    ]
    moments = [one["at"] for one in record["events"]]
    assert moments == sorted(moments)
    assert record["version"] == 4
    assert (record["state"], record["status"], record["output"]) == (
        "completed",
        "completed",
        result["output"],
    )
    assert (record["input"], record["model_id"], record["mode"]) == (body, DREAMINA, "test")
    assert record["kid"] == world.key.split("_")[2]
    assert (record["price_microcredits"], record["price_version"]) == (150_000, "example-1")
    assert (record["created_at"], record["finished_at"]) == (result["created_at"], result["finished_at"])
    assert record["started_at"] is not None
    assert record["checked_at"] == record["finished_at"]


# --- the listing: 200


async def test_an_empty_listing_is_a_page(world: World) -> None:
    assert await world.get("/v1/requests") == {"requests": [], "next_cursor": None}


async def test_pages_are_newest_first_without_gaps_or_duplicates(world: World) -> None:
    made = []
    for count in (1, 1, 4, 1, 3):  # also several in one millisecond
        made.append(await _rows(world, count))
        world.clock.advance(0.001)
    expected = [one for ids in reversed(made) for one in sorted(ids, reverse=True)]
    assert [one for page in await _pages(world) for one in page] == expected
    assert [len(page) for page in await _pages(world)] == [3, 3, 3, 1]
    for limit in (1, 2, 5, 9, 10, 11, 100):
        assert [one for page in await _pages(world, f"limit={limit}") for one in page] == expected
    assert len(await _pages(world, "limit=10")) == 1


async def test_a_page_is_stable_while_new_rows_arrive(world: World) -> None:
    old = sorted(await _rows(world, 8), reverse=True)
    first = await world.get("/v1/requests?limit=3")
    world.clock.advance(1)
    new = await _rows(world, 4)
    second = await world.get(f"/v1/requests?limit=100&cursor={first['next_cursor']}")
    shown = [one["request_id"] for one in (*first["requests"], *second["requests"])]
    assert shown == old
    assert not set(shown) & set(new)
    again = await world.get(f"/v1/requests?limit=100&cursor={first['next_cursor']}")
    assert again == second


async def test_a_listing_can_be_narrowed_and_its_pages_stay_narrow(world: World) -> None:
    rejected = await _rows(world, 4)
    unknown = await _rows(world, 3, state=State.UNKNOWN)
    other = await _rows(world, 2, model_id="other/model/edit")
    for query, expected in (
        ("state=unknown", unknown),
        ("state=rejected", rejected + other),
        ("model_id=other/model/edit", other),
        ("model_id=other%2Fmodel%2Fedit&state=rejected", other),
        ("model_id=other/model/edit&state=unknown", []),
        ("model_id=nobody/has/this", []),
        ("state=lost", []),
    ):
        for limit in (1, 2, 100):
            pages = await _pages(world, f"limit={limit}&{query}")
            assert sorted(one for page in pages for one in page) == sorted(expected), query


async def test_a_listing_is_the_tenants_own_and_that_of_all_its_keys(world: World) -> None:
    request_id = await world.submitted()
    stranger = world.with_key(await world.another_key(tenant="stranger"))
    sibling = world.with_key(await world.another_key())
    assert (await world.client.get("/v1/requests", headers=stranger)).json()["requests"] == []
    cursor = (await world.client.get("/v1/requests", headers=sibling)).json()["requests"][0]["request_id"]
    assert cursor == request_id
    theirs = base64.urlsafe_b64encode(f"9{world.clock.now_ms()}.{request_id}".encode()).decode().rstrip("=")
    answer = await world.client.get(f"/v1/requests?cursor={theirs}", headers=stranger)
    assert answer.json() == {"requests": [], "next_cursor": None}


# --- 400


def _cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


async def test_a_parameter_that_is_not_acceptable_is_pointed_at(world: World) -> None:
    an_id = new_id(world.clock.now_ms())
    wrong = {
        "limit": ("0", "-1", "101", "abc", "", "1.5", "9" * 40, "%00", "1e1", "0x10"),
        "state": ("running", "", "COMPLETED", "completed,failed", "%00"),
        "model_id": ("x" * 201, "%00", "a%00b"),
        "cursor": (
            "",
            "x",
            "====",
            "%00",
            "%F0%9F%9A%A4",
            "x" * 201,
            "null",
            _cursor("."),
            _cursor(an_id),
            _cursor(f"1.{an_id}x"),
            _cursor(f"-1.{an_id}"),
            _cursor(f"1e3.{an_id}"),
            _cursor(f"{'9' * 16}.{an_id}"),
            _cursor(f"1.{an_id.upper()}"),
            _cursor("1.' OR 1=1 --"),
            _cursor("1.ü"),
        ),
    }
    for name, values in wrong.items():
        for value in values:
            answer = await world.client.get(f"/v1/requests?{name}={value}")
            assert answer.status_code == 400, (name, value, answer.text)
            errors = problem_of(answer, 400, "invalid_parameter")["errors"]
            assert [error["pointer"] for error in errors] == [f"#/query/{name}"], (name, value)


# --- 404: on every route with an id

ROUTES = (("GET", ""), ("GET", "/status"), ("GET", "/result"), ("POST", "/cancel"))


async def test_another_tenants_request_is_byte_for_byte_as_missing_as_none(world: World) -> None:
    foreign = await world.submitted("queued")
    missing = new_id(world.clock.now_ms())
    stranger = world.with_key(await world.another_key(tenant="stranger"))
    calls = world.sandbox.ledger()["calls"]
    for method, path in ROUTES:
        answers = []
        for request_id in (foreign, missing):
            answer = await world.client.request(method, f"/v1/requests/{request_id}{path}", headers=stranger)
            problem_of(answer, 404, "request_not_found")
            trace_id = answer.headers["reelgate-trace-id"]
            headers = [(name, value.replace(trace_id, "")) for name, value in answer.headers.multi_items()]
            answers.append((answer.text.replace(trace_id, "").replace(request_id, ""), headers))
        assert answers[0] == answers[1]
    assert world.sandbox.ledger()["calls"] == calls
    assert (await world.status(foreign))["status"] == "in_queue"


async def test_what_is_not_an_id_of_ours_is_not_found(world: World) -> None:
    request_id = await world.submitted("queued")
    malformed = (
        request_id.upper(),
        request_id.replace("-", ""),
        request_id[:-1],
        f"{request_id}0",
        f"%20{request_id}",
        f"{request_id}%20",
        f"{request_id}%00",
        f"%7B{request_id}%7D",
        f"urn:uuid:{request_id}",
        world.received()[0]["request_id"],  # the upstream's own
        "0",
        "null",
        "%00",
        "%FF",
        "%F0%9F%9A%A4",
        "*",
        "%25",
        "' OR '1'='1",
        "x" * 5000,
    )
    for method, path in ROUTES:
        for text in malformed:
            answer = await world.client.request(method, f"/v1/requests/{text}{path}")
            problem_of(answer, 404, "request_not_found")
