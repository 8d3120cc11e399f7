"""The ASGI layer of traces, outside of the edge: one span a call, where it is recorded."""

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import CODE
from app.kit.traces import CallSpan, Value
from app.server.edge import METHODS, route_of

_TRACEPARENT = b"traceparent"


class Traced:
    """Wraps the edge. It continues the caller's trace; the layers below take its span for the caller's.

    So the trace id in answers, records and log lines is that of the trace.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one call within its span."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        theirs = next((value for name, value in scope["headers"] if name == _TRACEPARENT), b"")
        span = CallSpan(scope["method"], theirs.decode("latin-1") or None)
        if span.traceparent is None:
            await self._app(scope, receive, send)
            return
        headers = [pair for pair in scope["headers"] if pair[0] != _TRACEPARENT]
        scope["headers"] = [*headers, (_TRACEPARENT, span.traceparent.encode())]
        scope.setdefault("state", {})
        status = 0

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            span.end(method, route_of(scope), status, _of(scope["state"]))


def _of(state: dict[str, Any]) -> dict[str, Value]:
    """Returns who called, and with which error they were answered, as far as it is known."""
    found: dict[str, Value] = {}
    if (principal := state.get("principal")) is not None:
        found |= {"reelgate.tenant": principal.tenant_id, "reelgate.kid": principal.kid}
    if (code := state.get(CODE)) is not None:
        found["error.type"] = code
    return found
