"""Plain submits, answered without the layers of an application.

The parser has read the request, and the connection is in the same state as on the ordinary way. Nothing is
decided here that is not decided there, by the same functions: who calls (`Authenticator.recall`), what the
headers ask for, whether the body is a JSON object, and the submit itself. What is unusual in any way, and
whatever would be refused before the submit begins, takes the ordinary way: `plain` returns None, and has
changed nothing. What the submit itself refuses, and what fails, is answered by the edge, as any other.
"""

import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.bodies import check_type, json_response, object_in
from app.api.direct import SUBMIT
from app.api.headers.request import SubmitHeaders, submit_headers_of
from app.api.problems import answer_problem
from app.api.v1.models import add_headers, headers_of
from app.api.v1.models import send as submit
from app.auth.principal import Principal, bearer_of, handle_of
from app.documents.generations.requests import submitted
from app.errors import Problem
from app.gateway import Gateway
from app.kit.json import dumps
from app.kit.log import JSONLines, trace_id_of, trace_id_var
from app.server.edge import ANSWERED, CLIENT_LEFT, LEFT, OK, Begun, Edge, labels_of, members_of
from app.server.request_head import READ
from app.server.request_head import Headers as Pairs
from app.server.response_head import ResponseHead, template

_BEGIN: Final = "/v1/models/"
_MAX_BODY: Final = 65_536  # bytes: of more, uvicorn pauses the connection
_MAX_CALLERS: Final = 10_000
_USUAL: Final = frozenset(
    {
        *(b"accept", b"authorization", b"connection", b"content-length", b"content-type", b"host"),
        *(b"idempotency-key", b"reelgate-keep-output", b"reelgate-start-deadline", b"traceparent"),
    }
)
_DECISIVE: Final = READ - _USUAL
"""The headers by which an answer may differ in other ways: a request with one of them is not plain."""


class Plain(NamedTuple):
    """A plain submit: of whom, and what it asks for."""

    gateway: Gateway
    principal: Principal
    model_id: str
    body: dict[str, Any]
    asked: SubmitHeaders
    begun: Begun


class FastSubmits:
    """What all connections of a server share: who called, and the parts of the answers."""

    def __init__(self, app: FastAPI, edge: Edge) -> None:
        self._app = app
        self._edge = edge
        self._callers: dict[str, tuple[Principal, str]] = {}  # as members of the line in the log
        self._lines = JSONLines("http")
        self._times = edge.calls.timed.of(*labels_of("POST", SUBMIT.path, 200, OK))
        self._head = ResponseHead()
        self._template = b""

    def plain(self, scope: Scope, content: bytes | bytearray) -> Plain | None:
        """Returns the submit that a request with this content is; None where it takes the ordinary way."""
        started_s = time.perf_counter()
        path: str = scope["path"]
        if scope["method"] != "POST" or scope["query_string"] or not path.startswith(_BEGIN):
            return None
        state, model_id = self._app.state, path[len(_BEGIN) :]
        gateway: Gateway | None = getattr(state, "gateway", None)
        if gateway is None or state.draining or not self._lines.are_written:
            return None
        pairs = scope["headers"]
        named = dict(pairs)
        is_plain = (
            len(named) == len(pairs)
            and _DECISIVE.isdisjoint(named)
            and len(content) <= min(_MAX_BODY, gateway.settings.max_body_bytes)
            and model_id in gateway.catalog.models
        )
        if not is_plain or (principal := _caller(gateway, named)) is None:
            return None
        headers = Headers(raw=pairs)
        try:
            asked = submit_headers_of(headers, gateway.clock)
            check_type(headers)
            body = object_in(bytes(content))
        except Problem:  # which the ordinary way answers
            return None
        trace_id = trace_id_of(named.get(b"traceparent", b"").decode("latin-1"))
        return Plain(gateway, principal, model_id, body, asked, Begun(trace_id, started_s))

    async def answer(
        self,
        plain: Plain,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        dated: Pairs,
        is_written: Callable[[bytes], bool],
    ) -> None:
        """Submits, and answers; `is_written` writes an answer, where the connection is in its usual state.

        `dated` are the headers that the server sends with every response.
        """
        gateway, principal, model_id, _, asked, begun = plain
        scope["route"], scope["state"]["principal"] = SUBMIT, principal
        trace_id_var.set(begun.trace_id)
        peer = scope["client"]
        caller = gateway.access.callers.of(None if peer is None else peer[0], scope["headers"])
        rest: ASGIApp | None = None
        size = 0
        try:
            submission = await submit(gateway, principal, model_id, plain.body, asked=asked, caller=caller)
            document = submitted(submission.generation, gateway.base_url)
            headers = await headers_of(gateway, principal, model_id, submission)
            content = dumps(document)
            size = len(content)
            head = self._head_of(headers, size, begun.trace_id, dated)
            if self._app.state.draining or not is_written(head + content):
                rest = json_response(document, headers=headers)
        except BaseException as error:  # noqa: BLE001 - the edge gets it, a cancellation too
            rest = self._telling(plain, error)
        if rest is None:
            self._report(scope, plain, size)
        else:
            await self._edge.answer_by(rest, scope, receive, send, begun, sent=scope)

    def _head_of(self, headers: dict[str, str], size: int, trace_id: str, dated: Pairs) -> bytes:
        if not self._template:
            self._template = template(self._edge, json_response({}), {b"content-length": b"%d"})
        own = "".join([f"{name.lower()}: {value}\r\n" for name, value in headers.items()])
        ends = self._template % size
        return b"%b%b%b%b\r\n\r\n" % (
            self._head.begin(dated),
            own.encode("latin-1"),
            ends,
            trace_id.encode(),
        )

    def _telling(self, plain: Plain, error: BaseException) -> ASGIApp:
        """Returns an application that answers with this error, as that of the ordinary way does."""

        async def tell(scope: Scope, receive: Receive, send: Send) -> None:
            if not isinstance(error, Problem):
                raise error
            await add_headers(error, plain.gateway, plain.principal, plain.model_id)
            parts = {"model_id": plain.model_id}
            request = Request({**scope, "app": self._app, "path_params": parts}, receive)
            await (await answer_problem(request, error))(scope, receive, send)

        return tell

    def _report(self, scope: Scope, plain: Plain, size: int) -> None:
        """Writes the line of the access log of a submit that was answered, and counts it."""
        principal, trace_id = plain.principal, plain.begun.trace_id
        known, members = self._callers.get(principal.kid, (None, ""))
        if known is not principal:
            if len(self._callers) >= _MAX_CALLERS:
                self._callers.clear()
            members = members_of(principal)
            self._callers[principal.kid] = principal, members
        took_s = time.perf_counter() - plain.begun.started_s
        self._times.note(took_s, trace_id)
        self._lines.info(
            LEFT if CLIENT_LEFT in scope["state"] else ANSWERED,
            f'"method":"POST","path":"{_BEGIN}{plain.model_id}","status":200,'
            f'"duration_ms":{round(took_s * 1000, 2)},"bytes":{size},{members}',
            trace_id,
        )


def _caller(gateway: Gateway, named: dict[bytes, bytes]) -> Principal | None:
    """Returns whose API key was sent, if it was looked up a moment ago and may submit."""
    key = bearer_of(named.get(b"authorization", b"").decode("latin-1"))
    principal = gateway.access.authenticator.recall(handle_of(key)) if key else None
    if principal is None or principal.token is not None or "submit" not in principal.scopes:
        return None
    return principal
