"""Sessions of the console and the portal: how one begins, what it may, and that it ends."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from app.auth import admin_keys
from app.auth import keys as api_keys
from app.auth import sessions as rows
from app.auth.keys import SCOPES
from app.db.schema.tables import audit_entries, portal_links, sessions
from app.main import create_server_app
from tests.contract.published import problem_of
from tests.harness import World, until
from tests.sessions.browsing import Tab, admin_key

pytestmark = pytest.mark.anyio
READ = "/admin/v1/tenants"


def _count(table: Any) -> Callable[[Connection], int]:
    return lambda connection: connection.scalar(select(func.count()).select_from(table)) or 0


def _audited(connection: Connection) -> list[tuple[str, str, str]]:
    texts = connection.scalars(select(audit_entries.c.text).order_by(audit_entries.c.seq))
    found = [json.loads(one) for one in texts]
    return [(one["action"], one["actor"]["kind"], one["actor"]["name"]) for one in found]


async def test_an_operator_acts_as_their_admin_key_and_signs_in_and_out_in_the_audit_log(
    world: World,
) -> None:
    key, tab = await admin_key(world, "operate"), Tab(world)
    assert (await tab.call("GET", "/console/session")).json() == {"session_id": None}
    session_id = await tab.sign_in("console", key=key)
    told = (await tab.call("GET", "/console/session")).json()
    assert told["session_id"] == session_id
    assert (told["name"], told["scopes"]) == ("olga", ["read", "operate"])
    assert told["modes"] == ["test"], "there is no credential for live keys"
    assert (await tab.call("GET", READ)).status_code == 200
    made = await tab.call("POST", READ, {"name": "acme", "reason": "a ticket"}, Idempotency_Key="1")
    assert made.status_code == 201
    topped = await tab.call(
        "POST",
        "/admin/v1/ledger/top-ups",
        {"tenant": "acme", "amount": "1", "reason": "a ticket"},
        Idempotency_Key="2",
    )
    problem_of(topped, 403, "insufficient_admin_scope")
    assert (await tab.call("POST", "/console/session/end", {})).status_code == 204
    kid = told["kid"]
    assert (await world.gateway.db.read(_audited))[-3:] == [
        ("session.create", "admin_key", kid),
        ("tenant.create", "admin_key", kid),
        ("session.end", "admin_key", kid),
    ]


async def test_no_script_can_read_the_session_and_no_secret_is_stored_or_sent_again(world: World) -> None:
    key, tab = await admin_key(world), Tab(world)
    await tab.sign_in("console", key=key)
    (cookie,) = tab.set_by
    name, _, attributes = cookie.partition("=")
    assert name == "__Host-reelgate-console"
    text, *flags = attributes.split("; ")
    assert {*flags} == {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"}
    assert len(text) == 43
    shown = await tab.call("GET", "/console/session")
    assert text not in shown.text
    assert key not in shown.text
    stored = await world.gateway.db.read(lambda connection: str(connection.execute(select(sessions)).all()))
    assert text not in stored


async def test_signing_out_ends_the_session_itself_and_not_the_cookie_alone(world: World) -> None:
    tab = Tab(world)
    await tab.sign_in("console", key=await admin_key(world))
    thief = Tab(world, dict(tab.cookies))
    assert (await thief.call("GET", READ)).status_code == 200
    await tab.call("POST", "/console/session/end", {})
    assert tab.cookies == {}
    problem_of(await thief.call("GET", READ), 401, "session_ended")
    assert await world.gateway.db.read(_count(sessions)) == 0


async def test_a_sign_in_makes_a_new_session_and_ends_the_one_that_the_browser_had(world: World) -> None:
    """Fixation: whoever planted a cookie must not share the session that begins."""
    key = await admin_key(world)
    attacker = Tab(world)
    await attacker.sign_in("console", key=await admin_key(world, "read"))
    victim = Tab(world, dict(attacker.cookies))
    await victim.sign_in("console", key=key)
    assert victim.cookies != attacker.cookies
    problem_of(await attacker.call("GET", READ), 401, "session_ended")
    planted = Tab(world, {"__Host-reelgate-console": "A" * 43})
    await planted.sign_in("console", key=key)
    assert planted.cookies["__Host-reelgate-console"] != "A" * 43


@pytest.mark.parametrize("page", ["console", "portal"])
async def test_a_session_ends_when_it_is_idle_at_its_end_and_with_its_key(world: World, page: str) -> None:
    key = await admin_key(world) if page == "console" else world.key
    address = READ if page == "console" else "/v1/quota"
    idle_s, whole_s = world.gateway.settings.session_idle_s, world.gateway.settings.session_s
    idle, busy, revoked = Tab(world), Tab(world), Tab(world)
    for tab in (idle, busy):
        await tab.sign_in(page, key=key)
    for _ in range(int(whole_s // (idle_s - 60)) - 1):
        world.clock.advance(idle_s - 60)
        assert (await busy.call("GET", address)).status_code == 200
        await until(lambda: not len(world.gateway.tasks))  # the call is noted in the background
    problem_of(await idle.call("GET", address), 401, "session_ended")
    world.clock.advance(idle_s)
    problem_of(await busy.call("GET", address), 401, "session_ended")
    await revoked.sign_in(page, key=key)
    kid = key.split("_")[2]
    if page == "console":
        await world.gateway.db.write(admin_keys.revoke, kid, now_ms=world.clock.now_ms())
    else:
        await world.gateway.db.write(api_keys.revoke, kid, now_ms=world.clock.now_ms())
    problem_of(await revoked.call("GET", address), 401, "session_ended")
    world.clock.advance(whole_s)
    await world.gateway.upkeep.retention.run_once()
    assert await world.gateway.db.read(_count(sessions)) == 0


FOREIGN: dict[str, dict[str, str | None]] = {
    "a page of another site": {"Sec_Fetch_Site": "cross-site"},
    "a page of a sibling": {"Sec_Fetch_Site": "same-site"},
    "an address bar": {"Sec_Fetch_Site": "none"},
    "another origin, from a browser that says no more": {
        "Sec_Fetch_Site": None,
        "Origin": "https://evil.test",
    },
    "a sandboxed frame": {"Origin": "null"},
    "nobody that says anything": {"Sec_Fetch_Site": None, "Origin": None, "Reelgate_Page": None},
    "another port": {"Origin": "http://gateway.test:8080"},
}
OF_CHANGES: dict[str, dict[str, str | None]] = {
    "a form of ours": {"Reelgate_Page": None},
    "no origin": {"Origin": None},
}


async def test_a_call_counts_only_if_the_browser_says_that_our_own_page_makes_it(world: World) -> None:
    operator, person, nobody = Tab(world), Tab(world), Tab(world)
    await operator.sign_in("console", key=await admin_key(world))
    await person.sign_in("portal", key=await world.another_key(scopes=SCOPES))
    change = {"name": "acme", "reason": "a ticket"}
    for case, headers in (FOREIGN | OF_CHANGES).items():
        calls = [
            operator.call("POST", READ, change, Idempotency_Key="1", **headers),
            person.call("POST", "/v1/origins", {"origins": ["https://evil.test"]}, **headers),
            operator.call("POST", "/console/session/end", {}, **headers),
            nobody.call("POST", "/portal/session", {"key": world.key}, **headers),
        ]
        if case in FOREIGN:
            calls += [operator.call("GET", READ, **headers), person.call("GET", "/v1/keys", **headers)]
        for call in calls:
            answer = await call
            assert (answer.status_code, answer.json().get("code")) == (403, "foreign_page"), (
                case,
                answer.text,
            )
    assert len((await operator.call("GET", READ)).json()["tenants"]) == 1


async def test_a_key_decides_alone_where_one_is_sent(world: World) -> None:
    """A cookie beside a key neither helps the key nor is spared the questions by it."""
    tab = Tab(world)
    await tab.sign_in("console", key=await admin_key(world))
    await tab.sign_in("portal", key=world.key)
    wrong = await tab.call("GET", READ, Authorization="Bearer rg_admin_wrong")
    problem_of(wrong, 401, "invalid_admin_key")
    narrow = await world.another_key(scopes=["submit"])
    problem_of(
        await tab.call("GET", "/v1/quota", Authorization=f"Bearer {narrow}"), 403, "insufficient_scope"
    )
    assert (
        await tab.call("GET", "/v1/quota", Sec_Fetch_Site="cross-site", Authorization=f"Bearer {world.key}")
    ).status_code == 200


async def test_a_link_opens_the_portal_once_within_a_minute_as_its_key_narrowed(world: World) -> None:
    manager = await world.another_key(scopes=SCOPES)
    own = world.with_key(manager)

    async def link(**terms: Any) -> str:
        answer = await world.client.post("/v1/portal-links", json=terms, headers=own)
        assert answer.status_code == 201, answer.text
        address, _, text = answer.json()["url"].partition("#link=")
        assert address == "http://gateway.test/portal"
        assert isinstance(text, str)
        return text

    first, tab = await link(scopes=["read"]), Tab(world)
    await tab.sign_in("portal", link=first)
    told = (await tab.call("GET", "/portal/session")).json()
    assert (told["scopes"], told["kid"], told["mode"]) == (["read"], manager.split("_")[2], "test")
    assert (await tab.call("GET", "/v1/quota")).status_code == 200
    problem_of(await tab.call("GET", "/v1/usage"), 403, "insufficient_scope")
    problem_of(await Tab(world).call("POST", "/portal/session", {"link": first}), 401, "invalid_portal_link")
    late = await link()
    world.clock.advance(61)
    problem_of(await Tab(world).call("POST", "/portal/session", {"link": late}), 401, "invalid_portal_link")
    stored = await world.gateway.db.read(
        lambda connection: str(connection.execute(select(portal_links)).all())
    )
    assert late not in stored
    raced = await link()
    tabs = [Tab(world) for _ in range(5)]
    answers = await asyncio.gather(*(one.call("POST", "/portal/session", {"link": raced}) for one in tabs))
    assert sorted(one.status_code for one in answers) == [201, 401, 401, 401, 401]
    wider = await world.client.post(
        "/v1/portal-links",
        json={"scopes": ["usage:read"]},
        headers=world.with_key(await world.another_key(scopes=["account:manage"])),
    )
    problem_of(wider, 422, "invalid_account_change")


async def test_a_stream_ends_with_its_session_though_the_key_lives_on(world: World) -> None:
    tab = Tab(world)
    await tab.sign_in("portal", key=world.key)
    (session_id,) = await world.gateway.db.read(lambda one: one.scalars(select(sessions.c.session_id)).all())
    _, principal = await world.gateway.access.sessions.of_portal(tab.cookies["__Host-reelgate-portal"])
    bell, other = asyncio.Event(), asyncio.Event()
    with (
        world.gateway.access.permits.held(principal, bell) as permit,
        world.gateway.access.permits.held(replace(principal, session_id=None), other) as of_key,
    ):
        await world.gateway.db.write(rows.end, session_id)
        world.clock.advance(5)
        problem = await world.gateway.access.permits.judge(permit)
        assert problem is not None
        assert problem.fault.code == "session_ended"
        assert await world.gateway.access.permits.judge(of_key) is None


async def test_the_pages_are_not_there_unless_they_are_turned_on(world: World) -> None:
    assert (await Tab(world).call("GET", "/console")).status_code == 200
    off = world.gateway.settings.model_copy(update={"console": False, "portal": False})
    app, _ = create_server_app(off)
    paths = {getattr(route, "path", "") for route in app.router.routes}
    assert not [one for one in paths if one.startswith(("/console", "/portal"))]
