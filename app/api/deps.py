"""What a handler asks for in its signature. Naming a principal is the authorisation."""

from typing import Annotated

from fastapi import Depends, Request

from app.api.cors import admit
from app.api.headers.rate_limit import rate_headers_of
from app.auth.keys import MAY_MINT
from app.auth.principal import Principal
from app.errors import INSUFFICIENT_SCOPE, MISSING_API_KEY, Problem
from app.gateway import Gateway
from app.quotas.limits import Scope
from app.quotas.refusal import QuotaProblem


async def gateway_of(request: Request) -> Gateway:
    """The gateway that the lifespan opened. A coroutine: FastAPI sends plain functions through a thread."""
    gateway: Gateway = request.app.state.gateway
    return gateway


async def _principal(request: Request) -> Principal:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise Problem(MISSING_API_KEY, "There is no `Authorization: Bearer …` header.")
    gateway = await gateway_of(request)
    principal = await gateway.access.authenticator.authenticate(key)
    admit(request.scope, principal, gateway.settings.base_url)
    return principal


async def _can_submit(request: Request) -> Principal:
    principal = await _principal(request)
    try:
        if principal.token is not None:  # a key is not limited in what it sends and is refused for
            await _counted(request, principal)
        return _with_scope(principal, "submit")
    except QuotaProblem:  # of the calls of a client token: it must cost nothing more
        raise
    except Problem as problem:  # an answer to a submit like any other
        gateway = await gateway_of(request)
        problem.headers |= await rate_headers_of(gateway, principal, request.path_params["model_id"])
        raise


async def _can_see(request: Request) -> Principal:
    return await _counted(request, _with_scope(await _principal(request), "read"))


async def _can_read(request: Request) -> Principal:
    principal = await _can_see(request)
    if principal.token is not None and principal.token.visibility == "request":
        raise Problem(INSUFFICIENT_SCOPE, "This client token watches one request, and reads nothing else.")
    return principal


async def _can_ask(request: Request) -> Principal:
    return await _counted(request, _with_scope(await _principal(request), "submit"))


async def _counted(request: Request, principal: Principal) -> Principal:
    gateway = await gateway_of(request)
    if principal.token is None:
        gateway.access.reads.check(Scope(principal.root_kid))
    else:
        gateway.access.calls.check(Scope(token_id=principal.token.token_id))
    return principal


async def _can_mint(request: Request) -> Principal:
    return await _counted(request, _with_key(_with_scope(await _principal(request), MAY_MINT)))


async def _can_read_all(request: Request) -> Principal:
    return _with_key(await _can_read(request))


def _with_scope(principal: Principal, scope: str) -> Principal:
    if scope not in principal.scopes:
        raise Problem(INSUFFICIENT_SCOPE, f"This {principal.noun} lacks the scope `{scope}`.")
    return principal


def _with_key(principal: Principal) -> Principal:
    if principal.token is not None:
        raise Problem(
            INSUFFICIENT_SCOPE, "This takes an API key: a client token sees its own requests alone."
        )
    return principal


CanSubmit = Annotated[Principal, Depends(_can_submit)]
"""A caller who may submit."""
CanAsk = Annotated[Principal, Depends(_can_ask)]
"""A caller with the right to submit who does something that is none: it counts like a read."""
CanSee = Annotated[Principal, Depends(_can_see)]
"""A caller who may read requests: those that it sees."""
CanRead = Annotated[Principal, Depends(_can_read)]
"""A caller who may read the tenant's own."""
CanReadAll = Annotated[Principal, Depends(_can_read_all)]
"""A caller who may read all that is the tenant's: with an API key."""
CanMint = Annotated[Principal, Depends(_can_mint)]
"""A caller who may make client tokens, and end them."""
Open = Annotated[Gateway, Depends(gateway_of)]
"""The gateway."""
