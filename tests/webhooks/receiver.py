"""A receiver of webhooks on loopback, and endpoints that lead to it."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection, insert, select
from standardwebhooks.webhooks import Webhook

from app.db.schema.tables import webhook_attempts, webhook_deliveries, webhook_endpoints, webhook_messages
from app.kit.ids import new_id
from app.quotas.account import lock_tenant
from app.webhooks.messages.fan_out import fan_out
from app.webhooks.registry import secrets, subscriptions
from tests.canary import canary
from tests.harness import World, until

KEY = "a key that seals the secrets of endpoints in tests"
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Receiver:
    """What it received, and by path how the next ones are answered: by a status, bytes or a function."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    answers: dict[str, list[int | bytes | Answer]] = field(default_factory=dict)
    always: dict[str, int | bytes | Answer] = field(default_factory=dict)
    handlers: dict[asyncio.Task[Any], asyncio.StreamWriter] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def at(self, path: str) -> list[Received]:
        return [one for one in self.received if one.path == path]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.handlers[task] = writer
        await self.handle(reader, writer)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.split("\r\n")
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (one.partition(":") for one in lines)
                    if name
                }
                body = await reader.readexactly(int(headers["content-length"]))
                path = first.split(" ")[1]
                self.received.append(Received(path, headers, body))
                queue = self.answers.get(path)
                answer = queue.pop(0) if queue else self.always.get(path, 200)
                if callable(answer):
                    await answer(reader, writer)
                else:
                    writer.write(answer if isinstance(answer, bytes) else reply(answer))
                    await writer.drain()
            finally:
                writer.close()


def reply(status: int, *, body: bytes = b"ok", **headers: str) -> bytes:
    """A whole answer."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task, writer in receiver.handlers.items():
            task.cancel()
            writer.transport.abort()
        await asyncio.gather(*receiver.handlers, return_exceptions=True)
        for _ in range(3):  # of the loop's turns, in which both ends are closed
            await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class Made:
    """An endpoint of a test, with the secret as its receiver has it."""

    id: str
    secret: bytes

    @property
    def shown(self) -> str:
        return "whsec_" + base64.b64encode(self.secret).decode()


def add_endpoint(
    connection: Connection,
    /,
    tenant_id: str,
    url: str,
    *,
    mode: Any = "test",
    events: Sequence[str] | None = None,
    secret: bytes | None = None,
    **columns: Any,
) -> Made:
    """Makes an endpoint, as its owner would."""
    if tenant_id:
        lock_tenant(connection, tenant_id)
    made = Made(f"ep_{new_id(columns.get('created_at_ms', 1_790_000_000_000))}", secret or secrets.generate())
    canary.plant(made.shown)
    row: dict[str, Any] = {
        "id": made.id,
        "tenant_id": tenant_id,
        "mode": mode,
        "url": url,
        "events": None if events is None else json.dumps(list(events)),
        "vendor_links": False,
        "state": "enabled",
        "state_since_ms": 0,
        "signature": "v1",
        "secret": secrets.seal(made.secret, [KEY], bound_to=made.id),
        "created_at_ms": 0,
        "changed_at_ms": 0,
    }
    connection.execute(insert(webhook_endpoints).values(row | columns))
    if tenant_id:
        subscriptions.changed(connection, tenant_id, mode)
    return made


async def endpoint(world: World, receiver: Receiver, path: str = "/hook", **columns: Any) -> Made:
    """An endpoint of the world's tenant."""
    url = f"{receiver.base_url}{path}"
    return await world.gateway.db.write(add_endpoint, world.tenant_id, url, **columns)


@contextmanager
def at_any_time() -> Iterator[None]:
    """Inside the block the public verifier takes a message of any time: the clock of a test stands still."""

    def read(_: Webhook, header: str) -> datetime:
        return datetime.fromtimestamp(float(header), tz=UTC)

    with patch.object(Webhook, "_Webhook__verify_timestamp", read):
        yield


async def deliver(world: World) -> None:
    """Everything that is due is attempted once, and recorded."""
    deliverer = world.gateway.webhooks
    deliverer.due.woken.set()
    await deliverer.run_once()
    await until(lambda: not deliverer.under_way)


async def messages(world: World) -> list[Any]:
    return await world.gateway.db.read(
        _rows, select(webhook_messages).order_by(webhook_messages.c.created_at_ms)
    )


async def deliveries(world: World) -> list[Any]:
    """Every delivery, with those that the loop would make first."""
    while await world.gateway.db.write(fan_out):
        pass
    return await world.gateway.db.read(_rows, select(webhook_deliveries).order_by(webhook_deliveries.c.id))


async def attempts(world: World) -> list[Any]:
    query = select(webhook_attempts).order_by(webhook_attempts.c.at_ms, webhook_attempts.c.n)
    return await world.gateway.db.read(_rows, query)


async def endpoint_row(world: World, endpoint_id: str) -> Any:
    query = select(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id)
    return (await world.gateway.db.read(_rows, query))[0]


def _rows(connection: Connection, query: Any) -> list[Any]:
    return list(connection.execute(query))
