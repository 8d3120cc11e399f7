"""Plain reads of a request's status and result, answered with neither a scope nor a task for each.

Nothing is decided here that is not decided on the ordinary way, by the same functions and the same memory:
who calls (`Authenticator.recall`), how many calls are allowed (`call_limit_of`), what is visible, and whether
RunComfy has to be asked first (`Tracker.is_current`). The rows come from `RecentRows`. What is unusual in any
way, and every refusal, is left to the ordinary way: these functions return None.
"""

import asyncio
import hashlib
import re
import time
from typing import Final, NamedTuple

from fastapi import FastAPI

from app.api.bodies import tag_of_bytes, tagged_body
from app.api.deps import call_limit_of
from app.auth.principal import Principal, bearer_of, handle_of
from app.documents.generations import requests as documents
from app.gateway import Gateway
from app.generations.following.recent import Recent
from app.generations.visibility import is_visible
from app.kit.ids import is_id
from app.kit.json import dumps
from app.kit.log import JSONLines, trace_id_of
from app.kit.meters import Times
from app.quotas.calls import CallLimiter
from app.quotas.limits import Scope
from app.server.edge import ANSWERED, LEFT, OK, Edge, labels_of, members_of
from app.server.request_head import READ, Headers
from app.server.response_head import ResponseHead, template

_BEGIN: Final = b"GET /v1/requests/"
_ID_ENDS: Final = len(_BEGIN) + 36
_MAX_HEAD: Final = 4096  # bytes: the most that the parser is given at once
_END: Final = b"\r\n\r\n"
_MAX_HEADS: Final = 10_000
_ROUTE: Final = "/v1/requests/{request_id}/"
_KINDS: Final = frozenset({"status", "result"})
_TRACEPARENT: Final = b"traceparent"
_TRACE: Final = re.compile(rb"\r\ntraceparent: ([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})\r\n")
_DECISIVE: Final = READ - {b"host", b"authorization", b"accept", b"connection", _TRACEPARENT}
"""The headers by which an answer may differ: a request with one of them is not plain."""


class Head:
    """The bytes of plain reads around the id: which answer they ask for, and with which key or token."""

    __slots__ = ("caller", "handle", "kind", "limit", "principal", "times")

    def __init__(self, kind: str, handle: bytes, times: Times) -> None:
        self.kind = kind
        self.times = times
        self.handle = handle
        self.principal: Principal | None = None  # who called last
        self.caller = ""  # the same, as members of the line in the log
        self.limit: tuple[CallLimiter, Scope] | None = None  # what limits the caller's calls


class Asked(NamedTuple):
    """A plain read whose caller is known: its bytes, the caller's trace, the request's id, when it came."""

    data: bytes
    traceparent: str
    generation_id: str
    head: Head
    principal: Principal
    started_s: float


