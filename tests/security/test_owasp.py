"""The OWASP API Security Top 10 (2023): for each risk the promise that answers it, in short.

The fuller tests are named where each part begins.
"""

import asyncio
import gzip
import itertools
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2
import pytest
from starlette.routing import Mount

from app.auth import keys
from app.db.schema.tables import metadata
from app.generations.following.tracker import Tracker
from app.kit.ids import new_id
from app.media.probe import Prober
from tests.contract.published import OUTSIDE, keep_promises, plain_logs, problem_of
from tests.gallery import Gallery, Picture, open_gallery
from tests.harness import PEPPER, SUBMIT, World, until
from tests.loops import skipped
from tests.pictures import png
from tests.quotas.accounts import limited
from tests.sandbox.harness import DREAMINA, TOKEN, Running
from tests.shared import PATIENT_S
from tests.streams import begin, finish, streaming

pytestmark = pytest.mark.anyio

QUOTE = f"/v1/quotes/{DREAMINA}"
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
Place = tuple[str, str]
"""A method and a path, its parameters filled in."""


@pytest.fixture
async def world(world: World) -> AsyncIterator[World]:
    """The world, where every answer keeps the promises of the edge."""

    async def check(answer: httpx2.Response) -> None:
        if not OUTSIDE.fullmatch(answer.request.url.path):
            await answer.aread()
            keep_promises(answer)

    world.client.event_hooks = {"response": [check]}
    with plain_logs():
        yield world


async def contract(world: World) -> dict[str, Any]:
    document: dict[str, Any] = (await world.client.get("/openapi.json")).json()
    return document


async def places(world: World, request_id: str | None = None, *, keyed: bool = True) -> list[Place]:
    """Every operation of the contract, or those of a key, at an address."""
    ids = {
        "{request_id}": request_id or new_id(world.clock.now_ms()),
        "{model_id}": DREAMINA,
        "{slug}": "invalid-json",
        "{token_id}": "A" * 12,
        "{kid}": "A" * 12,
        "{month}": "2020-01",
        "{endpoint_id}": f"ep_{new_id(0)}",
        "{asset_id}": f"ast_{new_id(0)}",
        "{delivery_id}": f"dlv_{new_id(0)}",
        "{replay_id}": f"rpl_{new_id(0)}",
        "{file_id}": new_id(0),
        "{link}": "none",
    }
    found = []
    for path, operations in (await contract(world))["paths"].items():
        filled = re.sub(r"{\w+}", lambda match: ids[match[0]], path)
        found += [
            (method.upper(), filled)
            for method, one in operations.items()
            if method in METHODS and (one.get("security") or not keyed)
        ]
    assert len(found) >= 12
    return found


async def ask(world: World, place: Place, **more: Any) -> httpx2.Response:
    """The answer; one that never ends is no refusal, and fails."""
    method, path = place
    body: dict[str, Any] = {"json": {}} if method == "POST" else {}
    async with asyncio.timeout(20):
        return await world.client.request(method, path, **(body | more))


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[int, list[str]]]:
    """A port of loopback and who connected to it."""
    came: list[str] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(str(writer.get_extra_info("peername")))
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], came


# --- API1: broken object level authorization. In full in test_isolation.py.


async def test_api1_broken_object_level_authorization(world: World) -> None:
    foreign = await world.submitted("queued")
    stranger = world.with_key(await world.another_key(tenant="stranger"))
    for method, path in await places(world, foreign):
        if foreign in path:
            problem_of(await ask(world, (method, path), headers=stranger), 404, "request_not_found")
    assert (await world.status(foreign))["status"] == "in_queue"


# --- API2: broken authentication. In full in tests/auth/test_auth.py.


async def _ended(world: World) -> dict[str, str]:
    """Headers with what is a key no more, or never was."""
    revoked = await world.another_key()
    await world.gateway.db.write(keys.revoke, revoked.split("_")[2], now_ms=world.clock.now_ms())
    expired = await world.another_key(expires_at_ms=world.clock.now_ms() + 1000)
    world.clock.advance(5)
    mistyped = world.key[:-1] + ("A" if world.key[-1] != "A" else "B")
    return {"revoked": revoked, "expired": expired, "mistyped": mistyped, "upstream": TOKEN, "pepper": PEPPER}


