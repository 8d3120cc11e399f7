"""The log says who called and with which error; metrics count errors, unknown requests and lost lines."""

import re
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.admin.checks import doctor
from app.auth import keys
from app.errors import CATALOGUE
from app.kit import log
from tests.harness import SUBMIT, World, settings_for

pytestmark = pytest.mark.anyio
TOKEN = {"Authorization": "Bearer the-token-of-the-metrics"}
with_metrics = pytest.mark.parametrize("world_settings", [{"metrics_token": "the-token-of-the-metrics"}])


async def metrics(world: World) -> dict[str, float]:
    answer = await world.client.get("/metrics", headers=TOKEN)
    found = re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", answer.text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def access_of(lines: list[Any]) -> dict[str, Any]:
    (line,) = [one for one in lines if one["event"] == "A request was answered."]
    return dict(line)


async def test_a_call_is_logged_with_its_tenant_and_the_id_of_its_key(world: World) -> None:
    with capture_logs() as lines:
        await world.get("/v1/models")
    line = access_of(lines)
    assert (line["tenant"], line["status"]) == (world.tenant_id, 200)
    assert line["kid"] in world.key
    assert "code" not in line


@pytest.mark.parametrize("begins", ["/f/", "/a/", "//f//"])
async def test_the_log_does_not_give_away_what_a_link_reads(world: World, begins: str) -> None:
    link = "2c8cf00a.01a0c450-6c00-7af1-86c0-c1db86ffc90e.tlpzm8."
    with capture_logs() as lines:
        await world.client.get(f"http://gateway.test{begins}{link}{'s' * 43}", headers={"Authorization": ""})
    line = access_of(lines)
    assert line["path"] == f"/{begins.strip('/')}/{link}…"
    assert "sss" not in str(lines)


async def test_a_refusal_is_logged_with_its_code(world: World) -> None:
    with capture_logs() as lines:
        answer = await world.client.post(SUBMIT, json={})
    line = access_of(lines)
    assert line["code"] == answer.json()["code"] == "invalid_input"
    assert line["tenant"] == world.tenant_id


async def test_a_key_that_is_refused_is_named_as_presented_alone(world: World) -> None:
    kid, key = keys.generate("test")  # well formed, but no row has it
    with capture_logs() as lines:
        await world.client.get("/v1/models", headers=world.with_key(key))
    line = access_of(lines)
    assert (line["code"], line["presented_kid"]) == ("invalid_api_key", kid)
    assert {"kid", "tenant"}.isdisjoint(line)


@with_metrics
async def test_refusals_are_counted_by_the_codes_of_the_catalogue(world: World) -> None:
    for _ in range(2):
        await world.get("/nowhere", 404)
    await world.client.post(SUBMIT, json={})
    found = await metrics(world)
    counted = {name: value for name, value in found.items() if name.startswith("reelgate_refusals_total")}
    assert counted == {
        'reelgate_refusals_total{code="route_not_found"}': 2,
        'reelgate_refusals_total{code="invalid_input"}': 1,
    }
    assert {name.split('"')[1] for name in counted} <= {fault.code for fault in CATALOGUE}


@with_metrics
async def test_an_unknown_request_is_a_warning_a_metric_and_a_finding_of_the_doctor(
    world: World, database_url: str, tmp_path: Any
) -> None:
    with capture_logs() as lines:
        answer = await world.submit("html,canned")
    (line,) = [one for one in lines if one["log_level"] == "warning"]
    assert line["generation"] == answer.json()["request_id"]
    assert line["tenant"] == world.tenant_id
    world.clock.advance(60)
    found = await metrics(world)
    assert found['reelgate_unknown{mode="test"}'] == 1
    assert found['reelgate_unknown{mode="live"}'] == 0
    assert found['reelgate_unknown_oldest_seconds{mode="test"}'] == 60
    settings = settings_for(database_url, tmp_path, world.sandbox.options.public_url)
    (check,) = [one for one in await doctor.examine(doctor.Configured(settings)) if one.name == "unknown"]
    assert check.level == "note"
    assert check.finding.startswith("1 of rg_test_ keys")
    assert "reelgate requests resolve" in check.finding


@with_metrics
async def test_lost_lines_are_a_metric(world: World) -> None:
    before = (await metrics(world))["reelgate_log_lines_dropped_total"]
    log._output.lose()
    assert (await metrics(world))["reelgate_log_lines_dropped_total"] == before + 1