class FastReads:
    """What all connections of a server share: the heads that were seen, and the parts of the answers.

    `other_port` is one on which another application answers.
    """

    def __init__(self, app: FastAPI, edge: Edge, *, other_port: int | None = None) -> None:
        self.other_port = other_port
        self._app = app
        self._edge = edge
        self._gateway: Gateway | None = None
        self._heads: dict[bytes, Head] = {}
        self._lines = JSONLines("http")
        self._template = b""
        self._head = ResponseHead()

    # --- heads

    def name_of(self, data: bytes) -> tuple[bytes, str] | None:
        """Returns the name under which the head in these bytes is known, and the caller's `traceparent`.

        The name is a digest of all that stands around the two, since that has a secret in it. None where this
        is no plain read.
        """
        if len(data) > _MAX_HEAD or not data.startswith(_BEGIN):
            return None
        traced = _TRACE.search(data, _ID_ENDS)
        if traced is None:
            return hashlib.sha256(data[_ID_ENDS:]).digest(), ""
        begin, end = traced.span(1)
        return hashlib.sha256(data[_ID_ENDS:begin] + data[end:]).digest(), traced[1].decode("ascii")

    def head(self, name: bytes) -> Head | None:
        """Returns the head of this name, if it was learnt."""
        return self._heads.get(name)

    def learn(self, name: bytes, traceparent: str, data: bytes, version: str, headers: Headers) -> None:
        """Learns the head of a request that the parser has read whole from these bytes, if it is plain.

        Whether it is depends on no byte of the id and the trace, so it holds for all others.
        """
        path, _, _ = data.removeprefix(b"GET ").partition(b" ")
        _, _, kind = path[_ID_ENDS - len("GET ") :].decode("latin-1").partition("/")
        named = dict(headers)
        is_plain = (
            version == "1.1"
            and kind in _KINDS
            and data.find(_END) == len(data) - len(_END)
            and is_id(id_in(data))
            and _DECISIVE.isdisjoint(named)
            and [value for one, value in headers if one == _TRACEPARENT]
            == [traceparent.encode()] * bool(traceparent)
        )
        key = bearer_of(named.get(b"authorization", b"").decode("latin-1"))
        if is_plain and key:
            if len(self._heads) >= _MAX_HEADS:
                self._heads.clear()
            labels = labels_of("GET", f"{_ROUTE}{kind}", 200, OK)
            self._heads[name] = Head(kind, handle_of(key), self._edge.calls.timed.of(*labels))

    # --- deciding

    def asked(self, head: Head, data: bytes, traceparent: str) -> Asked | None:
        """Returns what is asked by whom, if it is known at this moment who calls."""
        started_s = time.perf_counter()
        gateway = self._gateway
        if gateway is None:
            self._gateway = gateway = getattr(self._app.state, "gateway", None)
        if gateway is None or self._app.state.draining or not self._lines.are_written:
            return None
        principal = gateway.access.authenticator.recall(head.handle)
        if principal is None:
            return None
        if principal is not head.principal:
            if "read" not in principal.scopes:
                return None
            head.limit, head.caller = call_limit_of(gateway, principal), members_of(principal)
            head.principal = principal
        return Asked(data, traceparent, id_in(data), head, principal, started_s)

    def answer(self, asked: Asked, recent: Recent, dated: Headers) -> tuple[bytes, str, int] | None:
        """Counts the call, and returns the whole response, its trace id, and the size of its body.

        `dated` are the headers that the server sends with every response.
        """
        parts = recent.answers.get(asked.head.kind) or self._made(recent, asked.head.kind)
        if parts is None or not self._is_right(asked, recent):
            return None
        trace_id = trace_id_of(asked.traceparent)
        answer = b"".join((self._head.begin(dated), parts[0], trace_id.encode(), parts[1]))
        return answer, trace_id, len(parts[1]) - len(_END)

    def _is_right(self, asked: Asked, recent: Recent) -> bool:
        """Counts the call; returns False where it has to be refused, or RunComfy has to be asked first."""
        gateway, limit = self._gateway, asked.head.limit
        if gateway is None or limit is None:
            return False
        if recent.visible_to is not asked.principal:
            if not is_visible(asked.principal, recent.generation):
                return False
            recent.visible_to = asked.principal
        if not (recent.is_final or gateway.following.tracker.is_current(recent.generation)):
            return False
        limiter, scope = limit
        if not limiter.allows(scope):
            return False
        limiter.check(scope)
        return True

    def recent(self, asked: Asked) -> Recent | None:
        """Returns the request's row, if it was read a moment ago."""
        return None if self._gateway is None else self._gateway.following.recent.get(asked.generation_id)

    def fetch(self, asked: Asked) -> "asyncio.Future[Recent | None] | None":
        """Returns the request's row as it is read now; None where the call would be refused.

        The row is None where there is none or it cannot be read.
        """
        gateway, limit = self._gateway, asked.head.limit
        if gateway is None or limit is None or not limit[0].allows(limit[1]):
            return None
        return gateway.following.recent.fetch(asked.generation_id) if is_id(asked.generation_id) else None

    def _made(self, recent: Recent, kind: str) -> tuple[bytes, bytes] | None:
        """Returns the response between its first lines and its trace id, and what follows that."""
        generation = recent.generation
        if self._gateway is None or generation.stale_reason is not None:
            return None
        if kind == "status":
            body = dumps(documents.status(generation, self._gateway.base_url))
        elif generation.erased_at_ms is None and generation.mirror != "instead":
            body = dumps(documents.result(generation, include_cost=False))
        else:
            return None
        if not self._template:
            varying = {b"etag": b"%b", b"content-length": b"%d"}
            self._template = template(self._edge, tagged_body(b"{}", '""'), varying)
        parts = self._template % (tag_of_bytes(body).encode(), len(body)), _END + body
        recent.answers[kind] = parts
        return parts

    # --- the log

    def log(self, asked: Asked, trace_id: str, size: int) -> None:
        """Writes the line of the access log of a request that was answered, and counts it."""
        self._log(ANSWERED, asked, trace_id, size)

    def log_left(self, asked: Asked) -> None:
        """Writes the line of a request whose client left before it was answered."""
        self._log(LEFT, asked, trace_id_of(asked.traceparent), 0)

    def _log(self, event: str, asked: Asked, trace_id: str, size: int) -> None:
        took_s = time.perf_counter() - asked.started_s
        asked.head.times.note(took_s, trace_id)
        duration_ms = round(took_s * 1000, 2)
        self._lines.info(
            event,
            f'"method":"GET","path":"/v1/requests/{asked.generation_id}/{asked.head.kind}","status":200,'
            f'"duration_ms":{duration_ms},"bytes":{size},{asked.head.caller}',
            trace_id,
        )


def id_in(data: bytes) -> str:
    """Returns what stands in place of the id in a head."""
    return data[len(_BEGIN) : _ID_ENDS].decode("latin-1")
