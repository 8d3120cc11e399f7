"""Metrics tell of every call and every change of state, by few labels; money comes from rows."""

import re
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from sqlalchemy import Connection

from app.api.internal.families import FAMILIES, TENANTS_ONLY, Source
from app.db.statements.counts import count
from app.kit.meters import SECONDS, CallMeter, Times, top
from tests.harness import SUBMIT, World

pytestmark = pytest.mark.anyio

TOKEN = {"Authorization": "Bearer the-token-of-the-metrics"}
with_token = pytest.mark.parametrize("world_settings", [{"metrics_token": TOKEN["Authorization"][7:]}])
with_tenants = pytest.mark.parametrize(
    "world_settings", [{"metrics_token": TOKEN["Authorization"][7:], "metrics_tenants": 1}]
)
STATUS = "/v1/requests/{request_id}/status"


async def told(world: World, **headers: str) -> str:
    answer = await world.client.get("/metrics", headers=TOKEN | headers)
    assert answer.status_code == 200, answer.text
    return answer.text


async def values(world: World, name: str) -> dict[str, float]:
    """The samples of a metric, by their labels."""
    found = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", await told(world), re.MULTILINE)
    return {labels: float(value) for labels, value in found}


@with_tenants
async def test_what_is_declared_is_published_and_nothing_else(world: World) -> None:
    await world.submitted()
    published = set(re.findall(r"^# TYPE (reelgate_\w+) ", await told(world), re.MULTILINE))
    assert published == {one.published for one in FAMILIES}


@with_token
async def test_tenants_are_no_labels_unless_the_operator_asks(world: World) -> None:
    await world.submitted()
    await world.get("/nowhere", 404)
    text = await told(world)
    assert "tenant=" not in text
    assert not [one.name for one in TENANTS_ONLY if one.name in text]


async def test_the_busiest_tenants_are_shown_with_all_their_numbers() -> None:
    tally = {
        ("live", "acme", "a"): 2,
        ("live", "bolt", "a"): 3,
        ("test", "acme", "b"): 2,
        ("live", "crow", "a"): 1,
    }
    assert [labels[1] for labels, _ in top(tally, 1, 1)] == ["acme", "acme"]
    assert len(top(tally, 1, 2)) == 3
    assert top(tally, 1, 0) == []


@with_token
async def test_calls_are_counted_by_template_and_outcome_however_odd_they_are(world: World) -> None:
    request_id = await world.submitted()
    await world.get(f"/v1/requests/{request_id}/status")
    await world.get(f"/v1/requests/{request_id}/status?wait=0")
    await world.get(f"/v1/requests/{request_id}")
    for number in range(3):
        await world.get(f"/nowhere/{number}", 404)
    await world.client.request("BREW", "/v1/models")
    await world.client.post(SUBMIT, json={})
    found = await values(world, "reelgate_http_requests_total")
    counted = {
        tuple(re.findall(r'"([^"]*)"', labels)): value for labels, value in found.items()
    }  # in the order of their names: code, method, route, status
    assert counted["ok", "GET", STATUS, "200"] == 2
    assert counted["ok", "GET", "/v1/requests/{request_id}", "200"] == 1
    assert counted["route_not_found", "GET", "none", "404"] == 3
    assert counted["ok", "POST", "/v1/models/{model_id:path}", "200"] == 1
    assert counted["invalid_input", "POST", "/v1/models/{model_id:path}", "422"] == 1
    assert {method for _, method, _, _ in counted} <= {"GET", "POST", "other"}
    times = await values(world, "reelgate_http_request_duration_seconds_count")
    assert times[f'method="GET",route="{STATUS}"'] == 2


