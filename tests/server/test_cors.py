"""Pages that call: which of them may, what their browsers are told, and that no other answer says more."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import httpx2
import pytest
from sqlalchemy import Connection, update

from app.api import cors
from app.auth import origins, tenants
from app.auth.principal import Principal
from app.db.engines import engine
from app.db.schema import tables
from app.errors import Problem
from tests.contract.published import OURS, keep_promises, problem_of
from tests.harness import SUBMIT, World, until
from tests.loops import skipped
from tests.shared import PATIENT_S
from tests.streams import streaming

pytestmark = pytest.mark.anyio

HOME = "https://app.acme.example"
SECOND = "http://localhost:5173"
OTHER = "https://app.other.example"
LOOKALIKES = (
    "https://app.acme.example.evil.example",
    "https://evilapp.acme.example",
    "https://app.acme.exampl",
    "https://x.app.acme.example",
    "https://acme.example",
    "http://app.acme.example",
    "https://app.acme.example:443",
    "https://app.acme.example:8443",
    "https://app.acme.example.",
    "https://app.acme.example/",
    "https://app.acme.example/page",
    "https://user@app.acme.example",
    "HTTPS://APP.ACME.EXAMPLE",
    "http://localhost",
    "http://localhost:51730",
    "http://gateway.test:80",
    "http://gateway.test.evil.example",
    "https://" + "a" * 10_000,
)
NOBODY = ("null", "NULL", "", "*", "https://*", "https://nobody.example", f"{HOME}, {HOME}", *LOOKALIKES)


async def _register(world: World) -> None:
    """Two origins of the world's own tenant, one of another."""
    await world.gateway.db.write(tenants.set_origins, world.tenant_id, [HOME, SECOND])
    await world.another_key(tenant="other")
    await world.gateway.db.write(_set_by_name, "other", [OTHER])
    world.clock.advance(2)  # whatever was known before is read anew


def _set_by_name(connection: Connection, name: str, listed: list[str]) -> None:
    tenants.set_origins(connection, tenants.by_name(connection, name).id, listed)


# --- the calls of the matrix

Headers = dict[str, str]
Call = Callable[[World, Headers], Awaitable[httpx2.Response]]
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
NO_KEY = {"Authorization": ""}


async def _preflight(world: World, headers: Headers, path: str = SUBMIT) -> httpx2.Response:
    return await world.client.options(path, headers=headers | PREFLIGHT | NO_KEY)


def _get(path: str, **more: str) -> Call:
    return lambda world, headers: world.client.get(path, headers=headers | more)


async def _livez(world: World) -> httpx2.Response:
    return await world.client.get("/livez", headers={"Origin": HOME})


async def _post(world: World, headers: Headers) -> httpx2.Response:
    return await world.client.post(SUBMIT, json=world.body(), headers=headers)


async def _post_nonsense(world: World, headers: Headers) -> httpx2.Response:
    return await world.client.post(SUBMIT, json=world.body() | {"prompt": 5}, headers=headers)


async def _unchanged(world: World, headers: Headers) -> httpx2.Response:
    request_id = await world.submitted("queued")
    return await world.client.get(f"/v1/requests/{request_id}", headers=headers | {"If-None-Match": "*"})


async def _stream(world: World, headers: Headers) -> httpx2.Response:
    async with streaming(world, "/v1/events", **headers) as stream:
        keep_promises(stream.answer)
        return stream.answer


KEYED: dict[str, tuple[Call, int]] = {
    "GET": (_get("/v1/models"), 200),
    "POST": (_post, 200),
    "404 with a key": (_get(f"/v1/requests/{'0' * 36}"), 404),
    "422": (_post_nonsense, 422),
    "304": (_unchanged, 304),
    "stream": (_stream, 200),
}
KEYLESS: dict[str, tuple[Call, int]] = {
    "no key": (_get("/v1/models", **NO_KEY), 401),
    "wrong key": (_get("/v1/models", Authorization="Bearer rg_test_x"), 401),
    "404": (_get("/nowhere"), 404),
    "405": (lambda world, headers: world.client.put(SUBMIT, headers=headers), 405),
    "OPTIONS that is no preflight": (
        lambda world, headers: world.client.options(SUBMIT, headers=headers),
        204,
    ),
    "livez": (_get("/livez", **NO_KEY), 200),
    "readyz": (_get("/readyz", **NO_KEY), 200),
    "problems": (_get("/problems", **NO_KEY), 200),
    "openapi": (_get("/openapi.json", **NO_KEY), 200),
    "docs": (_get("/docs", **NO_KEY), 200),
}


