"""On which terms operators sign in by OpenID Connect: the settings, checked, and what a claim gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from app.config import Settings
from app.kit.json import to_column
from app.kit.secrets import keyed_digest

_CALLBACK: Final = "/console/oidc/callback"
_MAX_VALUES: Final = 10_000  # of a claim that are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Who is believed, and what for. `roles` are the admin scopes by the values of the claim that give them.

    `secret` is None for a public client. `redirect_uri` is where the provider sends the browser back to.
    """

    issuer: str
    client_id: str
    secret: str | None = field(repr=False)
    scopes: tuple[str, ...]
    roles_claim: str
    roles: Mapping[str, frozenset[str]]
    redirect_uri: str

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Returns the terms in the settings; None where nobody signs in by OpenID Connect."""
        if settings.oidc_issuer is None or settings.oidc_client_id is None:
            return None
        secret = settings.oidc_client_secret
        return cls(
            issuer=settings.oidc_issuer,
            client_id=settings.oidc_client_id,
            secret=None if secret is None else secret.get_secret_value(),
            scopes=tuple(dict.fromkeys(("openid", *settings.oidc_scopes))),
            roles_claim=settings.oidc_roles_claim,
            roles=settings.roles_of_oidc,
            redirect_uri=settings.console_base_url + _CALLBACK,
        )

    def pepper(self, pepper: str) -> str:
        """Returns the pepper of sessions under these terms.

        It is made of a pepper of the server's and of all that decides who may do what. So a session is not
        found once any of this is another.
        """
        roles = {value: sorted(scopes) for value, scopes in sorted(self.roles.items())}
        text = to_column([self.issuer, self.client_id, self.roles_claim, roles])
        return keyed_digest(pepper, f"oidc {text}")

    def scopes_of(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """Returns the admin scopes that somebody's claims give: none where no value is mapped."""
        found = _claim(claims, self.roles_claim)
        values = found[:_MAX_VALUES] if isinstance(found, list) else [found]
        given = [self.roles[one] for one in values if isinstance(one, str) and one in self.roles]
        return frozenset().union(*given)


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """Returns a claim by its name, or by a path of names with dots between them; None where it is missing."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
