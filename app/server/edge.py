"""The outermost layer, pure ASGI: trace id, access log, allowed response headers, CORS, HEAD and OPTIONS.

It tidies the path before anything judges it. No exception leaves it, except where half a response was sent
and only closing the connection tells so.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.addresses import Addresses
from app.api.cors import (
    PUBLIC,
    Pairs,
    answer_headers,
    check_preflight,
    cross_origin_headers,
    is_preflight,
    note_origin,
)
from app.api.direct import direct, has_direct
from app.api.headers.request import UNTIMED
from app.api.pages import OWN_HEADERS
from app.api.problems import ADMIN_KID, CODE, KNOWN_KEY, PRESENTED_KID, SESSION, internal_error, response
from app.api.serving import EMBEDDABLE, HEAD_ALONE
from app.auth.principal import Principal
from app.errors import INTERNAL_ERROR, ROUTE_NOT_FOUND, Problem
from app.gateway import Gateway
from app.kit.log import Aside, get_logger, trace_id_of, trace_id_var
from app.kit.meters import CallMeter
from app.kit.redaction import redactor

HANDLER_HEADERS: Final = frozenset(
    {
        b"accept-ranges",  # sent with static files, as are content-range and last-modified
        b"allow",
        b"cache-control",
        b"connection",
        b"content-disposition",
        b"content-length",
        b"content-range",
        b"content-security-policy",
        b"content-type",
        b"cross-origin-opener-policy",
        b"etag",
        b"idempotent-replayed",
        b"last-modified",
        b"link",
        b"permissions-policy",
        b"preference-applied",
        b"ratelimit",
        b"ratelimit-policy",
        b"reelgate-media-warnings",
        b"reelgate-stale",
        b"retry-after",
        b"vary",
        b"www-authenticate",
        b"x-accel-buffering",
    }
)
"""The headers that a handler may send, in lower case; the edge adds its own and drops all others."""

SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    # A handler may send its own of these three.
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"vary", b"Origin"),
)
"""The headers of every response for browsers and caches."""

TRACE_HEADER: Final = b"reelgate-trace-id"
CLIENT_LEFT: Final = "client_left"
"""The name, in a request's state, of whether its client left before it was answered."""
ANSWERED: Final = "A request was answered."
LEFT: Final = "The client left before it was answered."
_OVERRIDABLE: Final = HANDLER_HEADERS & {name for name, _ in SECURITY_HEADERS}
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")
_CLOSE: Final = (b"connection", b"close")
_LINK: Final = re.compile(r"^(/+[af]/+[^/]*\.)[^/.]+")
OK: Final = "ok"
"""What calls without an error are counted under, in place of an error's code."""
METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
"""The methods that metrics and traces name; others are `other`."""
_NO_ROUTE: Final = "none"
_QUIET: Final = frozenset({"/livez", "/readyz"})
_log = get_logger("http")


class Begun(NamedTuple):
    """What is known of a call when it begins: its trace, the moment, and the page that it comes from."""

    trace_id: str
    started_s: float
    origin: bytes | None = None


