"""One gateway, small stories of everything that it does, and a fault at each event of them in turn.

A run tells a story up to a fault at its event N. Then the gateway starts anew over what is left of a few
runs, their clients repeat what was not answered, and everything comes to its end; `audit` says what is wrong.
"""

import asyncio
import ssl
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI
from sqlalchemy import Connection, Dialect
from starlette.types import ASGIApp

from app.auth import keys, tenants
from app.db.engines.engine import Database
from app.gateway import Gateway
from app.generations import messages
from app.main import create_server_app
from app.quotas.account import Owner, set_limit
from app.quotas.balances import ledger
from app.quotas.balances.ledger import Kind
from app.quotas.limits import Limit, Scope
from app.quotas.metrics import Metric
from tests.gateway.events import Events, Fault, counting
from tests.gateway.story import (
    ENDPOINTS,
    LEASE_S,
    MAX_POLLS,
    MOST,
    STEERING,
    TOP_UP,
    UNKNOWN_S,
    BriskClock,
    Story,
)
from tests.harness import PEPPER, SUBMIT, settings_for, until, without_loops
from tests.patience import PATIENCE_S
from tests.sandbox.harness import TOKEN
from tests.webhooks.receiver import add_endpoint


@dataclass
class Client:
    """The story's client, and a gateway that serves it."""

    gateway: Gateway
    clock: BriskClock
    http: httpx2.AsyncClient
    sandbox: httpx2.Client
    story: Story

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.story.key}"}

    async def submit(self, job: str) -> str | None:
        """The id that the client is told, if it is told one."""
        self.story.note(began=[job, uuid.uuid4().hex])
        mark = self.story.marks[job]
        body = {
            "image_urls": [f"{self.sandbox.base_url}/samples/harbour.jpg"],
            "prompt": f"a boat {mark} [sandbox:{STEERING[job]}]",
        }
        answer = await self.http.post(SUBMIT, json=body, headers=self.headers | {"Idempotency-Key": mark})
        document = answer.json()
        accepted = answer.status_code == 200
        in_doubt = "may have been accepted" in document.get("detail", "")  # with a key it may be sent again
        told = {
            "job": job,
            "status": answer.status_code,
            "code": document.get("code"),
            "request_id": document.get("request_id"),
            "final": accepted or not (in_doubt or document["retryable"] or answer.status_code == 500),
        }
        self.story.note(told=told, now_ms=self.clock.now_ms())
        return str(document["request_id"]) if accepted else None

    async def repeat(self) -> None:
        """What every client does with a submit that got no answer: the same again, with the same key."""
        for job in self.story.marks:
            if self.story.final(job) is None:
                await self.submit(job)

    async def get(self, path: str) -> dict[str, Any]:
        answer = await self.http.get(path, headers=self.headers)
        document: dict[str, Any] = answer.json()
        return document

    async def look(self, request_id: str, what: str) -> dict[str, Any]:
        """A look at a request whose row is not fresh any more."""
        self.clock.advance(2)
        return await self.get(f"/v1/requests/{request_id}/{what}")

    async def cancel(self, request_id: str) -> None:
        await self.http.post(f"/v1/requests/{request_id}/cancel", headers=self.headers)

    async def tell(self, events: Events) -> None:
        """The story up to the fault; with the fault behind it, the client tries once more."""
        await self.get("/v1/quota")
        await until(lambda: not len(self.gateway.tasks))  # the note of the key's first use
        with events.counted():
            for job in self.story.jobs:
                await self._tell_of(job, events)
                if events.reached:
                    break
        self.story.note(events=events.met)
        await self.repeat()

    async def _tell_of(self, job: str, events: Events) -> None:
        request_id = await self.submit(job)
        if request_id and job == "made":
            with events.paused():
                await self._until_finished_upstream(self.story.marks[job])
            await self.look(request_id, "result")
        if request_id and job == "cancelled":
            await self.look(request_id, "status")
            await self.cancel(request_id)
        if request_id and job == "let_go":
            await self.cancel(request_id)
            await self._send_what_waits(events)
        if job == "unclear":
            self.clock.advance(UNKNOWN_S + 60)
            self.story.note(now_ms=self.clock.now_ms())
            with suppress(Exception):  # as its loop does
                await self.gateway.upkeep.rescuer.run_once()

    async def _send_what_waits(self, events: Events) -> None:
        """Free the only place, for the job that waits for it; with a fault it may have to wait on."""
        (ahead,), (waited,) = self.story.ids("ahead"), self.story.ids("waited")
        await self.cancel(ahead)
        with suppress(Exception):  # as its loop does
            await dispatched(self.gateway)
        mark = self.story.marks["waited"]
        with events.paused():
            if any(mark in one["input"]["prompt"] for one in received(self.sandbox) if one["recorded"]):
                await self._until_finished_upstream(mark)
        await self.look(waited, "result")

    async def end_all(self) -> None:
        """Follow what is live to its end; what waits for ever is cancelled, the rest is sent in its turn."""
        for _ in range(MAX_POLLS):
            await dispatched(self.gateway)
            listed = (await self.get("/v1/requests?limit=100"))["requests"]
            live = [one["request_id"] for one in listed if one["state"] in {"in_queue", "in_progress"}]
            if not live:
                return
            for request_id in live:
                status = (await self.look(request_id, "status"))["status"]
                if status == "in_queue" and request_id not in self.story.ids("waited"):
                    await self.cancel(request_id)
            await asyncio.sleep(0.002)
        raise AssertionError(live)

    async def _until_finished_upstream(self, mark: str) -> None:
        """Let the sandbox finish, so that the story is the same each time."""
        (submission,) = [one for one in received(self.sandbox) if mark in one["input"]["prompt"]]
        status = f"/v1/requests/{submission['request_id']}/status"
        await until(lambda: self.sandbox.get(status).json()["status"] == "completed")


