"""The admin API, the console, the portal, and who signs in."""

import re
from typing import Final
from urllib.parse import urlsplit

from pydantic import (
    Field,
    SecretStr,
    field_validator,
)

from app.setting_texts import has_good_port, is_this_machine
from app.settings.values import BaseUrl, CommaList, Host, Room, Seconds

_ADMIN_SCOPES: Final = ("read", "operate", "money", "root")  # as `auth.admin_keys` has them


class AdministrationSettings(Room):
    """The admin API, the console, the portal, and who signs in."""

    admin_api: bool = Field(
        default=False,
        description="Whether servers serve the admin API, /admin/v1, for admin keys. See"
        " [administration](administration.md).",
    )
    admin_host: Host | None = Field(
        default=None,
        description="The address that the admin API listens on, where ADMIN_PORT is set. Default: HOST.",
    )
    admin_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="A port of its own for the admin API, which PORT does not serve then. Unset, PORT serves"
        " it too.",
    )
    console: bool = Field(
        default=False,
        description="Whether the admin API's port also serves the operators' console, /console. See"
        " [the console](console.md).",
    )
    portal: bool = Field(
        default=False,
        description="Whether PORT also serves the portal for people of tenants, /portal. See"
        " [the console](console.md#the-portal).",
    )
    console_url: BaseUrl | None = Field(
        default=None,
        description="The address at which browsers reach the console, without /console: OpenID Connect sends"
        " them back there. Default: PUBLIC_URL, or http://localhost:ADMIN_PORT where that is set.",
    )
    oidc_issuer: str | None = Field(
        default=None,
        description="The issuer of the OpenID provider by which operators sign in to the console, exactly as"
        " its discovery document has it. See [signing in by OpenID"
        " Connect](console.md#signing-in-by-openid-connect).",
    )
    oidc_client_id: str | None = Field(
        default=None, min_length=1, description="The id under which the provider knows the console."
    )
    oidc_client_secret: SecretStr | None = Field(
        default=None, description="The secret of that client. Unset, it is a public client."
    )
    oidc_scopes: CommaList = Field(
        default_factory=lambda: ["profile", "email"],
        description="The scopes that the provider is asked for beside openid, separated by commas.",
    )
    oidc_roles_claim: str = Field(
        default="groups",
        min_length=1,
        description="The claim of the ID token that says what somebody is: a text or a list of texts, by its"
        " name, or by a path with dots such as realm_access.roles.",
    )
    oidc_roles: CommaList = Field(
        default=[],
        description="Who may do what: VALUE=SCOPE, separated by commas, where VALUE is one of the claim's and"
        " SCOPE is read, operate, money or root. Whoever has none of them does not get in.",
    )
    session_idle_s: Seconds = Field(
        default=1800,
        ge=60,
        description="How many seconds after the last call a session of the console or the portal ends.",
    )
    session_s: Seconds = Field(
        default=43_200,
        ge=60,
        description="How many seconds after the sign-in a session of the console or the portal ends.",
    )
    audit_retention_s: Seconds = Field(
        default=0.0,
        ge=0,
        description="Seconds for which entries of the audit log are kept; 0 keeps them for ever.",
    )
    admin_call_retention_s: Seconds = Field(
        default=2_592_000.0,
        ge=86_400,
        description="Seconds for which the answers of changes over the admin API are kept, by their"
        " `Idempotency-Key`; a call that is repeated later is carried out anew.",
    )

    @field_validator("oidc_issuer")
    @classmethod
    def _issuer(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if re.search(r"[\s?#@]", value) or not parts.hostname or not has_good_port(value):
            raise ValueError("must be an absolute https URL without user, query or fragment")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_this_machine(parts.hostname)):
            raise ValueError("must be https; plain http is for a provider on this machine")
        return value  # with its last slash, if it has one: it is compared as it is

    @field_validator("oidc_scopes")
    @classmethod
    def _oauth_scopes(cls, values: list[str]) -> list[str]:
        if wrong := [one for one in values if not re.fullmatch(r"[!#-\[\]-~]+", one)]:
            raise ValueError(f"{wrong[0]!r} is not a scope")
        return values

    @field_validator("oidc_roles")
    @classmethod
    def _roles(cls, values: list[str]) -> list[str]:
        for one in values:
            name, _, scope = one.rpartition("=")
            if not name.strip() or scope.strip() not in _ADMIN_SCOPES:
                raise ValueError(f"{one!r} is not VALUE=SCOPE with one of {', '.join(_ADMIN_SCOPES)}")
        return values

    @property
    def roles_of_oidc(self) -> dict[str, frozenset[str]]:
        """The admin scopes that each value of the roles' claim gives."""
        found: dict[str, frozenset[str]] = {}
        for one in self.oidc_roles:
            name, _, scope = one.rpartition("=")
            found[name.strip()] = found.get(name.strip(), frozenset()) | {scope.strip()}
        return found

    @property
    def has_admin_port(self) -> bool:
        """Whether the admin API is served on a port of its own."""
        return self.admin_api and self.admin_port is not None
