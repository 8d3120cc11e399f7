"""A quota of N admits N: under a thousand submits at once, on one server and on three."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from app.admin.verifying.verify import verify
from app.db.engines.engine import Database
from app.generations import store
from app.quotas.account import Owner, set_limit
from app.quotas.limits import parse_limit
from tests.harness import SUBMIT, World
from tests.patience import PATIENCE_S
from tests.processes import Process, a_key, free_port, in_database, place_for, started
from tests.sandbox.harness import Running

SUBMITS, ROOM = 1000, 10


@dataclass(frozen=True)
class Storm:
    """Many submits of one body at once, known by its mark."""

    sandbox: Running
    directive: str = "canned"
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    async def rage(self, *clients: httpx2.AsyncClient, submits: int, **headers: str) -> list[httpx2.Response]:
        """The answers, asked for by the clients in turn."""
        picture = f"{self.sandbox.options.public_url}/samples/harbour.jpg"
        body = {"image_urls": [picture], "prompt": f"{self.mark} [sandbox:{self.directive}]"}
        return await asyncio.gather(
            *(clients[at % len(clients)].post(SUBMIT, json=body, headers=headers) for at in range(submits))
        )

    def received(self) -> list[dict[str, Any]]:
        submissions = self.sandbox.ledger()["submissions"]
        return [one for one in submissions if self.mark in str(one["input"].get("prompt"))]


def kinds(answers: list[httpx2.Response]) -> dict[tuple[int, str, str], int]:
    """How many answers there are of each status, code and list of policies."""
    documents = [(answer.status_code, answer.json()) for answer in answers]
    return Counter(
        (status, document.get("code", ""), ", ".join(document.get("violated-policies", ())))
        for status, document in documents
    )


async def limited(db: Database, tenant_id: str, texts: str, now_ms: int) -> None:
    for text in texts.split():
        await db.write(set_limit, Owner(tenant_id, "test"), parse_limit(text), now_ms=now_ms)


async def assert_books(db: Database, tenant_id: str, storm: Storm) -> None:
    """Each body that was received has its row, whose price is held, and every sum is that of the rows."""
    upstream_ids = sorted(one["request_id"] for one in storm.received())
    rows = await db.read(store.page, tenant_id, limit=SUBMITS, mode="test")
    assert sorted(row.upstream_request_id or "" for row in rows) == upstream_ids
    assert {(row.state, row.charge) for row in rows} == {("in_queue", "held")}
    assert (await db.snapshot(verify)).findings == []


def complaints(lines: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What the gateway logged that a failure should tell: whether the database was too slow, and where."""
    return [line for line in lines if line["log_level"] in {"warning", "error"}]


def client_of(url: str, key: str) -> httpx2.AsyncClient:
    """A client with as many connections as it likes."""
    return httpx2.AsyncClient(
        base_url=url,
        headers={"Authorization": f"Bearer {key}"},
        limits=httpx2.Limits(max_connections=None),
        timeout=PATIENCE_S,
        trust_env=False,
    )


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("text", "code", "directive"),
    [
        ("generations-total=10", "quota_exhausted", "canned"),
        ("credits-total=1.5", "quota_exhausted", "canned"),
        ("output-seconds-total=54", "quota_exhausted", "canned"),
        ("in-flight=10", "quota_exceeded", "queued"),
    ],
)
async def test_of_a_thousand_submits_at_once_exactly_ten_pass(
    world: World, text: str, code: str, directive: str
) -> None:
    await limited(world.gateway.db, world.tenant_id, text, world.clock.now_ms())
    storm = Storm(world.sandbox, directive)
    with capture_logs() as lines:
        answers = await storm.rage(world.client, submits=SUBMITS)
    refused = (429, code, f"tenant-{text.partition('=')[0]}")
    assert kinds(answers) == {(200, "", ""): ROOM, refused: SUBMITS - ROOM}, complaints(lines)
    assert len(storm.received()) == ROOM
    await assert_books(world.gateway.db, world.tenant_id, storm)


@pytest.mark.anyio
async def test_of_two_hundred_submits_with_one_idempotency_key_one_is_sent(world: World) -> None:
    """With room for one alone, so that a repetition that asked for room would be refused."""
    await limited(world.gateway.db, world.tenant_id, "generations-total=1", world.clock.now_ms())
    storm = Storm(world.sandbox)
    with capture_logs() as lines:
        answers = await storm.rage(world.client, submits=200, **{"Idempotency-Key": storm.mark})
    assert set(kinds(answers)) <= {(200, "", ""), (409, "idempotency_in_progress", "")}, complaints(lines)
    assert len({answer.json()["request_id"] for answer in answers}) == 1
    first = [one for one in answers if one.status_code == 200 and "idempotent-replayed" not in one.headers]
    assert len(first) == 1
    assert len(storm.received()) == 1
    await assert_books(world.gateway.db, world.tenant_id, storm)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_three_servers_on_one_database_admit_ten_of_a_thousand_together(
    database_url: str, tmp_path: Path, sandbox: Running
) -> None:
    tenant_id, key = a_key(database_url)
    now_ms = time.time_ns() // 1_000_000
    both = "generations-total=10 output-seconds-total=54"
    in_database(database_url, lambda db: limited(db, tenant_id, both, now_ms))
    place = place_for(tmp_path, database_url, sandbox.options.public_url)
    storm = Storm(sandbox)

    async def rage(servers: list[Process]) -> list[httpx2.Response]:
        async with AsyncExitStack() as clients:
            opened = [
                await clients.enter_async_context(client_of(server.place.url, key)) for server in servers
            ]
            return await storm.rage(*opened, submits=SUBMITS)

    with ExitStack() as running:
        servers = [
            running.enter_context(started(place.but(PORT=str(free_port()), DATA_DIR=name), ready=False))
            for name in ("one", "two", "three")
        ]
        for server in servers:
            server.until_ready()
        answers = asyncio.run(rage(servers))
    refused = (429, "quota_exhausted", "tenant-generations-total, tenant-output-seconds-total")
    complaints_of = [[line for line in one.text().splitlines() if '"error"' in line] for one in servers]
    assert kinds(answers) == {(200, "", ""): ROOM, refused: SUBMITS - ROOM}, complaints_of
    assert len(storm.received()) == ROOM
    in_database(database_url, lambda db: assert_books(db, tenant_id, storm))