async def test_api2_broken_authentication(world: World) -> None:
    ended = await _ended(world)
    request_id = await world.submitted("queued")
    calls = world.sandbox.ledger()["calls"]
    for method, path in await places(world, request_id):
        for scheme in ("", f"Basic {world.key}", f"Token {world.key}", world.key, "Bearer "):
            answer = await ask(world, (method, path), headers={"Authorization": scheme})
            problem_of(answer, 401, "missing_api_key")
            assert answer.headers["www-authenticate"].startswith("Bearer realm=")
        for name in ("key", "api_key", "access_token", "authorization"):
            asked = (method, f"{path}?{name}={world.key}")
            problem_of(await ask(world, asked, headers={"Authorization": ""}), 401, "missing_api_key")
        for key in ended.values():
            answer = await ask(world, (method, path), headers=world.with_key(key))
            problem_of(answer, 401, "invalid_api_key")
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
            assert key not in answer.text
    assert world.sandbox.ledger()["calls"] == calls


# --- API3: broken object property level authorization. More in tests/submit/test_submit_input.py.


def _names(document: Any) -> Iterator[str]:
    """The names of all members, but for those of the caller's own input and the job's output."""
    if isinstance(document, list):
        for item in document:
            yield from _names(item)
    elif isinstance(document, dict):
        for name, value in document.items():
            yield name
            if name not in {"input", "output"}:
                yield from _names(value)


def _internal(document: dict[str, Any]) -> set[str]:
    """The columns of our tables that the contract does not name."""
    published = set(_names(document["components"]["schemas"]))
    # A model's own price is written in these, and published.
    columns = {column.name for table in metadata.tables.values() for column in table.columns}
    return columns - published - {"amount", "microcredits", "name"}


async def test_api3_broken_object_property_level_authorization_no_internal_field(world: World) -> None:
    internal = _internal(await contract(world))
    assert internal >= {
        *("upstream_request_id", "upstream_cost_usd", "credential", "fingerprint", "evidence"),
        *("digest", "pepper_id", "tenant_id", "lease_until_ms"),
    }
    done, queued = await world.submitted("canned"), await world.submitted("queued")
    marks = world.marks[-2:]
    await world.finish(done)
    answers = []
    for request_id in (done, queued):
        found = await places(world, request_id, keyed=False)
        answers += [await ask(world, one) for one in found if not one[1].endswith("/events")]
        async with streaming(world, f"/v1/requests/{request_id}/events") as stream:
            await stream.has(2)
            answers += [
                httpx2.Response(200, json=one.data, request=httpx2.Request("GET", "http://gateway.test/"))
                for one in stream.events
            ]
    answers.append(await world.submit("html"))
    ids = {one["request_id"] for mark in marks for one in world.received(mark)}
    assert len(ids) == 2
    for answer in answers:
        is_plain = "llms" in answer.request.url.path  # text, which has no names; its words are searched below
        assert is_plain or not internal & set(_names(answer.json())), answer.request.url
        for secret in {TOKEN, PEPPER, world.key, world.tenant_id} | ids:
            assert secret not in f"{answer.headers}{answer.text}", answer.request.url


async def test_api3_broken_object_property_level_authorization_unknown_fields_are_refused(
    world: World,
) -> None:
    for name in ("tenant_id", "mode", "price_microcredits", "state", "webhook_url", "__proto__"):
        body = world.body() | {name: "live"}
        problem = problem_of(await world.client.post(SUBMIT, json=body), 422, "invalid_input")
        assert [one["pointer"] for one in problem["errors"]] == [f"#/{name}"]
        assert world.received() == []


# --- API4: unrestricted resource consumption. More in tests/submit/test_submit.py, test_submit_json.py,
# test_events.py, test_waiting.py, test_media.py, and of connections in test_protocol.py.


@pytest.mark.parametrize("world_settings", [{"max_body_bytes": 4096, "streams_per_tenant": 2}])
async def test_api4_unrestricted_resource_consumption(world: World) -> None:
    nested: Any = []
    for _ in range(40):
        nested = [nested]
    for path in (SUBMIT, QUOTE):
        problem_of(await world.client.post(path, json={"a": "x" * 4096}), 413, "body_too_large")
        problem_of(await world.client.post(path, json={"a": nested}), 400, "invalid_json")
    for path in ("/v1/requests?limit=101", "/v1/models?limit=501", "/v1/requests?limit=-1"):
        problem_of(await world.client.get(path), 400, "invalid_parameter")
    opened = [begin(world, "/v1/events") for _ in range(2)]
    await until(lambda: all(one.status for one in opened))
    problem_of(await ask(world, ("GET", "/v1/events")), 429, "too_many_streams")
    await finish(*opened)


