"""A submit names the webhook endpoint that hears of it: one of its tenant and mode, and never an address."""

import pytest

from tests.harness import World
from tests.webhooks.receiver import Receiver, deliver, endpoint

pytestmark = pytest.mark.anyio


async def test_a_submit_names_an_endpoint_for_its_own_events(world: World, receiver: Receiver) -> None:
    named = await endpoint(world, receiver, "/named", events=[])
    await endpoint(world, receiver, "/all")
    headers = {"Reelgate-Webhook": named.id, "Idempotency-Key": "with-a-webhook"}
    body = world.body()
    answer = await world.client.post(
        "/v1/models/bytedance/dreamina-3-0/image-to-video", json=body, headers=headers
    )
    request_id = answer.json()["request_id"]
    await world.finish(await world.submitted())
    await world.finish(request_id)
    await deliver(world)
    assert [one.document["data"]["request_id"] for one in receiver.at("/named")] == [request_id]
    assert len(receiver.at("/all")) == 2
    assert (await world.record(request_id))["webhook_endpoint_id"] == named.id
    path = "/v1/models/bytedance/dreamina-3-0/image-to-video"
    again = await world.client.post(path, json=body, headers=headers)
    assert again.headers["idempotent-replayed"] == "true"
    without = await world.client.post(path, json=body, headers={"Idempotency-Key": "with-a-webhook"})
    assert without.json()["code"] == "idempotency_mismatch"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("https://example.com/hook", "is an address"),
        ("ep_1", "is not the id of a webhook endpoint"),
        ("ep_01a0c450-6c00-7623-bf1d-c2fd4db34ca1", "that this tenant has for test keys"),
    ],
)
async def test_a_submit_that_names_no_endpoint_of_its_tenant_is_refused_and_sent_nowhere(
    world: World, receiver: Receiver, value: str, why: str
) -> None:
    await endpoint(world, receiver, mode="live")
    answer = await world.client.post(
        "/v1/models/bytedance/dreamina-3-0/image-to-video",
        json=world.body(),
        headers={"Reelgate-Webhook": value},
    )
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, "invalid_parameter")
    assert problem["errors"][0]["pointer"] == "#/header/Reelgate-Webhook"
    assert why in problem["detail"]
    assert world.received() == []
