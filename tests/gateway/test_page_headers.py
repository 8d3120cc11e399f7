"""What common tools add to every request of a page does not make its preflight fail."""

import re
from typing import Any

import pytest

from app.auth import tenants
from tests.harness import SUBMIT, World, settings_for

pytestmark = pytest.mark.anyio

APPS = (
    "capacitor://localhost",
    "http://tauri.localhost",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
)
TOOLS = {
    "Sentry": "authorization,baggage,content-type,sentry-trace",
    "OpenTelemetry": "authorization,baggage,traceparent,tracestate",
    "an event source": "authorization,cache-control,last-event-id,pragma",
    "Datadog": "x-datadog-origin,x-datadog-parent-id,x-datadog-sampling-priority,x-datadog-trace-id",
    "Zipkin": "b3,x-b3-parentspanid,x-b3-sampled,x-b3-spanid,x-b3-traceid",
    "New Relic": "authorization,newrelic,traceparent,tracestate",
    "jQuery": "authorization,content-type,x-requested-with",
    "the operator's own": "authorization,x-our-tool",
}


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"cors_headers": "X-Our-Tool, X-Other"}


async def test_a_preflight_allows_what_tools_add_and_what_the_operator_named(world: World) -> None:
    await world.gateway.db.write(tenants.set_origins, world.tenant_id, APPS)
    world.clock.advance(2)
    for origin in APPS:
        for tool, asked in TOOLS.items():
            headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            headers["Access-Control-Request-Headers"] = asked
            answer = await world.client.options(SUBMIT, headers=headers | {"Authorization": ""})
            assert answer.status_code == 204, tool
            assert answer.headers["access-control-allow-origin"] == origin
            allowed = re.split(", *", answer.headers["access-control-allow-headers"].lower())
            assert set(asked.split(",")) <= set(allowed), tool
            assert "*" not in allowed
            assert len(set(allowed)) == len(allowed)


async def test_a_page_inside_an_app_calls_and_reads_and_no_other_does(world: World) -> None:
    await world.gateway.db.write(tenants.set_origins, world.tenant_id, APPS[:1])
    world.clock.advance(2)
    answer = await world.client.get("/v1/models", headers={"Origin": APPS[0]})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, APPS[0])
    for other in ("capacitor://localhost:80", "capacitor://other", "ionic://localhost", "null"):
        assert (await world.client.get("/v1/models", headers={"Origin": other})).status_code == 403


@pytest.mark.parametrize("name", ["*", "a b", "X:Y", "X-Ü", "x" * 101, "a\nb"])
def test_a_setting_that_names_no_header_is_refused(name: str, tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="is not the name of a header"):
        settings_for("sqlite:///unused.db", tmp_path, "http://127.0.0.1:1", cors_headers=name)
