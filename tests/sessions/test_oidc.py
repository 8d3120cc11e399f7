"""Signing in to the console by OpenID Connect: who gets in, as whom, and everything that is refused."""

import json
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError
from sqlalchemy import Connection, select

from app.admin.access import admin_keys as cases
from app.auth.oidc.terms import Terms
from app.config import Settings
from app.db.schema.tables import admin_keys, audit_entries, sessions
from app.gateway import _peppers_of_sessions
from app.main import create_server_app
from tests.contract.published import problem_of
from tests.harness import World
from tests.sessions.browsing import ACTOR, ORIGIN, Tab, admin_key
from tests.sessions.provider import (
    CLIENT,
    ISSUER,
    KEY,
    OTHER_KEY,
    SETTINGS,
    FakeProvider,
    by_public_key,
    signed,
    unsigned,
)

pytestmark = pytest.mark.anyio
READ = "/admin/v1/tenants"
CHANGE = {"name": "acme", "reason": "a ticket"}


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"admin_api": True, "console": True, "public_url": ORIGIN, **SETTINGS}


@pytest.fixture
def provider(world: World) -> FakeProvider:
    return FakeProvider.of(world)


def _audited(connection: Connection) -> list[dict[str, Any]]:
    texts = connection.scalars(select(audit_entries.c.text).order_by(audit_entries.c.seq))
    return [json.loads(one) for one in texts]


async def test_a_person_acts_with_the_scopes_of_their_roles_and_by_name_in_the_audit_log(
    world: World, provider: FakeProvider
) -> None:
    tab = Tab(world)
    assert (await tab.call("GET", "/console/session")).json() == {"session_id": None, "oidc": True}
    asked = await provider.begin(tab)
    assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
    assert asked["redirect_uri"] == f"{ORIGIN}/console/oidc/callback"
    assert asked["scope"] == "openid profile email"
    assert asked["code_challenge_method"] == "S256"
    answer = await provider.come_back(tab)
    assert (answer.status_code, answer.headers["location"]) == (303, "../../console")
    (form,) = provider.forms
    assert len(form["code_verifier"]) == 64
    assert asked["code_challenge"] != form["code_verifier"]
    told = (await tab.call("GET", "/console/session")).json()
    assert (told["name"], told["scopes"]) == ("olga@company.test (4711)", ["read", "operate"])
    assert (await tab.call("POST", READ, CHANGE, Idempotency_Key="1")).status_code == 201
    problem_of(await tab.call("GET", "/admin/v1/admin-keys"), 403, "insufficient_admin_scope")
    assert (await tab.call("POST", "/console/session/end", {})).status_code == 204
    problem_of(await tab.call("GET", READ), 401, "missing_admin_key")
    entries = await world.gateway.db.read(_audited)
    person = {"kind": "person", "name": "olga@company.test (4711)"}
    assert [(one["action"], one["actor"]) for one in entries[-3:]] == [
        ("session.create", person),
        ("tenant.create", person),
        ("session.end", person),
    ]
    after = entries[-3]["after"]
    assert (after["issuer"], after["subject"], after["kid"]) == (ISSUER, "4711", told["kid"])


async def test_the_cookie_of_a_sign_in_is_for_it_alone_and_the_session_is_as_strict_as_any(
    world: World, provider: FakeProvider
) -> None:
    tab = Tab(world)
    await provider.sign_in(tab)
    begun, cleared, opened = tab.set_by
    assert "__Host-reelgate-sign-in=" in begun
    assert begun.endswith("Max-Age=600; Path=/; Secure; HttpOnly; SameSite=Lax")
    assert opened.startswith("__Host-reelgate-console=")
    assert opened.endswith("; Path=/; Secure; HttpOnly; SameSite=Strict")
    assert "Max-Age=0" in cleared
    assert list(tab.cookies) == ["__Host-reelgate-console"]
    text = begun.partition("=")[2].partition(";")[0]
    rows = await world.gateway.db.read(lambda one: str(one.execute(select(sessions)).all()))
    assert text not in rows
    assert provider.asked["state"] not in rows