class Edge:
    """Wraps the whole application. `base_url` is used in the problem documents that it writes itself.

    It counts the errors that callers were answered with, by code, in `app.state.refusals`, and all calls in
    `app.state.calls`.
    """

    def __init__(self, app: FastAPI, base_url: str) -> None:
        self._app = app
        self._base_url = base_url
        self._addresses = Addresses(app.router.routes)
        self._has_direct = has_direct(app)
        # HSTS is sent only where the gateway's address is https: browsers ignore it over plain http.
        self._fixed = (*SECURITY_HEADERS, _HSTS) if urlsplit(base_url).scheme == "https" else SECURITY_HEADERS
        if not hasattr(app.state, "refusals"):  # or it has the state of an application with an edge
            app.state.draining = False
            app.state.refusals = Counter()
            app.state.calls = CallMeter()
        self.calls: CallMeter = app.state.calls

    def count_refusal(self, code: str) -> None:
        """Counts an answer with an error of the catalogue."""
        self._app.state.refusals[code] += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one HTTP request; lifespan events are passed through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})  # not every server sets it
        judged, path = scope, scope["path"]
        if "//" in path or path.endswith("/"):
            judged = {**scope, "path": self._addresses.tidied(path)}
        if scope["method"] == "HEAD":
            judged, send = {**judged, "method": "GET"}, _head_alone(send)
            scope["state"][HEAD_ALONE] = True
        await self._answer(judged, receive, send, sent=scope)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, *, sent: Scope) -> None:
        """Answers a request whose path is tidy and whose method is no HEAD; `sent` is as it came."""
        traceparent, origin = _read(scope["headers"])
        if origin is not None:
            note_origin(scope, origin)
        now = Begun(trace_id_of(traceparent), time.perf_counter(), origin)
        await self.answer_by(partial(self._serve, origin=origin), scope, receive, send, now, sent=sent)

    async def answer_by(
        self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, begun: Begun, *, sent: Scope
    ) -> None:
        """Answers a request by this application; logs it, and counts it."""
        trace_id, started_s, origin = begun
        token = trace_id_var.set(trace_id)
        status = size = 0
        complete = False

        async def send_marked(message: Message) -> None:
            nonlocal status, size, complete
            if message["type"] == "http.response.start":
                status = message["status"]
                cors_headers = () if origin is None else await answer_headers(self._app.state.gateway, scope)
                marked = self.final_headers(message.get("headers", ()), trace_id, cors_headers)
                marked.extend(scope["state"].get(OWN_HEADERS, ()))
                is_public = scope["path"] in PUBLIC or EMBEDDABLE in scope["state"]
                message["headers"] = cross_origin_headers(marked) if is_public else marked
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
                complete = not message.get("more_body", False)
            await send(message)

        try:
            await app(scope, receive, send_marked)
        except Exception:
            _log.exception("A request failed.", method=sent["method"], path=_logged(scope["path"]))
            if not status:
                scope["state"][CODE] = INTERNAL_ERROR.code
                await internal_error(self._base_url, scope["path"])(scope, receive, send_marked)
            elif not complete:
                raise  # half a response was sent: only closing the connection shows that it is incomplete
        finally:
            self._report(scope, sent, status, size, duration_s=time.perf_counter() - started_s)
            trace_id_var.reset(token)

    def _report(self, scope: Scope, sent: Scope, status: int, size: int, *, duration_s: float) -> None:
        """Writes a request's line of the access log, and counts it. `sent` is what the client sent.

        `size` is that of the body in bytes; of an answer to HEAD, none was sent.
        """
        state = scope["state"]
        with Aside("counting a call"):
            self.calls.note(
                labels_of(sent["method"], route_of(scope), status, state.get(CODE, OK)),
                None if UNTIMED in state else duration_s,
                trace_id_var.get(),
            )
        if (code := state.get(CODE)) is not None:
            self.count_refusal(code)
            with Aside("counting a refusal"):
                self._note_refusal(sent, code)
        if scope["path"] not in _QUIET:
            event = LEFT if state.get(CLIENT_LEFT, False) else ANSWERED
            fields = {
                "method": sent["method"],
                "path": _logged(scope["path"]),
                "status": status,
                "duration_ms": round(duration_s * 1000, 2),
                "bytes": 0 if sent["method"] == "HEAD" else size,
                **({} if sent["path"] == scope["path"] else {"sent_path": _logged(sent["path"])}),
                **_caller(state),
            }
            _log.info(event, **fields)

    def _note_refusal(self, scope: Scope, code: str) -> None:
        """Counts a refusal for the caller's key; where there is none, for the network it came from."""
        gateway: Gateway | None = getattr(self._app.state, "gateway", None)
        if gateway is None:
            return  # before it was opened
        state = scope["state"]
        principal: Principal | None = state.get("principal")
        known = state.get(KNOWN_KEY) if principal is None else principal.known
        network = ""
        if known is None and (peer := scope.get("client")) is not None:
            network = gateway.access.callers.network(peer[0], scope["headers"])
        gateway.access.refusals.note(known, code, network)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, *, origin: bytes | None) -> None:
        if scope["path"].endswith("\n"):
            # Starlette's route patterns accept a final line break, because Python's `$` matches before it.
            await self._refuse(
                Problem(ROUTE_NOT_FOUND, "The path ends with a line break."), scope, receive, send
            )
        elif origin is not None and is_preflight(scope):
            await self._answer_preflight(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await self._answer_options(scope, receive, send)
        else:
            found = direct(self._app, scope) if self._has_direct else None
            if found is not None:
                scope["route"] = found.route
            await (found or self._app)(scope, receive, send)

    async def _answer_preflight(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await check_preflight(self._app.state.gateway, scope)
        except Problem as problem:
            await self._refuse(problem, scope, receive, send)
        else:
            await Response(status_code=204)(scope, receive, send)

    async def _answer_options(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a load balancer's probe, or whoever asks for the methods of an address."""
        if allowed := self._addresses.methods(scope):
            await Response(status_code=204, headers={"Allow": allowed})(scope, receive, send)
        else:
            await self._refuse(Problem(ROUTE_NOT_FOUND, "There is nothing here."), scope, receive, send)

    def final_headers(
        self, sent: Sequence[tuple[bytes, bytes]], trace_id: str, cors_headers: Pairs
    ) -> list[tuple[bytes, bytes]]:
        """Returns the headers that are sent: the handler's allowed ones, and the edge's own."""
        kept = [pair for pair in sent if pair[0] in HANDLER_HEADERS]
        if len(kept) != len(sent):
            dropped = sorted(str(name, "latin-1") for name, _ in sent if name not in HANDLER_HEADERS)
            _log.debug("Headers were removed from a response.", names=dropped)
        if self._app.state.draining:
            kept = [pair for pair in kept if pair[0] != b"connection"]
            kept.append(_CLOSE)  # so that the client reconnects, to another server
        own = {name for name, _ in kept} & _OVERRIDABLE
        if own:
            kept = _varied(kept)
            kept.extend(pair for pair in self._fixed if pair[0] not in own)
        else:
            kept.extend(self._fixed)
        kept.append((TRACE_HEADER, trace_id.encode()))
        kept.extend(cors_headers)
        return kept

    async def _refuse(self, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"][CODE] = problem.fault.code
        await response(problem, base_url=self._base_url, instance=scope["path"])(scope, receive, send)


def _logged(path: str) -> str:
    """Returns a path as the log has it: a link without its signature, with which anybody may read a file."""
    return _LINK.sub(r"\1…", path) if "/a/" in path or "/f/" in path else path


def _head_alone(send: Send) -> Send:
    """Returns a `send` for HEAD, which ends the response behind its head; so a stream ends there as well."""

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b""})

    return send_head


def labels_of(method: str, route: str, status: int, code: str) -> tuple[str, str, str, str]:
    """Returns what a call is counted under: few values of each, whatever callers send."""
    return method if method in METHODS else "other", route, str(status), code


def route_of(scope: Scope) -> str:
    """Returns the template of the route that answered, `none` where there is none."""
    return getattr(scope.get("route"), "path", "") or _NO_ROUTE


def _caller(state: Mapping[str, Any]) -> dict[str, str]:
    """Returns who called, as far as that is known, and the code of the error that was the answer, if any."""
    named = {name: state[name] for name in (CODE, PRESENTED_KID, ADMIN_KID, SESSION) if name in state}
    principal: Principal | None = state.get("principal")
    if principal is not None:
        named |= {"tenant": principal.tenant_id, "kid": principal.kid}
        if principal.token is not None:
            named["token"] = principal.token.token_id
    return named


def members_of(principal: Principal) -> str:
    """Returns who called, as members of a line in the log, without what is secret."""
    named = _caller({"principal": principal})
    return redactor.redact(json.dumps(named, separators=(",", ":"))[1:-1])


def _read(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str | None, bytes | None]:
    """Returns `traceparent` and `Origin` of a request, in one pass over its headers."""
    traceparent = origin = None
    for name, value in headers:
        if name == b"origin":
            origin = value if origin is None else origin + b", " + value
        elif name == b"traceparent" and traceparent is None:
            traceparent = value.decode("latin-1")
    return traceparent, origin


def _varied(pairs: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Returns the headers, with `Origin` added to `Vary` where they have one."""
    varies = [value for name, value in pairs if name == b"vary"]
    if not varies:
        return list(pairs)
    members = [one for value in varies for one in map(bytes.strip, value.split(b",")) if one]
    if not {b"origin", b"*"} & {one.lower() for one in members}:
        members.append(b"Origin")
    return [*(pair for pair in pairs if pair[0] != b"vary"), (b"vary", b", ".join(members))]
