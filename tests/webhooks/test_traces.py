"""An attempt to deliver is a span that links to its request's submit, and tells neither address nor body."""

from collections.abc import Iterator

import pytest

from app.kit import traces
from app.kit.traces import span_id_of
from tests.harness import World
from tests.server.test_traces import Kept, begin
from tests.webhooks.receiver import Receiver, deliver, endpoint

pytestmark = pytest.mark.anyio


@pytest.fixture
def kept() -> Iterator[Kept]:
    exporter = Kept()
    begin(exporter)
    yield exporter
    traces.stop_tracing()


async def test_each_attempt_is_a_span_that_links_to_the_submit_and_tells_no_address_and_no_body(
    world: World, receiver: Receiver, kept: Kept
) -> None:
    made = await endpoint(world, receiver, "/a-path-that-is-secret")
    receiver.answers["/a-path-that-is-secret"] = [500]
    request_id = await world.submitted()
    await world.finish(request_id)
    await deliver(world)
    world.clock.advance(10)
    await deliver(world)
    assert len(receiver.received) == 2
    spans = kept.named("deliver")
    assert [dict(one.attributes or {})["reelgate.outcome"] for one in spans] == ["500", "delivered"]
    for attempt, span in enumerate(spans, start=1):
        attributes = dict(span.attributes or {})
        assert attributes["reelgate.endpoint"] == made.id
        assert str(attributes["reelgate.message"]).startswith(f"msg_{request_id}_")
        assert attributes["reelgate.attempt"] == attempt
        (link,) = span.links
        assert link.context.span_id == span_id_of(request_id)
        assert span.parent is None
        told = repr((span.name, attributes, span.events, span.status.description))
        for what in ("secret", "http://", str(receiver.port), "completed", made.shown):
            assert what not in told
