"""The operator's own endpoint. Its URL and secret are in the settings; its row is only for the queue."""

from sqlalchemy import Connection

from app.db.schema.tables import webhook_endpoints
from app.db.schema.webhook_states import EndpointState
from app.db.statements.upsert import insert_of
from app.webhooks.kinds import OPERATOR, OPERATOR_ENDPOINT


def configure(connection: Connection, url: str | None, *, now_ms: int) -> None:
    """Records the operator's endpoint as a server starts with it, enabled again if it was disabled.

    None is for a server whose settings name none: what waits for one is cancelled.
    """
    row = {
        "url": url or "",
        "state": EndpointState.DISABLED if url is None else EndpointState.ENABLED,
        "state_reason": "not_configured" if url is None else None,
        "state_since_ms": now_ms,
        "failing_since_ms": None,
        "gone_since_ms": None,
        "held_until_ms": 0,
        "changed_at_ms": now_ms,
    }
    table = webhook_endpoints
    if url is None:
        connection.execute(table.update().where(table.c.id == OPERATOR_ENDPOINT).values(**row))
        return
    first = {
        "id": OPERATOR_ENDPOINT,
        "tenant_id": OPERATOR,
        "mode": "live",
        "vendor_links": False,
        "signature": "v1",
        "secret": "",
        "created_at_ms": now_ms,
    }
    insert = insert_of(connection, table).values(**first, **row)
    connection.execute(insert.on_conflict_do_update(index_elements=[table.c.id], set_=row))
