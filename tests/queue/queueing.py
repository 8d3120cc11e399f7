"""Tenants who submit to one credential of few places, in simulated time, over a stand-in upstream.

The upstream is not reached over HTTP: it stands where the client of RunComfy does, and reports as that one
does. It takes as many jobs as it has places, runs each for a while, and can be away.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.auth import keys, tenants
from app.auth.keys import Mode
from app.auth.principal import Principal
from app.gateway import Gateway, open_gateway
from app.generations.lifecycle import State
from app.upstream.outcomes import Exchange, Sent
from tests.harness import PEPPER, FakeClock, settings_for, until
from tests.pictures import data_uri, png
from tests.sandbox.harness import DREAMINA

MODE: Mode = "live"
PICTURE = data_uri(png())


@dataclass
class Places:
    """An upstream of so many places; a job runs for `run_s` from when it is taken."""

    clock: FakeClock
    slots: int
    run_s: int
    away: bool = False
    base_url: str = "http://upstream.invalid"
    taken: list[tuple[int, str]] = field(default_factory=list)
    """When each job was taken, and its prompt."""
    bodies: Counter[str] = field(default_factory=Counter)
    tries_while_away: int = 0
    max_at_once: int = 0
    max_calls: int = 0
    _calls: int = 0
    _ends_ms: dict[str, int] = field(default_factory=dict)

    def redact(self, text: str) -> str:
        return text

    def expect_submit(self) -> None:
        """No connection is opened ahead of a submit: there is none."""

    def close(self) -> None:
        """Nothing is open."""

    @property
    def running(self) -> int:
        return sum(ends_ms > self.clock.now_ms() for ends_ms in self._ends_ms.values())

    async def submit(self, model_id: str, body: bytes, *, deadline_s: float) -> Exchange:
        assert deadline_s > 0
        assert model_id == DREAMINA
        self._calls += 1
        self.max_calls = max(self.max_calls, self._calls)
        await asyncio.sleep(0)
        self._calls -= 1
        if self.away:
            self.tries_while_away += 1
            return Exchange(Sent.NOTHING, failure="connect")
        prompt = json.loads(body)["prompt"]
        self.bodies[prompt] += 1
        if self.running >= self.slots:
            return _answer(429, {})
        self.taken.append((self.clock.now_ms(), prompt))
        upstream_id = f"job-{len(self.taken)}"
        self._ends_ms[upstream_id] = self.clock.now_ms() + self.run_s * 1000
        self.max_at_once = max(self.max_at_once, self.running)
        return _answer(200, {"request_id": upstream_id})

    async def status(self, upstream_request_id: str) -> Exchange:
        if self.away:
            return Exchange(Sent.NOTHING, failure="connect")
        ends_ms = self._ends_ms.get(upstream_request_id)
        if ends_ms is None:
            return _answer(404, {"error_code": 404001})
        return _answer(200, {"status": "completed" if ends_ms <= self.clock.now_ms() else "in_progress"})

    async def result(self, upstream_request_id: str) -> Exchange:
        assert upstream_request_id in self._ends_ms
        return _answer(200, {"status": "succeeded", "output": {"video": "https://v.test/1"}, "cost": 0.1})


def _answer(status: int, document: dict[str, Any]) -> Exchange:
    return Exchange(Sent.BODY, status, {}, json.dumps(document).encode(), complete=True)


@dataclass
class Market:
    """A gateway, its upstream, and tenants who submit."""

    gateway: Gateway
    clock: FakeClock
    upstream: Places
    principals: dict[str, Principal] = field(default_factory=dict)
    submitted: dict[str, list[str]] = field(default_factory=dict)
    """By tenant, the prompts in the order of their submits."""
    ids: list[str] = field(default_factory=list)
    states: Counter[State] = field(default_factory=Counter)

    async def tenant(self, name: str, weight: int) -> None:
        """A tenant with a key, whose jobs wait."""

        def make(connection: Any) -> Principal:
            made = tenants.create(connection, name, now_ms=self.clock.now_ms())
            tenants.set_queueing(connection, made.id, queueing=True, max_queued=None, weight=weight)
            kid, _ = keys.create(
                connection, made.id, mode=MODE, name="", pepper=PEPPER, now_ms=self.clock.now_ms()
            )
            return Principal(
                tenant_id=made.id,
                tenant_name=name,
                kid=kid,
                root_kid=kid,
                mode=MODE,
                scopes=frozenset(),
                models=None,
                media_checks="off",
                origins=frozenset(),
                queueing=True,
            )

        self.principals[name] = await self.gateway.db.write(make)
        self.submitted[name] = []

    async def submit(self, name: str, count: int = 1) -> None:
        """That many submits, one after the other, each of which must be accepted."""
        for _ in range(count):
            prompt = f"{name} {len(self.submitted[name])}"
            self.submitted[name].append(prompt)
            made = await self.gateway.submitter.submit(
                self.principals[name],
                DREAMINA,
                {"image_urls": [PICTURE], "prompt": prompt},
                trace_id="0" * 32,
                idempotency_key=prompt,
            )
            self.ids.append(made.generation.id)
            self.states[made.generation.state] += 1

    async def second(self) -> None:
        """What the loops do in a second of time."""
        gateway = self.gateway
        for poller in gateway.following.pollers:
            await poller.run_once()
            await until(lambda poller=poller: not poller.under_way)  # type: ignore[misc]  # bound at once
        await gateway.pool.run_once(gateway.db)
        while await gateway.dispatch_loop.run_once():
            await until(lambda: not gateway.dispatch_loop.under_way)
        self.clock.advance(1)

    async def seconds(self, count: int) -> None:
        for _ in range(count):
            await self.second()

    async def ends(self) -> Counter[State]:
        """How many generations are in each state."""
        rows = [await self.gateway.following.tracker.find(one, None) for one in self.ids]
        return Counter(row.state for row in rows if row is not None)


@asynccontextmanager
async def market(
    database_url: str, folder: Path, *, slots: int, run_s: int, known: bool = True, **settings: Any
) -> AsyncIterator[Market]:
    """An open market. `known`: the gateway is told how many places the credential has."""
    clock = FakeClock()
    chosen = settings_for(
        database_url,
        folder,
        "http://127.0.0.1:1",
        upstream_token="a-token-of-nobody",
        media_checks="off",
        default_limits="submits-minute=none",
        max_queued_per_tenant=100_000,
        max_queued=1_000_000,
        **settings,
    )
    async with open_gateway(chosen, clock=clock, serving=True) as gateway:
        upstream = Places(clock, slots, run_s)
        credential = gateway.pool.all["default"]
        credential.upstream = upstream  # type: ignore[assignment]  # it stands where the client does
        credential.concurrency = slots if known else None
        yield Market(gateway, clock, upstream)
