"""What goes wrong around /client.js: a token endpoint without a token, and a gateway that is elsewhere."""

import json
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route

from tests.console.test_client_rules import CLIENT, OK, page, play, refusal

pytestmark = pytest.mark.anyio
__all__ = ["page"]

NONE = "The page was given no client token. "
PROBLEM = json.dumps({"code": "no", "title": "Not signed in.", "detail": "The session has ended."})


def _given(expression: str, call: str = "quota()") -> str:
    """A call with a client whose getToken gives this."""
    return f"new client.Reelgate({{ getToken: () => {expression}, fetch, baseUrl: location.origin }}).{call}"


def _answer(body: str, status: int = 200) -> str:
    return f"new Response({json.dumps(body)}, {{ status: {status} }})"


@pytest.mark.parametrize(
    ("given", "words", "status"),
    [
        (_answer(PROBLEM, 401), "HTTP 401: Not signed in. The session has ended.", 401),
        (_answer(PROBLEM, 503), "HTTP 503: Not signed in. The session has ended.", 503),
        (_answer('{"error": "too_fast"}', 429), "HTTP 429: too_fast", 429),
        (_answer("<h1>Bad</h1>\n<p>gateway</p>", 502), "HTTP 502: Bad gateway", 502),
        (_answer("", 500), "HTTP 500: an empty answer", 500),
        (_answer(""), "HTTP 200: an empty answer", 200),
        (_answer("<!doctype html><title>Sign in</title>"), "HTTP 200: Sign in", 200),
        (_answer("null"), "HTTP 200: null", 200),
        (_answer('{"token": null}'), 'HTTP 200: {"token":null}', 200),
        (_answer('{"token": "rg_client_x"}', 500), 'HTTP 500: {"token":"rg_…"}', 500),
        (f"({PROBLEM})", "getToken gave Not signed in. The session has ended.", None),
        ('({ status: 403, title: "No." })', "HTTP 403: No.", 403),
        ("null", "getToken gave null", None),
        ("undefined", "getToken gave undefined", None),
        ("7", "getToken gave 7", None),
        ("({})", "getToken gave {}", None),
        ('""', "getToken gave an empty answer", None),
        ('"Bearer rg_client_x"', "getToken gave Bearer rg_…", None),
        ("({ token: undefined })", "getToken gave {}", None),
        (f"{_answer('<p>')}.json()", "getToken gave what is not JSON: ", None),
    ],
)
async def test_what_is_no_token_is_told_and_not_sent(
    page: Page, given: str, words: str, status: int | None
) -> None:
    outcome = await play(page, [OK], _given(given))
    error = outcome["error"]
    assert (error["name"], error["code"], error.get("status")) == ("ReelgateError", "no_token", status)
    assert error["message"].startswith(NONE)
    assert words in error["message"]
    assert outcome["calls"] == []


@pytest.mark.parametrize(
    "given",
    [
        _answer('{"token": "t-1", "expires_at": "2100-01-01T00:00:00Z"}', 201),
        _answer('"t-1"'),
        _answer("t-1\n"),
        "({ token: 't-1' })",
        "Promise.resolve('t-1')",
    ],
)
async def test_a_token_is_taken_in_every_documented_form(page: Page, given: str) -> None:
    outcome = await play(page, [OK], _given(given))
    assert [one["headers"]["authorization"] for one in outcome["calls"]] == ["Bearer t-1"]


async def test_a_token_that_has_ended_already_is_refused_in_the_gateways_words(page: Page) -> None:
    expired = refusal(401, "expired_client_token", retryable=False)
    given = _answer('{"token": "t-1", "expires_at": "2001-01-01T00:00:00Z"}')
    outcome = await play(page, [expired], _given(given))
    assert (outcome["error"]["code"], len(outcome["calls"])) == ("expired_client_token", 2)


@pytest.mark.parametrize(("status", "tries"), [(503, 2), (401, 1)])
async def test_whoever_follows_asks_a_token_endpoint_again_that_may_recover(
    page: Page, status: int, tries: int
) -> None:
    given = f"(window.asked += 1) === 1 ? {_answer(PROBLEM, status)} : {_answer('t-1')}"
    over = 'data: {"request_id":"r","version":1,"state":"completed","status":"completed"}\n\n'
    answers = [{"stream": over}, {"json": {"status": "succeeded", "request_id": "r"}}]
    await page.evaluate("window.asked = 0")
    outcome = await play(page, answers, _given(given, "follow('r')"))
    assert await page.evaluate("window.asked") == tries
    assert ("error" in outcome) == (tries == 1)


async def test_a_page_where_the_gateway_should_be_is_told(page: Page) -> None:
    error = (await play(page, [{"html": "<h1>My app</h1>", "type": "text/html"}], "gate.quota()"))["error"]
    assert error["code"] == "no_gateway"
    assert "baseUrl" in error["message"]


# --- a copy of the module


async def _copied(browser: Browser, script: str) -> Any:
    """What the script gives in a page whose site has a copy of the module, and no gateway."""
    context = await browser.new_context()

    async def answer(route: Route) -> None:
        if route.request.url.endswith("/assets/client.js"):
            await route.fulfill(path=CLIENT, content_type="text/javascript")
        elif route.request.url.endswith("/"):
            await route.fulfill(body="<!doctype html><title>App</title>", content_type="text/html")
        else:
            await route.fulfill(status=404, body="<h1>Not found</h1>", content_type="text/html")

    try:
        page = await context.new_page()
        await page.route("**", answer)
        await page.goto("http://app.example/")
        return await page.evaluate(f"async () => {{ {script} }}")
    finally:
        await context.close()


async def test_a_copy_that_guesses_its_gateway_says_that_it_is_not_there(browser: Browser) -> None:
    message = await _copied(
        browser,
        """const { Reelgate } = await import("/assets/client.js");
        const call = new Reelgate({ getToken: () => "t-1" }).quota();
        return call.catch((error) => `${error.code} ${error.message}`);""",
    )
    assert message.startswith("no_gateway There is no gateway at http://app.example/assets.")
    assert "baseUrl" in message


async def test_a_copy_that_cannot_know_its_gateway_says_so_at_once(browser: Browser) -> None:
    message = await _copied(
        browser,
        """const text = await (await fetch("/assets/client.js")).text();
        const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
        const { Reelgate } = await import(url);
        new Reelgate({ getToken: () => "t-1", baseUrl: "http://gateway.example" });
        const error = await (async () => new Reelgate({ getToken: () => "t-1" }))().catch((error) => error);
        return `${error.name} ${error.message}`;""",
    )
    assert message.startswith("TypeError client.js was loaded from blob:")
    assert "baseUrl" in message
