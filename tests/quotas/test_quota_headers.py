"""Limits in the headers of every answer to a submit, and the limit on everything else."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.db.engines.engine import Database
from app.generations.queue import decide
from app.quotas.limits import Scope
from tests.contract.published import problem_of
from tests.harness import SUBMIT, World
from tests.loops import skipped
from tests.quotas.accounts import (
    EXCEEDED,
    IANA,
    NO_LISTS,
    accepted,
    kid_of,
    limited,
    members,
    policies,
    quota,
    submit,
)
from tests.sandbox.harness import DREAMINA
from tests.shared import PATIENT_S

pytestmark = pytest.mark.anyio


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"catalog_dir": Path(__file__).parents[1] / "data" / "models", "reads_per_minute": 0}


@pytest.mark.parametrize("text", NO_LISTS)
def test_what_is_no_structured_list_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(AssertionError):
        members(text)


# --- the headers of every answer


async def test_every_answer_to_a_submit_tells_of_the_limits_as_they_stand_after_it(world: World) -> None:
    await limited(world, "credits-day=50", "in-flight=90")
    await limited(world, "generations-month=40", scopes=(Scope("", DREAMINA),))
    full = await world.another_key()
    await limited(world, "generations-total=0", scopes=(Scope(kid_of(full)),))
    narrow = await world.another_key(models=["some/other"])
    body, directive = world.body("canned"), world.body
    large: dict[str, Any] = {"json": {"prompt": "x" * 262_145}}
    text: dict[str, Any] = {"content": b"{}", "headers": {"Content-Type": "text/plain"}}
    cases: list[tuple[int, dict[str, Any]]] = [
        *((200, {"json": body, "headers": {"Idempotency-Key": "k"}}) for _ in range(2)),
        (422, {"json": directive(), "headers": {"Idempotency-Key": "k"}}),
        (400, {"content": b"{"}),
        (400, {"json": body, "headers": {"Idempotency-Key": " "}}),
        (403, {"json": body, "headers": world.with_key(narrow)}),
        (404, {"json": body, "url": "/v1/models/no/such-model"}),
        (413, large),
        (415, text),
        (422, {"json": directive(seed="x")}),
        (422, {"json": directive("reject=422")}),
        (429, {"json": body, "headers": world.with_key(full)}),
        (502, {"json": directive("reject=404")}),
        (503, {"json": directive("rate-limit=30")}),
        (503, {"json": directive("unauthorized")}),
        (504, {"json": directive("html,canned")}),
    ]
    for status, request in cases:
        answer = await world.client.post(**({"url": SUBMIT} | request))
        assert answer.status_code == status, answer.text
        told = policies(answer)
        for limit in (await quota(world, full if status == 429 else None))["limits"]:
            if limit["model_id"] and status == 404:
                assert limit["policy"] not in told
                continue
            has = told.pop(limit["policy"])
            assert (has["q"], has["r"]) == (limit["limit"], limit["remaining"]), (status, limit)
        assert told == {}, status


async def test_an_answer_does_not_wait_for_headers_that_cannot_be_had(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A submit is answered within ten seconds, of which finding its outcome may take nine."""
    read = Database.read
    asked = []

    async def hanging(self: Database, function: Any, *args: Any, **kwargs: Any) -> Any:
        if function is decide.account_of:
            asked.append(1)
            await asyncio.Event().wait()
        return await read(self, function, *args, **kwargs)

    monkeypatch.setattr(Database, "read", hanging)
    answer = await skipped(world.submit("reject=422"), PATIENT_S, once=lambda: asked)
    problem_of(answer, 422, "upstream_rejected")


class TestReads:
    @pytest.fixture
    def world_settings(self) -> dict[str, Any]:
        return {"reads_per_minute": 3}

    async def test_too_many_reads_of_a_key_wait_and_its_submits_do_not(self, world: World) -> None:
        request_id = await accepted(world)
        await world.client.post(f"/v1/quotes/{DREAMINA}", json=world.body())
        await world.get("/v1/models")
        await world.client.post(f"/v1/requests/{request_id}/cancel")
        for path in ("/v1/quota", "/v1/requests", f"/v1/requests/{request_id}/status"):
            answer = await world.client.get(path)
            problem = problem_of(answer, 429, EXCEEDED)
            assert (problem["type"], problem["violated-policies"]) == (IANA, ["key-reads-minute"])
            assert problem["retry_after_s"] == 20
            assert policies(answer) == {"key-reads-minute": {"q": 3, "w": 60, "r": 0, "t": 20}}
        assert "key-reads-minute" not in policies(await submit(world))
        await accepted(world, await world.another_key())
        assert (await quota(world, await world.another_key()))["limits"][-1]["remaining"] == 2
        world.clock.advance(19)
        problem_of(await world.client.get("/v1/quota"), 429, EXCEEDED)
        world.clock.advance(1)
        assert (await quota(world))["limits"][-1]["policy"] == "key-reads-minute"


async def test_a_key_that_may_not_submit_is_told_of_its_limits_as_well(world: World) -> None:
    reader = world.with_key(await world.another_key(scopes=["read"]))
    answer = await world.client.post(SUBMIT, json=world.body(), headers=reader)
    problem_of(answer, 403, "insufficient_scope")
    assert answer.headers["RateLimit"].startswith('"tenant-submits-minute";r=')
    quote = await world.client.post(f"/v1/quotes/{DREAMINA}", json=world.body(), headers=reader)
    assert "RateLimit" not in quote.headers, "it is no submit"
