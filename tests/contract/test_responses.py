"""Every operation's answers, successes and problems alike, are what the published OpenAPI document says."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2
import pytest
from sqlalchemy import update

from app.admin.actor import of_command
from app.admin.backups import archive
from app.admin.webhooks import webhook_terms
from app.api.routes import ROUTES
from app.db.schema.tables import webhook_endpoints
from app.errors import WEBHOOKS_NOT_CONFIGURED, Problem
from app.files.uploads import Asked
from app.generations import store
from app.generations.following.tracker import Tracker
from app.generations.following.watch import Watch
from app.generations.store import erase
from app.quotas.account import Owner, set_limit
from app.quotas.limits import parse_limit
from app.storage.store import Post
from app.webhooks.registry import endpoints
from tests.contract.published import Contract, keep_promises, plain_logs, route_of
from tests.harness import SUBMIT, World, until
from tests.mirror.worlds import completed, copy, mirrored
from tests.pictures import png
from tests.sandbox.harness import DREAMINA

pytestmark = pytest.mark.anyio

MISSING = "01890000-0000-7000-8000-000000000000"
PATHS = {
    one.operation_id: one.path.replace("{model_id:path}", DREAMINA).replace("{slug}", "invalid-json")
    for one in ROUTES
}


class Watched:
    """A client whose every answer is held against the contract; it remembers what was answered to what."""

    def __init__(self, world: World, contract: Contract) -> None:
        self.world, self.contract = world, contract
        self.seen: set[tuple[str, int]] = set()

    async def __call__(self, method: str, path: str, **more: Any) -> httpx2.Response:
        answer = await self.world.client.request(method, path, **more)
        keep_promises(answer)
        breaches = self.contract.breaches(answer)
        assert breaches == [], f"{method} {path} answered {answer.status_code}: {answer.text}"
        route = route_of(method, answer.request.url.path)
        if route is not None:
            self.seen.add((route.operation_id, answer.status_code))
        return answer


@pytest.fixture
async def ask(world: World, contract: Contract) -> AsyncIterator[Watched]:
    with plain_logs():
        yield Watched(world, contract)


async def _read_all(ask: Watched, request_id: str) -> None:
    for path in ("", "/status", "/result", "/result?include_cost=true"):
        ask.world.clock.advance(2)
        await ask("GET", f"/v1/requests/{request_id}{path}")


async def test_every_state_of_a_job_is_answered_as_published(ask: Watched) -> None:
    world = ask.world
    for directive in ("canned", "canned,as-list", "fail", "fail-object", "fail-list", "queued"):
        answer = await ask("POST", SUBMIT, json=world.body(directive))
        request_id = answer.json()["request_id"]
        await _read_all(ask, request_id)
        if directive != "queued":
            world.sandbox.clock.now += world.sandbox.options.queue_s
            await _read_all(ask, request_id)
            await world.finish(request_id)
            await _read_all(ask, request_id)
        for _ in range(2):
            await ask("POST", f"/v1/requests/{request_id}/cancel")
        await _read_all(ask, request_id)
    for directive in ("reject=422", "html"):  # rejected, unknown
        answer = await ask("POST", SUBMIT, json=world.body(directive))
        await _read_all(ask, answer.json()["request_id"])
    for query in ("", "?limit=2", "?state=completed", "?state=lost"):
        await ask("GET", f"/v1/requests{query}")


async def test_every_operation_answers_its_success_and_its_problems_as_published(
    ask: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ask.world
    request_id = await world.submitted("queued")
    made = (await ask("POST", "/v1/client-tokens", json={})).json()
    reader = world.with_key(await world.another_key(scopes=["read"]))
    submitter = world.with_key(await world.another_key(scopes=["submit"]))
    live = world.with_key(await world.another_key(mode="live"))
    spare = (await world.another_key()).split("_")[2]
    for route in (one for one in ROUTES if one.tag not in {"webhooks", "files", "assets"}):
        path = PATHS[route.operation_id]
        own, foreign = (
            path.replace("{request_id}", one).replace("{token_id}", token_id).replace("{kid}", kid)
            for one, token_id, kid in ((request_id, made["token_id"], spare), (MISSING, "A" * 12, "A" * 12))
        )
        takes_input = route.method == "POST" and path.endswith(DREAMINA)
        body = {"json": world.body("canned") if takes_input else {}} if route.method == "POST" else {}
        if not route.streams:  # which do not end by themselves
            await ask(route.method, own, **body)
        await ask(route.method, f"{own}?nothing=1", **body)
        if route.needs_key:
            await ask(route.method, own, headers={"Authorization": ""})
            await ask(route.method, own, headers={"Authorization": "Bearer rg_test_x"})
            await ask(route.method, own, headers=submitter if route.method == "GET" else reader, **body)
        if "_id}" in path or "{kid}" in path:
            await ask(route.method, foreign, **body)
    await _submits(ask, live)
    await _client_tokens(ask)
    await _webhooks(ask, monkeypatch)
    await _files(ask, monkeypatch)
    await _assets(ask, monkeypatch, reader, submitter)
    await _account(ask)
    for path in (
        "/v1/models?limit=0",
        "/v1/client-tokens?limit=0",
        "/v1/requests?limit=0",
        "/v1/requests?cursor=x",
    ):
        await ask("GET", path)
    await ask("GET", f"/v1/requests/{request_id}/result?include_cost=maybe")
    await ask("GET", f"/v1/models/{DREAMINA}x")
    await ask("GET", "/problems/nothing")
    await ask("GET", f"/llms/{DREAMINA}x")
    for directive in ("queued,cancel-500", "queued,cancel-hang"):
        asking = ask("POST", f"/v1/requests/{await world.submitted(directive)}/cancel")
        await (world.hung(asking) if "hang" in directive else asking)
    await _quotas(ask, request_id)
    await _statements(ask)
    await _streams(ask, request_id, monkeypatch)
    await _archived(ask, tmp_path)
    world.app.state.draining = True
    await ask("GET", "/readyz")
    await _broken(ask, request_id, monkeypatch)

    published = {
        (route.operation_id, int(status))
        for route in ROUTES
        for status in ask.contract.operation(route)["responses"]
    }
    # Whatever is published was met, but for a database that is away, and an own fault, at each operation.
    assert {one for one in published - ask.seen if one[1] not in {500, 503}} == set()
    assert {500, 502, 503, 504} <= {status for _, status in ask.seen}


async def _files(ask: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of their routes, whole and in part, with what it takes and with what it does not."""
    world = ask.world
    made = (await ask("POST", "/v1/files", content=png())).json()
    await ask("POST", "/v1/files", content=png())
    path = f"/v1/files/{made['file_id']}"
    link = (await ask("POST", f"{path}/links")).json()["url"].removeprefix("http://gateway.test")
    for place in (path, f"{path}/facts", link):
        for headers in ({}, {"Range": "bytes=0-1"}, {"Range": "bytes=9999-"}, {"If-None-Match": "*"}):
            await ask("GET", place, headers=headers)
    await _direct_uploads(ask)
    for body, more in (
        ({"content": b"<html>"}, {}),
        ({"content": b"x"}, {"Content-Length": "9999999999"}),
        ({"content": b"x"}, {"Content-Type": "multipart/form-data"}),
        ({"content": b"x"}, {"Content-Encoding": "gzip"}),
    ):
        await ask("POST", "/v1/files", headers=more, **body)
    await ask("POST", "/v1/files?model_id=no/model", content=png())
    narrow = world.with_key(await world.another_key(models=["no/model"]))
    await ask("POST", f"/v1/files?model_id={DREAMINA}", content=png(), headers=narrow)
    await ask("POST", f"/v1/direct-uploads?size_bytes=5&model_id={DREAMINA}", headers=narrow)
    for text, picture in (("stored-bytes=1", png(1, 1)), ("stored-bytes=none", png(2, 2))):
        owner, now_ms = Owner(world.tenant_id, "test"), world.clock.now_ms()
        await world.gateway.db.write(set_limit, owner, parse_limit(text), now_ms=now_ms)
        await ask("POST", "/v1/files", content=picture)
        with bucket(world):
            await ask("POST", "/v1/direct-uploads?size_bytes=5")
    await _absent_files(ask)
    with monkeypatch.context() as patch:
        patch.setattr(world.gateway.storage.store, "link", lambda *_, **__: "https://bucket.example/x")
        for place in (path, link):
            await ask("GET", place)
    world.clock.advance(3_600)
    await ask("GET", link)
    await ask("DELETE", path)


