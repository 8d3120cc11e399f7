"""People who sign in to the console and the portal, and the links that open the portal.

Every sign-in, sign-out and link is in the audit log, as the key's that the session acts as.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sqlalchemy import Connection

from app.admin import audit
from app.admin.actor import Actor, of_admin_key
from app.admin.audit import Change
from app.admin.session import AdminGateway
from app.admin.violations import refuse
from app.auth import admin_keys, keys, sessions
from app.auth.admin_keys import AdminKey
from app.auth.keys import APIKey
from app.auth.oidc.person import Person, enter
from app.auth.principal import check_key
from app.auth.sessions import Kind, Opened, Session
from app.config import Settings
from app.errors import INVALID_CHANGE, PORTAL_DISABLED, FieldError, Problem
from app.kit.text import quoted

_REASONS: Final = {"console": "signed in to the console", "portal": "signed in to the portal"}


@dataclass(frozen=True, slots=True)
class PortalLink:
    """A link that opens the portal once, as an API key: its address is shown once, and stored nowhere."""

    record: APIKey
    scopes: Sequence[str]
    url: str = field(repr=False)
    expires_at_ms: int


async def sign_in_operator(gateway: AdminGateway, key: AdminKey) -> Opened:
    """Opens a session of the console, which acts as an admin key.

    Raises:
        Problem: DATABASE_UNAVAILABLE.

    """

    def change(connection: Connection) -> tuple[Opened, Change]:
        return _opened(connection, gateway, "console", key.kid, scopes=None, tenant_id=None)

    return await audit.write(gateway, Actor("admin_key", key.kid), _REASONS["console"], change)


async def sign_in_person(gateway: AdminGateway, person: Person, *, pepper: str) -> Opened:
    """Opens a session of the console for somebody who signed in by OpenID Connect, with their roles' scopes.

    `pepper` is that of their terms (`auth.oidc.terms`).

    Raises:
        Problem: SIGN_IN_REFUSED, DATABASE_UNAVAILABLE.

    """
    now_ms = gateway.clock.now_ms()

    def change(connection: Connection) -> tuple[Opened, Change]:
        key = enter(connection, person, now_ms=now_ms)
        opened, changed = _opened(
            connection, gateway, "console", key.kid, scopes=person.scopes, tenant_id=None, pepper=pepper
        )
        who = {"kid": key.kid, "issuer": person.issuer, "subject": person.subject}
        return opened, replace(changed, after={**(changed.after or {}), **who})

    return await audit.write(gateway, Actor("person", person.name), _REASONS["console"] + " by OIDC", change)


async def sign_in_with_key(gateway: AdminGateway, kid: str) -> Opened:
    """Opens a session of the portal, which acts as an API key; whoever asks has shown that key.

    Raises:
        Problem: INVALID_API_KEY, DATABASE_UNAVAILABLE.

    """

    def change(connection: Connection) -> tuple[Opened, Change]:
        key = check_key(keys.find(connection, kid), gateway.clock.now_ms())
        return _opened(connection, gateway, "portal", key.kid, scopes=None, tenant_id=key.tenant_id)

    return await audit.write(gateway, Actor("api_key", kid), _REASONS["portal"], change)


async def sign_in_with_link(gateway: AdminGateway, link: str) -> Opened:
    """Uses up a link, and opens the session of the portal that it is for.

    Raises:
        Problem: INVALID_PORTAL_LINK, INVALID_API_KEY, DATABASE_UNAVAILABLE.

    """
    now_ms, pepper = gateway.clock.now_ms(), gateway.settings.current_pepper()
    kid = await gateway.db.read(sessions.kid_of_link, link, pepper=pepper)

    def change(connection: Connection) -> tuple[Opened, Change]:
        key, scopes = sessions.use_link(connection, link, pepper=pepper, now_ms=now_ms)
        return _opened(connection, gateway, "portal", key.kid, scopes=scopes, tenant_id=key.tenant_id)

    return await audit.write(gateway, Actor("api_key", kid), _REASONS["portal"] + " by a link", change)


async def sign_out(gateway: AdminGateway, session: Session) -> None:
    """Ends a session, on every replica at once.

    Raises:
        Problem: DATABASE_UNAVAILABLE.

    """

    def change(connection: Connection) -> tuple[None, Change]:
        sessions.end(connection, session.session_id)
        key = keys.find(connection, session.kid) if session.kind == "portal" else None
        tenant_id = None if key is None else key.tenant_id
        return None, _changed("end", session, tenant_id, _fields_of(session), None)

    await audit.write(gateway, await _actor_of(gateway, session), "signed out", change)


async def _actor_of(gateway: AdminGateway, session: Session) -> Actor:
    if session.kind == "portal":
        return Actor("api_key", session.kid)
    key = await gateway.db.read(admin_keys.find, session.kid)
    return Actor("admin_key", session.kid) if key is None else of_admin_key(key)


async def create_link(
    gateway: AdminGateway,
    actor: Actor,
    kid: str,
    *,
    scopes: Sequence[str] | None = None,
    reason: str | None = None,
) -> PortalLink:
    """Makes a link that opens the portal once, within a minute, as an API key; `scopes` narrow what it may.

    Raises:
        Problem: PORTAL_DISABLED, API_KEY_NOT_FOUND, INVALID_API_KEY, INVALID_CHANGE, INVALID_REASON.
        SettingsError: there is no pepper, or a weak one.

    """
    if not gateway.settings.portal:
        raise Problem(PORTAL_DISABLED, "This gateway serves no portal: `REELGATE_PORTAL` is not set.")
    now_ms, pepper = gateway.clock.now_ms(), gateway.settings.current_pepper()

    def change(connection: Connection) -> tuple[PortalLink, Change]:
        key = check_key(keys.to_read(connection, kid), now_ms)
        refuse(INVALID_CHANGE, _faults_of_scopes(key, scopes))
        narrowed = None if scopes is None else frozenset(scopes)
        text, expires_at_ms = sessions.add_link(
            connection, kid, scopes=narrowed, pepper=pepper, now_ms=now_ms
        )
        allowed = sorted(key.scopes if narrowed is None else narrowed)
        return PortalLink(key, allowed, portal_url(gateway.settings, text), expires_at_ms), Change(
            action="portal_link.create",
            subject_kind="api_key",
            subject_id=kid,
            tenant_id=key.tenant_id,
            before=None,
            after={"scopes": allowed, "expires_at_ms": expires_at_ms},
        )

    return await audit.write(gateway, actor, reason, change)


def portal_url(settings: Settings, link: str) -> str:
    """Returns the address of a link. Behind its `#` stands what no server, proxy or log is ever sent."""
    return f"{settings.base_url}/portal#link={link}"


def _faults_of_scopes(key: APIKey, scopes: Sequence[str] | None) -> list[FieldError]:
    if scopes is None:
        return []
    if not scopes:
        return [FieldError("#/scopes", "min_items", "name at least one scope, or leave them out.")]
    return [
        FieldError(f"#/scopes/{number}", "wider", f"the key does not have the scope {quoted(one)}.")
        for number, one in enumerate(scopes)
        if one not in key.scopes
    ]


def _opened(
    connection: Connection,
    gateway: AdminGateway,
    kind: Kind,
    kid: str,
    *,
    scopes: frozenset[str] | None,
    tenant_id: str | None,
    pepper: str | None = None,
) -> tuple[Opened, Change]:
    opened = sessions.open_session(
        connection,
        kind,
        kid,
        scopes=scopes,
        pepper=pepper or gateway.settings.current_pepper(),
        now_ms=gateway.clock.now_ms(),
        lifetime_ms=int(gateway.settings.session_s * 1000),
    )
    session = opened.session
    return opened, _changed("create", session, tenant_id, None, _fields_of(session))


def _fields_of(session: Session) -> dict[str, object]:
    scopes = None if session.scopes is None else sorted(session.scopes)
    return {"kind": session.kind, "scopes": scopes, "expires_at_ms": session.expires_at_ms}


def _changed(
    action: str,
    session: Session,
    tenant_id: str | None,
    before: dict[str, object] | None,
    after: dict[str, object] | None,
) -> Change:
    return Change(
        action=f"session.{action}",
        subject_kind="session",
        subject_id=session.session_id,
        tenant_id=tenant_id,
        before=before,
        after=after,
    )