def _told(answer: httpx2.Response) -> dict[str, str]:
    """What a browser is told about pages, after what holds for every answer whatever."""
    assert answer.headers.get_list("vary") == ["Origin"]
    told = {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}
    assert "access-control-allow-credentials" not in told
    assert not any("*" in value or "null" in value for value in told.values())
    return told


async def _check(world: World, origin: str | None, *, keyed: bool, keyless: bool, refused: bool) -> None:
    """Every call of the matrix: whose answers the page may read, and whether it may call with the key."""
    headers = {} if origin is None else {"Origin": origin}
    for name, (call, status) in KEYED.items():
        answer = await call(world, headers)
        told = _told(answer)
        if refused:
            assert answer.status_code == 403, name
            if name != "stream":
                problem_of(answer, 403, "origin_not_allowed")
        else:
            assert answer.status_code == status, (name, answer.text)
        assert told.get("access-control-allow-origin") == (origin if keyed else None), name
        assert ("access-control-expose-headers" in told) == keyed, name
        assert len(told) == (2 if keyed else 0), name
    for name, (call, status) in KEYLESS.items():
        answer = await call(world, headers)
        told = _told(answer)
        assert answer.status_code == status, (name, answer.text)
        assert told.get("access-control-allow-origin") == (origin if keyless else None), name
        assert len(told) == (2 if keyless else 0), name


# --- who asks


async def test_without_an_origin_nothing_is_said_of_pages(world: World) -> None:
    await _register(world)
    await _check(world, None, keyed=False, keyless=False, refused=False)
    answer = await _preflight(world, {})
    assert answer.status_code == 204
    assert _told(answer) == {}


@pytest.mark.parametrize("origin", [HOME, SECOND])
async def test_a_tenants_pages_call_with_its_keys_and_read_every_answer(world: World, origin: str) -> None:
    await _register(world)
    await _check(world, origin, keyed=True, keyless=True, refused=False)
    for path in (SUBMIT, "/v1/models", "/v1/events", "/nowhere", "/livez"):
        answer = await _preflight(world, {"Origin": origin}, path)
        assert (answer.status_code, answer.content) == (204, b"")
        assert _told(answer) == {
            "access-control-allow-origin": origin,
            "access-control-allow-methods": "GET, POST, DELETE",
            "access-control-allow-headers": ", ".join(cors._ALLOWED),
            "access-control-max-age": "600",
        }


async def test_another_tenants_pages_learn_only_what_anybody_may(world: World) -> None:
    await _register(world)
    await _check(world, OTHER, keyed=True, keyless=True, refused=True)  # why, and nothing else
    assert (await _preflight(world, {"Origin": OTHER})).status_code == 204
    other = world.with_key(await world.another_key(tenant="third"))  # whose tenant has no pages at all
    for origin in (HOME, OTHER):
        answer = await world.client.get("/v1/models", headers=other | {"Origin": origin})
        problem_of(answer, 403, "origin_not_allowed")
        assert _told(answer)["access-control-allow-origin"] == origin, "a page of some tenant's"


@pytest.mark.parametrize("origin", NOBODY, ids=lambda one: one[:40] or "empty")
async def test_pages_of_nobodys_are_refused_and_told_nothing(world: World, origin: str) -> None:
    await _register(world)
    await _check(world, origin, keyed=False, keyless=False, refused=True)
    for path in (SUBMIT, "/nowhere", "/livez"):
        answer = await _preflight(world, {"Origin": origin}, path)
        problem_of(answer, 403, "origin_not_allowed")
        assert _told(answer) == {}


async def test_the_gateways_own_pages_need_no_permission(world: World) -> None:
    await _register(world)
    await _check(world, OURS, keyed=False, keyless=False, refused=False)
    # A developer's browser knows it by another name than the settings do.
    for scheme in ("http", "https"):
        headers = {"Host": "localhost:8700", "Origin": f"{scheme}://localhost:8700"}
        answer = await world.client.get("/v1/models", headers=headers)
        assert (answer.status_code, _told(answer)) == (200, {})
    answer = await world.client.get(
        "/v1/models", headers={"Host": "localhost:8700", "Origin": "http://localhost"}
    )
    problem_of(answer, 403, "origin_not_allowed")