async def dispatched(gateway: Gateway) -> None:
    """What the dispatch loop does when it is woken, to its end."""
    await gateway.dispatch_loop.run_once()
    await until(lambda: not gateway.dispatch_loop.under_way)


def received(sandbox: httpx2.Client) -> list[dict[str, Any]]:
    """Every body that came upstream whole."""
    submissions: list[dict[str, Any]] = sandbox.get("/sandbox/ledger").json()["submissions"]
    return submissions


@dataclass
class Stage:
    """A gateway that serves."""

    gateway: Gateway
    clock: BriskClock
    http: httpx2.AsyncClient
    sandbox: httpx2.Client

    async def client(self, story: Story) -> Client:
        """The story's client; a story that begins is given a tenant of its own."""
        if not story.key:
            tenant_id, key = await self.gateway.db.write(_tenant, story, self.clock.now_ms())
            story.note(tenant_id=tenant_id, key=key, now_ms=self.clock.now_ms())
        return Client(self.gateway, self.clock, self.http, self.sandbox, story)

    def tidy(self) -> None:
        """Leave nothing behind in an upstream that other tests use as well."""
        for one in received(self.sandbox):
            if STEERING["cancelled"] in one["input"]["prompt"]:
                self.sandbox.post(f"/v1/requests/{one['request_id']}/cancel")
        self.sandbox.delete("/sandbox/ledger")

    async def settle(self, stories: list[Story]) -> None:
        """All that happens after a restart, until nothing is left to happen."""
        clients = [await self.client(story) for story in stories]
        latest_s = (max(story.now_ms for story in stories) - self.clock.now_ms()) / 1000
        for pause_s in (0, latest_s + LEASE_S + 60, UNKNOWN_S + 60):
            self.clock.advance(pause_s)
            await self.gateway.upkeep.rescuer.run_once()
            await dispatched(self.gateway)
            for client in clients:
                await client.repeat()
        for client in clients:
            await client.end_all()
        await messages.complete_all(self.gateway.db)  # as its loop does


@dataclass(frozen=True)
class Theatre:
    """Where runs take place: a database, a folder and an upstream."""

    database_url: str
    folder: str
    sandbox_url: str

    @asynccontextmanager
    async def stage(self, now_ms: int) -> AsyncIterator[Stage]:
        """A gateway over what is there, started at that moment."""
        app, edge, clock = _built(self)
        clock.restart(now_ms)
        client = httpx2.Client(
            base_url=self.sandbox_url,
            headers={"Authorization": f"Bearer {TOKEN}"},
            trust_env=False,
            timeout=PATIENCE_S,
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # the default loads certificates, for 25 ms
        )
        with without_loops(), client as sandbox:
            async with (
                app.router.lifespan_context(app),
                httpx2.AsyncClient(
                    transport=httpx2.ASGITransport(edge, raise_app_exceptions=False),
                    base_url="http://gateway.test",
                ) as http,
            ):
                _keep_compiled(app.state.gateway.db)
                # Others are told of changes beside the story, whenever that is: its events would not stay.
                app.state.gateway.db.announcements._run = None
                yield Stage(app.state.gateway, clock, http, sandbox)

    async def play(self, stories: Iterable[Story], fault: Fault) -> None:
        """Tell each story in this process, by a gateway of its own, with the fault at its event."""
        for story in stories:
            events = Events(fault, story.at)
            with counting(events):
                async with self.stage(story.now_ms) as stage:
                    await (await stage.client(story)).tell(events)


@lru_cache(maxsize=2)
def _built(theatre: Theatre) -> tuple[FastAPI, ASGIApp, BriskClock]:
    """The application; its lifespan opens a gateway each time, and it keeps nothing in between."""
    settings = settings_for(
        theatre.database_url,
        Path(theatre.folder),
        theatre.sandbox_url,
        dispatch_lease_s=LEASE_S,
        unknown_refund_after_s=UNKNOWN_S,
        dispatches_at_once=1,  # beside a second its events would not stay
    )
    clock = BriskClock()
    return *create_server_app(settings, clock=clock), clock


_COMPILED: dict[str, tuple[Dialect, Any]] = {}


def _keep_compiled(db: Database) -> None:
    """Give its engines the statements that those before it compiled: that is half of what a run costs."""
    place: Any = db._writer._lanes[0].place
    engine = place.engine
    mine = engine.dialect, engine._compiled_cache
    engine.dialect, engine._compiled_cache = _COMPILED.setdefault(engine.dialect.driver, mine)


def _tenant(connection: Connection, story: Story, now_ms: int) -> tuple[str, str]:
    tenant = tenants.create(connection, f"tenant-{uuid.uuid4().hex[:12]}", now_ms=now_ms)
    _, key = keys.create(connection, tenant.id, mode="test", name="", pepper=PEPPER, now_ms=now_ms)
    owner = Owner(tenant.id, "test")
    tenants.set_queueing(connection, tenant.id, queueing=story.queueing, max_queued=None, weight=1)
    for metric, most in ((Metric.GENERATIONS_TOTAL, MOST), (Metric.IN_FLIGHT, story.max_in_flight)):
        set_limit(connection, owner, Limit(Scope(), metric, most), now_ms=now_ms)
    ledger.add(connection, owner, Scope(), Kind.TOP_UP, TOP_UP, now_ms=now_ms)
    for _ in range(ENDPOINTS):
        add_endpoint(connection, tenant.id, "https://hook.example.com/")
    return tenant.id, key
