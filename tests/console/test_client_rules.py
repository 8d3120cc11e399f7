"""/client.js against answers of every kind: what is tried again, how often and when, and what is not."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route

from tests.console.bench import HURRY
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio

CLIENT = Path(__file__).parents[2] / "app/console/static/client.js"
PAGE = "http://page.example/"  # no secure context: less of `crypto` is there
# A client whose network is a list of answers. `calls` has what was asked, `tokens` how many were given.
SCRIPTED = """
import * as client from "http://gateway.example/client.js";

const bytesOf = (text) => Array.from(new TextEncoder().encode(text), (byte) => Uint8Array.of(byte));

window.scripted = (answers) => {
  const calls = [];
  const played = { calls, tokens: 0 };
  const fetch = async (url, { method = "GET", headers, body, signal }) => {
    calls.push({ url, method, headers: Object.fromEntries(headers), body });
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    if (answer === "lost") throw new TypeError("Failed to fetch");
    const { status = 200, stream, json, html, retryAfter, tag, type = "application/json" } = answer;
    const more = { "Content-Type": html ? "text/html" : status > 399 ? "application/problem+json" : type };
    if (retryAfter) more["Retry-After"] = retryAfter;
    if (tag) more.ETag = tag;
    const pieces = stream && new ReadableStream({
      start(controller) {
        for (const byte of bytesOf(stream)) controller.enqueue(byte);
        controller.close();
      },
    });
    return new Response(pieces ?? html ?? (json && JSON.stringify(json)), { status, headers: more });
  };
  const getToken = () => `token-${++played.tokens}`;
  return { played, gate: new client.Reelgate({ getToken, fetch, baseUrl: location.origin }), fetch };
};

window.play = async (answers, call) => {
  pauses.length = 0;
  const { played, gate, fetch } = scripted(answers);
  const updates = [];
  const onUpdate = (update) => updates.push(update);
  const outcome = { updates, pauses: [] };
  try {
    outcome.value = await call(gate, onUpdate, client, fetch);
  } catch (error) {
    outcome.error = { ...error, name: error.name, message: error.message };
  }
  return { ...outcome, ...played, pauses: pauses.filter((ms) => ms < 30_000) };
};
window.isReady = true;
"""


@pytest.fixture(scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page with the client, and no network."""
    context = await browser.new_context()
    await context.add_init_script(HURRY)
    page = await context.new_page()

    async def answer(route: Route) -> None:
        if route.request.url.endswith("/client.js"):
            open_to_all = {"Access-Control-Allow-Origin": "*"}
            await route.fulfill(path=CLIENT, content_type="text/javascript", headers=open_to_all)
        else:
            await route.fulfill(body="<!doctype html><title>A page</title>", content_type="text/html")

    await page.route("**", answer)
    await page.goto(PAGE)
    await page.add_script_tag(content=SCRIPTED, type="module")
    await page.wait_for_function("window.isReady")
    await page.evaluate("window.pace = 500")
    yield page
    await context.close()


async def play(page: Page, answers: list[Any], call: str) -> dict[str, Any]:
    """What came of a call, such as `gate.quota()`, to these answers, of which the last one goes on."""
    script = f"(answers) => play(answers, (gate, onUpdate, client, fetch) => {call})"
    async with asyncio.timeout(PATIENCE_S):
        outcome = await page.evaluate(script, answers)
    assert isinstance(outcome, dict)
    return outcome


def refusal(status: int, code: str, *, retryable: bool, **more: Any) -> dict[str, Any]:
    problem = {"code": code, "title": "No.", "detail": "Not so.", "retryable": retryable, "status": status}
    return {"status": status, "json": problem | more}


def event(version: int, state: str, status: str) -> str:
    document = {"request_id": "r", "version": version, "state": state, "status": status, "at": "now"}
    return f"id: {version}\nevent: state\ndata: {json.dumps(document)}\n\n"


OK = {"json": {"fine": True}}
BUSY = refusal(503, "upstream_busy", retryable=True)
DONE = {"json": {"request_id": "r", "status": "succeeded", "output": {}}}
WHOLE = (
    event(1, "dispatching", "in_queue")
    + event(2, "in_queue", "in_queue")
    + event(3, "completed", "completed").replace("now", "há pouco")
)
UNTAGGED = {"status": 304}