@pytest.mark.parametrize(
    ("base_url", "host", "origin", "is_own"),
    [
        ("https://gateway.example", "internal:8700", "https://gateway.example", True),
        ("https://gateway.example:443/below", "internal:8700", "https://gateway.example", True),
        ("https://GATEWAY.example", "internal:8700", "https://gateway.example", True),
        ("https://gateway.example", "gateway.example", "http://gateway.example", False),
        ("https://gateway.example", "internal:8700", "https://internal:8700", True),
        ("https://gateway.example", "internal:8700", "http://internal:8700", False),
        ("http://127.0.0.1:8700", "localhost:8700", "http://localhost:8700", True),
        ("http://127.0.0.1:8700", "gateway.example", "https://gateway.example", True),
        ("http://127.0.0.1:8700", "gateway.example", "https://gateway.example.evil.example", False),
        ("http://127.0.0.1:8700", "127.0.0.1:8700", "null", False),
        ("http://bücher.example", "xn--bcher-kva.example", "http://xn--bcher-kva.example", False),
        ("https://bücher.example", "xn--bcher-kva.example", "https://xn--bcher-kva.example", True),
    ],
)
def test_what_the_gateways_own_pages_are(base_url: str, host: str, origin: str, is_own: bool) -> None:
    scope = {"type": "http", "headers": [(b"host", host.encode())]}
    nobody = Principal(
        tenant_id="t",
        tenant_name="name",
        kid="kid",
        root_kid="kid",
        mode="test",
        scopes=frozenset(),
        models=None,
        media_checks=None,
        origins=frozenset(),
    )
    with nullcontext() if is_own else pytest.raises(Problem, match="origin_not_allowed"):
        cors.admit(scope, origin, nobody, base_url)


@pytest.mark.parametrize(
    "raw",
    [
        [(b"Origin", HOME.encode()), (b"Origin", HOME.encode())],
        [(b"Origin", HOME.encode()), (b"Origin", OTHER.encode())],
        [(b"Origin", OURS.encode()), (b"Origin", HOME.encode())],
        [(b"Origin", "https://bücher.example".encode())],
        [(b"Origin", b"https://app.acme.example\xff")],
    ],
    ids=["twice", "two tenants'", "ours first", "UTF-8", "no text"],
)
async def test_odd_origins_are_nobodys(world: World, raw: list[tuple[bytes, bytes]]) -> None:
    await _register(world)
    key = (b"Authorization", f"Bearer {world.key}".encode())
    asks = (b"Access-Control-Request-Method", b"GET")
    for method, path, more, status in (
        ("GET", "/v1/models", key, 403),
        ("OPTIONS", "/v1/models", asks, 403),
        ("GET", "/nowhere", key, 404),
    ):
        answer = await world.client.request(method, path, headers=[*raw, more])
        assert answer.status_code == status
        assert _told(answer) == {}


async def test_a_page_that_is_refused_has_done_nothing(world: World) -> None:
    await _register(world)
    request_id = await world.submitted("queued")
    calls = world.sandbox.ledger()["calls"]
    for origin in (OTHER, "null", "https://nobody.example"):
        answer = await world.client.post(SUBMIT, json=world.body(), headers={"Origin": origin})
        problem_of(answer, 403, "origin_not_allowed")
        assert world.received() == []
        answer = await world.client.post(f"/v1/requests/{request_id}/cancel", headers={"Origin": origin})
        problem_of(answer, 403, "origin_not_allowed")
    assert world.sandbox.ledger()["calls"] == calls
    assert len((await world.get("/v1/requests"))["requests"]) == 1


class TestMetrics:
    @pytest.fixture
    def world_settings(self) -> dict[str, Any]:
        return {"metrics_token": "the-token-of-the-metrics"}

    async def test_no_page_reads_the_metrics(self, world: World) -> None:
        await _register(world)
        for headers, status in ((NO_KEY, 401), (world.with_key("the-token-of-the-metrics"), 200)):
            answer = await world.client.get("/metrics", headers=headers | {"Origin": HOME})
            assert (answer.status_code, _told(answer)) == (status, {})
        answer = await _preflight(world, {"Origin": HOME}, "/metrics")
        problem_of(answer, 403, "origin_not_allowed")
        assert _told(answer) == {}


# --- changes, and the database


async def _may(world: World) -> list[bool]:
    """Whether the page may ask, call with the key, and read what everybody is told."""
    headers = {"Origin": HOME}
    calls = (_preflight(world, headers), _get("/v1/models")(world, headers), _get("/nowhere")(world, headers))
    return ["access-control-allow-origin" in _told(await call) for call in calls]


