"""Traces: the caller's is continued, later work links to its submit, nothing secret is told or harmed."""

import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any
from unittest.mock import patch

import httpx2
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from structlog.testing import capture_logs

from app.kit import log, traces
from app.kit.ids import new_id
from app.server.edge import Edge
from app.server.tracing import Traced
from tests.harness import SUBMIT, World

pytestmark = pytest.mark.anyio

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, NOT_SAMPLED = (f"00-{TRACE_ID}-{SPAN_ID}-0{flag}" for flag in (1, 0))
CALL = "POST /v1/models/{model_id:path}"


class Kept(SpanExporter):
    """Keeps what it is given, for a test."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS

    def named(self, name: str) -> list[ReadableSpan]:
        assert traces._now is not None
        traces._now.provider.force_flush()
        return [one for one in self.spans if one.name == name]


def begin(exporter: SpanExporter, ratio: float = 1.0, callers_per_s: int = 10) -> None:
    traces.start_tracing(
        endpoint="http://127.0.0.1:9",
        headers={},
        ratio=ratio,
        callers_per_s=callers_per_s,
        role="server",
        version="0",
        exporter=exporter,
        clock=lambda: seconds[0],
    )


seconds = [1.0]
"""The clock of what is recorded in a second."""


@pytest.fixture
def kept() -> Iterator[Kept]:
    exporter = Kept()
    begin(exporter)
    yield exporter
    traces.stop_tracing()


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the world's gateway, through the layer of traces."""
    traced = Traced(Edge(world.app, world.gateway.settings.base_url))
    headers = {"Authorization": f"Bearer {world.key}"}
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(traced), base_url="http://gateway.test", headers=headers
    ) as opened:
        yield opened


def ids(span: ReadableSpan) -> tuple[str, str]:
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def parent_of(span: ReadableSpan) -> str | None:
    return None if span.parent is None else f"{span.parent.span_id:016x}"


