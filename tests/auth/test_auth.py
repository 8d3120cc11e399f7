"""Who may call: API keys, their end, their mode, and what a refusal says."""

from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.admin.access import tenants as tenant_use_cases
from app.admin.actor import Actor
from app.api.routes import ROUTES
from app.auth import keys
from app.db.schema.tables import generations, tenants
from app.kit.secrets import CHECK_LENGTH, checksum
from tests.contract.published import problem_of
from tests.harness import PEPPER, SUBMIT, World
from tests.sandbox.harness import DREAMINA, TOKEN, Running

pytestmark = pytest.mark.anyio

MINUTE_MS = 60_000
OPERATOR = Actor("command", "olga")


def _kid(key: str) -> str:
    return key.split("_")[2]


async def _accepted(world: World, key: str) -> bool:
    answer = await world.client.get("/v1/models", headers=world.with_key(key))
    if answer.status_code == 200:
        return True
    problem_of(answer, 401, "invalid_api_key")
    return False


def _addresses() -> list[tuple[str, str]]:
    return [
        (
            one.method,
            one.path.replace("{model_id:path}", DREAMINA)
            .replace("{request_id}", "0" * 36)
            .replace("{token_id}", "A" * 12)
            .replace("{month}", "2020-01"),
        )
        for one in ROUTES
        if one.needs_key
    ]


# --- 401 missing_api_key

MISSING: tuple[dict[str, str], ...] = (  # {} stands for a good key
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": "{}"},
    {"Authorization": "Basic {}"},
    {"Authorization": "Token {}"},
    {"Authorization": "Bearer:{}"},
    {"Authorization": "", "X-API-Key": "{}"},
    {"Authorization": "", "Cookie": "key={}"},
)


async def test_no_route_of_the_api_answers_without_a_key(world: World) -> None:
    addresses = _addresses()
    assert len(addresses) >= 8
    for method, path in addresses:
        answer = await world.client.request(method, path, headers={"Authorization": ""})
        problem_of(answer, 401, "missing_api_key")
        assert answer.headers["www-authenticate"] == 'Bearer realm="reelgate"'


async def test_a_key_counts_only_as_a_bearer_token_in_its_header(world: World) -> None:
    for forms in MISSING:
        headers = {name: form.format(world.key) for name, form in forms.items()}
        answer = await world.client.post(SUBMIT, json=world.body(), headers=headers)
        problem_of(answer, 401, "missing_api_key")
        assert world.received() == []
    for query in ("key", "api_key", "access_token", "token", "authorization"):
        answer = await world.client.get(f"/v1/models?{query}={world.key}", headers={"Authorization": ""})
        problem_of(answer, 401, "missing_api_key")


async def test_the_scheme_is_read_in_any_case(world: World) -> None:
    for text in (f"bearer {world.key}", f"BEARER {world.key}", f"Bearer   {world.key}"):
        assert (await world.client.get("/v1/models", headers={"Authorization": text})).status_code == 200


# --- 401 invalid_api_key


def _with_right_check(body: str) -> str:
    return body + checksum(body)