async def test_an_origin_counts_and_ceases_to_within_a_second(world: World) -> None:
    assert await _may(world) == [False, False, False]
    await world.gateway.db.write(tenants.set_origins, world.tenant_id, [HOME])
    world.clock.advance(1)
    assert await _may(world) == [True, True, True]
    await world.gateway.db.write(tenants.set_origins, world.tenant_id, [])
    world.clock.advance(1)
    assert await _may(world) == [False, False, False]


async def test_a_disabled_tenants_origins_are_nobodys(world: World) -> None:
    await _register(world)
    assert (await _preflight(world, {"Origin": OTHER})).status_code == 204
    statement = update(tables.tenants).where(tables.tenants.c.name == "other")
    now_ms = world.clock.now_ms()
    await world.gateway.db.write(lambda at: at.execute(statement.values(disabled_at_ms=now_ms)).close())
    world.clock.advance(1)
    assert (await _preflight(world, {"Origin": OTHER})).status_code == 403
    assert _told(await world.client.get("/nowhere", headers={"Origin": OTHER})) == {}


async def test_the_origins_are_read_once_a_second_however_many_ask(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _register(world)
    reads = []

    def counted(connection: Connection) -> frozenset[str]:
        reads.append(world.clock.now_ms())
        return tenants.all_origins(connection)

    monkeypatch.setattr(origins, "all_origins", counted)
    for second in range(1, 4):
        world.clock.advance(1)
        pages = [HOME, OTHER, *NOBODY]
        await asyncio.gather(*(_preflight(world, {"Origin": one}) for one in pages))
        await asyncio.gather(*(_get("/nowhere")(world, {"Origin": one}) for one in pages))
        assert len(reads) == second


async def test_without_the_database_pages_are_told_nothing_and_nobody_asks_it_twice_a_second(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _register(world)
    asked = []

    async def away(*_: Any, **__: Any) -> None:
        asked.append(1)
        raise world.gateway.db._unavailable(OSError("the disk is gone"))

    with monkeypatch.context() as broken:
        broken.setattr(engine.Database, "read", away)
        world.clock.advance(1)
        for _ in range(3):
            answer = await _preflight(world, {"Origin": HOME})
            problem_of(answer, 503, "database_unavailable")
            assert _told(answer) == {}
            assert (await _get("/livez")(world, {"Origin": HOME})).status_code == 200
        assert len(asked) == 1
    world.clock.advance(1)
    assert await _may(world) == [True, True, True]


async def test_an_answer_waits_for_a_silent_database_only_for_a_moment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _register(world)
    silent = asyncio.Event()
    asked = []

    async def read(*_: Any, **__: Any) -> frozenset[str]:
        asked.append(1)
        await silent.wait()
        return frozenset({HOME})

    monkeypatch.setattr(engine.Database, "read", read)
    world.clock.advance(1)
    answer = await skipped(_livez(world), PATIENT_S, once=lambda: asked)
    assert (answer.status_code, _told(answer)) == (200, {})
    asking = asyncio.ensure_future(_preflight(world, {"Origin": HOME}))
    await asyncio.sleep(0)
    silent.set()
    await until(asking.done)
    assert asking.result().status_code == 204


async def test_origins_that_cannot_be_understood_do_not_break_answers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_connection: Connection) -> frozenset[str]:
        raise RuntimeError("the secret is hunter2")

    monkeypatch.setattr(origins, "all_origins", broken)
    answer = await _get("/livez")(world, {"Origin": HOME})
    assert (answer.status_code, _told(answer)) == (200, {})
    answer = await _get("/livez")(world, {"Origin": HOME})
    assert answer.status_code == 200


# --- streams


async def test_a_streams_events_reach_a_tenants_page(world: World) -> None:
    await _register(world)
    request_id = await world.submitted("canned")
    async with streaming(world, f"/v1/requests/{request_id}/events", origin=HOME) as stream:
        await stream.has(2)
        assert stream.headers["access-control-allow-origin"] == HOME
        assert stream.headers["vary"] == "Origin"
    async with streaming(world, f"/v1/requests/{request_id}/events", origin=OTHER) as stream:
        await stream.ends()
        assert (stream.status, stream.events) == (403, [])
        assert stream.headers["access-control-allow-origin"] == OTHER, "so that the page learns why"
