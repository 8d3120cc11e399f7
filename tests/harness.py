"""A whole gateway inside the test's own loop, over a real sandbox, with a clock that only moves when told."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import httpx2
from fastapi import FastAPI
from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from app import worker
from app.auth import keys, tenants
from app.auth.keys import Mode
from app.config import Settings
from app.errors import Problem
from app.gateway import Gateway
from app.main import create_server_app
from tests.canary import WatchedTransport, canary
from tests.loops import skipped
from tests.sandbox.harness import DREAMINA, TOKEN, Running
from tests.shared import MORE_MODELS as MORE_MODELS  # noqa: PLC0414 - for the tests, which ask for it here
from tests.shared import GivenSettings

T = TypeVar("T")

MAX_POLLS = 15_000  # some 30 s and more: only a hung test ever sees them all
PEPPER = "a pepper for tests, long enough to be taken for one"
WEBHOOK_KEY = "the-key-of-the-tests-0123456789abcdef"
SUBMIT = f"/v1/models/{DREAMINA}"


class FakeClock:
    """Time that stands still; sleepers wake when it is moved past them."""

    def __init__(self, now_ms: int = 1_790_000_000_000) -> None:
        self._now_ms = now_ms
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []

    def now_ms(self) -> int:
        return self._now_ms

    async def sleep(self, delay_s: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now_ms + int(delay_s * 1000), future))
        await future

    def advance(self, delay_s: float) -> None:
        self._now_ms += round(delay_s * 1000)
        due = [future for at_ms, future in self._sleepers if at_ms <= self._now_ms]
        self._sleepers = [entry for entry in self._sleepers if entry[0] > self._now_ms]
        for future in due:
            if not future.done():
                future.set_result(None)

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Inside the block time jumps to whoever sleeps next, again and again."""

        async def flow() -> None:
            while True:
                await asyncio.sleep(0.002)
                waiting = [at_ms for at_ms, future in self._sleepers if not future.done()]
                if waiting:
                    self.advance(max(0, min(waiting) - self._now_ms) / 1000)

        task = asyncio.create_task(flow())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@dataclass