# --- what is tried again


@pytest.mark.parametrize("answer", ["lost", BUSY, {"status": 502, "html": "<h1>Bad gateway</h1>"}])
async def test_what_may_pass_is_tried_six_times_with_growing_pauses(page: Page, answer: Any) -> None:
    outcome = await play(page, [answer], "gate.quota()")
    assert len(outcome["calls"]) == 6
    floors = [1000, 2000, 4000, 8000, 15_000]
    assert [low <= ms <= low * 1.25 for low, ms in zip(floors, outcome["pauses"], strict=True)] == [True] * 5
    assert outcome["error"]["name"] == "ReelgateError"
    assert outcome["error"]["retryable"] is True


async def test_what_has_passed_is_an_answer_like_any_other(page: Page) -> None:
    outcome = await play(page, ["lost", BUSY, OK], "gate.quota()")
    assert (outcome["value"], len(outcome["calls"])) == (OK["json"], 3)


async def test_nothing_is_tried_before_retry_after(page: Page) -> None:
    outcome = await play(page, [BUSY | {"retryAfter": "7"}, OK], "gate.quota()")
    assert outcome["value"] == OK["json"]
    assert [7000 <= ms <= 8750 for ms in outcome["pauses"]] == [True]


async def test_a_wait_of_more_than_a_minute_is_for_the_caller_to_decide(page: Page) -> None:
    outcome = await play(
        page, [refusal(429, "quota_exceeded", retryable=True, retry_after_s=61)], "gate.quota()"
    )
    assert len(outcome["calls"]) == 1
    assert outcome["error"]["retryAfter"] == 61


@pytest.mark.parametrize(
    "answer",
    [
        refusal(422, "invalid_input", retryable=False),
        refusal(422, "media_unavailable", retryable=True, retry_after_s=5),
        refusal(500, "internal_error", retryable=False),
        refusal(504, "outcome_unknown", retryable=False, request_id="r"),
        {"status": 404, "html": "<h1>Not here</h1>"},
    ],
)
async def test_what_stands_is_thrown_at_once(page: Page, answer: Any) -> None:
    outcome = await play(page, [answer], "gate.submit('m', {})")
    assert (len(outcome["calls"]), outcome["pauses"]) == (1, [])
    problem = answer.get("json", {"code": "http_error", "detail": "HTTP 404"})
    assert (outcome["error"]["code"], outcome["error"]["message"]) == (problem["code"], problem["detail"])
    assert outcome["error"].get("requestId") == problem.get("request_id")


async def test_a_refusal_of_somebody_elses_form_is_not_taken_for_one_of_ours(page: Page) -> None:
    foreign = {"status": 403, "html": json.dumps({"errors": "no", "code": "x", "detail": {"a": 1}})}
    error = (await play(page, [foreign], "gate.quota()"))["error"]
    assert (error["code"], error["message"], error["errors"]) == ("http_error", "HTTP 403", [])


async def test_a_submit_is_repeated_with_its_own_idempotency_key(page: Page) -> None:
    answers = ["lost", BUSY, refusal(409, "idempotency_in_progress", retryable=True, retry_after_s=1), OK]
    outcome = await play(page, answers, "gate.submit('m', { prompt: 'é' })")
    keys = [one["headers"]["idempotency-key"] for one in outcome["calls"]]
    assert (len(keys), len(set(keys))) == (4, 1)
    assert [one["body"] for one in outcome["calls"]] == ['{"prompt":"é"}'] * 4
    again = await play(page, [OK], "gate.submit('m', {})")
    assert again["calls"][0]["headers"]["idempotency-key"] != keys[0]


# --- tokens


async def test_a_token_that_is_refused_twice_is_refused(page: Page) -> None:
    refused = refusal(401, "invalid_client_token", retryable=False)
    outcome = await play(page, [refused], "gate.quota()")
    assert (outcome["tokens"], outcome["error"]["code"]) == (2, "invalid_client_token")
    sent = [one["headers"]["authorization"] for one in outcome["calls"]]
    assert sent == ["Bearer token-1", "Bearer token-2"]