async def _direct_uploads(ask: Watched) -> None:
    """What becomes of one that has not arrived, of those that are refused, and of one that is kept."""
    world = ask.world
    with bucket(world):
        begun = (await ask("POST", "/v1/direct-uploads?size_bytes=5000")).json()["file_id"]
    await ask("POST", "/v1/direct-uploads?size_bytes=5")
    await ask("POST", f"/v1/files/{begun}/complete")
    for data in (b"<html>", png(9, 9)):
        awaited = await _awaited(world, data)
        for _ in range(2):
            await ask("POST", f"/v1/files/{awaited}/complete")
    for query in ("?size_bytes=5&model_id=no/model", "?size_bytes=99999999999"):
        await ask("POST", f"/v1/direct-uploads{query}")


async def _absent_files(ask: Watched) -> None:
    world = ask.world
    lacking = {scope: world.with_key(await world.another_key(scopes=[scope])) for scope in ("read", "submit")}
    for route in sorted((one for one in ROUTES if one.tag == "files"), key=lambda one: one.method):
        absent = route.path.replace("{file_id}", MISSING).replace("{link}", "x")
        await ask(route.method, absent)
        await ask(route.method, f"{absent}?nothing=1")
        if route.needs_key:
            await ask(route.method, absent, headers={"Authorization": ""})
            await ask(route.method, absent, headers=lacking["submit" if route.method == "GET" else "read"])


