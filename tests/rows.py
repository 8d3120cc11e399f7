"""Rows to work with: a tenant with a key, and generations in any state."""

import uuid
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, select, update

from app.auth import keys, tenants
from app.auth.callers import NOBODY, Caller
from app.db.engines.engine import Database
from app.db.schema.tables import api_keys, generations
from app.generations import events as event_rows
from app.generations import store
from app.generations.advance import begin
from app.generations.lifecycle import State
from app.generations.queue import rows as queue
from app.generations.queue.decide import SubmitPolicy
from app.generations.store import Generation
from app.kit.ids import new_id
from app.quotas.account import Owner, open_account, take
from app.quotas.amounts import Amounts
from app.quotas.limits import Payer

PRICE = 250_000
AMOUNTS = Amounts(generations=1, microcredits=PRICE, output_seconds=5)
NOW_MS = 1_790_000_000_000
PEPPER = "a pepper for tests, long enough to be taken for one"


def add_owner(connection: Connection) -> tuple[str, str]:
    """A fresh tenant and its key: (tenant_id, kid)."""
    tenant = tenants.create(connection, f"tenant-{uuid.uuid4().hex[:12]}", now_ms=NOW_MS)
    kid, _ = keys.create(connection, tenant.id, mode="test", name="", pepper=PEPPER, now_ms=NOW_MS)
    return tenant.id, kid


def add_generation(
    connection: Connection,
    /,
    state: State = State.DISPATCHING,
    *,
    owner: tuple[str, str] | None = None,
    lease_until_ms: int | None = None,
    now_ms: int = NOW_MS,
    queueable: bool = False,
    caller: Caller = NOBODY,
    **columns: Any,
) -> Generation:
    """A generation that is in a state from its first version; `queueable`: it may come back to the queue."""
    tenant_id, kid = owner or add_owner(connection)
    account = Owner(tenant_id, "test")
    before = open_account(connection, account, Payer(kid), "a/b", defaults=(), now_ms=now_ms, for_update=True)
    take(connection, account, before, before.with_one_more(AMOUNTS), AMOUNTS)
    waits = state is State.ACCEPTED
    generation = begin(
        connection,
        store.SubmitIntent(
            generation_id=new_id(now_ms),
            tenant_id=tenant_id,
            kid=kid,
            payer=Payer(kid),
            mode="test",
            model_id="a/b",
            input_json=b'{"prompt":"x"}',
            amounts=AMOUNTS,
            price_version="1",
            settles_in="completed",
            trace_id="0" * 32,
            choices=(),
            caller=caller,
        ),
        state=state,
        credential="" if waits else "sandbox",
        quota_day=before.periods.day,
        ticket=queue.join(connection, tenant_id, "test", SubmitPolicy())
        if waits
        else queue.next_ticket(connection, tenant_id, "test")
        if queueable
        else None,
        now_ms=now_ms,
        lease_until_ms=lease_until_ms,
    )
    if columns:
        connection.execute(update(generations).where(generations.c.id == generation.id).values(**columns))
    return generation


async def generation_in(db: Database, state: State = State.DISPATCHING, **more: Any) -> Generation:
    return await db.write(add_generation, state, **more)


async def generations_in(db: Database, each: Iterable[dict[str, Any]]) -> list[Generation]:
    """Several of one owner, in one transaction."""

    def add_all(connection: Connection) -> list[Generation]:
        owner = add_owner(connection)
        return [add_generation(connection, owner=owner, **more) for more in each]

    return await db.write(add_all)


async def row_of(db: Database, generation_id: str) -> Generation:
    found = await db.read(store.find, generation_id, None)
    assert found is not None
    return found


async def history_of(db: Database, generation_id: str) -> list[tuple[int, State, str]]:
    """(version, state, reason) of every event, in order."""
    events = await db.read(event_rows.of_generation, generation_id)
    return [(event.version, event.state, event.reason) for event in events]


# The name of one key is what the engine's own tests write and read.


def add_counter(connection: Connection, text: str = "0") -> str:
    tenant_id, kid = add_owner(connection)
    set_text(connection, kid, text)
    assert tenant_id
    return kid


def set_text(connection: Connection, kid: str, text: str) -> str:
    connection.execute(update(api_keys).where(api_keys.c.kid == kid).values(name=text))
    return text


def text_of(connection: Connection, kid: str) -> str | None:
    return connection.scalar(select(api_keys.c.name).where(api_keys.c.kid == kid))