async def test_what_is_not_a_key_of_ours_is_refused_in_one_way(world: World) -> None:
    prefix, mode, kid, rest = world.key.split("_")
    body = world.key[:-CHECK_LENGTH]
    other = "A" if kid[0] != "A" else "B"
    wrong = {
        "a mistyped check": world.key[:-1] + ("A" if world.key[-1] != "A" else "B"),
        "a mistyped secret": world.key.replace(rest[:4], rest[:3] + ("A" if rest[3] != "A" else "B")),
        "an unknown kid": _with_right_check(body.replace(kid, other + kid[1:])),
        "a guessed secret": _with_right_check(f"{prefix}_{mode}_{kid}_{'A' * keys.SECRET_LENGTH}"),
        "the other mode": _with_right_check(body.replace("_test_", "_live_")),
        "another mode": _with_right_check(body.replace("_test_", "_root_")),
        "without its check": body,
        "with more": world.key + "0",
        "twice": f"{world.key} {world.key}",
        "a comma": f"{world.key},{world.key}",
        "quoted": f'"{world.key}"',
        "swapped case": world.key.swapcase(),
        "the upstream's token": TOKEN,
        "a word": "secret",
        "very long": "rg_test_" + "x" * 100_000,
        "SQL": "rg_test_' OR '1'='1",
    }
    for name, key in wrong.items():
        answer = await world.client.post(SUBMIT, json=world.body(), headers=world.with_key(key))
        assert answer.status_code == 401, name
        problem_of(answer, 401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == 'Bearer realm="reelgate", error="invalid_token"'
        assert key not in answer.text, name
        assert world.received() == []
    for raw in (b"Bearer \xff\xfe", "Bearer ключ".encode(), b"Bearer \x7f"):
        answer = await world.client.get("/v1/models", headers=[(b"Authorization", raw)])
        problem_of(answer, 401, "invalid_api_key")


async def test_an_unknown_kid_and_a_wrong_secret_sound_alike(world: World) -> None:
    prefix, mode, kid, _ = world.key.split("_")
    said = set()
    for unknown in (kid, "0" * keys.KID_LENGTH):
        key = _with_right_check(f"{prefix}_{mode}_{unknown}_{'A' * keys.SECRET_LENGTH}")
        answer = await world.client.get("/v1/models", headers=world.with_key(key))
        trace_id = answer.headers["reelgate-trace-id"]
        said.add(answer.text.replace(trace_id, ""))
    assert len(said) == 1


# --- 401: keys that end


async def test_a_revocation_acts_within_five_seconds_also_on_a_key_in_use(world: World) -> None:
    key = await world.another_key()
    assert await _accepted(world, key)
    await world.gateway.db.write(keys.revoke, _kid(key), now_ms=world.clock.now_ms())
    world.clock.advance(5)
    assert not await _accepted(world, key)
    answer = await world.client.post(SUBMIT, json=world.body(), headers=world.with_key(key))
    problem_of(answer, 401, "invalid_api_key")
    assert world.received() == []
    assert await _accepted(world, world.key)


async def test_an_expired_key_ends_within_five_seconds_of_its_time(world: World) -> None:
    key = await world.another_key(expires_at_ms=world.clock.now_ms() + MINUTE_MS)
    world.clock.advance(59.9)
    assert await _accepted(world, key)
    world.clock.advance(5)
    assert not await _accepted(world, key)
    assert not await _accepted(world, await world.another_key(expires_at_ms=world.clock.now_ms()))


async def test_a_disabled_tenants_keys_end_within_five_seconds(world: World) -> None:
    key = await world.another_key(tenant="stranger")
    assert await _accepted(world, key)
    statement = update(tenants).where(tenants.c.name == "stranger")
    now_ms = world.clock.now_ms()
    await world.gateway.db.write(lambda at: at.execute(statement.values(disabled_at_ms=now_ms)).close())
    world.clock.advance(5)
    assert not await _accepted(world, key)
    assert await _accepted(world, world.key)


@pytest.mark.parametrize("queueing", ["on", "off"])
async def test_from_the_commit_on_that_disables_a_tenant_no_job_of_it_is_made(
    world: World, queueing: str
) -> None:
    """A submit may have been authenticated a moment before, and have fetched files for seconds since."""
    key = await world.another_key(tenant="stranger")
    assert await _accepted(world, key)  # the answer is remembered for a second
    before = world.sandbox.ledger()["calls"]
    chosen = queueing == "on"
    await tenant_use_cases.set_queueing(world.gateway, OPERATOR, "stranger", queueing=chosen)
    await tenant_use_cases.disable(world.gateway, OPERATOR, "stranger")
    answer = await world.client.post(SUBMIT, json=world.body(), headers=world.with_key(key))
    assert problem_of(answer, 401, "invalid_api_key")["detail"] == "This API key is disabled."
    assert world.sandbox.ledger()["calls"] == before
    assert (
        await world.gateway.db.read(lambda at: at.scalar(select(func.count()).select_from(generations))) == 0
    )
    await tenant_use_cases.enable(world.gateway, OPERATOR, "stranger")
    answer = await world.client.post(SUBMIT, json=world.body(), headers=world.with_key(key))
    assert answer.status_code == 200


async def test_a_rotated_key_lives_for_the_overlap_beside_the_new_one(world: World) -> None:
    old = await world.another_key(scopes=["read"], models=[DREAMINA])
    _, new, ends_at_ms = await world.gateway.db.write(
        keys.rotate, _kid(old), overlap_ms=MINUTE_MS, pepper=PEPPER, now_ms=world.clock.now_ms()
    )
    assert ends_at_ms == world.clock.now_ms() + MINUTE_MS
    world.clock.advance(59.9)
    assert await _accepted(world, old)
    assert await _accepted(world, new)
    world.clock.advance(5)
    assert not await _accepted(world, old)
    assert await _accepted(world, new)
    answer = await world.client.post(SUBMIT, json=world.body(), headers=world.with_key(new))
    problem_of(answer, 403, "insufficient_scope")  # a rotation gives nothing that the old key had not


# --- 403


async def test_each_route_demands_its_scope(world: World) -> None:
    request_id = await world.submitted("queued")
    holders = {one: world.with_key(await world.another_key(scopes=[one])) for one in ("submit", "read")}
    calls = world.sandbox.ledger()["calls"]
    for method, path in _addresses():
        needed = "read" if method == "GET" else "submit"
        if path.startswith("/v1/client-tokens"):
            needed = "tokens:create"
        if path.startswith(("/v1/usage", "/v1/ledger", "/v1/statements")):
            needed = "usage:read"
        if path.startswith(("/v1/keys", "/v1/origins", "/v1/portal-links")):
            needed = "account:manage"
        if path.startswith("/v1/webhooks"):
            needed = f"webhooks:{'read' if method == 'GET' else 'write'}"
        lacking = holders["submit" if method == "GET" else "read"]
        answer = await world.client.request(
            method, path.replace("0" * 36, request_id), headers=lacking, json=None if method == "GET" else {}
        )
        assert f"`{needed}`" in problem_of(answer, 403, "insufficient_scope")["detail"]
    assert world.sandbox.ledger()["calls"] == calls


# --- modes


class TestModes:
    @pytest.fixture
    def world_settings(self, live_sandbox: Running) -> dict[str, Any]:
        return {"upstream_base_url": live_sandbox.options.public_url, "upstream_token": TOKEN}

    async def test_each_mode_reaches_its_own_upstream_and_no_other(
        self, world: World, live_sandbox: Running
    ) -> None:
        live = world.with_key(await world.another_key(mode="live"))
        for headers, used, spared in (
            (world.with_key(world.key), world.sandbox, live_sandbox),
            (live, live_sandbox, world.sandbox),
        ):
            before = spared.ledger()["calls"]
            answer = await world.client.post(SUBMIT, json=world.body("queued"), headers=headers)
            assert answer.status_code == 200, answer.text
            path = f"/v1/requests/{answer.json()['request_id']}"
            for method, route in (("GET", "/status"), ("GET", "/result"), ("GET", ""), ("POST", "/cancel")):
                world.clock.advance(2)
                assert (await world.client.request(method, path + route, headers=headers)).is_success
            assert (await world.client.get(path, headers=headers)).json()["state"] == "cancelled"
            assert spared.ledger()["calls"] == before
            assert used.last_submission()["input"]["prompt"].find(world.marks[-1]) > 0

    async def test_a_test_key_never_causes_a_call_to_the_real_upstream(
        self, world: World, live_sandbox: Running
    ) -> None:
        """Not for a live job of the same tenant either: it cannot cancel what was paid for."""
        live = world.with_key(await world.another_key(mode="live"))
        answer = await world.client.post(SUBMIT, json=world.body("queued"), headers=live)
        path = f"/v1/requests/{answer.json()['request_id']}"
        before = live_sandbox.ledger()["calls"]
        for method, route in (("GET", "/status"), ("GET", "/result"), ("GET", ""), ("POST", "/cancel")):
            world.clock.advance(2)
            await world.client.request(method, path + route)
        assert live_sandbox.ledger()["calls"] == before
