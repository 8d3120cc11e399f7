"""The states of webhooks' endpoints and deliveries, and the conditions on them that SQL spells out. Pure.

As for generations (`db.schema.states`), partial indexes and the statements that use them say the same text.
"""

from enum import StrEnum
from typing import Final

from app.db.schema.states import spelled_in


class EndpointState(StrEnum):
    """Whether messages are sent to an endpoint.

    Deliveries to one that is paused wait. One that is disabled (it failed for days, or its secret cannot be
    read) or gone (it answered 410 twice) gets none: what is recorded meanwhile is cancelled, to be replayed.
    """

    ENABLED = "enabled"
    PAUSED = "paused"
    DISABLED = "disabled"
    GONE = "gone"


class DeliveryState(StrEnum):
    """Where a delivery is: of one message, to one endpoint."""

    PENDING = "pending"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Cause(StrEnum):
    """Why a delivery was made."""

    EVENT = "event"
    REPLAY = "replay"
    TEST = "test"


class ReplayState(StrEnum):
    """Where a replay of a range is."""

    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"


UNDELIVERED: Final = (DeliveryState.FAILED, DeliveryState.CANCELLED)
"""What a replay of failures sends again."""

IS_PENDING: Final = spelled_in("state", (DeliveryState.PENDING,))
IS_DELIVERING: Final = spelled_in("state", (DeliveryState.DELIVERING,))
IS_UNDELIVERED: Final = spelled_in("state", UNDELIVERED)
IS_RUNNING: Final = spelled_in("state", (ReplayState.RUNNING,))
USUAL_TYPE: Final = "request.completed"
"""The type of most messages, which an index of the others leaves out."""
IS_UNUSUAL: Final = f"type <> '{USUAL_TYPE}'"
IS_OWED: Final = "body IS NULL"
"""The condition of a message whose body and deliveries are still to be made."""
IS_HEARD: Final = "heard_by IS NOT NULL"
"""The condition of a message whose deliveries are still to be made, to the endpoints that it names."""
