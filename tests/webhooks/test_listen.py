"""`reelgate webhooks listen` forwards a tenant's events as endpoints have them, and survives outages."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook

from app.cli.listening import Listener, ListenError
from app.webhooks.registry import secrets
from tests.contract.published import Contract
from tests.harness import World
from tests.webhooks.receiver import Receiver, deliver, endpoint

GATEWAY, FORWARD = "https://gateway.test", "http://localhost:3000/hook"
SECRET = secrets.generate()


class OverError(Exception):
    """The gateway of a test has nothing more to say."""


class Gateway:
    """A gateway that answers what it is told to, one after another, and a program that does the same."""

    def __init__(self, pages: list[Any], answers: list[int]) -> None:
        self.pages, self.answers = pages, answers
        self.asked: list[str | None] = []
        self.forwarded: list[httpx2.Request] = []
        self.said: list[str] = []

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        if str(request.url) == FORWARD:
            self.forwarded.append(request)
            return httpx2.Response(self.answers.pop(0) if self.answers else 204)
        assert request.headers["authorization"] == "Bearer the-key"
        self.asked.append(request.url.params.get("after_event"))
        if not self.pages:
            raise OverError
        page = self.pages.pop(0)
        if isinstance(page, Exception):
            raise page
        return page if isinstance(page, httpx2.Response) else httpx2.Response(200, json=page)

    def listen(self, replay: int = 0) -> None:
        listener = Listener(
            url=GATEWAY,
            key="the-key",
            forward_to=FORWARD,
            secret=SECRET,
            say=self.said.append,
            sleep=lambda _: None,
        )
        with httpx2.Client(transport=httpx2.MockTransport(self.handle)) as client:
            listener.run(client, replay=replay)


def page(last: int, *ids: str) -> dict[str, Any]:
    sent = {"type": "request.completed", "data": {"request_id": "é"}}
    messages = [
        {"message_id": one, "type": "request.completed", "event_number": last, "payload": sent} for one in ids
    ]
    return {"messages": messages, "last_event_number": last}


def test_it_goes_on_where_it_was_when_the_gateway_is_away() -> None:
    away = (httpx2.ConnectError("refused"), httpx2.Response(503, json={}))
    gateway = Gateway([page(7, "msg_1"), *away, page(9, "msg_2", "msg_3")], [])
    with pytest.raises(OverError):
        gateway.listen(replay=3)
    assert gateway.asked == ["-3", "7", "7", "7", "9"]
    assert [one.headers["webhook-id"] for one in gateway.forwarded] == ["msg_1", "msg_2", "msg_3"]
    for one in gateway.forwarded:
        Webhook(secrets.shown(SECRET, "v1")).verify(one.read(), dict(one.headers))
    assert [one for one in gateway.said if "cannot be reached" in one]


def test_what_the_program_does_not_take_is_tried_three_times_and_told() -> None:
    gateway = Gateway([page(1, "msg_1"), page(2, "msg_2")], [500, 500, 500, 200])
    with pytest.raises(OverError):
        gateway.listen()
    assert [one.headers["webhook-id"] for one in gateway.forwarded] == ["msg_1"] * 3 + ["msg_2"]
    assert [one.rpartition("-> ")[2] for one in gateway.said] == ["500", "500", "500", "200"]


@pytest.mark.parametrize(
    "refusal",
    [
        httpx2.Response(403, json={"code": "insufficient_scope", "detail": "This API key lacks the scope."}),
        httpx2.Response(404, text="no gateway"),
        httpx2.Response(200, json={"something": "else"}),
    ],
)
def test_a_refusal_ends_it_with_the_reason(refusal: httpx2.Response) -> None:
    with pytest.raises(ListenError, match=r"refuses: (This API key lacks|HTTP 404|HTTP 200)"):
        Gateway([refusal], []).listen()


@pytest.mark.anyio
async def test_the_events_are_those_that_endpoints_are_sent(
    world: World, receiver: Receiver, contract: Contract
) -> None:
    path = "/v1/webhooks/messages"
    begin = await world.get(path)
    assert begin["messages"] == []
    await endpoint(world, receiver)
    for directive in ("canned", "fail", "reject=422"):
        answer = await world.submit(directive)
        await world.finish(answer.json()["request_id"])
    await deliver(world)
    found = await world.get(f"{path}?after_event={begin['last_event_number']}&limit=100")
    by_id: Callable[[Any], str] = lambda one: one[0]  # noqa: E731 - it sorts two lists alike
    told = sorted(((one["message_id"], one["payload"]) for one in found["messages"]), key=by_id)
    assert told == sorted(((one.id, one.document) for one in receiver.received), key=by_id)
    assert len(told) == 3
    for _, payload in told:
        published = contract.document["webhooks"][payload["type"]]["post"]["requestBody"]["content"]
        assert contract.misfits(published["application/json"]["schema"], payload) == []
    assert (await world.get(f"{path}?after_event={found['last_event_number']}"))["messages"] == []
    last = await world.get(f"{path}?after_event=-1")
    assert [one["event_number"] for one in last["messages"]] == [found["last_event_number"]]
