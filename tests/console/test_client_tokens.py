"""/client.js and its tokens: renewed when they end, and each refusal told to the page in its own words."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.auth import tenants
from tests.console.bench import Bench
from tests.harness import MORE_MODELS, PEPPER, until
from tests.sandbox.harness import DREAMINA, TOKEN
from tests.streams import moving, streaming

pytestmark = pytest.mark.anyio

LIFE = [None, "dispatching", "in_queue", "in_progress", "completed"]
SUBMIT = "POST /v1/models/"
OTHER_MODEL = "wan-ai/wan-2.7/edit"
ELSEWHERE = "https://elsewhere.example"


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"catalog_dir": MORE_MODELS}


# --- renewal


async def test_a_token_that_ends_is_renewed_and_the_same_job_goes_on(bench: Bench) -> None:
    bench.terms["lifetime_s"] = 60
    request_id = await bench.subscribe()
    bench.world.clock.advance(61)
    bench.relay.drop()
    await until(lambda: len(bench.minted) == 2)
    await bench.live()
    assert bench.told.states == LIFE
    assert [one["request_id"] for one in bench.told.results] == [request_id]
    assert "expired_client_token" in bench.relay.text
    assert len(bench.world.received()) == 1


async def test_a_stream_ends_with_its_token_and_goes_on_with_the_next(bench: Bench) -> None:
    bench.terms["lifetime_s"] = 60
    await bench.subscribe()
    bench.world.clock.advance(61)
    bench.begin()
    await moving(bench.world, lambda: "in_progress" in bench.told.states, step_s=0.1)
    assert len(bench.minted) == 2
    await bench.live()
    assert bench.told.states == LIFE


async def test_five_calls_at_once_and_a_token_that_is_refused_ask_for_one_token_each_time(
    bench: Bench,
) -> None:
    five = "(await Promise.all([1, 2, 3, 4, 5].map(() => gate.quota()))).length"
    assert await bench.ask(five) == 5
    assert len(bench.minted) == 1
    bench.world.clock.advance(601)
    assert await bench.ask(five) == 5
    assert len(bench.minted) == 2


async def test_a_token_is_renewed_before_its_end(bench: Bench) -> None:
    """Half a minute before or, of a short one, at four fifths; a clock that is wrong changes nothing."""
    asked = await bench.page.evaluate(
        """async () => {
          const now = Date.now();
          let ahead = 0;
          Date.now = () => now + ahead;
          const asked = [];
          for (const life of [600_000, 10_000, -5000]) {
            ahead = 0;
            let count = 0;
            const expires_at = new Date(now + life).toISOString();
            const getToken = async () => ({ ...(await window.getToken()), expires_at, count: ++count });
            const gate = new client.Reelgate({ getToken, baseUrl: gateway });
            for (ahead of [0, 7900, 8100, 569_000, 571_000]) {
              await gate.quota();
              asked.push(count);
            }
          }
          return asked;
        }"""
    )
    assert asked == [1, 1, 1, 1, 2, 1, 1, 2, 3, 3, 1, 1, 1, 1, 1]


async def test_the_page_is_given_the_error_of_its_own_server(bench: Bench) -> None:
    bench.status = 503
    answer = await bench.ask("gate.quota()")
    assert (answer["error"]["message"], answer["error"]["isOurs"]) == (
        "The page's own server says 503.",
        False,
    )
    bench.status = 200
    assert "limits" in await bench.ask("gate.quota()")


async def test_a_job_is_watched_on_when_the_pages_own_server_was_away(bench: Bench) -> None:
    bench.terms["lifetime_s"] = 60
    await bench.subscribe()
    bench.world.clock.advance(61)
    bench.status = 503
    bench.relay.drop()
    await bench.page.wait_for_function("pauses.length >= 4")
    assert not bench.told.is_over
    bench.status = 200
    await bench.live()
    assert bench.told.states == LIFE


# --- refusals


async def _of_the_token(bench: Bench) -> None:
    origins = [bench.origin, ELSEWHERE]
    await bench.world.gateway.db.write(tenants.set_origins, bench.world.tenant_id, origins)
    bench.world.clock.advance(2)
    bench.terms["origins"] = [ELSEWHERE]


async def _of_the_tenant(bench: Bench) -> None:
    await bench.world.gateway.db.write(tenants.set_origins, bench.world.tenant_id, [ELSEWHERE])
    bench.world.clock.advance(2)


async def _to_another_model(bench: Bench) -> None:
    bench.terms["models"] = [OTHER_MODEL]


async def _out_of_bounds(bench: Bench) -> None:
    bench.terms |= {"models": [DREAMINA], "bounds": {"resolution": {"enum": ["1080P"]}}}


async def _over_budget(bench: Bench) -> None:
    bench.terms["max_generations"] = 0


async def _revoked(bench: Bench) -> None:
    bench.gives = await bench.mint()
    path = f"/v1/client-tokens/{bench.gives['token_id']}/revoke"
    answer = await bench.world.client.post(path, headers=bench.world.with_key(bench.key))
    assert answer.status_code == 200
    bench.world.clock.advance(6)


REFUSALS: "dict[str, tuple[Callable[[Bench], Awaitable[None]], str, str, int]]" = {
    "an origin that is not the token's": (
        _of_the_token,
        "origin_not_allowed",
        "does not allow pages of this",
        1,
    ),
    "an origin that is nobody's": (_of_the_tenant, "origin_not_allowed", "calls from pages of http", 0),
    "a model": (_to_another_model, "model_not_allowed", "may not use", 1),
    "a bound": (_out_of_bounds, "out_of_bounds", "#/resolution", 1),
    "a budget": (_over_budget, "quota_exhausted", "generation", 1),
    "a revoked token": (_revoked, "invalid_client_token", "token", 2),
}


@pytest.mark.parametrize("kind", REFUSALS)
async def test_a_refusal_is_shown_in_words_and_not_tried_again(bench: Bench, kind: str) -> None:
    set_up, code, words, times = REFUSALS[kind]
    await set_up(bench)
    await bench.run("subscribe", DREAMINA, bench.world.body())
    await until(lambda: bench.told.is_over)
    error = bench.told.error
    assert (error["isOurs"], error["code"], error["retryable"]) == (True, code, False)
    assert words in error["message"]
    assert await bench.shown() == error["message"]
    assert bench.relay.asked(SUBMIT) == times
    assert (bench.told.updates, bench.world.received()) == ([], [])


async def test_an_invalid_input_names_what_is_wrong_and_is_not_tried_again(bench: Bench) -> None:
    await bench.run("subscribe", DREAMINA, bench.world.body(resolution="8K"))
    await until(lambda: bench.told.is_over)
    error = bench.told.error
    assert (error["code"], error["status"], error["retryable"]) == ("invalid_input", 422, False)
    assert [one["pointer"] for one in error["errors"]] == ["#/resolution"]
    assert "#/resolution must be one of" in await bench.shown()
    assert error["problem"]["trace_id"] == error["traceId"]
    assert bench.relay.asked(SUBMIT) == 1


async def test_a_picture_that_cannot_be_fetched_is_told_at_once(bench: Bench) -> None:
    """Whoever gave its address has to give another one."""
    missing = f"{bench.world.sandbox.options.public_url}/samples/none.jpg"
    await bench.run("subscribe", DREAMINA, bench.world.body(image_urls=[missing]))
    await until(lambda: bench.told.is_over)
    assert (bench.told.error["code"], bench.told.error["retryable"]) == ("invalid_input", False)
    assert bench.relay.asked(SUBMIT) == 1


# --- streams that cannot be had


class TestWithOneStream:
    @pytest.fixture
    def world_settings(self) -> dict[str, Any]:
        return {"streams_per_tenant": 1}

    async def test_polls_tell_the_same(self, bench: Bench) -> None:
        async with streaming(bench.world, "/v1/events"):
            request_id = await bench.subscribe()
            await bench.live()
        assert bench.told.states == LIFE
        assert "too_many_streams" in bench.relay.text
        assert bench.relay.asked(f"GET /v1/requests/{request_id}/status") > 1
        whole = [one for one in bench.told.updates if one["state"]]
        assert all(one["at"] and one["status"] and one["version"] for one in whole)
        assert [one["final"] for one in whole] == [False] * (len(whole) - 1) + [True]


# --- secrets


async def test_no_key_and_no_token_of_the_upstream_reaches_the_browser(bench: Bench) -> None:
    await bench.subscribe()
    await bench.live()
    await bench.page.wait_for_function("document.getElementById('video').currentTime > 0")
    for call in ("quota()", "models()", "requests()", "request(value)", "quote('x', {})"):
        await bench.ask(f"gate.{call}", bench.told.updates[0]["requestId"])
    await bench.ask("new client.Reelgate({ getToken: () => 'rg_test_typo', baseUrl: gateway }).quota()")
    seen = await bench.seen() + json.dumps(bench.minted) + await bench.page.content()
    assert bench.minted[0]["token"] in seen
    assert ".mp4" in seen
    secrets = {bench.key, bench.world.key, TOKEN, PEPPER}
    assert [one[:12] for one in secrets if one in seen] == []
