"""Inserts live generations in bulk, with events, ledger, usage and roll-ups that agree."""

import random
import secrets
from collections import Counter
from collections.abc import Iterator
from datetime import UTC
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from app.auth import keys
from app.auth import tenants as tenancy
from app.db.schema.tables import generation_events, generations, ledger_entries, quota_usage, tenants
from app.generations.lifecycle import State
from app.kit.clock import iso
from app.kit.ids import new_id
from app.kit.json import to_column
from app.quotas.balances.ledger import Charge, Kind
from app.quotas.limits import Payer, scopes_of
from app.quotas.periods import periods_of_day
from app.quotas.sums import rollups
from bench.gateway import MODEL
from bench.standin import live_id

PRICE: Final = 250_000
_RUNNING: Final = 0.5  # fraction of the generations that run; the others are in RunComfy's queue
_SENT_MS: Final = 900  # from the intent to the upstream's response
_STEPS: Final = (
    (State.DISPATCHING, "submitted"),
    (State.IN_QUEUE, "upstream_accepted"),
    (State.IN_PROGRESS, "upstream_in_progress"),
)
_INPUT: Final = {
    "image_urls": ["https://example.com/harbour.jpg"],
    "prompt": "a harbour at dawn, the boats rock gently, slow camera move to the left",
    "number_of_frames": 121,
    "resolution": "720P",
}


def add_live_jobs(connection: Connection, count: int, *, now_ms: int, oldest_s: float) -> None:
    """Inserts generations of a new tenant that never end, created over the last `oldest_s` seconds.

    Half of them are in RunComfy's queue, half in progress; all are due to be polled now, as after an outage.
    """
    tenant = tenancy.create(connection, f"live-{secrets.token_hex(4)}", now_ms=now_ms)
    pepper = secrets.token_urlsafe(32)
    kid, _ = keys.create(connection, tenant.id, mode="test", name="", pepper=pepper, now_ms=now_ms)
    rows = list(_generations(tenant.id, kid, count, now_ms=now_ms, oldest_ms=int(oldest_s * 1000)))
    events = [
        event | {"number": number}
        for number, event in enumerate(
            sorted((one for row in rows for one in _events(row)), key=lambda one: one["at_ms"]), start=1
        )
    ]
    connection.execute(insert(generations), rows)
    connection.execute(insert(generation_events), events)
    connection.execute(insert(ledger_entries), [_hold(row) for row in rows])
    connection.execute(insert(quota_usage), list(_usage(rows)))
    for row in rows:
        rollups.count(
            *(connection, tenant.id, "test", Payer(kid), MODEL),
            outcome=rollups.SUBMITTED,
            zone=UTC,
            at_ms=row["created_at_ms"],
            held_generations=1,
            held_microcredits=PRICE,
        )
    connection.execute(update(tenants).where(tenants.c.id == tenant.id).values(test_events=len(events)))


def add_copies(connection: Connection, job: str, count: int, *, now_ms: int) -> list[str]:
    """Inserts copies of a generation's row alone, which are good for reading, and returns their ids."""
    row = dict(connection.execute(select(generations).where(generations.c.id == job)).mappings().one())
    ids = [new_id(now_ms) for _ in range(count)]
    connection.execute(insert(generations), [row | {"id": one, "upstream_request_id": one} for one in ids])
    return ids


def _generations(
    tenant_id: str, kid: str, count: int, *, now_ms: int, oldest_ms: int
) -> Iterator[dict[str, Any]]:
    chance = random.Random(count)  # noqa: S311 - guards nothing
    for number in range(count):
        age_ms = 2 * _SENT_MS + int(oldest_ms * number / count)
        running = chance.random() < _RUNNING
        created_at_ms = now_ms - age_ms
        steps = 3 if running else 2
        yield {
            "id": new_id(created_at_ms),
            "tenant_id": tenant_id,
            "kid": kid,
            "mode": "test",
            "model_id": MODEL,
            "input": to_column(_INPUT),
            "price_microcredits": PRICE,
            "price_version": "1",
            "state": _STEPS[steps - 1][0],
            "version": steps,
            "credential": "sandbox",
            "upstream_request_id": live_id(number, running=running),
            "trace_id": secrets.token_hex(16),
            "created_at_ms": created_at_ms,
            "changed_at_ms": created_at_ms + _SENT_MS * (steps - 1),
            "started_at_ms": created_at_ms + _SENT_MS * 2 if running else None,
            "next_poll_at_ms": now_ms,
            "root_kid": kid,
            "quota_day": iso(created_at_ms)[:10],
            "settles_in": State.COMPLETED,
            "charge": Charge.HELD,
        }


def _events(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for version, (state, reason) in enumerate(_STEPS[: row["version"]], start=1):
        yield {
            "generation_id": row["id"],
            "version": version,
            "state": state,
            "at_ms": row["created_at_ms"] + _SENT_MS * (version - 1),
            "reason": reason,
            "tenant_id": row["tenant_id"],
            "mode": row["mode"],
        }


def _hold(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "tenant_id": row["tenant_id"],
        "mode": row["mode"],
        "kind": Kind.HOLD,
        "generation_id": row["id"],
        "kid": "",
        "model_id": "",
        "microcredits": -PRICE,
        "at_ms": row["created_at_ms"],
    }


def _usage(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    held = Counter(
        (scope, period)
        for row in rows
        for scope in scopes_of(row["root_kid"], row["model_id"])
        for period in periods_of_day(row["quota_day"])
    )
    for (scope, period), count in held.items():
        yield {
            "tenant_id": rows[0]["tenant_id"],
            "mode": "test",
            "kid": scope.kid,
            "model_id": scope.model_id,
            "period": period,
            "held_generations": count,
            "spent_generations": 0,
            "held_microcredits": count * PRICE,
            "spent_microcredits": 0,
            "added_microcredits": 0,
        }
