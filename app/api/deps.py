"""What a handler asks for in its signature. Naming a principal is the authorisation."""

from typing import Annotated

from fastapi import Depends, Request

from app.api.cors import admit
from app.api.rate_limits import rate_headers_of
from app.auth.principal import Principal
from app.errors import INSUFFICIENT_SCOPE, MISSING_API_KEY, Problem
from app.gateway import Gateway


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
    principal = await gateway.authenticator.authenticate(key)
    admit(request.scope, principal, gateway.settings.base_url)
    return principal


async def _can_submit(request: Request) -> Principal:
    principal = await _principal(request)
    try:
        return _with_scope(principal, "submit")
    except Problem as problem:  # an answer to a submit like any other
        gateway = await gateway_of(request)
        problem.headers |= await rate_headers_of(gateway, principal, request.path_params["model_id"])
        raise


async def _can_read(request: Request) -> Principal:
    return await _counted(request, _with_scope(await _principal(request), "read"))


async def _can_ask(request: Request) -> Principal:
    return await _counted(request, _with_scope(await _principal(request), "submit"))


async def _counted(request: Request, principal: Principal) -> Principal:
    (await gateway_of(request)).reads.check(principal.root_kid)
    return principal


def _with_scope(principal: Principal, scope: str) -> Principal:
    if scope not in principal.scopes:
        raise Problem(INSUFFICIENT_SCOPE, f"This API key lacks the scope `{scope}`.")
    return principal


CanSubmit = Annotated[Principal, Depends(_can_submit)]
"""A caller who may submit."""
CanAsk = Annotated[Principal, Depends(_can_ask)]
"""A caller with the right to submit who does something that is none: it counts like a read."""
CanRead = Annotated[Principal, Depends(_can_read)]
"""A caller who may read the tenant's own."""
Open = Annotated[Gateway, Depends(gateway_of)]
"""The gateway."""
