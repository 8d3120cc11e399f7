"""A server that is killed while it sends webhooks: the next one sends that again, under the same id."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx2
from sqlalchemy import select, update

from app.db.engines.engine import Database
from app.db.schema.tables import webhook_deliveries, webhook_messages
from tests.beside import Quiet, serving
from tests.harness import SUBMIT
from tests.patience import PATIENCE_S
from tests.processes import a_key, eventually, in_database, place_for, rows_of, started
from tests.sandbox.harness import Running
from tests.webhooks.receiver import KEY, add_endpoint

REQUESTS = 12
ENDPOINTS = ("/prompt", "/late")
_LATE_FROM = 3


@dataclass
class Beside:
    """A receiver in this process, beside the server: from its third message on, `/late` answers nothing."""

    came: list[tuple[str, str, bytes]] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def at(self, path: str) -> list[tuple[str, bytes]]:
        return [(one, body) for where, one, body in tuple(self.came) if where == path]


@contextmanager
def beside() -> Iterator[Beside]:
    found = Beside()

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.came.append((self.path, self.headers["webhook-id"], body))
            if self.path == "/late" and len(found.at("/late")) >= _LATE_FROM:
                found.free.wait(PATIENCE_S)
            self.send_response(204)
            self.end_headers()

    with serving(Handler) as found.port:
        try:
            yield found
        finally:
            found.free.set()


def test_after_a_kill_every_end_is_told_to_every_endpoint_under_one_id_with_equal_bytes(
    database_url: str, tmp_path: Path, sandbox: Running
) -> None:
    tenant_id, key = a_key(database_url)
    with beside() as receiver:
        more = {"WEBHOOK_KEY": KEY, "HTTP_WEBHOOK_HOSTS": f"127.0.0.1:{receiver.port}"}
        place = place_for(tmp_path, database_url, sandbox.options.public_url, **more)

        async def endpoints(db: Database) -> None:
            for path in ENDPOINTS:
                url = f"http://127.0.0.1:{receiver.port}{path}"
                await db.write(add_endpoint, tenant_id, url)

        in_database(database_url, endpoints)
        with started(place) as server:
            _submit(place.url, key, sandbox)
            sandbox.clock.now += 100
            eventually(lambda: len(receiver.at("/late")) >= _LATE_FROM)
            server.send(signal.SIGKILL)
            assert server.wait() == -signal.SIGKILL
        receiver.free.set()
        states = in_database(database_url, _states)
        assert "delivering" in states, "there was something to lose"
        in_database(database_url, _the_leases_end)
        with started(place):
            eventually(lambda: _is_all_told(database_url, tenant_id))
    ids = in_database(database_url, _ids)
    assert {row.state for row in rows_of(database_url, tenant_id)} == {"completed"}
    assert len(ids) == REQUESTS
    for path in ENDPOINTS:
        got = receiver.at(path)
        assert {one for one, _ in got} == ids, "each at least once, and nothing else"
    assert len(set(receiver.at("/late")) | set(receiver.at("/prompt"))) == REQUESTS, (
        "equal bytes under one id"
    )
    assert len(receiver.at("/late")) > REQUESTS, "what was under way was sent again"


def _submit(url: str, key: str, sandbox: Running) -> None:
    body = {"image_urls": [f"{sandbox.options.public_url}/samples/harbour.jpg"], "prompt": "[sandbox:canned]"}
    with httpx2.Client(
        base_url=url, trust_env=False, timeout=PATIENCE_S, headers={"Authorization": f"Bearer {key}"}
    ) as client:
        for _ in range(REQUESTS):
            assert client.post(SUBMIT, json=body).status_code == 200


async def _states(db: Database) -> set[str]:
    return await db.read(
        lambda connection: set(connection.execute(select(webhook_deliveries.c.state)).scalars())
    )


async def _ids(db: Database) -> set[str]:
    return await db.read(lambda connection: set(connection.execute(select(webhook_messages.c.id)).scalars()))


async def _the_leases_end(db: Database) -> None:
    """And what failed is due at once: the servers have the machine's own clock."""
    leased = webhook_deliveries.c.lease_until_ms.is_not(None)
    now_ms = time.time_ns() // 1_000_000
    await db.write(
        lambda connection: connection.execute(
            update(webhook_deliveries).where(leased).values(lease_until_ms=now_ms - 60_000)
        )
    )


def _is_all_told(url: str, tenant_id: str) -> bool:
    if not all(row.state == "completed" for row in rows_of(url, tenant_id)):
        return False
    states: set[str] = in_database(url, _states)
    return states == {"delivered"}
