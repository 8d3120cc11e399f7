"""The types of messages. Pure."""

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """The type of a message."""

    COMPLETED = "request.completed"
    FAILED = "request.failed"
    CANCELLED = "request.cancelled"
    UNKNOWN = "request.unknown"
    RESOLVED = "request.resolved"
    ASSET_STORED = "asset.stored"
    ASSET_FAILED = "asset.failed"
    ASSET_EXPIRED = "asset.expired"
    THRESHOLD = "quota.threshold"
    STATEMENT_CLOSED = "statement.closed"
    ENDPOINT_DISABLED = "endpoint.disabled"
    TEST = "webhook.test"
    RAISED = "condition.raised"
    CLEARED = "condition.cleared"


OF_REQUESTS: Final = (Kind.COMPLETED, Kind.FAILED, Kind.CANCELLED, Kind.UNKNOWN, Kind.RESOLVED)
"""What is told of a request's own state."""
OF_ASSETS: Final = (Kind.ASSET_STORED, Kind.ASSET_FAILED, Kind.ASSET_EXPIRED)
"""What is told of the copies of its output. An endpoint that a submit named hears both of that request."""
TO_CHOOSE: Final = (*OF_REQUESTS, *OF_ASSETS, Kind.THRESHOLD, Kind.STATEMENT_CLOSED, Kind.ENDPOINT_DISABLED)
"""The types that an endpoint of a tenant can choose from. A test goes to its endpoint alone."""
OF_OPERATOR: Final = (Kind.RAISED, Kind.CLEARED, Kind.ENDPOINT_DISABLED)
"""The types that the operator's own endpoint hears."""
ENDPOINT: Final = "ep_"
"""How the ids of endpoints begin."""
OPERATOR: Final = ""
"""The tenant of the operator's own endpoint and its messages."""
OPERATOR_ENDPOINT: Final = "ep_operator"
