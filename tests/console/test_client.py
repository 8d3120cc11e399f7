"""/client.js in a page of another origin: one job each, every change once, whatever the network does."""

import re

import pytest

from tests.console.bench import Bench
from tests.harness import until
from tests.sandbox.harness import DREAMINA
from tests.streams import moving

pytestmark = pytest.mark.anyio

LIFE = [None, "dispatching", "in_queue", "in_progress", "completed"]
SUBMIT = "POST /v1/models/"


def _one_job(bench: Bench) -> None:
    """However often the submit was sent."""
    keys = re.findall(r"(?im)^idempotency-key: (\S+)", bench.relay.text)
    assert (len(bench.world.received()), len(set(keys))) == (1, 1)


def _succeeded(bench: Bench) -> None:
    """Every change came once and in order, and after them the result."""
    assert bench.told.states == LIFE
    versions = [one["version"] for one in bench.told.updates]
    assert versions == sorted(versions)
    assert [one["version"] for one in bench.told.updates if one["final"]] == [versions[-1]]
    assert (bench.told.errors, [one["status"] for one in bench.told.results]) == ([], ["succeeded"])


# --- a job


async def test_a_page_submits_watches_and_plays(bench: Bench) -> None:
    request_id = await bench.subscribe()
    await bench.live()
    _succeeded(bench)
    _one_job(bench)
    assert {one["requestId"] for one in bench.told.updates} == {request_id}
    await bench.page.wait_for_function("document.getElementById('video').currentTime > 0.2")
    shown = [line.split()[0] for line in await bench.page.locator("#progress li").all_inner_texts()]
    assert list(dict.fromkeys(shown)) == ["submitted", *LIFE[1:]]


async def test_a_place_in_the_queue_is_told_once_and_forgotten_when_the_job_runs(bench: Bench) -> None:
    await bench.subscribe()
    await moving(bench.world, lambda: bench.told.updates[-1]["queuePosition"] is not None, step_s=0.1)
    bench.relay.drop()
    await until(lambda: bench.relay.asked("GET /v1/requests/") == 2)
    await bench.live()
    _succeeded(bench)
    places = [(one["state"], one["queuePosition"]) for one in bench.told.updates]
    told = places[3][1]  # the sandbox may hold jobs of other tests before it
    assert isinstance(told, int)
    assert places[2:4] == [("in_queue", None), ("in_queue", told)]
    assert places[4:] == [("in_progress", None), ("completed", None)]


async def test_a_failed_job_is_an_error_that_says_why(bench: Bench) -> None:
    await bench.subscribe("canned,fail")
    await bench.live()
    error = bench.told.error
    assert (error["isOurs"], error["code"], error["retryable"]) == (True, "job_failed", False)
    assert error["result"]["status"] == "failed"
    assert error["result"]["error"] in await bench.shown()
    assert bench.told.states[-1] == "failed"


async def test_a_cancel_ends_the_watching_with_an_error_of_its_own(bench: Bench) -> None:
    request_id = await bench.subscribe("queued")
    assert (await bench.ask("gate.cancel(value)", request_id))["outcome"] == "cancelled"
    await bench.over()
    error = bench.told.error
    assert (error["code"], error["result"]["status"]) == ("job_cancelled", "cancelled")
    assert await bench.shown() == "The job was cancelled."
    assert bench.told.states[-1] == "cancelled"


async def test_an_aborted_page_leaves_and_the_job_goes_on(bench: Bench) -> None:
    request_id = await bench.subscribe()
    assert bench.world.gateway.following.watch.watchers == 1
    await bench.page.evaluate("controller.abort()")
    await until(lambda: bench.told.is_over and not bench.world.gateway.following.watch.watchers)
    assert (bench.told.error["name"], bench.told.error["isOurs"]) == ("AbortError", False)
    assert (await bench.world.finish(request_id))["status"] == "succeeded"
    assert bench.told.states[-1] == "in_queue"


async def test_an_error_of_the_pages_own_ends_the_watching_and_comes_out(bench: Bench) -> None:
    fails = "onUpdate(update) { if (update.state) throw new Error('of the page'); }"
    script = f"gate.subscribe(...value, {{ {fails} }})"
    answer = await bench.ask(script, [DREAMINA, bench.world.body("queued")])
    assert (answer["error"]["message"], answer["error"]["isOurs"]) == ("of the page", False)
    await until(lambda: not bench.world.gateway.following.watch.watchers)


