"""Signing in to the console by OpenID Connect: where the page begins, and where the provider sends a browser.

Nothing in either call says where to go next, so nobody can be led elsewhere.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.admin.access import sign_ins
from app.api.admin.routes import network_of_call
from app.api.bodies import json_response
from app.api.internal.sign_ins import end_former_console, refuse_foreign_sign_in
from app.api.pages import lead, set_cookie, set_session
from app.api.problems import ADMIN_KID, CODE
from app.errors import OIDC_UNAVAILABLE, Problem
from app.gateway import Gateway
from app.kit.room import Room, RoomFullError

if TYPE_CHECKING:  # its library is an extra
    from app.auth.oidc.sign_in import SignIns

_COOKIE: Final = "__Host-reelgate-sign-in"
# The browser comes back from another site: a strict cookie would not be sent.
_TERMS: Final = "Path=/; Secure; HttpOnly; SameSite=Lax"
_CONSOLE: Final = "../../console"  # from the callback, below whatever path a proxy serves the gateway
_PARAMETERS: Final = ("state", "code", "iss", "error")
_room = Room(16, share=4)
_WITHIN_S: Final = 5.0


def add_oidc(app: FastAPI) -> None:
    """Adds what the console's page signs in with by OpenID Connect."""
    app.router.routes.append(Route("/console/oidc", _begin, methods=["POST"]))
    app.router.routes.append(Route("/console/oidc/callback", _finish, methods=["GET"]))


async def _begin(request: Request) -> Response:
    """Gives the page the provider's address, and the browser the cookie that it must come back with."""
    gateway: Gateway = request.app.state.gateway
    refuse_foreign_sign_in(request, gateway)
    async with _held(request, gateway):
        begun = await _of(gateway).begin()
    set_cookie(request, f"{_COOKIE}={begun.text}; Max-Age={begun.lifetime_s}; {_TERMS}")
    return json_response({"url": begun.address})


async def _finish(request: Request) -> Response:
    """Signs in the person whom the provider sends back. The console, to which it leads, tells a refusal."""
    gateway: Gateway = request.app.state.gateway
    set_cookie(request, f"{_COOKIE}=; Max-Age=0; {_TERMS}")
    try:
        return await _entered(request, gateway)
    except Problem as problem:
        if "text/html" not in request.headers.get("accept", ""):
            raise
        request.scope["state"][CODE] = problem.fault.code
        return lead(request, f"{_CONSOLE}#sign-in={problem.fault.code}")


async def _entered(request: Request, gateway: Gateway) -> Response:
    oidc, sent = _of(gateway), request.query_params
    text, told = (
        request.cookies.get(_COOKIE),
        {name: sent[name] for name in _PARAMETERS if _is_once(sent, name)},
    )
    async with _held(request, gateway):
        person = await oidc.finish(text, told)
    opened = await sign_ins.sign_in_person(gateway, person, pepper=oidc.pepper)
    request.scope["state"][ADMIN_KID] = opened.session.kid
    await end_former_console(request, gateway)
    set_session(request, "console", opened.text)
    return lead(request, _CONSOLE)


def _is_once(sent: QueryParams, name: str) -> bool:
    return len(sent.getlist(name)) == 1


def _of(gateway: Gateway) -> "SignIns":
    if gateway.access.oidc is None:
        raise HTTPException(404)
    return gateway.access.oidc


@asynccontextmanager
async def _held(request: Request, gateway: Gateway) -> AsyncIterator[None]:
    """Bounds how many ask the provider at a time, and how many of them from one network."""
    try:
        async with _room.holding(1, network_of_call(request, gateway), within_s=_WITHIN_S):
            yield
    except RoomFullError:
        detail = "Too many people are signing in at once."
        raise Problem(OIDC_UNAVAILABLE, detail, retry_after_s=5) from None
