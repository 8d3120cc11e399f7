"""Dependencies that handlers declare in their signatures. Declaring a principal is the authorisation."""

from typing import Annotated

from fastapi import Depends, Request

from app.api.cors import admit
from app.api.headers.rate_limit import rate_headers_of
from app.api.pages import refuse_foreign_page, session_text
from app.api.problems import KNOWN_KEY, PRESENTED_KID, SESSION
from app.auth.keys import (
    SCOPE_CREATE_TOKENS,
    SCOPE_MANAGE,
    SCOPE_READ_USAGE,
    SCOPE_READ_WEBHOOKS,
    SCOPE_WRITE_WEBHOOKS,
    parse,
)
from app.auth.principal import KeyProblem, Principal, bearer_of
from app.errors import INSUFFICIENT_SCOPE, MISSING_API_KEY, Problem
from app.gateway import Gateway
from app.quotas.calls import CallLimiter
from app.quotas.limits import Scope
from app.quotas.problem import QuotaProblem


async def gateway_of(request: Request) -> Gateway:
    """Returns the gateway that the lifespan opened.

    It is a coroutine because FastAPI runs plain functions in a thread.
    """
    gateway: Gateway = request.app.state.gateway
    return gateway


async def _principal(request: Request) -> Principal:
    key = bearer_of(request.headers.get("authorization", ""))
    gateway = await gateway_of(request)
    if not key:
        if (text := session_text(request, gateway.settings, "portal")) is not None:
            return await _in_portal(request, gateway, text)
        raise Problem(MISSING_API_KEY, "There is no `Authorization: Bearer …` header.")
    state = request.scope.setdefault("state", {})
    try:
        principal = await gateway.access.authenticator.authenticate(key)
    except Problem as problem:
        if (presented := parse(key)) is not None:
            state[PRESENTED_KID] = presented.kid
        if isinstance(problem, KeyProblem) and problem.known is not None:
            state[KNOWN_KEY] = problem.known
        raise
    if (origin := state.get("origin")) is not None:
        admit(request.scope, origin, principal, gateway.base_url)
    state["principal"] = principal  # who may be told what by the headers of the answer, and by a problem
    return principal


async def _in_portal(request: Request, gateway: Gateway, text: str) -> Principal:
    """Returns the principal of a session of the portal: whoever sends a key is judged by that alone."""
    refuse_foreign_page(request, gateway.base_url)
    _, principal = await gateway.access.sessions.of_portal(text)
    state = request.scope.setdefault("state", {})
    state["principal"], state[SESSION] = principal, principal.session_id
    return principal


async def caller_of_submit(request: Request) -> Principal:
    """Returns the caller of a submit, as `CanSubmit`."""
    principal = await _principal(request)
    try:
        if principal.token is not None:  # every call of a client token counts, also a submit that is refused
            await _counted(request, principal)
        return _with_scope(principal, "submit")
    except QuotaProblem:  # the client token makes too many calls: the refusal must cost no more work
        raise
    except Problem as problem:  # a response to a submit, and so it has the rate headers
        gateway = await gateway_of(request)
        problem.headers |= await rate_headers_of(gateway, principal, request.path_params["model_id"])
        raise


async def caller_of_read(request: Request) -> Principal:
    """Returns the caller of a read, as `CanSee`."""
    return await _counted(request, _with_scope(await _principal(request), "read"))


async def _can_read(request: Request) -> Principal:
    principal = await caller_of_read(request)
    if principal.token is not None and principal.token.visibility == "request":
        raise Problem(INSUFFICIENT_SCOPE, "This client token may read one request only.")
    return principal


async def _can_ask(request: Request) -> Principal:
    return await _counted(request, _with_scope(await _principal(request), "submit"))


async def _counted(request: Request, principal: Principal) -> Principal:
    limiter, scope = call_limit_of(await gateway_of(request), principal)
    limiter.check(scope)
    return principal


def call_limit_of(gateway: Gateway, principal: Principal) -> tuple[CallLimiter, Scope]:
    """Returns what limits the calls of this caller other than submits, and as whose they count."""
    if principal.token is None:
        return gateway.access.reads, Scope(principal.root_kid)
    return gateway.access.calls, Scope(token_id=principal.token.token_id)


async def _can_mint(request: Request) -> Principal:
    return await _counted(request, _with_key(_with_scope(await _principal(request), SCOPE_CREATE_TOKENS)))


async def _can_read_usage(request: Request) -> Principal:
    return await _counted(request, _with_scope(_with_key(await _principal(request)), SCOPE_READ_USAGE))


async def _can_read_webhooks(request: Request) -> Principal:
    return await _counted(request, _with_scope(_with_key(await _principal(request)), SCOPE_READ_WEBHOOKS))


async def _can_write_webhooks(request: Request) -> Principal:
    return await _counted(request, _with_scope(_with_key(await _principal(request)), SCOPE_WRITE_WEBHOOKS))


async def _can_manage(request: Request) -> Principal:
    return await _counted(request, _with_key(_with_scope(await _principal(request), SCOPE_MANAGE)))


async def _can_read_all(request: Request) -> Principal:
    return _with_key(await _can_read(request))


def _with_scope(principal: Principal, scope: str) -> Principal:
    if scope not in principal.scopes:
        raise Problem(INSUFFICIENT_SCOPE, f"This {principal.noun} lacks the scope `{scope}`.")
    return principal


def _with_key(principal: Principal) -> Principal:
    if principal.token is not None:
        raise Problem(
            INSUFFICIENT_SCOPE, "This call needs an API key: a client token may read its own requests only."
        )
    return principal


CanSubmit = Annotated[Principal, Depends(caller_of_submit)]
"""A caller with the scope `submit`, who submits."""
CanAsk = Annotated[Principal, Depends(_can_ask)]
"""A caller with the scope `submit` whose call is no submit, such as a quote: it counts as a read."""
CanSee = Annotated[Principal, Depends(caller_of_read)]
"""A caller with the scope `read`, who may read the requests that are visible to it."""
CanRead = Annotated[Principal, Depends(_can_read)]
"""A caller with the scope `read`, except a client token that watches one request."""
CanReadAll = Annotated[Principal, Depends(_can_read_all)]
"""A caller with an API key and the scope `read`, who may read all of the tenant's requests of its mode."""
CanMint = Annotated[Principal, Depends(_can_mint)]
"""A caller with an API key and the scope `tokens:create`, who may create and revoke client tokens."""
CanReadUsage = Annotated[Principal, Depends(_can_read_usage)]
"""A caller with an API key and the scope `usage:read`: for its tenant's usage, ledger and statements."""
CanReadWebhooks = Annotated[Principal, Depends(_can_read_webhooks)]
"""A caller with an API key and the scope `webhooks:read`, who may read its tenant's webhooks of its mode."""
CanWriteWebhooks = Annotated[Principal, Depends(_can_write_webhooks)]
"""A caller with an API key and the scope `webhooks:write`, who may change its tenant's webhooks."""
CanManage = Annotated[Principal, Depends(_can_manage)]
"""A caller with an API key and the scope `account:manage`: for its tenant's keys, origins and links."""
Open = Annotated[Gateway, Depends(gateway_of)]
"""The gateway."""