async def test_a_job_of_the_pages_server_is_watched_with_a_token_for_it_alone(bench: Bench) -> None:
    request_id = await bench.world.submitted()
    bench.terms = {"request_id": request_id}
    await bench.run("follow", request_id)
    await bench.sees("in_queue")
    await bench.live()
    assert bench.told.states == LIFE[1:]
    assert [one["request_id"] for one in bench.told.results] == [request_id]
    other = await bench.ask("gate.status(value)", await bench.world.submitted("queued"))
    assert other["error"]["code"] == "request_not_found"


# --- the network


async def test_connections_that_drop_lose_and_double_nothing(bench: Bench) -> None:
    request_id = await bench.subscribe()
    bench.relay.drop()
    await until(lambda: bench.relay.asked(f"GET /v1/requests/{request_id}/events") == 2)
    await bench.live()
    _succeeded(bench)
    _one_job(bench)
    assert re.search(r"(?im)^last-event-id: 2\b", bench.relay.text)


async def test_a_network_that_is_gone_for_a_while_loses_and_doubles_nothing(bench: Bench) -> None:
    request_id = await bench.subscribe()
    bench.relay.cut()
    bench.begin()
    assert (await bench.world.status(request_id))["status"] == "in_progress"
    await until(lambda: bench.failures >= 3)
    await bench.relay.mend()
    await bench.sees("in_progress")
    bench.relay.cut()
    assert (await bench.world.finish(request_id))["status"] == "succeeded"
    before = bench.failures
    await until(lambda: bench.failures >= before + 3)
    assert bench.told.states == LIFE[:-1]
    await bench.relay.mend()
    await bench.over()
    _succeeded(bench)
    _one_job(bench)


async def test_a_page_that_hears_of_the_network_does_not_wait_out_its_pause(bench: Bench) -> None:
    await bench.subscribe()
    await bench.page.evaluate("window.pace = 0.001")  # a pause that no test lives to see the end of
    bench.relay.cut()
    await until(lambda: bench.failures)
    await bench.page.wait_for_function("pauses.length")
    await bench.relay.mend()
    await bench.page.evaluate("window.pace = 20, window.dispatchEvent(new Event('online'))")
    await bench.live()
    _succeeded(bench)


async def test_a_submit_whose_answer_is_lost_makes_one_job(bench: Bench) -> None:
    bench.relay.lose_answer_to(SUBMIT)
    await bench.subscribe()
    await bench.live()
    assert bench.relay.asked(SUBMIT) > 1
    _one_job(bench)
    _succeeded(bench)


async def test_a_network_that_never_comes_back_is_an_error_in_the_end(bench: Bench) -> None:
    await bench.subscribe()
    await bench.page.evaluate("window.pace = 5000")
    bench.relay.cut()
    await until(lambda: bench.told.is_over)
    error = bench.told.error
    assert (error["isOurs"], error["code"], error["retryable"]) == (True, "unreachable", True)
    assert await bench.shown() == "The gateway cannot be reached."
    assert 540_000 < await bench.page.evaluate("pauses.reduce((all, one) => all + one)") < 660_000


async def test_a_network_that_hands_streams_out_at_their_end_is_asked_by_polls(bench: Bench) -> None:
    await bench.page.evaluate(
        """() => {
          window.longest = Infinity; // its patience with a silent connection ends after two seconds
          const buffered = async (url, init) => {
            const answer = await fetch(url, init);
            return url.endsWith("/events") ? new Response(await answer.arrayBuffer(), answer) : answer;
          };
          window.gate = new client.Reelgate({ getToken, fetch: buffered, baseUrl: gateway });
        }"""
    )
    request_id = await bench.subscribe()
    tried = bench.relay.asked(f"GET /v1/requests/{request_id}/events")
    assert tried >= 2  # once more where this machine was slow to begin an answer
    await bench.live()
    _succeeded(bench)
    assert bench.relay.asked(f"GET /v1/requests/{request_id}/events") == tried
    assert bench.relay.asked(f"GET /v1/requests/{request_id}/status") > 0
