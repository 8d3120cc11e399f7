"""A real receiver of OpenTelemetry gets the spans of a real server, and its going harms nobody."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx2
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

from tests.harness import SUBMIT
from tests.patience import PATIENCE_S
from tests.processes import a_key, free_port, place_for, started
from tests.sandbox.harness import Running

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def is_of(name: str, span: Span) -> bool:
    return span.name == name and span.trace_id.hex() == TRACE_ID


def is_linked_poll(span: Span) -> bool:
    return span.name == "poll" and any(link.trace_id.hex() == TRACE_ID for link in span.links)


@pytest.mark.anyio
async def test_a_submit_arrives_as_one_trace_and_a_receiver_that_goes_is_not_missed(
    sqlite_url: str, tmp_path: Path, sandbox: Running
) -> None:
    _, key = await asyncio.to_thread(a_key, sqlite_url)
    port = free_port()
    place = place_for(
        tmp_path,
        sqlite_url,
        sandbox.options.public_url,
        OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
        TRACES_RATIO="1",
    )
    headers = {"Authorization": f"Bearer {key}", "traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01"}
    picture = f"{sandbox.options.public_url}/samples/harbour.jpg"
    body = {"image_urls": [picture], "prompt": "a boat [sandbox:canned]"}
    settings = OtelTapHttpProtobufReceiverSettings(http_port=port)
    with started(place) as server:
        async with httpx2.AsyncClient(base_url=place.url, headers=headers, trust_env=False) as client:
            async with OtelTapHttpProtobufReceiver(settings) as receiver:
                names = ("POST /v1/models/{model_id:path}", "record", "runcomfy submit", "outcome")
                wanted: list[Callable[[Span], bool]] = [partial(is_of, name) for name in names]
                wanted.append(is_linked_poll)
                coming = [
                    asyncio.create_task(receiver.await_trace(fits, timeout=PATIENCE_S)) for fits in wanted
                ]
                await asyncio.sleep(0)  # they listen
                assert (await client.post(SUBMIT, json=body)).status_code == 200
                await asyncio.gather(*coming)
            for _ in range(3):
                assert (await client.post(SUBMIT, json=body)).status_code == 200
        assert server.process.poll() is None
