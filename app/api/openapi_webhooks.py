"""The `webhooks` section of a contract (OpenAPI 3.1): what the gateway sends to webhook endpoints."""

from collections.abc import Mapping
from typing import Any, Final

from app.documents.webhooks import (
    AssetMessage,
    ConditionMessage,
    EndpointMessage,
    RequestMessage,
    StatementMessage,
    TenantEndpointMessage,
    TestMessage,
    ThresholdMessage,
)
from app.webhooks.kinds import Kind

OF_TENANTS: Final[Mapping[Kind, tuple[Any, str]]] = {
    Kind.COMPLETED: (RequestMessage, "A request has completed."),
    Kind.FAILED: (RequestMessage, "A request has failed, was rejected, or is lost."),
    Kind.CANCELLED: (RequestMessage, "A request was cancelled, or has expired before it started."),
    Kind.UNKNOWN: (RequestMessage, "It is not known whether RunComfy accepted a request."),
    Kind.RESOLVED: (RequestMessage, "What became of an unknown request is known, or never will be."),
    Kind.ASSET_STORED: (AssetMessage, "A file of an output is in the gateway's store."),
    Kind.ASSET_FAILED: (AssetMessage, "A file of an output will not be in the gateway's store."),
    Kind.ASSET_EXPIRED: (AssetMessage, "The copy of an output's file was removed."),
    Kind.THRESHOLD: (ThresholdMessage, "A submit has crossed a threshold of a budget or balance."),
    Kind.STATEMENT_CLOSED: (StatementMessage, "A month was closed."),
    Kind.ENDPOINT_DISABLED: (EndpointMessage, "Nothing is sent to another endpoint of the tenant any more."),
    Kind.TEST: (TestMessage, "The endpoint's owner asked for a test."),
}
OF_OPERATOR: Final[Mapping[Kind, tuple[Any, str]]] = {
    Kind.RAISED: (ConditionMessage, "A condition of the gateway has begun."),
    Kind.CLEARED: (ConditionMessage, "A condition of the gateway has ended."),
    Kind.ENDPOINT_DISABLED: (TenantEndpointMessage, "Nothing is sent to an endpoint of a tenant any more."),
}
_HEADERS: Final = {
    "webhook-id": "The event's id: the same in every attempt, resend and replay.",
    "webhook-timestamp": "When this attempt began, in seconds since 1970.",
    "webhook-signature": "Signatures of Standard Webhooks, separated by blanks: `v1,…` or `v1a,…`; while a"
    " secret is rotated, that of the new one comes first.",
}


def webhooks(kinds: Mapping[Kind, tuple[Any, str]]) -> dict[str, Any]:
    """Returns what is sent of these kinds, by their names."""
    return {kind: {"post": _sent(kind, shape, text)} for kind, (shape, text) in kinds.items()}


def _sent(kind: Kind, shape: Any, text: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{shape.__name__}"}
    return {
        "tags": ["webhooks"],
        "summary": text,
        "description": "At least once, in no certain order, with the same id and bytes each time.",
        "operationId": f"on_{kind.replace('.', '_')}",
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": described,
                "schema": {"type": "string"},
            }
            for name, described in _HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "2XX": {"description": "The receiver has it."},
            "410": {"description": "It wants no more: after the second one, nothing is sent to it."},
            "default": {"description": "It is sent again, as the schedule says, or as `Retry-After` asks."},
        },
        "security": [],
    }
