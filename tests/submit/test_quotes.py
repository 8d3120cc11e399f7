"""POST /v1/quotes/{model_id}: what a submit would cost and meet, and that asking changes nothing."""

from typing import Any

import pytest

from app.quotas.balances import ledger
from app.quotas.limits import Scope
from tests.contract.published import problem_of
from tests.harness import MORE_MODELS, SUBMIT, World
from tests.quotas.accounts import PRICE, SECONDS, kid_of, limited
from tests.sandbox.harness import DREAMINA

pytestmark = pytest.mark.anyio

QUOTE = f"/v1/quotes/{DREAMINA}"
AUDIO, AUDIO_PRICE = "bytedance/seed-audio-1.0/text-to-audio", 40_000


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"catalog_dir": MORE_MODELS}


async def quoted(world: World, body: dict[str, Any], model_id: str = DREAMINA) -> dict[str, Any]:
    answer = await world.client.post(f"/v1/quotes/{model_id}", json=body)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


# --- POST /v1/quotes


async def test_a_quote_has_the_price_the_limits_and_the_verdict(world: World) -> None:
    await limited(world, "credits-day=0.5", scopes=(Scope(kid_of(world.key)),))
    await limited(world, "in-flight=1", scopes=(Scope("", AUDIO),))
    limits = (await world.get("/v1/quota"))["limits"]
    policies = ("tenant-submits-minute", "key-credits-day")
    assert await quoted(world, world.body()) == {
        "model_id": DREAMINA,
        "price_microcredits": PRICE,
        "output_seconds": SECONDS,
        "price_version": "example-1",
        "admissible": True,
        "would_queue": False,
        "errors": [],
        "media": [
            {
                "pointer": "#/image_urls/0",
                "type": "image/jpeg",
                "size_bytes": len(world.sandbox.client.get("/samples/harbour.jpg").content),
                "width": 1600,
                "height": 900,
                "errors": [],
            }
        ],
        "limits": [one for one in limits if one["policy"] in policies],
        "refusal": None,
    }


async def test_a_quote_spends_nothing_and_nobody_hears_of_it(world: World) -> None:
    await limited(world, "generations-total=1")
    body, calls = world.body(), world.sandbox.ledger()["calls"]
    before = await world.get("/v1/quota")
    quotes = [await quoted(world, body) for _ in range(50)]
    assert quotes == [quotes[0]] * 50
    after = await world.get("/v1/quota")
    assert (after["usage"], after["limits"][:-1]) == (before["usage"], before["limits"][:-1])  # but for reads
    assert (await world.get("/v1/requests"))["requests"] == []
    assert await world.gateway.db.read(ledger.entries, tenant_id=world.tenant_id, limit=1) == []
    assert world.sandbox.ledger()["calls"] == calls
    assert (await world.client.post(SUBMIT, json=body)).status_code == 200


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        *((f"{metric}=2", 2) for metric in ("submits-minute", "in-flight")),
        *((f"generations-{window}=2", 2) for window in ("day", "month", "total")),
        *((f"credits-{window}=0.3", 2) for window in ("day", "month", "total")),
        *((f"output-seconds-{window}=10", 2) for window in ("day", "month", "total")),
        ("credits-day=0.149999", 0),
        ("in-flight=0", 0),
    ],
)
async def test_a_quote_says_what_a_submit_will_meet(world: World, text: str, accepted: int) -> None:
    await limited(world, text)
    statuses = []
    for _ in range(4):
        body = world.body("queued")
        quote, answer = await quoted(world, body), await world.client.post(SUBMIT, json=body)
        statuses.append(answer.status_code)
        assert quote["admissible"] is (answer.status_code == 200)
        if quote["admissible"]:
            assert quote["refusal"] is None
            continue
        problem = problem_of(answer, 429, quote["refusal"]["code"])
        for name in ("detail", "violated-policies", "retry_after_s"):
            assert quote["refusal"][name] == problem.get(name), name
    assert statuses == [200] * accepted + [429] * (4 - accepted)