FORGED: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"iss": "https://evil.test"}, "iss"),
    "another client": ({"aud": "another"}, "aud"),
    "no client": ({"aud": None}, "aud"),
    "several clients, given to none": ({"aud": [CLIENT, "another"]}, "azp"),
    "several clients, given to another": ({"aud": [CLIENT, "another"], "azp": "another"}, "azp"),
    "given to another": ({"azp": "another"}, "azp"),
    "another sign-in": ({"nonce": "0" * 64}, "nonce"),
    "no nonce": ({"nonce": None}, "nonce"),
    "no end": ({"exp": None}, "exp"),
    "a text as its end": ({"exp": "tomorrow"}, "exp"),
    "nobody": ({"sub": ""}, "sub"),
}


async def test_an_id_token_is_refused_unless_it_is_the_providers_for_us_for_this_sign_in_and_of_now(
    world: World, provider: FakeProvider
) -> None:
    now_s = world.clock.now_ms() // 1000
    timed = {
        "expired": ({"exp": now_s - 61}, "exp"),
        "of the future": ({"iat": now_s + 120}, "iat"),
        "not yet": ({"nbf": now_s + 120}, "nbf"),
        "old": ({"iat": now_s - 700}, "iat"),
    }
    for case, (claims, word) in (FORGED | timed).items():
        provider.claims = claims
        tab = Tab(world)
        answer = await provider.sign_in(tab)
        assert (answer.status_code, answer.json()["code"]) == (403, "sign_in_refused"), case
        assert word in answer.json()["detail"], case
        assert "__Host-reelgate-console" not in tab.cookies
    provider.claims = {}
    signatures = {
        "no signature": unsigned,
        "the public key as a shared secret": by_public_key,
        "another key under a known id": lambda claims: signed(claims, OTHER_KEY),
        "a key that is not published": lambda claims: signed(claims, OTHER_KEY, kid="second"),
        "another text under a signature": _spliced,
        "no token": lambda _claims: "a.b",
    }
    for case, forge in signatures.items():
        provider.forge = forge
        answer = await provider.sign_in(Tab(world))
        assert (answer.status_code, answer.json()["code"]) == (403, "sign_in_refused"), (case, answer.text)
    assert await world.gateway.db.read(lambda one: one.execute(select(admin_keys)).all()) == []
    provider.forge, provider.claims = None, {"exp": now_s - 30, "aud": [CLIENT, "another"], "azp": CLIENT}
    assert (await provider.sign_in(Tab(world))).status_code == 303  # a clock may be a little wrong


def _spliced(claims: dict[str, Any]) -> str:
    head, _, signature = signed(claims).split(".")
    return f"{head}.{signed(claims | {'groups': ['platform']}).split('.')[1]}.{signature}"


async def test_a_state_is_one_browsers_for_one_use_within_ten_minutes(
    world: World, provider: FakeProvider
) -> None:
    tab, stranger = Tab(world), Tab(world)
    await provider.begin(tab)
    had = dict(tab.cookies)
    problem_of(await provider.come_back(stranger), 400, "sign_in_ended")  # login CSRF: of another browser
    problem_of(await provider.come_back(Tab(world, dict(had)), state="0" * 64), 400, "sign_in_ended")
    problem_of(await provider.come_back(Tab(world, dict(had)), state=None), 400, "sign_in_ended")
    tampered = {name: f"9{text}" for name, text in had.items()}
    problem_of(await provider.come_back(Tab(world, tampered)), 400, "sign_in_ended")
    assert (await provider.come_back(tab)).status_code == 303
    problem_of(await provider.come_back(Tab(world, dict(had))), 400, "sign_in_ended")
    failed = Tab(world)
    await provider.begin(failed)
    had = dict(failed.cookies)
    problem_of(await provider.come_back(failed, error="access_denied", code=None), 403, "sign_in_refused")
    problem_of(await provider.come_back(Tab(world, had)), 400, "sign_in_ended")
    late = Tab(world)
    await provider.begin(late)
    world.clock.advance(600)
    problem_of(await provider.come_back(late), 400, "sign_in_ended")
    await world.gateway.upkeep.retention.run_once()
    used = select(sessions.c.session_id).where(sessions.c.kid == "")
    assert await world.gateway.db.read(lambda one: one.execute(used).all()) == []


async def test_only_our_own_page_begins_and_nothing_says_where_to_go_next(
    world: World, provider: FakeProvider
) -> None:
    foreign = await Tab(world).call("POST", "/console/oidc", {}, Origin="https://evil.test")
    problem_of(foreign, 403, "foreign_page")
    bare = await Tab(world).call("POST", "/console/oidc", {}, Reelgate_Page=None)
    problem_of(bare, 403, "foreign_page")
    tab = Tab(world)
    await provider.begin(tab)
    answer = await provider.come_back(tab, next="https://evil.test", redirect_uri="https://evil.test")
    assert answer.headers["location"] == "../../console"


