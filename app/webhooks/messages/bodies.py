"""The bodies of messages: `{type, timestamp, version, data}` as JSON, frozen when they are made. Pure.

`app.documents.webhooks` has their shapes. Links are relative to the gateway's address, so that they hold when
that changes.
"""

from collections.abc import Mapping
from typing import Any, Final

from app.kit.clock import iso
from app.kit.json import dumps
from app.webhooks.kinds import Kind

VERSION: Final = 1
"""The version of all shapes; it grows when a member is removed or changes its meaning."""
MAX_BYTES: Final = 20_000


def body(kind: Kind, data: Mapping[str, Any], *, at_ms: int) -> str:
    """Returns the body of a message about what happened at that time."""
    return dumps({"type": kind, "timestamp": iso(at_ms), "version": VERSION, "data": data}).decode()


def with_output(kind: Kind, data: Mapping[str, Any], output: Any, *, at_ms: int) -> str:
    """Returns the body of a request's message with RunComfy's output; null where that is too large."""
    whole = body(kind, {**data, "output": output}, at_ms=at_ms)
    if len(whole.encode()) < MAX_BYTES:
        return whole
    return body(kind, {**data, "output": None}, at_ms=at_ms)


def endpoint_disabled(*, endpoint_id: str, mode: str, url: str, state: str, reason: str) -> dict[str, Any]:
    """Returns the data of `endpoint.disabled`."""
    return {
        "endpoint_id": endpoint_id,
        "mode": mode,
        "url": url,
        "state": state,
        "reason": reason,
        "links": {"endpoint": f"/v1/webhooks/endpoints/{endpoint_id}"},
    }


def statement_closed(
    *, mode: str, month: str, entries: int, opening_microcredits: int, closing_microcredits: int
) -> dict[str, Any]:
    """Returns the data of `statement.closed`."""
    return {
        "mode": mode,
        "month": month,
        "entries": entries,
        "opening_microcredits": opening_microcredits,
        "closing_microcredits": closing_microcredits,
        "links": {"statement": f"/v1/statements/{month}"},
    }


def condition(
    *, name: str, subject: str, since_ms: int, changes: int, details: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the data of `condition.raised` and `condition.cleared`."""
    return {
        "condition": name,
        "subject": subject,
        "since": iso(since_ms),
        "changes": changes,
        "details": dict(details),
    }
