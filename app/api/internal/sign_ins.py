"""Signing in to the console and the portal, and out again: for the gateway's own pages alone.

A page sends an admin key, an API key or a link once, and gets a session in a cookie that its scripts cannot
read. The pages then call the admin API and `/v1` as every other caller does.
"""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.admin.access import sign_ins
from app.api.admin.routes import network_of_call
from app.api.bodies import json_response, read_object
from app.api.pages import (
    Page,
    clear_session,
    cookie_name,
    is_of_this,
    refuse_foreign_page,
    session_text,
    set_session,
)
from app.api.problems import ADMIN_KID, SESSION
from app.auth.admin_keys import ADMIN_SCOPES, AdminKey
from app.auth.principal import Principal
from app.auth.sessions import Opened, Session
from app.errors import FOREIGN_PAGE, INVALID_API_KEY, INVALID_PARAMETER, SESSION_ENDED, FieldError, Problem
from app.gateway import Gateway
from app.kit.clock import iso

_MAX_BYTES: Final = 2_000
_MAX_TEXT: Final = 200


def add_console_session(app: FastAPI) -> None:
    """Adds what the console's page signs in and out with."""
    _add(app, _Console())


def add_portal_session(app: FastAPI) -> None:
    """Adds what the portal's page signs in and out with."""
    _add(app, _Portal())


def _add(app: FastAPI, one: "_Console | _Portal") -> None:
    address = f"/{one.page}/session"

    async def show(request: Request) -> Response:
        """Tells the page who is signed in; no id, and no error, where nobody is."""
        gateway: Gateway = request.app.state.gateway
        try:
            told = await one.told(request, gateway, _presented(request, gateway, one.page))
        except Problem as problem:
            if problem.fault is not SESSION_ENDED:
                raise
            return json_response({"session_id": None, **one.ways(gateway)})
        return json_response(told)

    async def sign_in(request: Request) -> Response:
        gateway: Gateway = request.app.state.gateway
        refuse_foreign_sign_in(request, gateway)
        body = await read_object(request, cap_bytes=_MAX_BYTES)
        opened = await one.opened(request, gateway, body)
        await _end_former(request, gateway, one)
        response = json_response({"session_id": opened.session.session_id}, status_code=201)
        set_session(request, one.page, opened.text)
        return response

    async def sign_out(request: Request) -> Response:
        gateway: Gateway = request.app.state.gateway
        text = _presented(request, gateway, one.page)
        response = Response(status_code=204)
        clear_session(request, one.page)
        try:
            session = await one.session(gateway, text)
        except Problem as problem:
            if problem.fault is not SESSION_ENDED:
                raise
            return response
        await sign_ins.sign_out(gateway, session)
        return response

    app.router.routes.append(Route(address, show, methods=["GET"]))
    app.router.routes.append(Route(address, sign_in, methods=["POST"]))
    app.router.routes.append(Route(f"{address}/end", sign_out, methods=["POST"]))


def _presented(request: Request, gateway: Gateway, page: Page) -> str:
    """Returns the text of the session that the page has.

    Raises:
        Problem: SESSION_ENDED, FOREIGN_PAGE.

    """
    text = session_text(request, gateway.settings, page)
    if text is None:
        raise Problem(SESSION_ENDED, "Nobody is signed in here.")
    refuse_foreign_page(request, gateway.base_url)
    return text


def refuse_foreign_sign_in(request: Request, gateway: Gateway) -> None:
    """Refuses a sign-in by another page: nobody is to find themselves signed in as somebody else.

    Raises:
        Problem: FOREIGN_PAGE.

    """
    origin: str | None = request.scope.get("state", {}).get("origin")
    if origin is None or not is_of_this(request, origin, gateway.base_url):
        raise Problem(FOREIGN_PAGE, "Only this gateway's own page can sign in.")
    refuse_foreign_page(request, gateway.base_url)


async def end_former_console(request: Request, gateway: Gateway) -> None:
    """Ends the session of the console that the browser had before, if any."""
    await _end_former(request, gateway, _Console())


