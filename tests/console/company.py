"""A database as a company has it after a month: tenants, requests, sums, refusals, webhooks, and six stories.

It is written straight into the tables, for a real server to show. What the sums say is summed from the
requests, as the server would have done.
"""

# ruff: noqa: S608 - its statements are made of its own constants

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Table, create_engine, insert, text
from sqlalchemy.pool import NullPool

from app.auth import keys, tenants
from app.db.engines.engine import sync_url
from app.db.schema.tables import (
    api_keys,
    generations,
    refusals,
    usage_counts,
    webhook_attempts,
    webhook_deliveries,
    webhook_endpoints,
    webhook_messages,
)
from app.db.schema.tables import tenants as tenant_rows
from app.kit.ids import new_id
from app.webhooks.registry import secrets
from tests.harness import PEPPER

ACME: Final = "acme"
FLOODING: Final = "tenant-007"
AT_A_LOSS: Final = "blackforestlabs/flux-1-kontext/pro/edit"
MODELS: Final = (
    "bytedance/dreamina-3-0/image-to-video",
    "kling/kling-2-1/pro/image-to-video",
    AT_A_LOSS,
    "minimax/hailuo-02/standard/text-to-video",
    "wan/wan-2-2/text-to-video",
)
UNKNOWN: Final = 3
_VIDEO: Final = "https://files.example/harbour.mp4"
_DAY_MS: Final = 86_400_000
_DAYS: Final = 35
_SLICE: Final = 5_000
_DELIVERIES: Final = 40
_ENDED: Final = ("completed",) * 17 + ("failed", "failed", "cancelled")
WEBHOOK_KEY: Final = "the-key-of-the-company-0123456789abcdefgh"
"""The setting that opens the endpoints' secrets."""


