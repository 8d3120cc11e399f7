"""The whole gateway over an upstream that misbehaves: the record, the caller's answer, and the charges."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.generations import store
from app.generations.store import Generation
from app.sandbox.options import SandboxOptions
from tests import chaos as wire
from tests.chaos import GOOD, GOOD_BODY, JOB, Behaviour, Chaos, answer, chaos, job, response
from tests.harness import World, open_world, settings_for
from tests.loops import skipped
from tests.pictures import data_uri, png
from tests.sandbox.harness import TOKEN, ManualClock, Running
from tests.shared import PATIENT_S

pytestmark = pytest.mark.anyio

Opener = Callable[..., AbstractAsyncContextManager[tuple[World, Chaos]]]


@asynccontextmanager
async def world_at(url: str, database_url: str, folder: Path, **settings: Any) -> AsyncIterator[World]:
    """A gateway whose test keys reach this address."""
    with httpx2.Client(trust_env=False) as client:
        place = Running(SandboxOptions(token=TOKEN, public_url=url, data_dir=folder), ManualClock(), client)
        async with open_world(settings_for(database_url, folder, url, **settings), place) as world:
            world.picture = data_uri(png())  # what stands there serves none
            yield world


@pytest.fixture
def open_over(sqlite_url: str, tmp_path: Path) -> Opener:
    """Opens a gateway over an upstream of these behaviours."""

    @asynccontextmanager
    async def over(*behaviours: Behaviour, **settings: Any) -> AsyncIterator[tuple[World, Chaos]]:
        async with (
            chaos(*behaviours) as upstream,
            world_at(upstream.url, sqlite_url, tmp_path, **settings) as world,
        ):
            yield world, upstream

    return over


async def submitted(world: World, upstream: Chaos, *, hanging: bool) -> httpx2.Response:
    """The answer to a submit; one that the upstream leaves hanging reaches its deadline without waiting."""
    if not hanging:
        return await world.submit()
    received = len(upstream.bodies)
    deadline_s = world.gateway.settings.submit_deadline_s
    return await skipped(world.submit(), deadline_s, once=lambda: len(upstream.bodies) > received)


async def only_row(world: World) -> Generation:
    (row,) = await world.gateway.db.read(store.page, world.tenant_id, mode="test", limit=10)
    return row


def told(outcome: httpx2.Response, status: int, code: str, *, retryable: bool) -> dict[str, Any]:
    problem: dict[str, Any] = outcome.json()
    assert (outcome.status_code, problem["code"]) == (status, code), outcome.text
    assert problem["retryable"] is retryable
    assert outcome.headers["content-type"] == "application/problem+json"
    assert JOB not in outcome.text
    assert TOKEN not in outcome.text
    return problem


UNKNOWN: dict[str, Behaviour] = {
    "FIN without an answer": answer(b""),
    "a reset": wire.answer_then_reset(b""),
    "a hang": wire.answer_then_hang(b""),
    "a drip": wire.drip(GOOD, 0.05),
    "a body cut short": answer(GOOD[:-1]),
    "HTML with 200": answer(response(200, b"<html>")),
    "an empty object": answer(response(200, {})),
    "a numeric id": answer(response(200, {"request_id": 1})),
    "a compression bomb": answer(wire.gzip_bomb()),
    "1 MB of headers": answer(response(200, GOOD_BODY, f"X-Filler: {'x' * 1_000_000}")),
    "garbage": answer(b"\x15\x03\x01\x00\x02\x02\x46"),
    "500": answer(response(500, {})),
    "503": answer(response(503, {})),
}


@pytest.mark.parametrize("name", UNKNOWN)
async def test_an_unknown_fate_is_a_504_a_visible_row_and_never_a_second_body(
    name: str, open_over: Opener
) -> None:
    async with open_over(UNKNOWN[name]) as (world, upstream):
        outcome = await submitted(world, upstream, hanging=name in {"a hang", "a drip"})
        problem = told(outcome, 504, "outcome_unknown", retryable=False)
        row = await only_row(world)
        assert (row.state, row.id, row.upstream_request_id) == ("unknown", problem["request_id"], None)
        assert row.evidence_text is not None
        # Nothing that the caller may do with it, and no time, sends it again.
        for what, word in (("status", "in_progress"), ("result", "in_progress")):
            world.clock.advance(3600)
            assert (await world.get(f"/v1/requests/{row.id}/{what}"))["status"] == word
        cancelled = await world.client.post(f"/v1/requests/{row.id}/cancel")
        assert cancelled.json()["outcome"] == "not_cancellable"
        await world.gateway.upkeep.rescuer.run_once()
        assert [json.loads(body)["prompt"] for body in upstream.bodies] == [row.input["prompt"]]
        assert upstream.connections == 1


REFUSED: dict[str, tuple[Behaviour, int, str, bool]] = {
    "422": (answer(response(422, {"detail": []})), 422, "upstream_rejected", False),
    "an error code with 200": (answer(response(200, {"error_code": 1})), 422, "upstream_rejected", False),
    "401": (answer(response(401, {"message": TOKEN})), 503, "upstream_credential_refused", True),
    "402": (answer(response(402, {})), 503, "upstream_credential_refused", True),
    "400004": (answer(response(400, {"error_code": 400004})), 503, "upstream_credential_refused", True),
    "404": (answer(response(404, {})), 502, "upstream_unserved", False),
    "a redirect": (answer(response(302, b"", "Location: http://10.0.0.1/")), 502, "upstream_unserved", False),
    "429": (answer(response(429, {}, "Retry-After: 7")), 503, "upstream_busy", True),
    "TLS failed": (wire.fin_on_accept, 503, "upstream_unreachable", True),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_refusal_is_told_as_what_it_is_and_ends_the_row(
    name: str, sqlite_url: str, tmp_path: Path
) -> None:
    behaviour, status, code, retryable = REFUSED[name]
    async with chaos(behaviour) as upstream:
        url = upstream.url.replace("http:", "https:") if "TLS" in name else upstream.url
        async with world_at(url, sqlite_url, tmp_path, http_media_hosts="127.0.0.1:1") as world:
            world.sandbox.options = SandboxOptions(
                token=TOKEN, public_url="http://127.0.0.1:1", data_dir=tmp_path
            )
            async with world.clock.flowing():  # through the pauses before other tries
                outcome = await world.submit()
            problem = told(outcome, status, code, retryable=retryable)
            assert ("retry-after" in outcome.headers) == retryable
            row = await only_row(world)
            assert (row.state, row.id) == ("rejected", problem["request_id"])
            assert (await world.get(f"/v1/requests/{row.id}/result"))["status"] == "failed"
            assert len(upstream.bodies) == (0 if "TLS" in name else 1)


async def test_what_provably_never_left_is_sent_again_and_runs_once(sqlite_url: str, tmp_path: Path) -> None:
    async with chaos(answer(GOOD)) as before:
        url = before.url
    async with world_at(url, sqlite_url, tmp_path, submit_deadline_s=9.0) as world:
        submit = asyncio.create_task(world.submit())
        async with asyncio.timeout(PATIENT_S):
            # The rescue loop sleeps for longer; a pause before another try is short.
            while not any(  # noqa: ASYNC110 - the clock tells nobody who sleeps
                at_ms - world.clock.now_ms() < 1000 for at_ms, _ in world.clock._sleepers
            ):
                await asyncio.sleep(0.01)
        async with chaos(answer(GOOD), port=int(url.rpartition(":")[2])) as upstream:
            world.clock.advance(0.5)
            assert (await submit).status_code == 200
            assert len(upstream.bodies) == 1
        assert (await only_row(world)).upstream_request_id == JOB


async def test_a_busy_upstream_is_asked_again_inside_the_deadline(open_over: Opener) -> None:
    busy = answer(response(429, {}, "Retry-After: 0"))
    async with open_over(busy, answer(GOOD), submit_deadline_s=9.0) as (world, upstream):
        async with world.clock.flowing():
            assert (await world.submit()).status_code == 200
        assert len(upstream.bodies) == 2
        assert len(set(upstream.bodies)) == 1


async def test_an_upstream_that_stays_busy_is_asked_a_bounded_number_of_times(open_over: Opener) -> None:
    busy = answer(response(429, {}, "Retry-After: 0"))
    async with open_over(busy, submit_deadline_s=9.0) as (world, upstream):
        async with world.clock.flowing():
            told(await world.submit(), 503, "upstream_busy", retryable=True)
        assert len(upstream.bodies) <= 3


async def test_a_caller_who_leaves_does_not_cut_the_submit(open_over: Opener) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(served: wire.Wire) -> None:
        await served.request()
        asked.set()
        await go_on.wait()
        await served.send(GOOD)

    async with open_over(slow, submit_deadline_s=9.0) as (world, upstream):
        submit = asyncio.create_task(world.submit())
        await asyncio.wait_for(asked.wait(), PATIENT_S)
        submit.cancel()
        await asyncio.gather(submit, return_exceptions=True)
        go_on.set()
        assert await world.gateway.tasks.drain(PATIENT_S) == 0
        row = await only_row(world)
        assert (row.state, row.upstream_request_id) == ("in_queue", JOB)
        assert len(upstream.bodies) == 1


async def test_a_stop_waits_for_the_submit_under_way(sqlite_url: str, tmp_path: Path) -> None:
    """Leaving the gateway lets it reach its record."""
    asked = asyncio.Event()

    async def slow(served: wire.Wire) -> None:
        await served.request()
        asked.set()
        await asyncio.sleep(0.1)
        await served.send(GOOD)

    async with chaos(slow) as upstream:
        async with world_at(upstream.url, sqlite_url, tmp_path, submit_deadline_s=9.0) as world:
            submit = asyncio.create_task(world.submit())
            await asyncio.wait_for(asked.wait(), PATIENT_S)
            submit.cancel()
        await asyncio.gather(submit, return_exceptions=True)
        async with world_at(upstream.url, sqlite_url, tmp_path) as again:
            row = await again.gateway.db.read(store.page, world.tenant_id, mode="test", limit=1)
            assert (row[0].state, row[0].upstream_request_id) == ("in_queue", JOB)
        assert len(upstream.bodies) == 1


async def test_two_jobs_with_one_upstream_id_are_not_taken_for_one(open_over: Opener) -> None:
    async with open_over(answer(GOOD)) as (world, upstream):
        first = await world.submitted()
        problem = told(await world.submit(), 504, "outcome_unknown", retryable=False)
        rows = {
            row.id: row
            for row in await world.gateway.db.read(store.page, world.tenant_id, mode="test", limit=10)
        }
        assert rows[first].upstream_request_id == JOB
        assert rows[problem["request_id"]].upstream_request_id is None
        assert rows[problem["request_id"]].state == "unknown"
        assert len(upstream.bodies) == 2


async def test_our_credential_is_in_no_record_wherever_the_upstream_repeats_it(open_over: Opener) -> None:
    """The evidence is cut at 4 KiB; a credential across the cut must not leave its first half behind."""
    for before in (0, 4096 - len(TOKEN) // 2):
        echo = answer(response(500, b"x" * before + TOKEN.encode() + b"y" * 50))
        async with open_over(echo) as (world, _):
            told(await world.submit(), 504, "outcome_unknown", retryable=False)
            row = await only_row(world)
            assert row.evidence_text is not None
            assert TOKEN[: len(TOKEN) // 2] not in row.evidence_text
        await asyncio.sleep(0)


RESULTS: dict[str, bytes] = {
    "nothing": b"",
    "HTML": response(200, b"<html>"),
    "no status": response(200, {"output": {"video": "u"}}),
    "no output": response(200, {"status": "succeeded"}),
    "an empty output": response(200, {"status": "succeeded", "output": {}}),
    "an unknown word": response(200, {"status": "warming_up"}),
    "500": response(500, {"status": "failed"}),
    "401": response(401, {}),
    "cut short": response(200, {"status": "failed", "error": "x"})[:-1],
    "over the cap": response(200, {"status": "failed", "error": "x" * 5_000_000}),
    "a bomb": wire.gzip_bomb(),
}


@pytest.mark.parametrize("name", RESULTS)
async def test_a_result_that_cannot_be_used_ends_no_job(name: str, open_over: Opener) -> None:
    """`completed` on the status route and nonsense on the other: the job goes on, and callers get 200."""
    async with open_over(job(RESULTS[name])) as (world, _):
        request_id = await world.submitted()
        for _ in range(2):
            assert (await world.status(request_id))["status"] in {"in_queue", "in_progress"}
            assert (await world.result(request_id))["status"] in {"in_queue", "in_progress"}
        assert not (await only_row(world)).terminal


ERRORS: list[tuple[str, Any]] = [
    ("7", {"code": 7, "message": "at 7"}),
    (":", {"code": 1}),
    ("a", {"a": "a", "null": None, "b": False}),
    ("e", [True, None, "e"]),
    (JOB, f"the job {JOB} failed"),
    (JOB, {"id": JOB, "code": 1}),
]


@pytest.mark.parametrize(("upstream_request_id", "error"), ERRORS)
async def test_any_failure_of_any_job_is_relayed_without_the_upstreams_id(
    upstream_request_id: str, error: Any, open_over: Opener
) -> None:
    """Also where the id is a text that JSON itself is made of."""
    failed = job(response(200, {"status": "failed", "error": error}))

    async def behave(served: wire.Wire) -> None:
        await failed(_Renaming(served.reader, served.writer, served.chaos, upstream_request_id))

    async with open_over(behave) as (world, _):
        request_id = await world.submitted()
        result = await world.result(request_id)
        assert result["status"] == "failed"
        assert (await world.status(request_id))["status"] == "completed"
        assert JOB not in json.dumps(result)
        assert type(result["error"]) is type(error)
        if isinstance(error, dict):
            assert result["error"].get("code") == error.get("code")


class _Renaming(wire.Wire):
    """Gives out another id than the usual one."""

    def __init__(self, reader: Any, writer: Any, served: Chaos, upstream_request_id: str) -> None:
        super().__init__(reader, writer, served)
        self._id = upstream_request_id

    async def send(self, raw: bytes) -> None:
        if raw == GOOD:
            raw = response(200, {**GOOD_BODY, "request_id": self._id})
        await super().send(raw)
