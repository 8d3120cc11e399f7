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
    THRESHOLD = "quota.threshold"
    STATEMENT_CLOSED = "statement.closed"
    ENDPOINT_DISABLED = "endpoint.disabled"
    TEST = "webhook.test"
    RAISED = "condition.raised"
    CLEARED = "condition.cleared"


OF_REQUESTS: Final = (Kind.COMPLETED, Kind.FAILED, Kind.CANCELLED, Kind.UNKNOWN, Kind.RESOLVED)
"""What an endpoint that a submit named hears of that request."""
TO_CHOOSE: Final = (*OF_REQUESTS, Kind.THRESHOLD, Kind.STATEMENT_CLOSED, Kind.ENDPOINT_DISABLED)
"""The types that an endpoint of a tenant can choose from. A test goes to its endpoint alone."""
OF_OPERATOR: Final = (Kind.RAISED, Kind.CLEARED, Kind.ENDPOINT_DISABLED)
"""The types that the operator's own endpoint hears."""
ENDPOINT: Final = "ep_"
"""How the ids of endpoints begin."""
OPERATOR: Final = ""
"""The tenant of the operator's own endpoint and its messages."""
OPERATOR_ENDPOINT: Final = "ep_operator"