@pytest.mark.parametrize("world_settings", [{"max_wait_s": 2}])
async def test_api4_unrestricted_resource_consumption_a_wait_is_bounded(world: World) -> None:
    request_id = await world.submitted("queued")
    async with world.clock.flowing():
        began_ms = world.clock.now_ms()
        path = f"/v1/requests/{request_id}/status"
        answer = await ask(world, ("GET", path), headers={"Prefer": "wait=999999"})
        # Others that sleep take the clock a little further.
        assert world.clock.now_ms() - began_ms < 60_000
    assert answer.headers["preference-applied"] == "wait=2"
    assert answer.json()["status"] == "in_queue"


class TestGallery:
    @pytest.fixture
    async def gallery(self) -> AsyncIterator[Gallery]:
        async with open_gallery() as opened:
            yield opened

    @pytest.fixture
    def world_settings(self, gallery: Gallery) -> dict[str, Any]:
        return {
            "http_media_hosts": gallery.host,
            "media_fetches_per_tenant": 4,
        }

    async def test_api4_unrestricted_resource_consumption_thousands_of_urls(
        self, world: World, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fetch, under_way, most = Prober._fetch, 0, 0

        async def counted(*given: Any) -> Any:  # the gallery's own count has those who gave up in it
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            try:
                return await fetch(*given)
            finally:
                under_way -= 1

        monkeypatch.setattr(Prober, "_fetch", counted)
        urls = [gallery.hang(f"{n}", Picture(png(), hangs=True)) for n in range(2000)]
        answer = await world.submit(image_urls=urls)
        assert answer.status_code == 422
        assert most == 0  # the list is refused for its length: nothing is looked at

        async def all_at_once() -> list[httpx2.Response]:
            return await asyncio.gather(*(world.submit(image_urls=[url]) for url in urls[:100]))

        # One deadline for all of them; four at a time, each to its own, would take a hundred seconds.
        async with asyncio.timeout(PATIENT_S):
            deadline_s = world.gateway.settings.media_deadline_s
            answers = await skipped(all_at_once(), deadline_s, once=lambda: under_way == 4)
        assert {answer.status_code for answer in answers} == {422}
        assert most == 4
        assert world.received() == []

    async def test_api10_unsafe_consumption_of_media_servers(self, world: World, gallery: Gallery) -> None:
        bomb = gzip.compress(b"\0" * 20_000_000)
        cases = {
            "a false length": Picture(png(), ranges=False, headers=("Content-Length: 7",)),
            "no end": Picture(png(size_bytes=50_000_000), ranges=False, length=False),
            "gzip": Picture(bomb, ranges=False, headers=("Content-Encoding: gzip",)),
            "a part of something else": Picture(png(), status=206, ranges=False),
            "a huge picture of few bytes": Picture(png(100_000, 100_000)),
            "a page": Picture(b"<html>hello from inside</html>"),
        }
        for name, picture in cases.items():
            answer = await world.submit(image_urls=[gallery.hang("a", picture)])
            assert answer.status_code == 422, name
            assert "inside" not in answer.text
            assert world.received() == []
            world.clock.advance(3600)  # what was seen is forgotten
        assert gallery.sent_bytes < 40_000_000

    async def test_api7_server_side_request_forgery_by_redirect(self, world: World, gallery: Gallery) -> None:
        async with listening() as (port, came):
            for location in (
                f"http://127.0.0.1:{port}/",
                f"http://localhost:{port}/",
                "http://169.254.169.254/latest/meta-data/",
                "https://10.0.0.1/",
                "file:///etc/passwd",
            ):
                redirect = Picture(b"", status=302, ranges=False, headers=(f"Location: {location}",))
                await _unreachable(world, gallery.hang("a", redirect))
            assert came == []


# --- API5: broken function level authorization


@pytest.mark.parametrize("world_settings", [{"metrics_token": "the-token-of-the-metrics"}])
async def test_api5_broken_function_level_authorization(world: World) -> None:
    request_id = await world.submitted("queued")
    reads, submits = [world.with_key(await world.another_key(scopes=[scope])) for scope in ("read", "submit")]
    calls = world.sandbox.ledger()["calls"]
    for method, path in await places(world, request_id):
        lacking = submits if method == "GET" else reads
        problem_of(await ask(world, (method, path), headers=lacking), 403, "insufficient_scope")
    assert world.sandbox.ledger()["calls"] == calls
    for headers in ({"Authorization": ""}, world.with_key(world.key), world.with_key(TOKEN)):
        assert (await world.client.get("/metrics", headers=headers)).status_code == 401
    operators = world.with_key("the-token-of-the-metrics")
    assert (await world.client.get("/metrics", headers=operators)).status_code == 200
    problem_of(await world.client.get("/v1/models", headers=operators), 401, "invalid_api_key")


# --- API6: unrestricted access to sensitive business flows. More in tests/quotas/test_quota_refusals.py and
# test_idempotency.py; over several replicas in test_replicas.py.


async def test_api6_unrestricted_access_to_sensitive_business_flows(world: World) -> None:
    await limited(world, "generations-total=3")
    answers = await asyncio.gather(*(world.submit("queued") for _ in range(12)))
    assert sorted(one.status_code for one in answers) == [200] * 3 + [429] * 9
    assert sum(len(world.received(mark)) for mark in world.marks) == 3


async def test_api6_unrestricted_access_to_sensitive_business_flows_one_key_one_job(world: World) -> None:
    body = world.body("queued")
    headers = {"Idempotency-Key": "once"}
    posts = (world.client.post(SUBMIT, json=body, headers=headers) for _ in range(12))
    answers = await asyncio.gather(*posts)
    assert {one.status_code for one in answers} <= {200, 409}
    assert len({one.json()["request_id"] for one in answers}) == 1
    assert len(world.received()) == 1


# --- API7: server side request forgery. More in test_egress.py and tests/media/test_media.py.

FORBIDDEN = (
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "0.0.0.0",
    "localhost",
    "LOCALHOST",
    "127.0.0.1.",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "2852039166",
    "[fd00:ec2::254]",
)


async def _unreachable(world: World, url: str) -> None:
    """Submit and quote say the same few words of it, and no more."""
    body = world.body(image_urls=[url])
    errors = problem_of(await world.client.post(SUBMIT, json=body), 422, "media_unreachable")["errors"]
    assert (await world.client.post(QUOTE, json=body)).json()["errors"] == errors
    (error,) = errors
    assert error["detail"] == (
        "could not be reached: its address must be public, and a server must answer there"
    )
    assert world.received() == []


class TestForgery:
    @pytest.fixture
    async def inner(self) -> AsyncIterator[tuple[int, list[str]]]:
        async with listening() as listener:
            yield listener

    @pytest.fixture
    def world_settings(self, inner: tuple[int, list[str]]) -> dict[str, Any]:
        """The listener's port passes by its text; the address alone is what forbids it."""
        return {"media_networks": f"10.254.254.0/30:{inner[0]}", "media_deadline_s": 2.0}

    async def test_api7_server_side_request_forgery(self, world: World, inner: tuple[int, list[str]]) -> None:
        port, came = inner
        for host in FORBIDDEN:
            await _unreachable(world, f"https://{host}:{port}/latest/meta-data/")
        for url in (
            f"http://127.0.0.1:{port}/",
            f"gopher://127.0.0.1:{port}/_INFO",
            f"https://public.example@127.0.0.1:{port}/",
            "file:///etc/passwd",
        ):
            problem_of(await world.submit(image_urls=[url]), 422, "invalid_input")
            assert world.received() == []
        assert came == []
        # It does listen.
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: came)
        writer.close()


