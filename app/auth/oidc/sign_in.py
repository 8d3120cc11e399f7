"""A sign-in by OpenID Connect, from the page that begins it to the person whom the provider names.

The browser that begins has a random text in a cookie. State, nonce and the verifier of PKCE are digests of
that text under a secret of the server's: so they are bound to that browser, every server can check them,
and nothing is stored. What is stored is that a text was used, so that none is used twice.
"""

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from app.auth import sessions
from app.auth.oidc.person import Person, person_of
from app.auth.oidc.provider import Provider
from app.auth.oidc.terms import Terms
from app.auth.oidc.tokens import TokenError
from app.db.engines.engine import Database
from app.errors import NO_OPERATOR_ROLE, SIGN_IN_ENDED, SIGN_IN_REFUSED, Problem
from app.kit.clock import Clock
from app.kit.log import get_logger
from app.kit.secrets import keyed_digest, random_text, same
from app.kit.text import quoted

LIFETIME_MS: Final = 600_000
_LENGTH: Final = 43  # 43 * log2(62) = 256 bits
_SHAPE: Final = re.compile(rf"([0-9]{{1,15}})\.[0-9A-Za-z]{{{_LENGTH}}}\Z")
_MAX_CODE: Final = 4_000
# Errors that a provider sends a browser back with (RFC 6749 and OpenID Connect Core), which may be told.
_TOLD: Final = frozenset(
    {
        "access_denied",
        "account_selection_required",
        "consent_required",
        "interaction_required",
        "invalid_request",
        "invalid_scope",
        "login_required",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_response_type",
    }
)
_log = get_logger("auth")


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that has begun: where the browser goes, and what its cookie holds, for how long."""

    address: str
    text: str
    lifetime_s: int = LIFETIME_MS // 1000


class SignIns:
    """Begins and ends sign-ins. `pepper` is the server's."""

    def __init__(self, db: Database, clock: Clock, terms: Terms, provider: Provider, pepper: str) -> None:
        self._db = db
        self._clock = clock
        self.terms = terms
        self.provider = provider
        self.pepper = terms.pepper(pepper)

    async def begin(self) -> Begun:
        """Returns where to send the browser, and the text for its cookie.

        Raises:
            Problem: OIDC_UNAVAILABLE.

        """
        text = f"{self._clock.now_ms()}.{random_text(_LENGTH)}"
        challenge = hashlib.sha256(self._of(text, "verifier").encode()).digest()
        address = await self.provider.address(
            response_type="code",
            client_id=self.terms.client_id,
            redirect_uri=self.terms.redirect_uri,
            scope=" ".join(self.terms.scopes),
            state=self._of(text, "state"),
            nonce=self._of(text, "nonce"),
            code_challenge=urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            code_challenge_method="S256",
        )
        return Begun(address, text)

    async def finish(self, text: str | None, sent: Mapping[str, str]) -> Person:
        """Returns who signed in; `text` is the cookie's, `sent` what came with the browser.

        Raises:
            Problem: SIGN_IN_ENDED, SIGN_IN_REFUSED, NO_OPERATOR_ROLE, OIDC_UNAVAILABLE,
                DATABASE_UNAVAILABLE.

        """
        text = self._checked(text, sent.get("state", ""))
        await self._db.write(self._use, text)
        issuer = sent.get("iss")
        if issuer != self.terms.issuer and (issuer is not None or await self.provider.names_itself()):
            raise _refused("The answer is of another provider.")
        if "error" in sent:
            shown = sent["error"] if sent["error"] in _TOLD else "an error of its own"
            raise _refused(f"The provider answered `{shown}`.")
        code = sent.get("code", "")
        if not 0 < len(code) <= _MAX_CODE:
            raise _refused("The provider sent no code.")
        try:
            claims = await self.provider.claims(code, self._of(text, "verifier"), self._of(text, "nonce"))
        except TokenError as error:
            raise _refused(f"The ID token is not accepted: {error}.") from None
        person = person_of(claims, self.terms)
        if not person.scopes:
            _log.warning("A person without a role tried to sign in.", person=person.name)
            detail = f"{quoted(person.name)} has none of the roles that open this console."
            raise Problem(NO_OPERATOR_ROLE, detail)
        return person

    def _checked(self, text: str | None, state: str) -> str:
        shape = _SHAPE.match(text or "")
        if text is None or shape is None:
            raise _ended()
        is_right = same(self._of(text, "state"), state.encode("utf-8", "replace").decode())
        if not is_right or not 0 <= self._clock.now_ms() - int(shape[1]) < LIFETIME_MS:
            raise _ended()
        return text

    def _use(self, connection: Connection, text: str) -> None:
        expires_at_ms = int(text.partition(".")[0]) + LIFETIME_MS
        if not sessions.note_used(connection, self._of(text, "used"), expires_at_ms=expires_at_ms):
            raise _ended()

    def _of(self, text: str, what: str) -> str:
        return keyed_digest(self.pepper, f"{what} {text}")


def _ended() -> Problem:
    return Problem(
        SIGN_IN_ENDED,
        "This sign-in was begun by another browser or more than ten minutes ago, or was used already.",
    )


def _refused(detail: str) -> Problem:
    _log.warning("A sign-in by OpenID Connect was refused.", why=detail)
    return Problem(SIGN_IN_REFUSED, detail)