async def test_an_api_key_that_is_refused_is_not_asked_for_again(page: Page) -> None:
    outcome = await play(page, [refusal(401, "invalid_api_key", retryable=False)], "gate.quota()")
    assert (outcome["tokens"], len(outcome["calls"])) == (1, 1)


async def test_who_gives_up_does_not_wait_for_a_token(page: Page) -> None:
    call = """(() => {
      const left = new AbortController();
      setTimeout(() => left.abort(new Error("left")), 50);
      const getToken = () => new Promise(() => {});
      return new client.Reelgate({ getToken }).quota({ signal: left.signal });
    })()"""
    assert (await play(page, [OK], call))["error"]["message"] == "left"


async def test_nothing_is_asked_by_whoever_gave_up_before(page: Page) -> None:
    outcome = await play(page, [OK], "gate.quota({ signal: AbortSignal.abort(new Error('before')) })")
    assert (outcome["error"]["message"], outcome["calls"]) == ("before", [])


async def test_a_client_without_get_token_is_refused(page: Page) -> None:
    outcome = await play(page, [OK], "Promise.resolve(new client.Reelgate({}))")
    assert outcome["error"]["name"] == "TypeError"


# --- streams


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
async def test_a_stream_may_come_in_bytes(page: Page, ends: str) -> None:
    stream = ": ping\nretry: 1000\n" + WHOLE + ": ping\n" + 'event: later\ndata: {"what": "ever"}\n\n'
    answers = [{"stream": stream.replace("\n", ends)}, DONE]
    outcome = await play(page, answers, "gate.follow('r', { onUpdate })")
    assert [one["state"] for one in outcome["updates"]] == ["dispatching", "in_queue", "completed"]
    assert [one["at"] for one in outcome["updates"]] == ["now", "now", "há pouco"]
    assert [one["final"] for one in outcome["updates"]] == [False, False, True]
    assert outcome["value"]["status"] == "succeeded"


async def test_what_is_told_twice_is_passed_on_once(page: Page) -> None:
    begun = event(1, "dispatching", "in_queue") + 'event: position\ndata: {"queue_position":3}\n\n'
    outcome = await play(
        page, [{"stream": begun * 2}, {"stream": begun + WHOLE}, DONE], "gate.follow('r', { onUpdate })"
    )
    told = [(one["version"], one["queuePosition"]) for one in outcome["updates"]]
    assert told == [(1, None), (1, 3), (2, 3), (3, None)]
    assert [one["headers"].get("last-event-id") for one in outcome["calls"]] == [None, "1", None]


async def test_half_an_event_is_none(page: Page) -> None:
    cut = WHOLE[: WHOLE.index("completed")]
    outcome = await play(page, [{"stream": cut}, {"stream": WHOLE}, DONE], "gate.follow('r', { onUpdate })")
    assert [one["version"] for one in outcome["updates"]] == [1, 2, 3]


async def test_where_bodies_do_not_stream_the_job_is_polled(page: Page) -> None:
    states = ("accepted", "dispatching", "in_queue", "unknown", "in_progress", "lost")
    events = [{"version": at, "state": state, "at": "now"} for at, state in enumerate(states, 1)]
    record = {"json": {"events": events, "queue_position": None}}
    answers = [UNTAGGED, UNTAGGED, OK, record, {"json": {"status": "failed", "error": {"message": "gone"}}}]
    outcome = await play(page, answers, "gate.follow('r', { onUpdate })")
    assert [one["state"] for one in outcome["updates"]] == list(states)
    words = ["in_queue"] * 3 + ["in_progress"] * 2 + ["completed"]
    assert [one["status"] for one in outcome["updates"]] == words
    assert outcome["calls"][2]["headers"]["prefer"] == "wait=25"
    assert outcome["error"]["message"] == "The job failed. gone"


async def test_a_poll_that_broke_off_before_it_told_anything_is_asked_again(page: Page) -> None:
    changed, record = OK | {"tag": '"a"'}, {"json": {"events": [{"version": 1, "state": "completed"}]}}
    answers = [UNTAGGED, UNTAGGED, changed, "lost", changed, record, DONE]
    outcome = await play(page, answers, "gate.follow('r', { onUpdate })")
    assert [one["state"] for one in outcome["updates"]] == ["completed"]
    tags = [one["headers"].get("if-none-match") for one in outcome["calls"]]
    assert tags == [None, None, '"none"', None, '"none"', None, None]