async def test_who_has_no_mapped_role_does_not_get_in_and_is_told_so(
    world: World, provider: FakeProvider
) -> None:
    for groups in (None, [], ["everybody"], "everybody", {"operators": True}, [["operators"]], ["Operators"]):
        provider.claims = {"groups": groups}
        problem = problem_of(await provider.sign_in(Tab(world)), 403, "no_operator_role")
        assert "olga@company.test (4711)" in problem["detail"]
    provider.claims = {"groups": "finance"}
    tab = Tab(world)
    assert (await provider.sign_in(tab)).status_code == 303
    assert (await tab.call("GET", "/console/session")).json()["scopes"] == ["read", "money"]
    provider.claims = {"groups": ["everybody"]}
    told = Tab(world)
    await provider.begin(told)
    page = await provider.come_back(told, accept="text/html")
    assert (page.status_code, page.headers["location"]) == (303, "../../console#sign-in=no_operator_role")


async def test_what_a_provider_says_of_an_error_is_told_by_its_name_alone(
    world: World, provider: FakeProvider
) -> None:
    for error, shown in (("access_denied", "`access_denied`"), ("<b>hello</b>", "an error of its own")):
        tab = Tab(world)
        await provider.begin(tab)
        answer = await provider.come_back(tab, error=error, error_description="call 555", code=None)
        problem = problem_of(answer, 403, "sign_in_refused")
        assert shown in problem["detail"]
        assert "555" not in answer.text
        assert "hello" not in answer.text
    for answer, status, code in (
        (
            httpx2.Response(400, json={"error": "invalid_grant", "error_description": "s3cret"}),
            403,
            "sign_in_refused",
        ),
        (httpx2.Response(500, text="a stack trace"), 503, "oidc_unavailable"),
        (httpx2.Response(200, json={"access_token": "alone"}), 503, "oidc_unavailable"),
        (httpx2.Response(302, headers={"Location": "http://169.254.169.254/"}), 503, "oidc_unavailable"),
        (httpx2.Response(200, content=b" " * 600_000), 503, "oidc_unavailable"),
    ):
        provider.answer = answer
        refused = await provider.sign_in(Tab(world))
        problem_of(refused, status, code)
        assert "s3cret" not in refused.text
    tab, provider.answer = Tab(world), None
    await provider.begin(tab)
    problem_of(await provider.come_back(tab, iss="https://evil.test"), 403, "sign_in_refused")


async def test_a_new_key_of_the_providers_is_fetched_once_and_what_it_publishes_is_kept_for_an_hour(
    world: World, provider: FakeProvider
) -> None:
    for _ in range(2):
        assert (await provider.sign_in(Tab(world))).status_code == 303
    assert provider.calls == ["openid-configuration", "token", "keys", "token"]
    world.clock.advance(11)
    provider.keys, provider.forge = [OTHER_KEY], lambda claims: signed(claims, OTHER_KEY, kid="second")
    provider.calls.clear()
    assert (await provider.sign_in(Tab(world))).status_code == 303
    assert provider.calls == ["token", "keys"]
    provider.forge = lambda claims: signed(claims, KEY, kid="third")
    for _ in range(3):
        problem_of(await provider.sign_in(Tab(world)), 403, "sign_in_refused")
    assert provider.calls.count("keys") == 1  # a flood of unknown ids asks no more
    world.clock.advance(3600)
    provider.calls.clear()
    await provider.sign_in(Tab(world))
    assert provider.calls[0] == "openid-configuration"


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "https://evil.test"},
        {"token_endpoint": "http://login.test/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": None},
    ],
)
async def test_a_discovery_document_is_refused_that_is_of_another_or_leads_away_from_https(
    world: World, provider: FakeProvider, wrong: dict[str, Any]
) -> None:
    provider.discovery = wrong
    problem = problem_of(await Tab(world).call("POST", "/console/oidc", {}), 503, "oidc_unavailable")
    assert problem["retryable"] is True


