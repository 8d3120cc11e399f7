"""Checks of the OpenID provider that operators sign in with: what it publishes, and the way back from it."""

from typing import Final
from urllib.parse import urlsplit

from app.admin.checks.database_checks import Check
from app.auth.oidc.terms import Terms
from app.config import Settings
from app.egress.tls import system_trust
from app.errors import Problem
from app.kit.clock import SystemClock
from app.setting_texts import is_this_machine
from app.settings.values import PREFIX

_NAME: Final = "sign-in"


async def examine(settings: Settings) -> list[Check]:
    """Returns what was found of the provider; nothing where operators sign in with admin keys alone."""
    terms = Terms.of(settings)
    if terms is None:
        return []
    return [*await _of_provider(terms), *_of_way_back(terms)]


async def _of_provider(terms: Terms) -> list[Check]:
    try:
        from app.auth.oidc.provider import Provider  # noqa: PLC0415 - the library is an extra
    except ModuleNotFoundError as error:
        finding = (
            f"{PREFIX}OIDC_ISSUER needs the extra `oidc`: install reelgate[oidc] ({error.name} is missing)"
        )
        return [Check(_NAME, "bad", finding)]
    provider = Provider(terms, SystemClock(), system_trust())
    try:
        keys = await provider.count_keys()
    except Problem as problem:
        finding = f"{terms.issuer} is of no use: {problem.detail} Operators can sign in with admin keys alone"
        return [Check(_NAME, "bad", finding)]
    finally:
        await provider.close()
    finding = (
        f"{terms.issuer} says that it is that issuer, and publishes {keys} usable"
        f" {'key' if keys == 1 else 'keys'}; the client {terms.client_id} must be allowed to send browsers"
        f" back to {terms.redirect_uri}"
    )
    return [Check(_NAME, "good", finding)]


def _of_way_back(terms: Terms) -> list[Check]:
    """Names an address at which no browser would keep the session."""
    parts = urlsplit(terms.redirect_uri)
    if parts.scheme == "https" or is_this_machine(parts.hostname or ""):
        return []
    finding = (
        f"browsers come back to {terms.redirect_uri}, and keep a session over https only: set"
        f" {PREFIX}CONSOLE_URL to the https address of the console"
    )
    return [Check(_NAME, "bad", finding)]