async def test_a_poll_says_what_the_page_knows(page: Page) -> None:
    begun = {"json": {"events": [{"version": 1, "state": "in_queue"}], "queue_position": 4}}
    over = {"json": {"events": [{"version": 1, "state": "in_queue"}, {"version": 2, "state": "completed"}]}}
    same = {"status": 304, "tag": '"a"'}
    answers = [UNTAGGED, UNTAGGED, OK | {"tag": '"a"'}, begun, same, OK | {"tag": '"b"'}, over, DONE]
    outcome = await play(page, answers, "gate.follow('r', { onUpdate })")
    told = [(one["version"], one["queuePosition"]) for one in outcome["updates"]]
    assert told == [(1, None), (1, 4), (2, None)]
    tags = [one["headers"].get("if-none-match") for one in outcome["calls"] if "/status" in one["url"]]
    assert tags == ['"none"', '"a"', '"a"']


@pytest.mark.parametrize(
    ("result", "state", "message"),
    [
        ({"status": "failed", "error": "too dark"}, "failed", "The job failed. too dark"),
        ({"status": "failed", "error": ["a", 1]}, "failed", 'The job failed. ["a",1]'),
        ({"status": "cancelled"}, "cancelled", "The job was cancelled."),
        ({"status": "cancelled"}, "expired", "The job was cancelled. It had not started by its deadline."),
    ],
)
async def test_a_job_without_an_output_says_why(
    page: Page, result: dict[str, Any], state: str, message: str
) -> None:
    status = "completed" if result["status"] == "failed" else "cancelled"
    result |= {"request_id": "r"}
    answers = [{"stream": event(1, state, status)}, {"json": result}]
    error = (await play(page, answers, "gate.follow('r')"))["error"]
    assert (error["message"], error["result"], error["requestId"]) == (message, result, "r")
    assert error["code"] == f"job_{result['status']}"


# --- addresses


@pytest.mark.parametrize(
    ("call", "method", "address"),
    [
        ("gate.submit('a/b c?', {})", "POST", "/v1/models/a/b%20c%3F"),
        ("gate.quote('a/b', {})", "POST", "/v1/quotes/a/b"),
        ("gate.model('a/b')", "GET", "/v1/models/a/b"),
        ("gate.models({ limit: 2, offset: undefined })", "GET", "/v1/models?limit=2"),
        ("gate.requests({ limit: 2, cursor: 'a&b' })", "GET", "/v1/requests?limit=2&cursor=a%26b"),
        ("gate.requests()", "GET", "/v1/requests?"),
        ("gate.request('r#')", "GET", "/v1/requests/r%23"),
        ("gate.status('r')", "GET", "/v1/requests/r/status"),
        ("gate.result('r')", "GET", "/v1/requests/r/result"),
        ("gate.cancel('r')", "POST", "/v1/requests/r/cancel"),
        ("gate.quota()", "GET", "/v1/quota"),
    ],
)
async def test_each_call_has_its_address(page: Page, call: str, method: str, address: str) -> None:
    [asked] = (await play(page, [OK], call))["calls"]
    assert (asked["method"], asked["url"]) == (method, PAGE.rstrip("/") + address)


async def test_what_a_submit_says_of_itself_is_in_its_headers(page: Page) -> None:
    options = "{ idempotencyKey: 'mine', startDeadline: new Date(0) }"
    [asked] = (await play(page, [OK], f"gate.submit('m', {{}}, {options})"))["calls"]
    assert asked["headers"]["idempotency-key"] == "mine"
    assert asked["headers"]["reelgate-start-deadline"] == "1970-01-01T00:00:00.000Z"
    assert asked["headers"]["content-type"] == "application/json"
    [asked] = (await play(page, [OK], "gate.submit('m', {}, { startDeadline: 600 })"))["calls"]
    assert asked["headers"]["reelgate-start-deadline"] == "600"
