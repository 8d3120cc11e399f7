"""Test events: a message of its own for one endpoint, which its owner asked for."""

from sqlalchemy import Connection, insert

from app.db.schema.tables import webhook_deliveries, webhook_messages
from app.db.schema.webhook_states import Cause
from app.kit.ids import new_id
from app.webhooks.history import log
from app.webhooks.history.log import Delivery
from app.webhooks.kinds import Kind
from app.webhooks.messages import bodies, outbox
from app.webhooks.messages.outbox import Message
from app.webhooks.registry.endpoints import Endpoint


def send(connection: Connection, endpoint: Endpoint, *, now_ms: int) -> Delivery:
    """Makes a test event for an endpoint, and its delivery. Its failure has no consequence for the endpoint.

    Raises:
        Problem: WEBHOOK_ENDPOINT_STOPPED.

    """
    endpoint.refuse_if_stopped()
    message = Message(
        id=f"msg_{new_id(now_ms)}",
        tenant_id=endpoint.tenant_id,
        mode=endpoint.mode,
        kind=Kind.TEST,
        at_ms=now_ms,
    )
    links = {"endpoint": f"/v1/webhooks/endpoints/{endpoint.id}"}
    data = {"endpoint_id": endpoint.id, "mode": endpoint.mode, "links": links}
    body = bodies.body(Kind.TEST, data, at_ms=now_ms)
    connection.execute(
        insert(webhook_messages).values(
            id=message.id,
            tenant_id=message.tenant_id,
            mode=message.mode,
            type=message.kind,
            body=body,
            created_at_ms=now_ms,
        )
    )
    delivery = outbox.delivery_of(message, endpoint.id, now_ms=now_ms, cause=Cause.TEST)
    connection.execute(insert(webhook_deliveries).values(**delivery))
    outbox.wake(connection, message.tenant_id, message.mode)
    return log.find(connection, delivery["id"]).delivery
