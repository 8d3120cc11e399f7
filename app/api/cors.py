"""CORS: which web pages may call, by exact origins of each tenant, and without credentials (Fetch standard).

An origin gives a page no rights: it needs a key like any caller. The check keeps pages of other origins from
using a key that leaked, and lets a tenant's own pages read the responses.
"""

import asyncio
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from starlette.types import Scope

from app.auth.principal import Principal, TokenProblem
from app.auth.tenants import OriginError, origin_of
from app.errors import ORIGIN_NOT_ALLOWED, Problem
from app.gateway import Gateway
from app.kit.log import get_logger

Pairs = tuple[tuple[bytes, bytes], ...]

_EXPOSED: Final = (
    b"access-control-expose-headers",
    (
        b"Allow, ETag, Idempotent-Replayed, Link, Preference-Applied, RateLimit, RateLimit-Policy,"
        b" Reelgate-Media-Warnings, Reelgate-Stale, Reelgate-Trace-Id, Retry-After, WWW-Authenticate"
    ),
)
_ALLOWED: Final = (
    *("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "Last-Event-ID", "Prefer"),
    "Reelgate-Keep-Output",
    "Reelgate-Start-Deadline",
    # Nothing here reads these. Tools add them to every request of a page, which would fail as a whole.
    *("Cache-Control", "Pragma", "X-Requested-With", "X-Request-ID", "X-Correlation-ID"),
    *("Traceparent", "Tracestate", "Baggage", "Sentry-Trace", "B3", "X-B3-TraceId", "X-B3-SpanId"),
    *("X-B3-ParentSpanId", "X-B3-Sampled", "Uber-Trace-Id", "X-Amzn-Trace-Id", "Newrelic"),
    *("Request-Id", "Request-Context", "Elastic-Apm-Traceparent", "X-Datadog-Trace-Id"),
    *("X-Datadog-Parent-Id", "X-Datadog-Origin", "X-Datadog-Sampling-Priority", "X-Datadog-Tags"),
)
_CLOSED: Final = ("/metrics", "/admin/")  # what the paths begin with that no page may call
PUBLIC: Final = frozenset({"/client.js", "/client.d.ts"})
"""Paths that every page may load."""
_MAX_S: Final = 0.5  # for which a finished response waits to learn whether the page may read it
_log = get_logger("http")


def note_origin(scope: Scope, origin: bytes) -> None:
    """Stores the `Origin` header in the request's state, for the layers below.

    Several such headers, joined as HTTP joins them, are an origin that no tenant has; nor does any have
    `null`.
    """
    scope["state"]["origin"] = origin.decode("latin-1")


def is_preflight(scope: Scope) -> bool:
    """Returns whether a page's request is a preflight, in which its browser asks whether it may call.

    A preflight carries no key.
    """
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


async def check_preflight(gateway: Gateway, scope: Scope) -> None:
    """Refuses a preflight for a page whose origin no tenant has.

    Raises:
        Problem: ORIGIN_NOT_ALLOWED; DATABASE_UNAVAILABLE where the origins cannot be read.

    """
    if scope["path"].startswith(_CLOSED) or not await gateway.access.origins.include(
        scope["state"]["origin"]
    ):
        raise Problem(ORIGIN_NOT_ALLOWED, "No tenant has this origin.")


def admit(scope: Scope, origin: str, principal: Principal, base_url: str) -> None:
    """Refuses a page whose origin is none of the principal's tenant.

    A client token may be restricted to fewer origins than its tenant has. The gateway's own pages are
    admitted, unless a client token's own origins exclude them.

    Raises:
        Problem: ORIGIN_NOT_ALLOWED.

    """
    token = principal.token
    if origin in principal.origins:
        return
    if token is not None and token.origins is not None and origin not in token.origins:
        raise TokenProblem(
            ORIGIN_NOT_ALLOWED, "This client token does not allow pages of this origin.", token.token_id
        )
    if not is_own(scope, origin, base_url):
        detail = "This tenant does not have this origin."
        if token is not None:
            raise TokenProblem(ORIGIN_NOT_ALLOWED, detail, token.token_id)
        raise Problem(ORIGIN_NOT_ALLOWED, detail)


async def answer_headers(gateway: Gateway, scope: Scope) -> Pairs:
    """Returns the headers that let the page read this response; none where it may not, or if that is unknown.

    With a key, the origins of its tenant count. A response without a principal, such as the refusal of a
    page, may be read by pages of any tenant, so that they learn what is wrong. The client module may be read
    by every page.
    """
    state = scope["state"]
    origin: str | None = state.get("origin")
    if origin is None or scope["path"].startswith(_CLOSED):
        return ()
    if scope["path"] in PUBLIC:
        return ((b"access-control-allow-origin", b"*"),)
    principal: Principal | None = state.get("principal")
    is_known = await _is_any_tenants(gateway, origin) if principal is None else origin in principal.origins
    if not is_known:
        return ()
    allowed = (b"access-control-allow-origin", origin.encode("latin-1"))
    if is_preflight(scope):
        return (allowed, *_preflight_headers(tuple(gateway.settings.cors_headers)))
    return (allowed, _EXPOSED)


@lru_cache(maxsize=8)
def _preflight_headers(more: tuple[str, ...]) -> Pairs:
    """Returns what a preflight allows; `more` are request headers that the operator has added."""
    return (
        (b"access-control-allow-methods", b"GET, POST, DELETE"),
        (b"access-control-allow-headers", ", ".join((*_ALLOWED, *more)).encode()),
        (b"access-control-max-age", b"600"),
    )


def cross_origin_headers(pairs: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Returns the headers of a file that every page may load, from whatever origin."""
    name = b"cross-origin-resource-policy"
    return [*(pair for pair in pairs if pair[0] != name), (name, b"cross-origin")]


async def _is_any_tenants(gateway: Gateway, origin: str) -> bool:
    try:
        async with asyncio.timeout(_MAX_S):
            return await gateway.access.origins.include(origin)
    except (Problem, TimeoutError):
        return False
    except Exception:  # noqa: BLE001 - the response is sent all the same
        _log.exception("The origins could not be read.")
        return False


def is_own(scope: Scope, origin: str, base_url: str) -> bool:
    """Returns whether an origin is the gateway's own: its public one, or that of the request's `Host`."""
    public = public_origin(base_url)
    if origin == public:
        return True
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    # Where callers use https, a plain http page may have been made by anybody on the network path.
    if origin == f"http://{host}":
        return public is not None and public.startswith("http:")
    return origin == f"https://{host}"


@lru_cache(maxsize=8)
def public_origin(base_url: str) -> str | None:
    """Returns the web origin of the gateway's public address; None where that cannot be an origin."""
    parts = urlsplit(base_url)
    try:
        return origin_of(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
    except OriginError:  # such as a host name that is not written as browsers write it
        return None