# --- API8: security misconfiguration. More in tests/server/test_headers.py, test_cors.py and test_service.py.

TELLING = re.compile(
    r"traceback|\.py\b|line \d+, in|uvicorn|starlette|fastapi|sqlalchemy|psycopg|sqlite|hunter2|/app/"
    r"|\d+\.\d+\.\d+",
    re.IGNORECASE,
)


def _told_nothing(answer: httpx2.Response) -> None:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert not {"server", "x-powered-by", "set-cookie"} & set(answer.headers)
    assert not TELLING.search(answer.text), answer.text


async def test_api8_security_misconfiguration(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/", "/admin", "/.env", "/.git/config", "/v1", "/debug", "/redoc", "/graphql", "/v2/models"):
        answer = await world.client.get(path)
        problem_of(answer, 404, "route_not_found")
        _told_nothing(answer)
    there = await places(world, keyed=False)
    for path in {path for _, path in there}:
        for method in {"TRACE", "PUT", "DELETE", "PATCH"} - {one for one, at in there if at == path}:
            answer = await world.client.request(method, path)
            problem_of(answer, 405, "method_not_allowed")
            _told_nothing(answer)

    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the secret is hunter2")

    monkeypatch.setattr(Tracker, "find", broken)
    answer = await world.client.get(f"/v1/requests/{new_id(world.clock.now_ms())}")
    problem_of(answer, 500, "internal_error")
    _told_nothing(answer)


async def test_api8_security_misconfiguration_the_docs_page_is_self_contained(world: World) -> None:
    page = await world.client.get("/docs", headers={"Authorization": ""})
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    links = re.findall(r"""(?:src|href)=["']([^"']*)""", page.text)
    assert len(links) >= 3
    for link in links:
        assert re.match(r"docs/(files|vendor)/", link), link
        assert (await world.client.get(f"/{link}", headers={"Authorization": ""})).status_code == 200
    assert "://" not in page.text
    assert "<script>" not in page.text


# --- API9: improper inventory management. The document itself is compared in tests/contract.

UNDOCUMENTED = {
    ("GET", "/"): "the home page",
    ("HEAD", "/"): "as above",
    ("GET", "/guides/{name}"): "the project's documents",
    ("HEAD", "/guides/{name}"): "as above",
    ("GET", "/guides/shares.svg"): "a picture in them",
    ("HEAD", "/guides/shares.svg"): "as above",
    ("GET", "/openapi.json"): "the document itself",
    ("HEAD", "/openapi.json"): "as above",
    ("GET", "/metrics"): "the operator's, closed without a token of its own",
    ("GET", "/docs"): "the reference page",
    ("HEAD", "/docs"): "as above",
    ("GET", "/docs/guides"): "the list of guides, and the search in them",
    ("HEAD", "/docs/guides"): "as above",
    ("*", "/docs/files"): "the page's own files",
    ("*", "/docs/vendor"): "Swagger UI's files",
    ("GET", "/client.js"): "the module for pages",
    ("HEAD", "/client.js"): "as above",
    ("GET", "/client.d.ts"): "its types",
    ("HEAD", "/client.d.ts"): "as above",
}
"""All that is served and not in the contract, with the reason."""


def _served(routes: list[Any], prefix: str = "") -> Iterator[Place]:
    """Every leaf of the tree; a mount of something else than routes is one, with any method.

    So is what this cannot look into, such as an included router (`add_routes` makes none): it fails the test.
    """
    for route in routes:
        path = prefix + getattr(route, "path", "")
        inner = getattr(route, "routes", None) or getattr(getattr(route, "app", None), "routes", None)
        if inner and not getattr(route, "methods", None):
            yield from _served(inner, path)
        elif isinstance(route, Mount) or not getattr(route, "methods", None):
            yield "*", path
        else:
            for method in route.methods:
                yield method, path


async def test_api9_improper_inventory_management(world: World) -> None:
    document = await contract(world)
    listed = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
        if method in METHODS
    }
    served = {(method, path.replace(":path", "")) for method, path in _served(world.app.router.routes)}
    assert served - listed == set(UNDOCUMENTED)
    # A model's own path is served by those of all models.
    own = itertools.product(("GET", "POST"), world.gateway.catalog.models)
    models = {(method, f"/v1/models/{model_id}") for method, model_id in own}
    assert listed - served == models
    assert {path.split("/")[1] for _, path in listed} == {
        "a",
        "f",
        "v1",
        "livez",
        "readyz",
        "problems",
        "llms",
        "llms.txt",
    }
    assert document["info"]["version"] == world.app.version