@contextmanager
def bucket(world: World) -> Iterator[None]:
    """Inside the block the disk gives out forms, as a bucket does."""
    form = Post("https://bucket.example/", {})
    with patch.object(world.gateway.storage.store, "post", lambda *_, **__: form):
        yield


async def _awaited(world: World, data: bytes) -> str:
    """A direct upload whose bytes have arrived."""
    store = world.gateway.storage.store
    principal = await world.gateway.access.authenticator.authenticate(world.key)
    with bucket(world):
        file, _ = await world.gateway.direct_uploads.begin(principal, Asked(), len(data))
    uploads = world.gateway.uploads
    async with uploads.storage.intake.receive(_once(data), max_bytes=len(data)) as received:
        await store.put(file.incoming_key, received, media_type="")
    return file.id


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _assets(
    ask: Watched, monkeypatch: pytest.MonkeyPatch, reader: dict[str, str], submitter: dict[str, str]
) -> None:
    """Each of their routes: before there is a copy, with one, and after it."""
    world = ask.world
    await mirrored(world)
    request_id = await completed(world)
    (made,) = (await ask("GET", f"/v1/requests/{request_id}/assets")).json()["assets"]
    path = f"/v1/assets/{made['asset_id']}"
    early = a_link(world, made["asset_id"])
    for method, place in (("GET", path), ("POST", f"{path}/links"), ("GET", early)):
        await ask(method, place)
    await copy(world)
    link = (await ask("POST", f"{path}/links")).json()["url"].removeprefix("http://gateway.test")
    for place in (path, f"{path}/facts", link):
        for headers in ({}, {"Range": "bytes=0-1"}, {"Range": "bytes=99999999-"}, {"If-None-Match": "*"}):
            await ask("GET", place, headers=headers)
    for route in (one for one in ROUTES if one.tag == "assets"):
        absent = route.path.replace("{asset_id}", f"ast_{MISSING}").replace("{link}", "x")
        absent = absent.replace("{request_id}", MISSING)
        await ask(route.method, absent)
        await ask(route.method, f"{absent}?nothing=1")
        if route.needs_key:
            lacking = submitter if route.method == "GET" else reader
            await ask(route.method, absent, headers={"Authorization": ""})
            await ask(route.method, absent, headers=lacking)
    with monkeypatch.context() as patch:
        patch.setattr(world.gateway.storage.store, "link", lambda *_, **__: "https://bucket.example/x")
        for place in (path, link):
            await ask("GET", place)
    await ask("DELETE", path)
    for method, place in (("GET", path), ("POST", f"{path}/links"), ("GET", link)):
        await ask(method, place)
    world.clock.advance(3_600)
    await ask("GET", link)
    await mirrored(world, "off")


def a_link(world: World, asset_id: str) -> str:
    """A link to an asset that may not be copied yet, as a result that is read too early could name it."""
    row_id, expires_s = asset_id.removeprefix("ast_"), world.clock.now_ms() // 1000 + 60
    links = world.gateway.file_links.links
    return f"/a/{links.sign('assets', world.tenant_id, row_id, expires_s=expires_s)}"


