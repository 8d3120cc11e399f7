"""A gateway in a process of its own with its sandbox, behind a relay, for every client library."""

import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.auth import keys, tenants
from app.db.engines.engine import Database
from tests.clients.relay import Relay, relaying
from tests.conftest import RealClock
from tests.harness import PEPPER
from tests.processes import Place, in_database, place_for, started
from tests.sandbox.harness import Running, running

ORIGIN = "http://127.0.0.1:5173"


@dataclass
class Stack:
    """`url` is the relay's. `restart` starts the server anew: it is stopped, and every second time killed."""

    place: Place
    sandbox: Running
    tenant_id: str
    key: str
    relay: Relay = field(init=False)
    _server: ExitStack = field(default_factory=ExitStack)
    _process: Any = None
    _restarts: int = 0

    @property
    def url(self) -> str:
        return self.relay.url

    @property
    def picture(self) -> str:
        return f"{self.sandbox.options.public_url}/samples/harbour.jpg"

    def start(self) -> None:
        self._process = self._server.enter_context(started(self.place))

    def stop(self) -> None:
        if self._process is not None:
            self._process.send(signal.SIGTERM)
            self._process.wait()
        self._server.close()

    def restart(self) -> None:
        self._restarts += 1
        if self._restarts % 2 == 0:
            self._process.send(signal.SIGKILL)
            self._process.wait()
        self.stop()
        self.start()

    def input(self, mark: str, directive: str = "canned", **more: Any) -> dict[str, Any]:
        return {"image_urls": [self.picture], "prompt": f"a boat {mark} [sandbox:{directive}]", **more}

    @contextmanager
    def own_client(self) -> Iterator[httpx2.Client]:
        """A plain client of the gateway, beside the relay."""
        headers = {"Authorization": f"Bearer {self.key}"}
        with httpx2.Client(base_url=self.place.url, headers=headers, trust_env=False) as client:
            yield client

    def received(self, mark: str) -> int:
        """How many jobs the sandbox was asked for with the mark."""
        submissions = self.sandbox.ledger()["submissions"]
        return sum(mark in str(one["input"].get("prompt")) for one in submissions)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    path = folder / "reelgate.db"
    path.write_bytes(sqlite_template.read_bytes())
    database_url = f"sqlite:///{path}"
    with running(folder / "sandbox", RealClock(), concurrency=100, queue_s=0.05, run_s=0.05) as sandbox:
        place = place_for(
            folder,
            database_url,
            sandbox.options.public_url,
            POLL_MIN_S="0.1",
            POLL_MAX_S="0.2",
            FRESHNESS_S="0.1",
        )
        tenant_id, key = _tenant_with_key(database_url)
        served = Stack(place, sandbox, tenant_id, key)
        served.start()
        try:
            with relaying(place.url, served.restart) as served.relay:
                yield served
        finally:
            served.stop()


@pytest.fixture
def mark(stack: Stack) -> Iterator[str]:
    """A word by which a test's job is found; the relay passes everything on at first."""
    stack.relay.fail()
    yield uuid.uuid4().hex
    stack.relay.fail()


def _tenant_with_key(database_url: str) -> tuple[str, str]:
    async def make(db: Database) -> tuple[str, str]:
        now_ms = time.time_ns() // 1_000_000
        tenant = await db.write(tenants.create, "clients", now_ms=now_ms)
        await db.write(tenants.set_origins, tenant.id, [ORIGIN])
        _, key = await db.write(
            keys.create, tenant.id, mode="test", name="", pepper=PEPPER, now_ms=now_ms, scopes=keys.SCOPES
        )
        return tenant.id, key

    made: tuple[str, str] = in_database(database_url, make)
    return made