# --- API10: unsafe consumption of APIs. More in tests/submit/test_submit_upstream.py and test_status.py.

ODD = {
    "html": (504, "outcome_unknown"),
    "malformed": (504, "outcome_unknown"),
    "long-id": (504, "outcome_unknown"),
    "unsafe-id": (504, "outcome_unknown"),
    "numeric-id": (504, "outcome_unknown"),
    "oversize": (504, "outcome_unknown"),
    "truncated": (504, "outcome_unknown"),
    "status=502": (504, "outcome_unknown"),
    "redirect": (502, "upstream_unserved"),
}
RAW = ("doctype", "<h1>", "Welcome", "elsewhere", "x" * 50, "X-Injected", "12345")


async def test_api10_unsafe_consumption_of_apis(world: World) -> None:
    for directive, (status, code) in ODD.items():
        answer = await world.submit(directive)
        problem = problem_of(answer, status, code)
        assert len(world.received()) == 1, directive  # neither followed nor sent again
        record = json.dumps(await world.record(problem["request_id"]) | {"input": None})
        for raw in RAW:
            assert raw not in f"{answer.headers}{answer.text}{record}".replace(problem["trace_id"], "")


@dataclass
class Upstream:
    """A RunComfy that answers as it is told, by the end of the path. `heads` are what it was asked."""

    port: int = 0
    answers: dict[str, bytes] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            what = head.split(" ")[1].partition("?")[0].rpartition("/")[2]
            writer.write(self.answers[what])
            await writer.drain()
        writer.close()


