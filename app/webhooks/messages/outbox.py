"""Writing messages in the transaction of what they tell, each with the names of those who hear it."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from app.db.announcements import announce, webhook_announcement
from app.db.schema.tables import webhook_messages
from app.db.schema.webhook_states import Cause, DeliveryState
from app.db.statements.deferral import write_later
from app.db.statements.many import inserting_many
from app.kit.ids import new_id
from app.kit.log import get_logger
from app.webhooks.kinds import OPERATOR_ENDPOINT, Kind
from app.webhooks.messages import fan_out
from app.webhooks.registry import subscriptions
from app.webhooks.registry.subscriptions import Subscription

_log = get_logger("webhooks")
MESSAGE: Final = "msg_"
_MESSAGE: Final = (
    "id",
    "tenant_id",
    "mode",
    "type",
    "body",
    "linked_body",
    "generation_id",
    "heard_by",
    "created_at_ms",
)
_OF_OPERATOR: Final = Subscription(OPERATOR_ENDPOINT, vendor_links=False, sent_to=True)


def message_id(*parts: str) -> str:
    """Returns the id of the message that these parts stand for: the same for the same ones, and opaque."""
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return f"{MESSAGE}{digest[:32]}"


class Bodies(NamedTuple):
    """The body of a message, and the one with RunComfy's links, for endpoints that chose them."""

    plain: str
    linked: str | None = None


class Message(NamedTuple):
    """A message without its body. The id says what it tells: what is told twice has one id."""

    id: str
    tenant_id: str
    mode: str
    kind: Kind
    at_ms: int
    generation_id: str | None = None


def tell(
    connection: Connection,
    message: Message,
    make: Callable[[bool], Bodies],
    *,
    named: str | None = None,
    but: str | None = None,
    number: int | None = None,
) -> int:
    """Writes a message for all endpoints that hear it; writes nothing where there are none.

    `number` is what the tenant's row says of its endpoints, where the caller has locked that and knows it.

    `make` returns the bodies, with links where it is asked for them. No defect in making them undoes the
    transaction, because that may be the record of a paid job: then the message is owed, and `owed` finds it.

    Returns how many hear it.
    """
    try:
        heard = subscriptions.hearing(
            connection, message.tenant_id, message.mode, message.kind, named=named, but=but, number=number
        )
        if not heard:
            return 0
        bodies = make(any(one.vendor_links for one in heard))
    except DBAPIError:
        raise
    except Exception:  # noqa: BLE001 - as the docstring says
        _log.exception(
            "The body of a webhook's message could not be made; it is owed.", message_id=message.id
        )
        write_later(connection, _write_all, _message_row(message, None))
        return 0
    write(connection, message, bodies, heard)
    return len(heard)


def tell_operator(connection: Connection, message: Message, body: str) -> None:
    """Writes a message for the operator's own endpoint."""
    write(connection, message, Bodies(body), [_OF_OPERATOR])


def write(connection: Connection, message: Message, bodies: Bodies, endpoints: list[Subscription]) -> None:
    """Writes a message for these endpoints.

    It is sent to them once the transaction is committed (`app.webhooks.messages.fan_out`). Functions that
    share it have all that they tell written at its end, together.
    """
    heard_by = fan_out.named([(one.endpoint_id, one.sent_to) for one in endpoints])
    write_later(connection, _write_all, _message_row(message, bodies, heard_by))
    wake(connection, message.tenant_id, message.mode)


def _write_all(connection: Connection, messages: Sequence[tuple[Any, ...]]) -> None:
    inserting_many(webhook_messages, *_MESSAGE).run(connection, messages)


def delivery_of(
    message: Message,
    endpoint_id: str,
    *,
    now_ms: int,
    cause: Cause = Cause.EVENT,
    replay_id: str | None = None,
) -> dict[str, Any]:
    """Returns the row of a delivery that is due now."""
    return {
        "id": fan_out.DELIVERY + new_id(now_ms),
        "message_id": message.id,
        "endpoint_id": endpoint_id,
        "tenant_id": message.tenant_id,
        "mode": message.mode,
        "type": message.kind,
        "cause": cause,
        "replay_id": replay_id,
        "state": DeliveryState.PENDING,
        "attempts": 0,
        "next_at_ms": now_ms,
        "last_error": None,
        "created_at_ms": now_ms,
        "finished_at_ms": None,
    }


def wake(connection: Connection, tenant_id: str, mode: str) -> None:
    """Lets deliveries that this transaction wrote be sent as soon as it is committed."""
    announce(connection, webhook_announcement(tenant_id or "-", mode))


def _message_row(message: Message, bodies: Bodies | None, heard_by: str | None = None) -> tuple[Any, ...]:
    return (
        message.id,
        message.tenant_id,
        message.mode,
        message.kind.value,
        None if bodies is None else bodies.plain,
        None if bodies is None else bodies.linked,
        message.generation_id,
        heard_by,
        message.at_ms,
    )