@dataclass(frozen=True)
class Company:
    """So many tenants and requests, up to `now_ms`. What a stranger writes is `text` where it is given."""

    now_ms: int
    tenants: int = 200
    requests: int = 100_000
    text: str = ""

    @property
    def refused_at_ms(self) -> int:
        """The last 14:05 (UTC)."""
        at = datetime.fromtimestamp(self.now_ms / 1000, UTC)
        found = at.replace(hour=14, minute=5, second=0, microsecond=0)
        return int((found if found <= at else found - timedelta(days=1)).timestamp() * 1000)

    def furnish(self, connection: Connection) -> str:
        """Writes everything; returns an API key of acme's with every scope."""
        names = [ACME, *(f"tenant-{one:03}" for one in range(1, self.tenants))]
        made_ms = self.now_ms - 2 * _DAYS * _DAY_MS
        ids = [tenants.create(connection, one, now_ms=made_ms).id for one in names]
        kids = []
        key = ""
        for number, tenant_id in enumerate(ids):
            kid, shown = keys.create(
                connection,
                tenant_id,
                mode="live",
                name=self.text or "renders",
                pepper=PEPPER,
                now_ms=made_ms,
                scopes=sorted(keys.SCOPES),
            )
            kids.append(kid)
            key = key if number else shown
        owners = list(zip(ids, kids, strict=True))
        self._requests(connection, owners)
        _history(connection)
        self._refusals(connection, owners)
        self._webhooks(connection, owners[0][0])
        connection.execute(api_keys.update().values(last_used_at_ms=self.now_ms))
        return key

    def _requests(self, connection: Connection, owners: Sequence[tuple[str, str]]) -> None:
        chance = random.Random(17)  # noqa: S311 - not for secrets
        span_ms = _DAYS * _DAY_MS
        rows = []
        for number in range(self.requests):
            created_ms = self.now_ms - span_ms + (number + 1) * span_ms // (self.requests + 1)
            # acme has every twentieth request, and the others share the rest.
            of = 0 if number % 20 == 0 else 1 + number % (len(owners) - 1)
            is_unknown = number % 20 == 0 and number >= self.requests - 20 * UNKNOWN
            if is_unknown:  # of the last hour: later it is given up
                created_ms = self.now_ms - 2_400_000 + number
            rows.append(self._request(number, owners[of], created_ms, is_unknown=is_unknown, chance=chance))
            if len(rows) == _SLICE:
                connection.execute(insert(generations), rows)
                rows.clear()
        if rows:
            connection.execute(insert(generations), rows)

    def _request(
        self, number: int, owner: tuple[str, str], created_ms: int, *, is_unknown: bool, chance: random.Random
    ) -> dict[str, Any]:
        model = MODELS[number // 20 % len(MODELS)]
        state = "unknown" if is_unknown else chance.choice(_ENDED)
        is_done = state == "completed"
        price = 250_000 * (1 + number % 4)
        ended_ms = created_ms + chance.randrange(20_000, 240_000)
        upstream = f"up-{number:08x}"
        return {
            "id": _id_of(created_ms, number),
            "tenant_id": owner[0],
            "kid": owner[1],
            "root_kid": owner[1],
            "mode": "live",
            "model_id": model,
            "input": json.dumps({"prompt": f"a harbour at dawn {self.text}"}),
            "price_microcredits": price,
            "price_version": "1",
            "state": state,
            "version": 3,
            "upstream_request_id": None if is_unknown else upstream,
            "output": json.dumps({"video": _VIDEO, "note": self.text}) if is_done else None,
            "error": json.dumps({"message": f"refused {self.text}"}) if state == "failed" else None,
            "error_code": "generation_failed" if state == "failed" else None,
            "upstream_cost_usd": str(price * (2 if model == AT_A_LOSS else 0.6) / 1e6) if is_done else None,
            "trace_id": f"{number:032x}",
            "created_at_ms": created_ms,
            "changed_at_ms": created_ms + 30_000 if is_unknown else ended_ms,
            "finished_at_ms": None if is_unknown else ended_ms,
            "quota_day": datetime.fromtimestamp(created_ms / 1000, UTC).date().isoformat(),
            "settles_in": "completed",
            "charge": "held" if is_unknown else "settled" if is_done else "refunded",
            "end_user": (self.text[:60] or f"user-{number % 40}") if number % 5 == 0 else None,
            "caller_address": f"203.0.{number % 200}.0/24",
            "user_agent": self.text or "python-httpx2/2.16",
        }

    def _refusals(self, connection: Connection, owners: Sequence[tuple[str, str]]) -> None:
        by_name = {FLOODING: owners[7 % len(owners)], ACME: owners[0]}
        minute_ms = self.now_ms - self.now_ms % 60_000
        told = [
            *((FLOODING, minute_ms - n * 60_000, "rate_limited", 380 + n) for n in range(1, 30)),
            (ACME, self.refused_at_ms, "quota_exhausted", 12),
        ]
        rows: list[dict[str, Any]] = [
            {
                "tenant_id": by_name[name][0],
                "kid": by_name[name][1],
                "minute_ms": at_ms,
                "code": code,
                "network": "198.51.100.0/24",
                "mode": "live",
                "count": count,
            }
            for name, at_ms, code, count in told
        ]
        connection.execute(insert(refusals), rows)
        hour = 3_600_000
        sums: dict[tuple[str, str, int], int] = {}
        for one in rows:
            of = (one["tenant_id"], one["kid"], one["minute_ms"] // hour * hour)
            sums[of] = sums.get(of, 0) + one["count"]
        counted = [
            {
                "tenant_id": tenant_id,
                "kid": kid,
                "mode": "live",
                "facet": "hour",
                "period": period,
                "subject": "",
                "model_id": "",
                "outcome": "refused",
                "refused_calls": count,
            }
            for (tenant_id, kid, period), count in sums.items()
        ]
        connection.execute(insert(usage_counts), counted)

    def _webhooks(self, connection: Connection, tenant_id: str) -> None:
        """Two endpoints of acme's, one of which has been failing for two days."""
        whose: dict[str, Any] = {"tenant_id": tenant_id, "mode": "live"}
        since_ms = self.now_ms - 2 * _DAY_MS
        endpoint = {
            **whose,
            "description": self.text or "the shop",
            "vendor_links": False,
            "state": "enabled",
            "state_since_ms": since_ms,
            "signature": "v1",
            "created_at_ms": since_ms,
            "changed_at_ms": since_ms,
        }
        tail = f"?{self.text}" if self.text else ""
        endpoints = [
            {**endpoint, "id": "ep_" + new_id(since_ms), "url": f"https://shop.example/hooks{tail}"},
            {
                **endpoint,
                "id": "ep_" + new_id(since_ms),
                "url": f"https://old.example/hooks{tail}",
                "failing_since_ms": since_ms,
            },
        ]
        for one in endpoints:
            one["secret"] = secrets.seal(b"s" * 32, [WEBHOOK_KEY], bound_to=one["id"])
        _insert(connection, webhook_endpoints, endpoints)
        connection.execute(tenant_rows.update().where(tenant_rows.c.id == tenant_id).values(live_webhooks=2))
        ended = (
            text("SELECT id, finished_at_ms FROM generations WHERE tenant_id = :t AND state = 'completed'")
            .bindparams(t=tenant_id)
        )  # fmt: skip
        latest = sorted(connection.execute(ended).all(), key=lambda one: -one[1])[:_DELIVERIES]
        messages, deliveries, attempts = [], [], []
        for request_id, at_ms in latest:
            message_id = f"msg_{request_id}_3"  # of its third event, by which it ended
            kind = "request.completed"
            messages.append(
                {
                    **whose,
                    "id": message_id,
                    "type": kind,
                    "generation_id": request_id,
                    "created_at_ms": at_ms,
                    "body": f'{{"type": "{kind}", "data": {{"request_id": "{request_id}"}}}}',
                }
            )
            for place in (1, 2):
                arrives = place == 1
                delivery_id = "dlv_" + new_id(at_ms)
                tries = 1 if arrives else 3
                deliveries.append(
                    {
                        **whose,
                        "id": delivery_id,
                        "message_id": message_id,
                        "endpoint_id": endpoints[place - 1]["id"],
                        "type": kind,
                        "cause": "event",
                        "state": "delivered" if arrives else "pending",
                        "attempts": tries,
                        "next_at_ms": self.now_ms + 3_600_000,
                        "last_at_ms": at_ms,
                        "last_status": 200 if arrives else 500,
                        "created_at_ms": at_ms,
                        "finished_at_ms": at_ms + 200 if arrives else None,
                    }
                )
                attempts += [
                    {
                        "delivery_id": delivery_id,
                        "n": one + 1,
                        "at_ms": at_ms + one * 60_000,
                        "ms": 120,
                        "status": 200 if arrives else 500,
                        "answer": self.text or ("ok" if arrives else "the database is away"),
                    }
                    for one in range(tries)
                ]
        _insert(connection, webhook_messages, messages)
        _insert(connection, webhook_deliveries, deliveries)
        _insert(connection, webhook_attempts, attempts)


def furnished(url: str, company: Company) -> str:
    """Furnishes a migrated, empty database, and has it analysed; returns the API key."""
    engine = create_engine(sync_url(url), poolclass=NullPool)
    with engine.begin() as connection:
        key = company.furnish(connection)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    return key


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    connection.execute(insert(table), [dict(one) for one in rows])


def _id_of(at_ms: int, number: int) -> str:
    """A UUID of version 7, as those of requests are."""
    return str(UUID(int=(at_ms << 80) | (7 << 76) | (2 << 62) | number))


def _history(connection: Connection) -> None:
    """Events, entries and sums of the requests, as they follow from them."""
    connection.exec_driver_sql(
        "INSERT INTO generation_events"
        " (generation_id, version, state, at_ms, reason, tenant_id, mode, number)"
        " SELECT g.id, v.v, CASE WHEN v.v = 1 THEN 'dispatching' WHEN v.v = 2 AND g.state <> 'unknown'"
        " THEN 'in_queue' ELSE g.state END, CASE WHEN v.v < 3 THEN g.created_at_ms + (v.v - 1) * 900"
        " ELSE g.changed_at_ms END, CASE WHEN v.v = 1 THEN 'submitted' ELSE 'polled' END, g.tenant_id,"
        " g.mode, 3 * row_number() OVER (PARTITION BY g.tenant_id, v.v ORDER BY g.id) - 3 + v.v"
        " FROM generations g CROSS JOIN (SELECT 1 AS v UNION ALL SELECT 2 UNION ALL SELECT 3) v"
        " WHERE v.v < 3 OR g.state <> 'unknown'"
    )
    connection.exec_driver_sql(
        "UPDATE tenants SET live_events ="
        " (SELECT coalesce(max(number), 0) FROM generation_events WHERE tenant_id = tenants.id)"
    )
    for kind, sign, only in (("hold", "-", ""), ("settle", "", "settled"), ("refund", "", "refunded")):
        amount = "0" if kind == "settle" else f"{sign}price_microcredits"
        where = f" WHERE charge = '{only}'" if only else ""
        at = "finished_at_ms" if only else "created_at_ms"
        connection.exec_driver_sql(
            "INSERT INTO ledger_entries (tenant_id, mode, kind, generation_id, kid, model_id, microcredits,"
            f" at_ms) SELECT tenant_id, mode, '{kind}', id, kid, model_id, {amount}, {at}"
            f" FROM generations{where}"
        )
    hour = "created_at_ms - CAST(MOD(created_at_ms, 3600000) AS BIGINT)"
    day = "CAST(replace(quota_day, '-', '') AS INTEGER)"
    cost = "CAST(coalesce(sum(CAST(upstream_cost_usd AS NUMERIC)) * 1000000, 0) AS BIGINT)"
    for facet, period, subject, only in (
        ("hour", hour, "''", ""),
        ("day", day, "''", ""),
        ("end_user", day, "end_user", " AND end_user IS NOT NULL"),
    ):
        head = (
            "INSERT INTO usage_counts (tenant_id, mode, facet, period, subject, kid, model_id, outcome,"
            f" {{names}}) SELECT tenant_id, mode, '{facet}', {period}, {subject}, kid, model_id,"
            f" {{outcome}}, {{sums}} FROM generations WHERE 1 = 1{only}"
        )
        groups = f" GROUP BY tenant_id, mode, {period}, {subject}, kid, model_id"
        groups = groups.replace(" '',", "")
        held = head.format(
            names="held_generations, held_microcredits",
            outcome="'submitted'",
            sums="count(*), sum(price_microcredits)",
        )
        connection.exec_driver_sql(held + groups)
        for charge, name in (("settled", "spent"), ("refunded", "refunded")):
            ended = head.format(
                names=f"{name}_generations, {name}_microcredits, ended_generations, cost_microusd",
                outcome="state",
                sums=f"count(*), sum(price_microcredits), count(*), {cost}",
            )
            connection.exec_driver_sql(f"{ended} AND charge = '{charge}'{groups}, state")