class World:
    """One gateway with one tenant and its test key, and a client that carries the key."""

    app: FastAPI
    gateway: Gateway
    clock: FakeClock
    sandbox: Running
    client: httpx2.AsyncClient
    tenant_id: str
    key: str
    marks: list[str] = field(default_factory=list)
    picture: str = ""
    """What its bodies hold; by default a sample that the sandbox serves."""

    def body(self, directive: str = "canned", **fields: Any) -> dict[str, Any]:
        """A valid body with a mark of its own in the prompt, and a directive to the sandbox."""
        mark = uuid.uuid4().hex
        self.marks.append(mark)
        bracket = f" [sandbox:{directive}]" if directive else ""
        picture = self.picture or f"{self.sandbox.options.public_url}/samples/harbour.jpg"
        return {"image_urls": [picture], "prompt": f"a boat {mark}{bracket}", **fields}

    async def submit(self, directive: str = "canned", **fields: Any) -> httpx2.Response:
        return await self.client.post(SUBMIT, json=self.body(directive, **fields))

    async def submitted(self, directive: str = "canned", **fields: Any) -> str:
        answer = await self.submit(directive, **fields)
        assert answer.status_code == 200, answer.text
        request_id = answer.json()["request_id"]
        assert isinstance(request_id, str)
        return request_id

    async def get(self, path: str, expect: int = 200) -> dict[str, Any]:
        answer = await self.client.get(path)
        assert answer.status_code == expect, answer.text
        document = answer.json()
        assert isinstance(document, dict)
        return document

    async def status(self, request_id: str) -> dict[str, Any]:
        """The status after a fresh look upstream."""
        self.clock.advance(2)
        return await self.get(f"/v1/requests/{request_id}/status")

    async def result(self, request_id: str) -> dict[str, Any]:
        self.clock.advance(2)
        return await self.get(f"/v1/requests/{request_id}/result")

    async def record(self, request_id: str) -> dict[str, Any]:
        """Our record after a fresh look upstream."""
        self.clock.advance(2)
        return await self.get(f"/v1/requests/{request_id}")

    async def finish(self, request_id: str) -> dict[str, Any]:
        """The result once the sandbox is through with the job."""
        self.sandbox.clock.now += self.sandbox.options.queue_s + self.sandbox.options.run_s
        for _ in range(MAX_POLLS // 3):
            result = await self.result(request_id)
            if result["status"] not in {"in_queue", "in_progress"}:
                return result
            await asyncio.sleep(0.01)
        raise AssertionError(result, self.sandbox.ledger())

    def received(self, mark: str | None = None) -> list[dict[str, Any]]:
        """What the sandbox received with the mark, by default the last one: every full body of a submit."""
        wanted = mark or self.marks[-1]
        submissions = self.sandbox.ledger()["submissions"]
        return [one for one in submissions if wanted in str(one["input"].get("prompt"))]

    async def hung(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a call that the sandbox leaves without an answer, as soon as it was asked."""
        asked = self._asked()
        limits = self.gateway.settings
        deadline_s = max(limits.submit_deadline_s, limits.read_deadline_s)
        return await skipped(work, deadline_s, once=lambda: self._asked() > asked)

    def _asked(self) -> int:
        calls: dict[str, int] = self.sandbox.ledger()["calls"]
        return sum(calls.values())

    async def another_key(self, *, tenant: str | None = None, mode: Mode = "test", **more: Any) -> str:
        """A key of another tenant by name, or another key of this one."""
        now_ms = self.clock.now_ms()
        tenant_id = self.tenant_id
        if tenant is not None:
            tenant_id = (await self.gateway.db.write(tenants.create, tenant, now_ms=now_ms)).id
        _, key = await self.gateway.db.write(
            keys.create, tenant_id, mode=mode, name="", pepper=PEPPER, now_ms=now_ms, **more
        )
        return key

    def with_key(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}


async def until(condition: Callable[[], object]) -> None:
    """Wait, in real time, for what another task is about to do."""
    for _ in range(MAX_POLLS):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("this never came true")


async def trying(world: World, done: Callable[[], object]) -> None:
    """Let time pass, and the server try its credentials each second, until something has come true."""
    for _ in range(MAX_POLLS):
        if done():
            return
        world.clock.advance(1)
        await world.gateway.pool.run_once(world.gateway.db)
    raise AssertionError("this never came true")


@contextmanager
def without_loops() -> Iterator[None]:
    """Gateways that are opened inside the block do nothing by themselves."""
    with patch.object(worker, "loops", lambda _: []):
        yield


def settings_for(database_url: str, data_dir: Path, sandbox_url: str, **more: Any) -> Settings:
    """Settings that read nothing of this machine's environment but what is given."""
    chosen: dict[str, Any] = {
        "database_url": database_url,
        "data_dir": data_dir,
        "pepper": PEPPER,
        "webhook_key": WEBHOOK_KEY,
        "sandbox_url": sandbox_url,
        "http_media_hosts": sandbox_url.removeprefix("http://"),  # for live keys too
        "sandbox_token": TOKEN,
        "public_url": "http://gateway.test",
        "run_loops": False,  # what a test wants to happen, it does itself
    }
    return GivenSettings(**(chosen | more))


@asynccontextmanager
async def open_world(settings: Settings, sandbox: Running) -> AsyncIterator[World]:
    """Open a gateway with a fresh tenant."""
    clock = FakeClock()
    password = make_url(settings.database).password  # of whoever runs the tests, and may be a usual word
    canary.plant(*(one for one in settings.secrets() if one != password))
    app, edge = create_server_app(settings, clock=clock)
    quiet = nullcontext() if settings.run_loops else without_loops()  # the credentials' loop too
    async with AsyncExitStack() as stack:
        with quiet:
            await stack.enter_async_context(app.router.lifespan_context(app))
        gateway: Gateway = app.state.gateway
        name = f"tenant-{uuid.uuid4().hex[:8]}"
        tenant_id, key = await gateway.db.write(_tenant_with_key, name, now_ms=clock.now_ms())
        transport = WatchedTransport(edge, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://gateway.test", headers=headers
        ) as client:
            yield World(app, gateway, clock, sandbox, client, tenant_id, key)
        with suppress(Problem):  # some tests leave none that could be read
            await gateway.db.read(canary.dump)


def _tenant_with_key(connection: Connection, name: str, *, now_ms: int) -> tuple[str, str]:
    tenant = tenants.create(connection, name, now_ms=now_ms)
    _, key = keys.create(
        connection, tenant.id, mode="test", name="", pepper=PEPPER, now_ms=now_ms, scopes=keys.SCOPES
    )
    return tenant.id, key
