"""Routes for the playground page only: a client token of its own, and sample pictures.

They are for the page of this gateway alone, and so not in the contract.
"""

import re
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request
from starlette.responses import Response

from app.api.bodies import json_response, read_object
from app.api.cors import is_own, public_origin
from app.api.deps import Open
from app.auth import keys
from app.auth.client_tokens import TokenTerms
from app.auth.keys import APIKey
from app.client_tokens.mint import invalid
from app.documents.access.client_tokens import minted_client_token
from app.documents.service import Sample, samples
from app.errors import ORIGIN_NOT_ALLOWED, ROUTE_NOT_FOUND, FieldError, Problem
from app.gateway import Gateway
from app.kit.log import get_logger

_SESSION: Final = re.compile(r"[0-9a-f]{32}")
_LIFETIME_S: Final = 600
_SANDBOX_WAIT_S: Final = 2.0
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_log = get_logger("playground")


async def create_playground_token(request: Request, gateway: Open) -> Response:
    """Mints a client token for the playground page, and for no other page.

    Its end user is the page's session, so that one browser does not see what another one made.
    """
    parent = await _parent(gateway)
    origin = _page_of(request, gateway)
    body = await read_object(request, cap_bytes=gateway.settings.max_body_bytes)
    session = body.get("session")
    if not isinstance(session, str) or not _SESSION.fullmatch(session):
        raise invalid([FieldError("#/session", "pattern", "is not 32 hexadecimal digits")])
    terms = TokenTerms(
        lifetime_s=_LIFETIME_S,
        origins=[origin],
        max_generations=gateway.settings.playground_requests,
        end_user=f"playground-{session}",
        visibility="end_user",
    )
    token, text = await gateway.access.minter.mint_of(parent, terms)
    return json_response(minted_client_token(token, text, gateway.clock.now_ms()), status_code=201)


async def list_playground_samples(gateway: Open) -> Response:
    """Lists the sandbox's sample pictures; none where the page's requests go to RunComfy."""
    parent, settings = await _parent(gateway), gateway.settings
    found: list[Sample] = []
    if parent.mode == "test":
        import httpx2  # noqa: PLC0415 - a server starts without it

        try:
            async with httpx2.AsyncClient(trust_env=False, timeout=_SANDBOX_WAIT_S) as client:
                answer = await client.get(f"{settings.sandbox_base_url}/samples")
                listed = answer.raise_for_status().json()["samples"]
            found = [{"name": str(one["name"]), "url": str(one["url"])} for one in listed]
        except (httpx2.HTTPError, ValueError, KeyError, TypeError):
            _log.warning("The sandbox's samples could not be listed.")
    return json_response(samples(found))


async def _parent(gateway: Gateway) -> APIKey:
    """Returns the API key whose client tokens the page gets."""
    kid = gateway.settings.playground_kid
    found = None if kid is None else await gateway.db.read(keys.find, kid)
    if found is None or found.state(gateway.clock.now_ms()) != "active":
        raise Problem(ROUTE_NOT_FOUND, "This gateway has no playground.")
    return found


def _page_of(request: Request, gateway: Gateway) -> str:
    """Returns the page's origin, which has to be the gateway's own.

    A host name that somebody else points at this address (DNS rebinding) does not count as its own.
    """
    origin: str | None = request.scope.get("state", {}).get("origin")
    base_url = gateway.base_url
    if origin is not None and is_own(request.scope, origin, base_url):
        known = {urlsplit(base_url).hostname, *(_LOCAL if _is_local(base_url) else ())}
        if origin == public_origin(base_url) or urlsplit(origin).hostname in known:
            return origin
    raise Problem(ORIGIN_NOT_ALLOWED, "Only this gateway's own playground page may call this address.")


def _is_local(base_url: str) -> bool:
    return urlsplit(base_url).hostname in _LOCAL
