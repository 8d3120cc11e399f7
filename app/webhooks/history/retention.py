"""The log of webhooks is kept for a time: deliveries with their attempts, messages, replays.

A message goes with the last delivery of it. What still waits at the end of that time is not sent any more.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, select

from app.db.engines.engine import Database
from app.db.schema.tables import (
    webhook_attempts,
    webhook_deliveries,
    webhook_endpoints,
    webhook_messages,
    webhook_replays,
)
from app.db.schema.webhook_states import DeliveryState
from app.kit.clock import Clock
from app.kit.ids import first_of
from app.webhooks.history import log, replays

_BATCH: Final = 200
_D: Final = webhook_deliveries.c


@dataclass(frozen=True, slots=True)
class WebhookRetention:
    """Removes the log of webhooks `keep_s` seconds after its entries were made."""

    db: Database
    clock: Clock
    keep_s: float

    async def run_once(self) -> int:
        """Removes what is due, and returns how many deliveries, messages, replays and endpoints that were."""
        removed, before_ms = 0, self.clock.now_ms() - int(self.keep_s * 1000)
        for some in (_deliveries, _replays, _endpoints):
            count = _BATCH
            while count >= _BATCH:
                count = await self.db.write(some, before_ms)
                removed += count
        return removed


def _deliveries(connection: Connection, before_ms: int) -> int:
    """Removes the oldest deliveries, but for one that is being sent, with the messages that have no other."""
    query = (
        select(_D.id, _D.message_id)
        .where(_D.id < log.PREFIX + first_of(before_ms), _D.state != DeliveryState.DELIVERING)
        .order_by(_D.id)
        .limit(_BATCH)
    )
    rows = connection.execute(query).all()
    if not rows:
        return 0
    ids = [row.id for row in rows]
    connection.execute(delete(webhook_attempts).where(webhook_attempts.c.delivery_id.in_(ids)))
    connection.execute(delete(webhook_deliveries).where(_D.id.in_(ids)))
    message = webhook_messages.c
    used = select(_D.id).where(_D.message_id == message.id).exists()
    some = message.id.in_({row.message_id for row in rows})
    return len(ids) + connection.execute(delete(webhook_messages).where(some, ~used)).rowcount


def _replays(connection: Connection, before_ms: int) -> int:
    query = select(webhook_replays.c.id).where(
        webhook_replays.c.id < replays.PREFIX + first_of(before_ms),
        webhook_replays.c.finished_at_ms.is_not(None),
    )
    return _removed(connection, webhook_replays, query.limit(_BATCH))


def _endpoints(connection: Connection, before_ms: int) -> int:
    """Removes the rows of endpoints that were deleted so long ago that nothing of them is in the log."""
    endpoint = webhook_endpoints.c
    used = select(_D.id).where(_D.endpoint_id == endpoint.id).exists()
    query = select(endpoint.id).where(endpoint.deleted_at_ms < before_ms, ~used).limit(_BATCH)
    return _removed(connection, webhook_endpoints, query)


def _removed(connection: Connection, table: Any, query: Any) -> int:
    ids = connection.execute(query).scalars().all()
    if ids:
        connection.execute(delete(table).where(table.c.id.in_(ids)))
    return len(ids)