def _raw(status: int, body: bytes, *lines: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in (*lines, f"Content-Length: {len(body)}", "Connection: close"))
    return f"HTTP/1.1 {status} x\r\n{head}\r\n".encode() + body


ACCEPTED = b'{"request_id": "an-id-of-the-upstreams"}'
PACKED = ("Content-Type: application/json", "Content-Encoding: gzip")


class TestHostileUpstream:
    @pytest.fixture
    async def upstream(self) -> AsyncIterator[Upstream]:
        opened = Upstream()
        server = await asyncio.start_server(opened.serve, "127.0.0.1", 0)
        opened.port = server.sockets[0].getsockname()[1]
        async with server:
            yield opened

    @pytest.fixture
    def sandbox(self, sandbox: Running, upstream: Upstream) -> Running:
        url = f"http://127.0.0.1:{upstream.port}"
        return replace(sandbox, options=replace(sandbox.options, public_url=url))

    @pytest.fixture
    def world_settings(self) -> dict[str, Any]:
        return {"media_checks": "off"}

    async def test_api10_unsafe_consumption_of_apis_nothing_is_unpacked_or_followed(
        self, world: World, upstream: Upstream
    ) -> None:
        submits = SUBMIT.rpartition("/")[2]
        upstream.answers[submits] = _raw(200, gzip.compress(ACCEPTED), *PACKED)
        answer = await world.submit("")
        problem_of(answer, 504, "outcome_unknown")
        assert "an-id-of" not in answer.text
        async with listening() as (port, came):
            for status in (301, 302, 303, 307, 308):
                location = f"Location: http://127.0.0.1:{port}/v1/models/x"
                upstream.answers[submits] = _raw(status, b"", location, "Set-Cookie: a=b")
                answer = await world.submit("")
                assert answer.status_code in {502, 504}, answer.text
                assert str(port) not in f"{answer.headers}{answer.text}"
            assert came == []
        assert not [one for one in upstream.heads if "cookie" in one.lower()]
        assert all("accept-encoding: identity" in one.lower() for one in upstream.heads)

    async def test_api10_unsafe_consumption_of_apis_a_look_that_cannot_be_read_changes_nothing(
        self, world: World, upstream: Upstream
    ) -> None:
        upstream.answers[SUBMIT.rpartition("/")[2]] = _raw(200, ACCEPTED, "Content-Type: application/json")
        request_id = await world.submitted("")
        bomb = gzip.compress(b'{"status": "completed", "x": "' + b"0" * 20_000_000 + b'"}')
        page = b"<html>hello from inside</html>"
        for odd in (
            _raw(200, bomb, *PACKED),
            _raw(200, page, "Content-Type: text/html"),
            _raw(302, b"", "Location: http://127.0.0.1:1/"),
            _raw(200, b'{"status": "completed"' + b" " * 5_000_000 + b"}"),
        ):
            upstream.answers |= {"status": odd, "result": odd}
            world.clock.advance(60)
            answer = await world.client.get(f"/v1/requests/{request_id}/status")
            assert answer.json()["status"] == "in_queue"
            assert answer.headers["reelgate-stale"]
            assert "inside" not in f"{answer.headers}{answer.text}"