async def test_a_quote_names_everything_that_is_wrong_with_a_body_and_no_price(world: World) -> None:
    await limited(world, "credits-total=0")
    body = world.body(number_of_frames=7, resolution="4K", seed="x", size=1) | {"image_urls": []}
    del body["prompt"]
    quote = await quoted(world, body)
    assert (quote["price_microcredits"], quote["admissible"], quote["refusal"]) == (None, False, None)
    assert quote["output_seconds"] is None
    problem = problem_of(await world.client.post(SUBMIT, json=body), 422, "invalid_input")
    assert quote["errors"] == problem["errors"]
    assert {one["pointer"] for one in quote["errors"]} == {
        f"#/{name}" for name in ("image_urls", "number_of_frames", "prompt", "resolution", "seed", "size")
    }


async def test_every_combination_is_quoted_and_charged_as_the_published_table_says(world: World) -> None:
    pricing = (await world.get(f"/v1/models/{DREAMINA}"))["pricing"]
    table = {tuple(row["when"].values()): row["microcredits"] for row in pricing["table"]}
    assert len(table) == 4
    for frames in (None, 121, 241, 241.0):
        for resolution in (None, "720P", "1080P"):
            chosen: dict[str, Any] = {"number_of_frames": frames, "resolution": resolution}
            body = world.body(**{name: value for name, value in chosen.items() if value is not None})
            price = table[frames or 121, resolution or "720P"]
            assert (await quoted(world, body))["price_microcredits"] == price
            request_id = (await world.client.post(SUBMIT, json=body)).json()["request_id"]
            record = await world.record(request_id)
            assert (record["price_microcredits"], record["price_version"]) == (price, pricing["version"])


async def test_a_flat_price_is_quoted_and_a_free_model_fits_an_empty_purse(
    world: World,
) -> None:
    await limited(world, "credits-total=0")
    flat = await quoted(world, {"prompt": "a chord"}, AUDIO)
    assert (flat["price_microcredits"], flat["admissible"]) == (AUDIO_PRICE, False)
    free = await quoted(world, world.body(), "wan-ai/wan-2.7/edit")
    assert (free["price_microcredits"], free["admissible"]) == (0, True)


async def test_a_quote_for_a_live_key_without_a_credential_is_refused_as_its_submit_is(world: World) -> None:
    live = world.with_key(await world.another_key(mode="live"))
    body = world.body()
    for path in (SUBMIT, QUOTE):
        problem_of(await world.client.post(path, json=body, headers=live), 503, "upstream_not_configured")


async def test_keys_see_and_ask_what_their_scopes_and_models_allow(world: World) -> None:
    read = world.with_key(await world.another_key(scopes=["read"]))
    submit = world.with_key(await world.another_key(scopes=["submit"]))
    other = world.with_key(await world.another_key(models=["some/other"]))
    assert (await world.client.get("/v1/quota", headers=read)).status_code == 200
    problem_of(await world.client.get("/v1/quota", headers=submit), 403, "insufficient_scope")
    assert (await world.client.post(QUOTE, json=world.body(), headers=submit)).status_code == 200
    problem_of(await world.client.post(QUOTE, json=world.body(), headers=read), 403, "insufficient_scope")
    problem_of(await world.client.post(QUOTE, json=world.body(), headers=other), 403, "model_not_allowed")
    problem_of(await world.client.post("/v1/quotes/no/such-model", json={}), 404, "model_not_found")


async def test_a_body_that_is_no_json_object_is_refused_as_on_a_submit(world: World) -> None:
    for content, media_type, status, code in (
        (b"{", "application/json", 400, "invalid_json"),
        (b"[]", "application/json", 400, "invalid_json"),
        (b"{" + b" " * 262_143 + b"}", "application/json", 413, "body_too_large"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
    ):
        answer = await world.client.post(QUOTE, content=content, headers={"Content-Type": media_type})
        problem_of(answer, status, code)
