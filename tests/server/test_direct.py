"""Submits that go to their handler directly are answered as FastAPI answers them."""

import re
from typing import Any
from unittest.mock import patch

import httpx2
import pytest
from structlog.testing import capture_logs

from app.errors import MODEL_NOT_FOUND
from tests.harness import SUBMIT, World

pytestmark = pytest.mark.anyio
IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}")

CALLS: dict[str, dict[str, Any]] = {
    "a submit": {},
    "a repeat": {"headers": {"Idempotency-Key": "one"}},
    "waiting": {"headers": {"Prefer": "wait=0"}},
    "no object": {"content": b"[]"},
    "no JSON": {"content": b"{"},
    "another type": {"headers": {"Content-Type": "text/plain"}},
    "no key": {"headers": {"Authorization": ""}},
    "an unknown key": {"headers": {"Authorization": "Bearer rg_test_x"}},
    "a page": {"headers": {"Origin": "https://page.test"}},
    "a wrong input": {"content": b'{"prompt": 1}'},
    "a wrong deadline": {"headers": {"Reelgate-Start-Deadline": "soon"}},
    "another model": {"path": "/v1/models/nobody/has/this"},
    "a listing": {"path": "/v1/models/categories"},
    "a slash too many": {"path": f"{SUBMIT}/"},
    "no model": {"path": "/v1/models/"},
    "another method": {"path": SUBMIT, "method": "DELETE"},
}


async def outcome(world: World, call: dict[str, Any], body: dict[str, Any]) -> list[Any]:
    """What a call is answered, without ids, and what is logged of it."""
    sent: dict[str, Any] = {"content": call["content"]} if "content" in call else {"json": body}
    headers = {"Content-Type": "application/json"} | call.get("headers", {})
    with capture_logs() as lines:
        answer = await world.client.request(
            call.get("method", "POST"), call.get("path", SUBMIT), headers=headers, **sent
        )
    logged = [(one["event"], one.get("status"), one.get("code"), one.get("tenant")) for one in lines]
    told = {name: IDS.sub("", value) for name, value in answer.headers.items()}
    return [answer.status_code, told, IDS.sub("", answer.text), logged]


async def test_a_submit_is_answered_as_fastapi_answers_it(world: World) -> None:
    for name, call in CALLS.items():
        body = world.body()
        if name == "a repeat":
            await outcome(world, call, body)
        world.clock.advance(60)  # so that as many submits are left in each minute
        with patch("app.server.edge.direct", return_value=None):
            expected = await outcome(world, call, body)
        world.clock.advance(60)
        assert await outcome(world, call, body) == expected, name


async def test_a_fault_of_our_own_is_answered_and_logged_alike(world: World) -> None:
    def broken(*_: object) -> httpx2.Response:
        raise ValueError(MODEL_NOT_FOUND)

    with patch("app.api.v1.models.submit_headers_of", broken):
        ours = await outcome(world, {}, world.body())
        with patch("app.server.edge.direct", return_value=None):
            assert await outcome(world, {}, world.body()) == ours
    assert ours[0] == 500
