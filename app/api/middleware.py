"""The outermost layer, pure ASGI: trace id, access log, a few headers, and no exception ever leaves it."""

import time

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from app.api.problems import internal_error, response
from app.errors import ROUTE_NOT_FOUND, Problem
from app.kit.telemetry import get_logger, trace_id_of, trace_id_var

TRACE_HEADER = "Reelgate-Trace-Id"
_QUIET = frozenset({"/livez", "/readyz"})
_log = get_logger("http")


class Edge:
    """Wraps the whole application. `base_url` stands in the problems that it writes itself."""

    def __init__(self, app: FastAPI, base_url: str) -> None:
        self._app = app
        self._base_url = base_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; lifespan passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace_id = trace_id_of(Headers(scope=scope).get("traceparent"))
        token = trace_id_var.set(trace_id)
        started_s = time.perf_counter()
        status = 0
        complete = False

        async def send_marked(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message["status"]
                self._mark(MutableHeaders(scope=message), trace_id)
            elif message["type"] == "http.response.body":
                complete = not message.get("more_body", False)
            await send(message)

        try:
            if scope["path"].endswith("\n"):
                # Starlette's patterns let one pass at the end, where Python's `$` matches before it.
                await self._refuse(scope, receive, send_marked)
            else:
                await self._app(scope, receive, send_marked)
        except Exception:
            _log.exception("A request failed.", method=scope["method"], path=scope["path"])
            if not status:
                await internal_error(self._base_url, scope["path"])(scope, receive, send_marked)
            elif not complete:
                raise  # half an answer has gone out: only closing the connection is honest
        finally:
            if scope["path"] not in _QUIET:
                _log.info(
                    "A request was answered.",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    duration_ms=round((time.perf_counter() - started_s) * 1000, 2),
                )
            trace_id_var.reset(token)

    def _mark(self, headers: MutableHeaders, trace_id: str) -> None:
        headers[TRACE_HEADER] = trace_id
        headers["X-Content-Type-Options"] = "nosniff"
        headers.setdefault("Cache-Control", "no-store")
        if getattr(self._app.state, "draining", False):
            headers["Connection"] = "close"  # and come back by another server

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = Problem(ROUTE_NOT_FOUND, "The path ends with a line break.")
        await response(problem, base_url=self._base_url, instance=scope["path"])(scope, receive, send)