async def _webhooks(ask: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of their routes: with what it takes, with what it does not, and for nobody."""
    root, hook = "/v1/webhooks/endpoints", {"url": "https://hooks.example/"}
    made = (await ask("POST", root, json=hook)).json()
    path = f"{root}/{made['endpoint_id']}"
    delivery = (await ask("POST", f"{path}/test")).json()
    replay = (await ask("POST", f"{path}/replays", json={"since": "2020-01-01T00:00:00Z"})).json()
    ids = {
        name: one[name]
        for name, one in (("endpoint_id", made), ("delivery_id", delivery), ("replay_id", replay))
    }
    never = {name: one[:-12] + "0" * 12 for name, one in ids.items()}
    tag = (await ask("GET", path)).headers["etag"]
    await ask("GET", path, headers={"If-None-Match": tag})
    await ask("PUT", path, json=hook)
    await ask("PUT", path, json=hook, headers={"If-Match": '"other"'})
    await ask("POST", f"{path}/rotate", json={})
    other = ask.world.with_key(await ask.world.another_key(scopes=["submit"]))
    for route in sorted(
        (one for one in ROUTES if one.tag == "webhooks"), key=lambda one: "/delete" in one.path
    ):
        body = {"NewWebhookReplay": {"since": "2020-01-01T00:00:00Z"}, "WebhookRotation": {}}.get(
            route.body, hook
        )
        sent = {"json": body} if route.body else {}
        match = {"If-Match": "*"} if route.edits else {}
        for of, more in ((never, match), (ids, {"Authorization": ""}), (ids, other)):
            await ask(route.method, route.path.format(**of), headers=more, **sent)
        await ask(route.method, f"{route.path.format(**ids)}?nothing=1", headers=match, **sent)
        if route.body:
            address = route.path.format(**ids)
            await ask(route.method, address, headers=match, json={"what": 1})
            await ask(
                route.method,
                address,
                headers=match,
                content=b"x" * (ask.world.gateway.settings.max_body_bytes + 1),
            )
            await ask(route.method, address, headers=match | {"Content-Type": "text/plain"}, content=b"{}")
        if "/delete" not in route.path:
            await ask(route.method, route.path.format(**ids), headers=match, **sent)
    stopped = update(webhook_endpoints).values(state="disabled")
    await ask.world.gateway.db.write(lambda connection: connection.execute(stopped) and None)
    for act in ("pause", "test"):
        await ask("POST", f"{path}/{act}")
    await ask("POST", f"/v1/webhooks/deliveries/{ids['delivery_id']}/resend")
    with monkeypatch.context() as patch:
        patch.setattr(endpoints, "count", lambda *_: 1_000_000)
        await ask("POST", root, json=hook)
        patch.setattr(webhook_terms, "sealing_keys", _no_keys)
        await ask("POST", root, json=hook)
        await ask("POST", f"{path}/rotate", json={})
    await ask("POST", f"{path}/delete")


def _no_keys(_: Any) -> list[str]:
    raise Problem(WEBHOOKS_NOT_CONFIGURED, "REELGATE_WEBHOOK_KEY is not set.")


async def _statements(ask: Watched) -> None:
    """A month has closed: it is asked for on the first day of the next but one."""
    world = ask.world
    world.clock.advance(62 * 86_400)
    (*_, first) = (await ask("GET", "/v1/statements")).json()["statements"]
    for ending in ("", ".csv", ".pdf"):
        await ask("GET", f"/v1/statements/{first['month']}{ending}")


async def _archived(ask: Watched, folder: Path) -> None:
    """What answers for a request, its key and its month once it was archived."""
    world = ask.world
    body, headers = world.body("canned"), {"Idempotency-Key": "of an archived one"}
    made = (await ask("POST", SUBMIT, json=body, headers=headers)).json()["request_id"]
    await world.finish(made)
    month = datetime.fromtimestamp(world.clock.now_ms() / 1000, UTC)
    world.clock.advance(120 * 86_400)
    before = (month + timedelta(days=60)).date()
    assert await archive.archive(world.gateway, of_command(), folder, before=before) > 0
    for path in ("", "/status", "/result", "/events", "/assets"):
        await ask("GET", f"/v1/requests/{made}{path}")
    await ask("POST", f"/v1/requests/{made}/cancel")
    await ask("GET", f"/v1/requests/events?ids={made}")
    await ask("POST", SUBMIT, json=body, headers=headers)
    await ask("GET", f"/v1/statements/{month:%Y-%m}")


async def _submits(ask: Watched, live: dict[str, str]) -> None:
    world = ask.world
    for directive in ("reject=422", "reject=404", "unauthorized", "rate-limit=30", "malformed"):
        await ask("POST", SUBMIT, json=world.body(directive))
    await ask("POST", SUBMIT, json=world.body(), headers=live)
    await ask("POST", SUBMIT, json={"prompt": 1, "other": 2})
    await ask("POST", SUBMIT, content=b"{")
    await ask("POST", SUBMIT, content=b"{" + b" " * 300_000 + b"}")
    await ask("POST", SUBMIT, content=b"{}", headers={"Content-Type": "text/plain"})
    await ask("POST", f"{SUBMIT}x", json={})
    same = {"json": world.body("slow=0.5,canned"), "headers": {"Idempotency-Key": "one"}}
    await asyncio.gather(*(ask("POST", SUBMIT, **same) for _ in range(2)))  # the second is told to wait
    await ask("POST", SUBMIT, json=world.body("canned"), headers={"Idempotency-Key": "one"})
    await ask("POST", SUBMIT, json=world.body("canned"), headers={"Idempotency-Key": '"'})


async def _client_tokens(ask: Watched) -> None:
    """What minting refuses, and what a token is refused."""
    world, path = ask.world, PATHS["create_client_token"]
    await ask("POST", path, content=b"{")
    await ask("POST", path, content=b"{" + b" " * 300_000 + b"}")
    await ask("POST", path, content=b"{}", headers={"Content-Type": "text/plain"})
    await ask("POST", path, json={"lifetime_s": 1, "other": 1})
    terms = {"models": [DREAMINA], "bounds": {"seed": {"maximum": 5}}, "end_user": "u", "max_generations": 2}
    made = (await ask("POST", path, json=terms)).json()
    page = world.with_key(made["token"])
    await ask("POST", SUBMIT, json=world.body("canned"), headers=page)
    await ask("POST", SUBMIT, json=world.body("canned", seed=6), headers=page)
    for route in ROUTES:
        if not route.streams or "{request_id}" not in route.path:
            body = {"json": world.body()} if route.method == "POST" else {}
            own = PATHS[route.operation_id].replace("{request_id}", MISSING)
            await ask(route.method, own.replace("{token_id}", made["token_id"]), headers=page, **body)
    for _ in range(2):
        await ask("POST", SUBMIT, json=world.body("canned"), headers=page)
    await ask("GET", f"/v1/client-tokens/{made['token_id']}")
    await ask("GET", "/v1/client-tokens?limit=1")
    await ask("POST", f"/v1/client-tokens/{made['token_id']}/revoke")


async def _account(ask: Watched) -> None:
    """Keys, origins and links: what is refused of them, and what the sweep cannot reach by itself."""
    world = ask.world
    kid = (await world.another_key()).split("_")[2]
    for route in ROUTES:
        if route.tag != "account" or not route.body:
            continue
        path = PATHS[route.operation_id].replace("{kid}", kid)
        await ask("POST", path, content=b"{")
        await ask("POST", path, content=b"{" + b" " * 300_000 + b"}")
        await ask("POST", path, content=b"{}", headers={"Content-Type": "text/plain"})
        await ask("POST", path, json={"other": 1})
    await ask("POST", PATHS["set_origins"], json={"origins": []})
    for name in ("revoke_key", "rotate_key"):
        await ask("POST", PATHS[name].replace("{kid}", kid), json={})
    settings = world.gateway.settings
    object.__setattr__(world.gateway, "settings", settings.model_copy(update={"portal": True}))
    await ask("POST", PATHS["create_portal_link"], json={})
    object.__setattr__(world.gateway, "settings", settings)


async def _quotas(ask: Watched, request_id: str) -> None:
    """Bodies that a quote refuses, then every refusal by a limit."""
    world = ask.world
    path = PATHS["quote"]
    await ask("POST", path, content=b"{")
    await ask("POST", path, content=b"{" + b" " * 300_000 + b"}")
    await ask("POST", path, content=b"{}", headers={"Content-Type": "text/plain"})
    await ask("POST", f"{path}x", json={})
    await ask("POST", path, json={"resolution": "8K"})
    owner, limit = Owner(world.tenant_id, "test"), parse_limit("generations-total=0")
    await world.gateway.db.write(set_limit, owner, limit, now_ms=world.clock.now_ms())
    await ask("POST", path, json=world.body())
    await ask("POST", SUBMIT, json=world.body())
    world.gateway.access.reads._per_minute = 1
    await ask("GET", "/v1/quota")
    for route in ROUTES:
        if route.needs_key:
            path = PATHS[route.operation_id].replace("{request_id}", request_id)
            await ask(route.method, path.replace("{token_id}", "A" * 12).replace("{kid}", "A" * 12))
    world.gateway.access.reads._per_minute = 0


async def _streams(ask: Watched, request_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that end, streams that are refused, and what else following a request can meet."""
    world = ask.world
    limit = parse_limit("generations-total=none")
    owner = Owner(world.tenant_id, "test")
    await world.gateway.db.write(set_limit, owner, limit, now_ms=world.clock.now_ms())
    over = await world.submitted("canned")
    await world.finish(over)
    record = await ask("GET", f"/v1/requests/{over}")
    for what in ("", "/status", "/result"):
        tag = (await ask("GET", f"/v1/requests/{over}{what}")).headers["ETag"]
        await ask("GET", f"/v1/requests/{over}{what}", headers={"If-None-Match": tag})
        await ask("GET", f"/v1/requests/{over}{what}?wait=x")
    await ask("POST", f"{SUBMIT}?wait=x", json=world.body())
    await ask("POST", f"/v1/requests/{over}/cancel?wait=x")
    await ask("POST", f"/v1/requests/{over}/cancel")
    await ask("POST", f"/v1/requests/{over}/cancel", headers={"Prefer": "handling=strict"})
    events = f"/v1/requests/{over}/events"
    await ask("GET", events)
    await ask("GET", events, headers={"Last-Event-ID": str(record.json()["version"])})
    many = f"/v1/requests/events?ids={over}"
    for path in (many, "/v1/requests/events", f"/v1/requests/events?ids={MISSING}"):
        await ask("GET", path)
    for path in (events, "/v1/events", many):
        await ask("GET", path, headers={"Last-Event-ID": "x"} if path != many else {})
        monkeypatch.setattr(Watch, "max_per_tenant", 0)
        await ask("GET", path)
        monkeypatch.undo()
    await world.gateway.db.write(erase, finished_before_ms=2**60, now_ms=1, limit=100)
    await ask("GET", f"/v1/requests/{over}/result")
    stream = asyncio.create_task(ask("GET", "/v1/events"))
    await until(lambda: world.gateway.following.watch.watchers)
    world.gateway.following.watch.close()
    await stream
    for path in (f"/v1/requests/{request_id}/events", "/v1/events", f"/v1/requests/events?ids={request_id}"):
        await ask("GET", path)


async def _broken(ask: Watched, request_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError

    def away(*_: Any, **__: Any) -> None:
        raise OSError

    monkeypatch.setattr(store, "page", away)
    await ask("GET", "/v1/requests")
    monkeypatch.setattr(Tracker, "find", broken)
    await ask("GET", f"/v1/requests/{request_id}")


async def test_an_address_without_an_operation_answers_a_published_problem(ask: Watched) -> None:
    for method, path in (("GET", "/"), ("GET", "/v1"), ("PUT", SUBMIT), ("DELETE", "/v1/requests")):
        answer = await ask(method, path)
        assert answer.status_code in {404, 405}


async def test_a_body_that_the_published_schema_of_a_model_refuses_is_refused(ask: Watched) -> None:
    """And the other way round: the document that clients are generated from is the one that judges."""
    operation = ask.contract.document["paths"][SUBMIT]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    fitting = ask.world.body("canned")
    bodies: list[dict[str, Any]] = [
        fitting,
        {**fitting, "seed": 1, "resolution": "1080P", "number_of_frames": 241},
        {**fitting, "seed": "1"},
        {**fitting, "resolution": "4K"},
        {**fitting, "number_of_frames": 122},
        {**fitting, "prompt": "x" * 801},
        {**fitting, "image_urls": []},
        {**fitting, "image_urls": fitting["image_urls"] * 2},
        {**fitting, "extra": 1},
        {"prompt": "a boat"},
        {},
    ]
    for body in bodies:
        fits = ask.contract.misfits(schema, body) == []
        answer = await ask("POST", SUBMIT, json=body)
        assert answer.status_code == (200 if fits else 422), body