async def test_a_submit_is_a_tree_below_the_callers_span_and_its_polls_link_to_it(
    world: World, client: httpx2.AsyncClient, kept: Kept
) -> None:
    answer = await client.post(SUBMIT, json=world.body(), headers={"traceparent": SAMPLED})
    assert answer.status_code == 200, answer.text
    assert answer.headers["reelgate-trace-id"] == TRACE_ID
    (call,) = kept.named(CALL)
    assert (ids(call)[0], parent_of(call)) == (TRACE_ID, SPAN_ID)
    assert call.attributes is not None
    assert call.attributes["http.response.status_code"] == 200
    assert call.attributes["reelgate.tenant"] == world.tenant_id
    (submit,) = kept.named("submit")
    assert parent_of(submit) == ids(call)[1]
    for name in ("record", "runcomfy submit", "outcome"):
        (below,) = kept.named(name)
        assert (ids(below)[0], parent_of(below)) == (TRACE_ID, ids(submit)[1]), name
    assert parent_of(kept.named("probe")[0]) == ids(call)[1]
    await world.finish(answer.json()["request_id"])  # by calls that are not traced, as from another server
    polls = kept.named("poll")
    assert polls
    for poll in polls:
        assert ids(poll)[0] != TRACE_ID
        assert poll.parent is None
        (link,) = poll.links
        assert (f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") == ids(submit)


async def test_what_the_caller_or_the_ratio_does_not_record_leaves_no_span(
    world: World, client: httpx2.AsyncClient, kept: Kept
) -> None:
    assert (await client.get("/v1/models", headers={"traceparent": NOT_SAMPLED})).status_code == 200
    assert kept.named("GET /v1/models") == []
    traces.stop_tracing()
    begin(kept, ratio=0.0)
    answer = await client.post(SUBMIT, json=world.body())
    await world.finish(answer.json()["request_id"])
    assert traces._now is not None
    traces._now.provider.force_flush()
    assert kept.spans == []


def test_callers_have_so_many_of_their_traces_recorded_in_a_second_and_no_more(kept: Kept) -> None:
    traces.stop_tracing()
    begin(kept, ratio=0.0, callers_per_s=2)

    def recorded() -> int:
        spans = [traces.CallSpan("GET", SAMPLED) for _ in range(5)]
        for one in reversed(spans):
            one.end("GET", "/livez", 200, {})
        return sum(one.traceparent is not None for one in spans)

    assert recorded() == 2
    assert recorded() == 0
    seconds[0] += 1
    assert recorded() == 2
    traces.stop_tracing()
    begin(kept, ratio=1.0, callers_per_s=0)
    assert recorded() == 5, "what the ratio records is not counted"


async def test_no_attribute_has_a_prompt_a_url_or_a_key(
    world: World, client: httpx2.AsyncClient, kept: Kept
) -> None:
    secret = "a-prompt-that-nobody-may-see"
    for directive in ("canned", "html,canned", "reject", "fail"):
        body = world.body(directive)
        answer = await client.post(SUBMIT, json={**body, "prompt": f"{body['prompt']} {secret}"})
        if answer.status_code == 200:
            await world.finish(answer.json()["request_id"])
    await client.post(SUBMIT, json={"prompt": secret, "image_urls": [f"https://{secret}.example/a.png"]})
    await client.get(f"/v1/requests/{secret}?{secret}={secret}")
    kept.named("")
    told = repr(
        [(one.name, dict(one.attributes or {}), one.events, one.status.description) for one in kept.spans]
    )
    assert len(kept.spans) > 15
    for what in (secret, "http://", "https://", world.key, world.key.rpartition("_")[2], "Bearer"):
        assert what not in told


@pytest.mark.usefixtures("kept")
async def test_work_for_a_request_without_a_trace_has_no_span_and_logs_no_error() -> None:
    with capture_logs() as lines, traces.Span("poll", link=traces.Link("", new_id(1))) as span:
        span.note(seen="completed")
    assert lines == []


async def test_log_lines_within_a_span_name_it(world: World, client: httpx2.AsyncClient, kept: Kept) -> None:
    lines: list[dict[str, Any]] = []

    def as_seen(line: dict[str, Any]) -> str:
        lines.append(dict(line))
        return "{}"

    with (
        patch.object(log, "_as_json", as_seen),
        patch.object(log._set_up, "as_json", new=True),
    ):
        await client.post(SUBMIT, json=world.body())
    (line,) = [one for one in lines if one["event"] == "A submit was answered."]
    (call,), (submit,) = kept.named(CALL), kept.named("submit")
    assert (line["trace_id"], line["span_id"]) == ids(submit)
    assert line["trace_id"] == ids(call)[0]


async def test_a_library_that_fails_and_a_receiver_that_fails_or_hangs_harm_nothing(
    world: World, client: httpx2.AsyncClient, kept: Kept
) -> None:
    assert traces._now is not None
    with patch.object(traces._now.tracer, "start_span", side_effect=RuntimeError("broken")), capture_logs():
        assert (await client.post(SUBMIT, json=world.body())).status_code == 200
    traces.stop_tracing()
    let_go = threading.Event()

    class Bad(Kept):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            super().export(spans)
            let_go.wait()
            raise OSError("gone")

    bad = Bad()
    begin(bad)
    for _ in range(3):
        assert (await client.post(SUBMIT, json=world.body())).status_code == 200
    with patch.object(traces, "_END_S", 0.01):
        traces.stop_tracing()  # returns, whatever hangs
    assert not traces.is_on()
    assert (await client.post(SUBMIT, json=world.body())).status_code == 200
    let_go.set()


async def test_where_traces_are_off_a_span_has_no_effect_and_the_library_is_not_asked() -> None:
    assert not traces.is_on()
    with traces.Span("submit", request="1") as span:
        span.note(status=200)
    assert span._span is None
    assert traces.CallSpan("GET", SAMPLED).traceparent is None
    assert not traces.is_sampled(TRACE_ID)