@with_token
async def test_held_answers_and_streams_are_counted_and_not_timed(world: World) -> None:
    request_id = await world.submitted()
    await world.finish(request_id)  # the stream of its events ends by itself then
    answer = await world.client.get(f"/v1/requests/{request_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    calls: CallMeter = world.app.state.calls
    assert [labels[1] for labels in calls.untimed] == ["/v1/requests/{request_id}/events"]
    assert not [labels for labels in calls.timed.all if labels[1].endswith("/events")]


@with_token
async def test_the_exemplar_of_a_bucket_is_the_trace_of_its_last_call(world: World) -> None:
    answer = await world.client.get("/v1/models")
    text = await told(world, Accept="application/openmetrics-text; version=1.0.0")
    families = {one.name: one for one in text_string_to_metric_families(text)}  # type: ignore[no-untyped-call]
    exemplars = {
        sample.exemplar.labels["trace_id"]
        for sample in families["reelgate_http_request_duration_seconds"].samples
        if sample.exemplar is not None and sample.labels["route"] == "/v1/models"
    }
    assert exemplars == {answer.headers["reelgate-trace-id"]}


@with_token
async def test_states_submits_and_calls_to_runcomfy_are_counted(world: World) -> None:
    request_id = await world.submitted()
    await world.finish(request_id)
    await world.submit("html,canned")
    entered = await values(world, "reelgate_requests_entered_total")
    by_state = {re.findall(r'state="(\w+)"', labels)[0]: value for labels, value in entered.items()}
    assert (by_state["dispatching"], by_state["completed"], by_state["unknown"]) == (2, 1, 1)
    submits = await values(world, "reelgate_submits_total")
    assert submits == {'mode="test",verdict="accepted"': 1, 'mode="test",verdict="unknown"': 1}
    calls = await values(world, "reelgate_upstream_requests_total")
    assert calls['call="submit",credential="sandbox",status="200"'] == 2
    assert calls['call="result",credential="sandbox",status="200"'] >= 1
    times = await values(world, "reelgate_upstream_request_duration_seconds_count")
    assert times['call="submit",credential="sandbox"'] == 2


async def test_what_is_rolled_back_is_not_counted(world: World) -> None:
    def fails(connection: Connection) -> None:
        count(connection, ("test", "model", "completed"))
        raise ValueError

    before = world.gateway.db.entered.copy()
    with pytest.raises(ValueError):  # noqa: PT011 - its own
        await world.gateway.db.write(fails)
    assert world.gateway.db.entered == before
    await world.gateway.db.write(count, ("test", "model", "completed"))
    assert world.gateway.db.entered - before == {("test", "model", "completed"): 1}


@with_token
async def test_money_is_that_of_the_rows_whoever_made_them(world: World) -> None:
    finished = await world.submitted()
    await world.finish(finished)
    await world.submitted()
    world.app.state.money = None  # as on a server that starts: it remembers nothing
    held = await values(world, "reelgate_held_credits")
    spent = await values(world, "reelgate_spent_credits")
    assert held['mode="test"'] == spent['mode="test"'] > 0
    week = await values(world, "reelgate_week_credits")
    assert week['entry="held",mode="test"'] == 2 * held['mode="test"']


@with_token
async def test_without_the_database_a_process_still_tells_of_itself(world: World) -> None:
    class Away:
        async def run(self, *_: object, **__: object) -> None:
            raise OSError("the disk is gone")

    db: Any = world.gateway.db
    readers, db._readers = db._readers, Away()
    try:
        text = await told(world)
    finally:
        db._readers = readers
    assert "\nreelgate_database_up 0.0\n" in text
    assert 'reelgate_database_failures_total{kind="read",reason=' in text
    rows = [one.published for one in FAMILIES if one.source is Source.ROWS]
    assert not [name for name in rows if re.search(rf"^{name}[ {{]", text, re.MULTILINE)]


def test_a_time_is_in_the_first_bucket_that_is_not_shorter() -> None:
    times = Times()
    for took_s in (0.0, SECONDS[0], SECONDS[0] + 1e-9, SECONDS[-1] + 1):
        times.note(took_s)
    assert (times.counts[0], times.counts[1], times.counts[-1]) == (2, 1, 1)
    assert sum(times.counts) == 4