async def _end_former(request: Request, gateway: Gateway, one: "_Console | _Portal") -> None:
    """Ends the session that the browser had before, if any."""
    former = request.cookies.get(cookie_name(one.page))
    if former:
        try:
            await sign_ins.sign_out(gateway, await one.session(gateway, former))
        except Problem as problem:
            if problem.fault is not SESSION_ENDED:
                raise


def _text_in(body: dict[str, Any], *names: str) -> tuple[str, str]:
    """Returns the one member that a body has, of these, and its value.

    Raises:
        Problem: INVALID_PARAMETER.

    """
    given = [name for name in names if name in body]
    if len(given) != 1 or len(body) != 1 or not isinstance(body[given[0]], str):
        detail = f"must have just one member, a text: {' or '.join(names)}."
        raise Problem(INVALID_PARAMETER, detail, errors=[FieldError("#", "members", detail)])
    return given[0], body[given[0]].strip()[:_MAX_TEXT]


@dataclass(frozen=True, slots=True)
class _Console:
    page: Page = "console"

    async def opened(self, request: Request, gateway: Gateway, body: dict[str, Any]) -> Opened:
        _, text = _text_in(body, "key")
        key = await gateway.access.admin.authenticate(text, network_of_call(request, gateway))
        request.scope["state"][ADMIN_KID] = key.kid
        return await sign_ins.sign_in_operator(gateway, key)

    async def session(self, gateway: Gateway, text: str) -> Session:
        return (await gateway.access.sessions.of_console(text))[0]

    def ways(self, gateway: Gateway) -> dict[str, Any]:
        return {} if gateway.access.oidc is None else {"oidc": True}

    async def told(self, request: Request, gateway: Gateway, text: str) -> dict[str, Any]:
        session, key = await gateway.access.sessions.of_console(text)
        request.scope["state"] |= {ADMIN_KID: key.kid, SESSION: session.session_id}
        return _common(session, gateway) | {
            "kid": key.kid,
            "name": key.name,
            "scopes": _scopes_of(key),
            "portal": gateway.settings.portal,
            "modes": ["live", "test"] if gateway.settings.live_credentials else ["test"],
        }


@dataclass(frozen=True, slots=True)
class _Portal:
    page: Page = "portal"

    async def opened(self, request: Request, gateway: Gateway, body: dict[str, Any]) -> Opened:
        name, text = _text_in(body, "key", "link")
        if name == "link":
            return await sign_ins.sign_in_with_link(gateway, text)
        principal = await gateway.access.authenticator.authenticate(text)
        if principal.token is not None:
            raise Problem(INVALID_API_KEY, "This is a client token, which cannot open the portal.")
        request.scope["state"]["principal"] = principal
        return await sign_ins.sign_in_with_key(gateway, principal.kid)

    async def session(self, gateway: Gateway, text: str) -> Session:
        return (await gateway.access.sessions.of_portal(text))[0]

    def ways(self, _gateway: Gateway) -> dict[str, Any]:
        return {}

    async def told(self, request: Request, gateway: Gateway, text: str) -> dict[str, Any]:
        session, principal = await gateway.access.sessions.of_portal(text)
        request.scope["state"] |= {"principal": principal, SESSION: session.session_id}
        return _common(session, gateway) | _caller(principal)


def _common(session: Session, gateway: Gateway) -> dict[str, Any]:
    return {
        "session_id": session.session_id,
        "expires_at": iso(session.expires_at_ms),
        "idle_s": gateway.settings.session_idle_s,
        "version": version("reelgate"),
        "base_url": gateway.base_url,
    }


def _scopes_of(key: AdminKey) -> list[str]:
    return [one for one in ADMIN_SCOPES if key.may(one)]


def _caller(principal: Principal) -> dict[str, Any]:
    return {
        "kid": principal.kid,
        "tenant": principal.tenant_name,
        "mode": principal.mode,
        "scopes": sorted(principal.scopes),
    }
