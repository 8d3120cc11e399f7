"""What the playground page is given: tokens for this gateway's own page alone, samples, strict policies."""

from typing import Any

import pytest
from sqlalchemy import Connection, text

from app.auth import keys
from app.main import create_app
from tests.client_tokens.pages import Page
from tests.contract.published import OURS, problem_of
from tests.harness import World, settings_for
from tests.sandbox.harness import Running

pytestmark = pytest.mark.anyio
KID = "A" * 12
SESSION, OTHER_SESSION = "0123456789abcdef" * 2, "f" * 32


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"playground_kid": KID}


async def _its_key(world: World, mode: Any = "test", **more: Any) -> None:
    """A key with the kid that the settings name."""
    key = await world.another_key(mode=mode, **more)

    def rename(connection: Connection) -> None:
        connection.execute(
            text("UPDATE api_keys SET kid = :new WHERE kid = :old"), {"new": KID, "old": key.split("_")[2]}
        )

    await world.gateway.db.write(rename)


async def _asked(world: World, session: str = SESSION, **headers: str) -> Any:
    sent = {"Authorization": "", "Origin": OURS} | headers
    return await world.client.post("/playground/token", json={"session": session}, headers=sent)


async def _page(world: World, session: str = SESSION) -> Page:
    answer = await _asked(world, session)
    assert answer.status_code == 201, answer.text
    document = answer.json()
    return Page(world, document["token"], document["token_id"], document)


async def test_each_session_sees_its_own_jobs_with_token_after_token(world: World) -> None:
    await _its_key(world)
    first, renewed, other = await _page(world), await _page(world), await _page(world, OTHER_SESSION)
    assert first.record["kid"] == KID
    assert (first.record["max_generations"], first.record["origins"]) == (20, [OURS])
    request_id = await first.submitted()
    assert await renewed.listed() == [request_id]
    assert await other.listed() == []
    assert (await renewed.get("/v1/quota", Origin=OURS)).status_code == 200
    problem_of(await renewed.get("/v1/quota", Origin="https://elsewhere.example"), 403, "origin_not_allowed")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://gateway.test:80"},
        # A name that somebody gave to this address, so that his page is of one origin with it.
        {"Origin": "http://rebound.example", "Host": "rebound.example"},
        {"Origin": "http://localhost:8700", "Host": "localhost:8700"},  # the gateway is known by its name
    ],
)
async def test_no_other_page_gets_one(world: World, headers: dict[str, str]) -> None:
    await _its_key(world)
    problem_of(await _asked(world, **headers), 403, "origin_not_allowed")


async def test_nor_does_whoever_is_no_page(world: World) -> None:
    await _its_key(world)
    answer = await world.client.post("/playground/token", json={"session": SESSION})
    problem_of(answer, 403, "origin_not_allowed")


@pytest.mark.parametrize("session", ["", "x" * 32, "F" * 32, "0" * 31, "0" * 33, "0" * 32 + "\n"])
async def test_a_session_is_thirty_two_hexadecimal_digits(world: World, session: str) -> None:
    await _its_key(world)
    problem_of(await _asked(world, session), 422, "invalid_token_terms")


async def test_without_a_valid_key_there_is_no_token(world: World) -> None:
    problem_of(await _asked(world), 404, "route_not_found")
    await _its_key(world)
    assert (await _asked(world)).status_code == 201
    await world.gateway.db.write(keys.revoke, KID, now_ms=world.clock.now_ms())
    problem_of(await _asked(world), 404, "route_not_found")
    problem_of(await world.client.get("/playground/samples"), 404, "route_not_found")


@pytest.mark.parametrize("world_settings", [{"playground_kid": KID, "tokens_per_minute": 1}])
async def test_a_page_that_is_refused_a_token_is_told_no_limit_of_the_key(world: World) -> None:
    await _its_key(world)
    assert (await _asked(world)).status_code == 201
    answer = await _asked(world)
    problem = problem_of(answer, 429, "quota_exceeded")
    assert problem["limits"] == []
    assert not {name for name in answer.headers if name.startswith("ratelimit")}
    assert answer.headers["retry-after"] == "60"


async def test_samples_are_the_sandboxes_for_a_test_key_alone(world: World) -> None:
    await _its_key(world)
    listed = (await world.get("/playground/samples"))["samples"]
    assert {one["name"] for one in listed} >= {"harbour.jpg"}
    assert {one["url"].rpartition("/")[0] for one in listed} == {
        f"{world.sandbox.options.public_url}/samples"
    }
    object.__setattr__(world.gateway.settings, "sandbox_url", "http://127.0.0.1:1")
    assert (await world.get("/playground/samples")) == {"samples": []}, "a sandbox that is away"


async def test_a_live_keys_page_has_no_samples(world: World) -> None:
    await _its_key(world, "live")
    assert (await world.get("/playground/samples")) == {"samples": []}


async def test_the_pages_policy_is_strict(world: World) -> None:
    for path in ("/playground", "/docs"):
        answer = await world.client.get(path)
        assert answer.status_code == 200
        policy = dict(
            one.strip().split(" ", 1) for one in answer.headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == "'self'"
        # The playground saves videos, which lie on other hosts.
        videos = f" https: {world.sandbox.options.public_url}" if path == "/playground" else ""
        assert policy["connect-src"] == f"'self'{videos}"
        assert policy["frame-ancestors"] == "'none'"
        assert answer.headers["x-content-type-options"] == "nosniff"
    answer = await world.client.get("/playground")
    policy_text = answer.headers["content-security-policy"]
    assert "unsafe" not in policy_text
    assert "require-trusted-types-for 'script'" in policy_text
    assert "style-src 'self';" in policy_text
    for word in ("<style", "style=", "javascript:", "onclick", "http:", "https:"):
        assert word not in answer.text, word


async def test_the_client_module_is_open_to_every_page(world: World) -> None:
    for path, kind in (("/client.js", "text/javascript"), ("/client.d.ts", "text/plain")):
        answer = await world.client.get(path, headers={"Origin": "https://nobody.example"})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert "access-control-allow-credentials" not in answer.headers
        tag = answer.headers["etag"]
        again = await world.client.get(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        plain = await world.client.get(path)
        assert "access-control-allow-origin" not in plain.headers
    assert (await world.client.get("/livez")).headers["cross-origin-resource-policy"] == "same-origin"


def test_there_is_none_unless_it_is_set(sandbox: Running, tmp_path: Any) -> None:
    app = create_app(settings_for("sqlite:///x.db", tmp_path, sandbox.options.public_url))
    assert not [one for one in app.router.routes if "/playground" in getattr(one, "path", "")]
