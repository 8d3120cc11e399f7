"""A person's session reaches nothing of another tenant's by any operation, is of no use to a foreign page,
and opens nothing once its owner has signed out.

The operations are read from the table of routes, so that a new one is swept as well, or fails here.
"""

from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
from sqlalchemy import Connection, select

from app.api.routes import ROUTES, Route
from app.auth.keys import SCOPES
from app.db.schema.tables import generations
from app.kit.ids import new_id
from tests.contract.published import problem_of
from tests.files.test_uploads import uploaded
from tests.harness import SUBMIT, World
from tests.mirror.rows import add_asset
from tests.sandbox.harness import DREAMINA
from tests.sessions.browsing import Tab

pytestmark = pytest.mark.anyio

BODIES: Mapping[str, Any] = {
    "narrow_key": {"name": "narrower"},
    "replay_webhooks": {"since": "2020-01-01T00:00:00Z"},
    "edit_webhook_endpoint": {"url": "https://hooks.example/"},
    "create_webhook_endpoint": {"url": "https://hooks.example/"},
    "set_origins": {"origins": ["https://app.example"]},
    "create_key": {"name": "another"},
}
SWEPT = [one for one in ROUTES if one.path.startswith("/v1/") and "events" not in one.path]
"""Every operation of a key, but for streams, of which tests/following has the permits."""
_UNREADY = {"get_asset": 409}  # the copy is pending
OPEN = {
    "model_id": "the catalogue is everybody's",
    "month": "a month is no tenant's: it is looked up in one's own",
}


class _Person:
    """A person of a tenant, signed in, and one thing of every kind that is the tenant's."""

    def __init__(self, world: World, key: str) -> None:
        self.tab, self._world, self._key = Tab(world), world, key
        self.ids: dict[str, str] = {"month": "2026-10", "model_id": DREAMINA, "kid": key.split("_")[2]}

    async def arrive(self) -> None:
        await self.tab.sign_in("portal", key=self._key)
        for path, body, name in (
            (SUBMIT, self._world.body("queued"), "request_id"),
            ("/v1/client-tokens", {"end_user": "ada"}, "token_id"),
            ("/v1/webhooks/endpoints", {"url": "https://hooks.example/"}, "endpoint_id"),
            ("/v1/webhooks/endpoints/{endpoint_id}/test", {}, "delivery_id"),
            ("/v1/webhooks/endpoints/{endpoint_id}/replays", {"since": "2020-01-01T00:00:00Z"}, "replay_id"),
        ):
            answer = await self.tab.call("POST", path.format(**self.ids), body)
            assert answer.is_success, answer.text
            self.ids[name] = answer.json()[name]
        self.ids["file_id"] = await uploaded(self._world, key=self._key)
        self.ids["asset_id"] = await self._world.gateway.db.write(_asset_of, self.ids["request_id"])

    async def call(self, route: Route, ids: Mapping[str, str], **headers: str | None) -> httpx2.Response:
        body = BODIES.get(route.operation_id, {}) if route.method in {"POST", "PUT"} else None
        more = {"If_Match": "*"} if route.edits else {}
        return await self.tab.call(
            route.method, route.path.replace(":path}", "}").format(**ids), body, **(more | headers)
        )


def _asset_of(connection: Connection, request_id: str) -> str:
    tenant_id = connection.execute(
        select(generations.c.tenant_id).where(generations.c.id == request_id)
    ).scalar_one()
    return add_asset(connection, tenant_id, generation_id=request_id)


@pytest.fixture
async def mine(world: World) -> _Person:
    person = _Person(world, await world.another_key(scopes=SCOPES))
    await person.arrive()
    return person


@pytest.fixture
async def theirs(world: World) -> _Person:
    person = _Person(world, await world.another_key(tenant="stranger", scopes=SCOPES))
    await person.arrive()
    return person


async def test_a_session_finds_nothing_of_another_tenants_by_any_operation(
    mine: _Person, theirs: _Person
) -> None:
    never = {name: f"{text.partition('_')[0]}_{new_id(1)}" if "_" in text else new_id(1)
             for name, text in theirs.ids.items()}  # fmt: skip
    told = {text for name, text in theirs.ids.items() if name not in OPEN}
    swept = 0
    for route in SWEPT:
        names = {name for name in theirs.ids if f"{{{name}" in route.path}
        if not names and "{" in route.path:
            raise AssertionError(f"nothing here has an id for {route.path}")
        if names <= set(OPEN):
            answer = await mine.call(route, mine.ids)
        else:
            answer = await mine.call(route, theirs.ids)
            assert answer.status_code == 404, (route.operation_id, answer.text)
            missing = await mine.call(route, never)
            assert missing.json()["code"] == answer.json()["code"], route.operation_id
            swept += 1
        assert [one for one in told if one in answer.text.replace(str(answer.request.url.path), "")] == []
    assert swept >= 20
    assert (await theirs.tab.call("GET", f"/v1/requests/{theirs.ids['request_id']}")).status_code == 200
    for route in SWEPT:  # else the sweep would prove nothing
        if route.method == "GET":
            found = await theirs.call(route, theirs.ids)
            expected = _UNREADY.get(route.operation_id, 404 if "{month}" in route.path else 200)
            assert found.status_code == expected, (route.operation_id, found.text)


async def test_no_change_is_made_for_a_foreign_page_by_any_operation(mine: _Person) -> None:
    changes = [one for one in SWEPT if one.method != "GET"]
    assert len(changes) >= 18
    for route in changes:
        for lie in (
            {"Reelgate_Page": None},
            {"Sec_Fetch_Site": "cross-site", "Origin": "https://evil.test"},
            {"Sec_Fetch_Site": "same-site", "Origin": "http://other.gateway.test"},
        ):
            problem_of(await mine.call(route, mine.ids, **lie), 403, "foreign_page")


async def test_after_signing_out_its_cookie_opens_nothing(mine: _Person) -> None:
    had = dict(mine.tab.cookies)
    assert (await mine.tab.call("POST", "/portal/session/end", {})).status_code == 204
    assert mine.tab.cookies == {}
    mine.tab.cookies = had
    for route in SWEPT:
        problem_of(await mine.call(route, mine.ids), 401, "session_ended")
