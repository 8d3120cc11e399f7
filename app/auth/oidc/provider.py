"""The OpenID provider: its discovery document, its keys, and the exchange of a code for an ID token."""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus, urlencode, urlsplit

import httpx2

from app.auth.oidc.terms import Terms
from app.auth.oidc.tokens import Keys, UnknownKeyError, claims_of
from app.errors import OIDC_UNAVAILABLE, SIGN_IN_REFUSED, Problem
from app.kit.clock import Clock
from app.kit.json import JSONRefused, parse_strict
from app.kit.log import get_logger
from app.setting_texts import is_this_machine

_WITHIN_S: Final = 8.0
_MAX_BYTES: Final = 524_288
_BELIEVED_MS: Final = 3_600_000
_KEYS_AT_MOST_EVERY_MS: Final = 10_000
_TOLD: Final = frozenset({"invalid_grant", "invalid_client", "unauthorized_client", "invalid_request"})
_log = get_logger("auth")


class Provider:
    """The provider of some terms. What it publishes is believed for an hour."""

    def __init__(self, terms: Terms, clock: Clock, trust: ssl.SSLContext) -> None:
        self._terms = terms
        self._clock = clock
        # Neither a proxy of the environment's nor its .netrc: the secret goes to the provider alone.
        self._client = httpx2.AsyncClient(
            trust_env=False, follow_redirects=False, verify=trust, timeout=_WITHIN_S
        )
        self._lock = asyncio.Lock()
        self._found: tuple[int, Mapping[str, Any]] | None = None
        self._keys: tuple[int, Keys] | None = None

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def address(self, **parameters: str) -> str:
        """Returns where a browser signs in, with these parameters.

        Raises:
            Problem: OIDC_UNAVAILABLE.

        """
        endpoint = str((await self._discovered())["authorization_endpoint"])
        mark = "&" if urlsplit(endpoint).query else "?"
        return endpoint + mark + urlencode(parameters, quote_via=quote)

    async def names_itself(self) -> bool:
        """Returns whether the provider always says who it is when it sends a browser back (RFC 9207).

        Raises:
            Problem: OIDC_UNAVAILABLE.

        """
        return (await self._discovered()).get("authorization_response_iss_parameter_supported") is True

    async def count_keys(self) -> int:
        """Returns how many usable keys the provider publishes.

        Raises:
            Problem: OIDC_UNAVAILABLE.

        """
        return len(await self._published_keys(anew=False))

    async def claims(self, code: str, verifier: str, nonce: str) -> Mapping[str, Any]:
        """Exchanges a code for an ID token, and returns its claims, which are checked. No token is kept.

        Raises:
            Problem: OIDC_UNAVAILABLE, SIGN_IN_REFUSED.
            TokenError: the ID token is not believed.

        """
        text = await self._exchanged(code, verifier)
        terms, now_ms = self._terms, self._clock.now_ms()
        for anew in (False, True):
            keys = await self._published_keys(anew=anew)
            try:
                return claims_of(
                    text, keys, issuer=terms.issuer, client_id=terms.client_id, nonce=nonce, now_ms=now_ms
                )
            except UnknownKeyError:
                if anew:
                    raise
        raise AssertionError  # the second round returns or raises

    async def _exchanged(self, code: str, verifier: str) -> str:
        found, terms = await self._discovered(), self._terms
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": terms.redirect_uri,
            "code_verifier": verifier,
        }
        headers = {}
        if terms.secret is None:
            form["client_id"] = terms.client_id
        elif _by_form(found):
            form |= {"client_id": terms.client_id, "client_secret": terms.secret}
        else:  # RFC 6749, 2.3.1: both are form-encoded first
            pair = f"{quote_plus(terms.client_id)}:{quote_plus(terms.secret)}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        status, document = await self._asked("POST", str(found["token_endpoint"]), form, headers)
        if status == httpx2.codes.OK and isinstance(text := document.get("id_token"), str):
            return text
        error = document.get("error")
        if status < httpx2.codes.INTERNAL_SERVER_ERROR and error in _TOLD:
            raise Problem(SIGN_IN_REFUSED, f"The provider did not accept the code: `{error}`.")
        raise self._unusable("its token endpoint gave no ID token", status=status)

    async def _discovered(self) -> Mapping[str, Any]:
        async with self._lock:
            now_ms = self._clock.now_ms()
            if self._found is not None and 0 <= now_ms - self._found[0] < _BELIEVED_MS:
                return self._found[1]
            address = self._terms.issuer.rstrip("/") + "/.well-known/openid-configuration"
            status, document = await self._asked("GET", address)
            if status != httpx2.codes.OK or document.get("issuer") != self._terms.issuer:
                raise self._unusable("its discovery document is missing, or of another issuer", status=status)
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                if not self._is_good(document.get(name)):
                    raise self._unusable(f"its discovery document has no good {name}")
            self._found = now_ms, document
            return document

    async def _published_keys(self, *, anew: bool) -> Keys:
        """Returns the provider's keys; `anew`: fetched again, unless that was done a moment ago."""
        address = str((await self._discovered())["jwks_uri"])
        async with self._lock:
            now_ms = self._clock.now_ms()
            believed_ms = _KEYS_AT_MOST_EVERY_MS if anew else _BELIEVED_MS
            if self._keys is not None and 0 <= now_ms - self._keys[0] < believed_ms:
                return self._keys[1]
            status, document = await self._asked("GET", address)
            keys = Keys(document)
            if status != httpx2.codes.OK or not len(keys):
                raise self._unusable("it publishes no usable key", status=status)
            self._keys = now_ms, keys
            return keys

    def _is_good(self, address: object) -> bool:
        """Returns whether an endpoint is as safe as the issuer: https, or this machine's if that is."""
        if not isinstance(address, str) or not address.isascii() or any(one.isspace() for one in address):
            return False
        try:
            parts = urlsplit(address)
            host, _ = parts.hostname, parts.port
        except ValueError:
            return False
        if parts.username is not None or parts.fragment or not host:
            return False
        is_local = urlsplit(self._terms.issuer).scheme == "http" and is_this_machine(host)
        return parts.scheme == "https" or (parts.scheme == "http" and is_local)

    async def _asked(
        self,
        method: str,
        address: str,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, Any]]:
        sent = {"Accept": "application/json", "Accept-Encoding": "identity", **(headers or {})}
        try:
            async with (
                asyncio.timeout(_WITHIN_S),
                self._client.stream(method, address, data=form, headers=sent) as answer,
            ):
                if answer.headers.get("content-encoding", "identity") != "identity":
                    raise self._unusable("it sent a compressed document, for which it was not asked")
                body = bytearray()
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > _MAX_BYTES:
                        raise self._unusable("it sent a document that is too large")
                status = answer.status_code
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError) as error:
            raise self._unusable("it could not be reached", error=type(error).__name__) from None
        try:
            document = parse_strict(bytes(body))
        except JSONRefused:
            document = None
        return status, document if isinstance(document, dict) else {}

    def _unusable(self, why: str, **more: object) -> Problem:
        _log.warning("The OpenID provider is of no use.", why=why, issuer=self._terms.issuer, **more)
        return Problem(OIDC_UNAVAILABLE, f"Of the provider: {why}.", retry_after_s=10)


def _by_form(found: Mapping[str, Any]) -> bool:
    """Returns whether the secret is sent in the body, because the provider does not take it as Basic."""
    methods = found.get("token_endpoint_auth_methods_supported")
    if not isinstance(methods, list):
        return False
    return "client_secret_post" in methods and "client_secret_basic" not in methods
