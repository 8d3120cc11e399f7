"""A part of `python -m bench webhooks`: ten endpoints, one of which hangs, one fails and one drips.

Events are committed at a steady rate, and each is for all ten. What is measured is how long after its event
began to be written the first attempt begins, at the seven endpoints that answer, and what a delivery costs.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from statistics import quantiles
from typing import Any, Final

from sqlalchemy import Connection, select, update

from app.config import Settings
from app.db.engines.engine import Database, open_database
from app.db.schema.tables import webhook_attempts, webhook_deliveries, webhook_endpoints
from app.egress.client import Egress, Reach
from app.kit.clock import SystemClock
from app.kit.tasks import Tasks
from app.webhooks.deliveries.claims import Caps
from app.webhooks.deliveries.delivery import Deliverer
from app.webhooks.deliveries.sender import Sender
from app.webhooks.kinds import Kind
from app.webhooks.messages import fan_out, outbox
from app.webhooks.messages.outbox import Bodies, Message
from app.webhooks.registry import secrets
from bench.children import HOST
from bench.receivers import BAD

ENDPOINTS: Final = 10
_KEY: Final = "a key of this benchmark"
_BODY: Final = '{"type":"request.completed","data":"' + "harbour" * 100 + '"}'
_DRAIN_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How long first attempts at the endpoints that answer were waited for, and what an attempt costs."""

    first_attempts: int
    p50_ms: float
    p99_ms: float
    per_second: float
    cpu_ms: float


async def measure(url: str, tenant_id: str, port: int, *, rate: float, seconds: float) -> Measured:
    """Sends events at a rate for some time; returns what it measured.

    The tenant has its endpoints already: `ep_` and a number.
    """
    db = open_database(url)
    clock, tasks = SystemClock(), Tasks()
    paths = [*BAD, *(f"/{number}" for number in range(ENDPOINTS - len(BAD)))]
    await db.write(_place, paths, port)
    deliverer = Deliverer(
        db=db,
        clock=clock,
        tasks=tasks,
        sender=Sender(
            egress=Egress("reelgate-bench"),
            clock=clock,
            reach=Reach(hosts=frozenset({f"{HOST}:{port}"})),
            operator_reach=Reach(),
            keys=[_KEY],
        ),
        caps=Caps(
            per_endpoint=Settings.model_fields["webhooks_per_endpoint"].default,
            per_tenant=Settings.model_fields["webhooks_per_tenant"].default,
        ),
        at_once=Settings.model_fields["webhooks_at_once"].default,
        append=lambda _connection, _stopped: None,
    )
    deliverer.due.listen()
    loop = asyncio.create_task(_serve(deliverer))
    began_s, cpu_s = time.monotonic(), time.process_time()
    writes = []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began_s + number / rate - time.monotonic()))
        writes.append(asyncio.create_task(db.write_for(tenant_id, _tell, tenant_id, number, clock.now_ms())))
    await asyncio.gather(*writes)
    until_s = time.monotonic() + _DRAIN_S
    while await db.read(_waits) and time.monotonic() < until_s:
        await clock.sleep(0.1)
    took_s, cpu_s = time.monotonic() - began_s, time.process_time() - cpu_s
    waited_ms = await db.read(_waited)
    loop.cancel()
    deliverer.close()
    await tasks.drain(0)
    attempts = sum(deliverer.attempts.values())
    await _end(db)
    cuts = quantiles(waited_ms, n=100)
    return Measured(
        first_attempts=len(waited_ms),
        p50_ms=cuts[49],
        p99_ms=cuts[98],
        per_second=attempts / took_s,
        cpu_ms=cpu_s / attempts * 1000,
    )


async def _end(db: Database) -> None:
    with suppress(Exception):
        await db.close()


async def _serve(deliverer: Deliverer) -> None:
    while True:
        await deliverer.run_once()
        with suppress(TimeoutError):
            async with asyncio.timeout(deliverer.due.pause_s()):
                await deliverer.due.woken.wait()


def _place(connection: Connection, paths: list[str], port: int) -> None:
    ids = connection.execute(select(webhook_endpoints.c.id).order_by(webhook_endpoints.c.id)).scalars().all()
    for endpoint_id, path in zip(ids, paths, strict=True):
        secret = secrets.seal(secrets.generate(), [_KEY], bound_to=endpoint_id)
        connection.execute(
            update(webhook_endpoints)
            .where(webhook_endpoints.c.id == endpoint_id)
            .values(url=f"http://{HOST}:{port}{path}", secret=secret)
        )


def _tell(connection: Connection, tenant_id: str, number: int, at_ms: int) -> None:
    message = Message(id=f"msg_{number}", tenant_id=tenant_id, mode="test", kind=Kind.COMPLETED, at_ms=at_ms)
    outbox.tell(connection, message, lambda _: Bodies(_BODY))


def _of_the_well() -> Any:
    bad = [f"ep_{number:036}" for number in range(len(BAD))]
    return webhook_deliveries.c.endpoint_id.not_in(bad)


def _waits(connection: Connection) -> bool:
    if fan_out.waiting_since(connection) is not None:
        return True
    waiting = select(webhook_deliveries.c.id).where(
        webhook_deliveries.c.state.in_(["pending", "delivering"]), _of_the_well()
    )
    return connection.execute(waiting.limit(1)).first() is not None


def _waited(connection: Connection) -> list[int]:
    query = (
        select(webhook_attempts.c.at_ms - webhook_deliveries.c.created_at_ms)
        .join(webhook_deliveries, webhook_deliveries.c.id == webhook_attempts.c.delivery_id)
        .where(_of_the_well(), webhook_attempts.c.n == 1)
    )
    return list(connection.execute(query).scalars())
