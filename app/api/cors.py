"""Which web pages may call (CORS): exact origins, by tenant, without credentials (the Fetch standard's).

A page is not trusted for its origin: it needs a key like anybody. This keeps a key that leaked from being
used by pages of somebody else's, and lets those of a tenant's own read the answers.
"""

import asyncio
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from starlette.types import Scope

from app.auth.principal import Principal, TokenProblem
from app.auth.tenants import TenantError, origin_of
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
_PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"GET, POST"),
    (
        b"access-control-allow-headers",
        b", ".join(
            (
                b"Authorization",
                b"Content-Type",
                b"Idempotency-Key",
                b"If-None-Match",
                b"Last-Event-ID",
                b"Prefer",
                b"Reelgate-Start-Deadline",
                b"Traceparent",
            )
        ),
    ),
    (b"access-control-max-age", b"600"),
)
_CLOSED: Final = frozenset({"/metrics"})  # to every page
PUBLIC: Final = frozenset({"/client.js", "/client.d.ts"})
"""What any page may load."""
_MAX_S: Final = 0.5  # for which an answer that is known waits, to learn whether a page may read it
_log = get_logger("http")


def note_origin(scope: Scope, origin: bytes) -> None:
    """Keep the `Origin` header in the request's state, for what is below.

    Several of them, joined as HTTP joins them, are no origin that anybody has; nor is `null`.
    """
    scope["state"]["origin"] = origin.decode("latin-1")


def is_preflight(scope: Scope) -> bool:
    """Whether a browser asks if its page may ask. Such a request carries no key."""
    return (
        scope["method"] == "OPTIONS"
        and "origin" in scope["state"]
        and any(name == b"access-control-request-method" for name, _ in scope["headers"])
    )


async def check_preflight(gateway: Gateway, scope: Scope) -> None:
    """Refuse a preflight for a page of no tenant's.

    Raises:
        Problem: ORIGIN_NOT_ALLOWED; DATABASE_UNAVAILABLE, where that cannot be known.

    """
    if scope["path"] in _CLOSED or not await gateway.access.origins.include(scope["state"]["origin"]):
        raise Problem(ORIGIN_NOT_ALLOWED, "The origin is none of any tenant's.")


def admit(scope: Scope, principal: Principal, base_url: str) -> None:
    """Note whose key the request carries, and refuse a page that holds it and is none of its tenant's.

    A client token may be for fewer pages than its tenant has; then it is for those alone.

    Raises:
        Problem: ORIGIN_NOT_ALLOWED.

    """
    state = scope.setdefault("state", {})
    origin, token = state.get("origin"), principal.token
    if origin is not None and origin not in principal.origins:
        if token is not None and token.origins is not None and origin not in token.origins:
            raise TokenProblem(
                ORIGIN_NOT_ALLOWED, "This client token is not for pages of this origin.", token.token_id
            )
        if not is_own(scope, origin, base_url):
            detail = "The origin is none of this tenant's."
            if token is not None:
                raise TokenProblem(ORIGIN_NOT_ALLOWED, detail, token.token_id)
            raise Problem(ORIGIN_NOT_ALLOWED, detail)
    state["principal"] = principal


async def answer_headers(gateway: Gateway, scope: Scope) -> Pairs:
    """What lets the page read this answer; nothing where it may not, or where nobody can say.

    Of whoever has shown a key its tenant's origins count; an answer to nobody in particular, and the refusal
    of a page itself, may be read by any tenant's page, so that it learns what is wrong. The client module is
    open to all.
    """
    state = scope["state"]
    origin: str | None = state.get("origin")
    if origin is None or scope["path"] in _CLOSED:
        return ()
    if scope["path"] in PUBLIC:
        return ((b"access-control-allow-origin", b"*"),)
    principal: Principal | None = state.get("principal")
    is_known = await _is_anybodys(gateway, origin) if principal is None else origin in principal.origins
    if not is_known:
        return ()
    allowed = (b"access-control-allow-origin", origin.encode("latin-1"))
    return (allowed, *_PREFLIGHT) if is_preflight(scope) else (allowed, _EXPOSED)


def opened(pairs: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of what any page may load, from wherever it is."""
    name = b"cross-origin-resource-policy"
    return [*(pair for pair in pairs if pair[0] != name), (name, b"cross-origin")]


async def _is_anybodys(gateway: Gateway, origin: str) -> bool:
    try:
        async with asyncio.timeout(_MAX_S):
            return await gateway.access.origins.include(origin)
    except (Problem, TimeoutError):
        return False
    except Exception:  # noqa: BLE001 - the answer goes out all the same
        _log.exception("The origins could not be read.")
        return False


def is_own(scope: Scope, origin: str, base_url: str) -> bool:
    """Whether it is the address that callers have of us, or the one that this request was sent to."""
    public = public_origin(base_url)
    if origin == public:
        return True
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    if origin == f"http://{host}":  # where callers use https, whoever is on the way can make such a page
        return public is not None and public.startswith("http:")
    return origin == f"https://{host}"


@lru_cache(maxsize=8)
def public_origin(base_url: str) -> str | None:
    """The web origin of the address that callers have of us."""
    parts = urlsplit(base_url)
    try:
        return origin_of(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
    except TenantError:  # such as a name that is not written as browsers write it
        return None