async def test_a_session_ends_with_the_terms_it_was_opened_under_and_no_other_does(
    world: World, provider: FakeProvider
) -> None:
    tab, by_key = Tab(world), Tab(world)
    await provider.sign_in(tab)
    await by_key.sign_in("console", key=await admin_key(world))
    opened, settings = world.gateway.access.sessions, world.gateway.settings
    present = dict(opened._peppers)
    base = {of: one for of, one in present.items() if one != provider.sign_ins.pepper}
    changes: list[dict[str, Any] | None] = [
        {"oidc_roles": ["finance=money"]},
        {"oidc_roles_claim": "roles"},
        {"oidc_client_id": "another"},
        {"oidc_issuer": "https://other.test"},
        None,
    ]
    for change in changes:
        terms = None if change is None else Terms.of(settings.model_copy(update=change))
        opened._peppers = _peppers_of_sessions(base, terms)
        problem_of(await tab.call("GET", READ), 401, "session_ended")
        assert (await by_key.call("GET", READ)).status_code == 200
    kept = Terms.of(settings.model_copy(update={"oidc_client_secret": None, "oidc_scopes": []}))
    assert kept is not None
    opened._peppers = _peppers_of_sessions(base, kept)
    assert (await tab.call("GET", READ)).status_code == 200


async def test_a_person_is_barred_by_revoking_their_record_which_no_key_opens(
    world: World, provider: FakeProvider
) -> None:
    tab = Tab(world)
    await provider.sign_in(tab)
    kid = (await tab.call("GET", "/console/session")).json()["kid"]
    root = world.with_key(await admin_key(world))
    rotated = await world.client.post(
        f"/admin/v1/admin-keys/{kid}/rotate",
        json={"overlap_ms": 0, "reason": "a ticket"},
        headers={**root, "Idempotency-Key": "1", "If-Match": "*"},
    )
    problem_of(rotated, 409, "admin_key_not_active")
    await cases.revoke(world.gateway, ACTOR, kid, reason="left the company")
    problem_of(await tab.call("GET", READ), 401, "session_ended")
    assert "barred" in problem_of(await provider.sign_in(Tab(world)), 403, "sign_in_refused")["detail"]
    provider.claims = {"sub": "another"}
    assert (await provider.sign_in(Tab(world))).status_code == 303


async def test_two_sessions_of_a_person_have_each_the_roles_of_its_own_sign_in(
    world: World, provider: FakeProvider
) -> None:
    wide, narrow = Tab(world), Tab(world)
    provider.claims = {"groups": ["platform"]}
    await provider.sign_in(wide)
    provider.claims = {"groups": ["finance"], "email": "olga@new.test"}
    await provider.sign_in(narrow)
    told = [(await one.call("GET", "/console/session")).json() for one in (wide, narrow)]
    assert told[0]["kid"] == told[1]["kid"]
    assert [one["scopes"] for one in told] == [["read", "operate", "money", "root"], ["read", "money"]]


def test_settings_that_let_nobody_or_anybody_in_are_refused(world_settings: dict[str, Any]) -> None:
    wrongs: tuple[dict[str, Any], ...] = (
        {"oidc_roles": []},
        {"oidc_roles": ["operators=everything"]},
        {"oidc_roles": ["=root"]},
        {"oidc_client_id": None},
        {"oidc_issuer": "http://login.test"},
        {"oidc_issuer": "https://login.test?x=1"},
        {"console": False},
    )
    for wrong in wrongs:
        with pytest.raises(ValidationError):
            Settings(**{**world_settings, **wrong})
    usual = Settings(**{**world_settings, "oidc_issuer": "http://127.0.0.1:9000/"})
    assert usual.oidc_issuer == "http://127.0.0.1:9000/"
    apart = Settings(**{**world_settings, "admin_port": 8702})
    assert apart.console_base_url == "http://localhost:8702"
    below = Settings(**{**world_settings, "public_url": "https://example.test/reelgate"})
    terms = Terms.of(below)
    assert terms is not None
    assert terms.redirect_uri == "https://example.test/reelgate/console/oidc/callback"
    nested = Terms.of(below.model_copy(update={"oidc_roles_claim": "realm_access.roles"}))
    assert nested is not None
    assert nested.scopes_of({"realm_access": {"roles": ["platform"]}}) == {"root"}


def test_without_a_provider_there_are_no_such_routes(world_settings: dict[str, Any]) -> None:
    off = {name: value for name, value in world_settings.items() if not name.startswith("oidc")}
    app, _ = create_server_app(Settings(**off))
    assert not [one for one in app.router.routes if "oidc" in getattr(one, "path", "")]
