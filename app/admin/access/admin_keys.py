"""Admin keys, for the operator. `create` and `rotate` return the key itself; it is stored nowhere.

The first key can only be made by a command on the server: whoever can read its pepper and its database.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection

from app.admin import audit
from app.admin.actor import Actor
from app.admin.audit import Change
from app.admin.session import AdminGateway
from app.admin.violations import faults_of_text, refuse
from app.auth import admin_keys
from app.auth.admin_keys import ADMIN_SCOPES, AdminKey
from app.errors import INVALID_ADMIN_KEY_TERMS, FieldError
from app.kit.text import quoted

MAX_NAME: Final = 100
MAX_DAYS: Final = 3650
"""The most days that an admin key can be given to live, or to live on beside the key that replaces it."""
_MAX_MS: Final = MAX_DAYS * 86_400_000


@dataclass(frozen=True, slots=True)
class NewAdminKey:
    """An admin key that was made: its record, and the key itself."""

    record: AdminKey
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RotatedAdminKey:
    """An admin key that replaces another, whose kid is `replaces`, and which works until `old_ends_at_ms`."""

    record: AdminKey
    key: str = field(repr=False)
    replaces: str
    old_ends_at_ms: int


async def listed(gateway: AdminGateway) -> list[AdminKey]:
    """Returns all admin keys, oldest first."""
    return await gateway.db.read(admin_keys.list_all)


async def create(
    gateway: AdminGateway,
    actor: Actor,
    name: str,
    scopes: Sequence[str],
    *,
    lifetime_ms: int | None = None,
    reason: str | None = None,
) -> NewAdminKey:
    """Makes an admin key. It expires after `lifetime_ms`; None: never.

    Raises:
        Problem: INVALID_ADMIN_KEY_TERMS, INVALID_REASON.
        SettingsError: there is no pepper, or a weak one.

    """
    errors = faults_of_text("#/name", "an admin key's name", name, min_length=1, max_length=MAX_NAME)
    if not scopes:
        errors.append(FieldError("#/scopes", "min_items", "an admin key has at least one scope."))
    for number, scope in enumerate(scopes):
        if scope not in ADMIN_SCOPES:
            detail = f"there is no scope {quoted(scope)}; there are {', '.join(ADMIN_SCOPES)}."
            errors.append(FieldError(f"#/scopes/{number}", "enum", detail))
    if lifetime_ms is not None and not 0 < lifetime_ms <= _MAX_MS:
        detail = f"the lifetime of an admin key must be greater than 0 and at most {MAX_DAYS} days."
        errors.append(FieldError("#/lifetime_ms", "range", detail))
    refuse(INVALID_ADMIN_KEY_TERMS, errors)
    now_ms, pepper = gateway.clock.now_ms(), gateway.settings.current_pepper()

    def make(connection: Connection) -> tuple[NewAdminKey, Change]:
        kid, key = admin_keys.create(
            connection,
            name=name,
            scopes=sorted(set(scopes)),
            pepper=pepper,
            now_ms=now_ms,
            expires_at_ms=None if lifetime_ms is None else now_ms + lifetime_ms,
        )
        made = admin_keys.to_change(connection, kid)
        terms = {"name": name, "scopes": sorted(made.scopes), "expires_at_ms": made.expires_at_ms}
        return NewAdminKey(made, key), _changed("create", kid, None, terms)

    return await audit.write(gateway, actor, reason, make)


async def rotate(
    gateway: AdminGateway, actor: Actor, kid: str, *, overlap_ms: int, reason: str | None = None
) -> RotatedAdminKey:
    """Makes a second admin key like the first, which stays valid for `overlap_ms` more.

    Raises:
        Problem: INVALID_ADMIN_KEY_TERMS, ADMIN_KEY_NOT_FOUND, ADMIN_KEY_NOT_ACTIVE, INVALID_REASON.
        SettingsError: there is no pepper, or a weak one.

    """
    if not 0 <= overlap_ms <= _MAX_MS:
        detail = f"an overlap is from 0 to {MAX_DAYS} days."
        refuse(INVALID_ADMIN_KEY_TERMS, [FieldError("#/overlap_ms", "range", detail)])
    now_ms, pepper = gateway.clock.now_ms(), gateway.settings.current_pepper()

    def change(connection: Connection) -> tuple[RotatedAdminKey, Change]:
        before = admin_keys.to_change(connection, kid)
        new_kid, key, ends_at_ms = admin_keys.rotate(
            connection, kid, overlap_ms=overlap_ms, pepper=pepper, now_ms=now_ms
        )
        made = admin_keys.to_change(connection, new_kid)
        was = {"rotated_to": before.rotated_to, "expires_at_ms": before.expires_at_ms}
        is_now = {"rotated_to": new_kid, "expires_at_ms": ends_at_ms}
        return RotatedAdminKey(made, key, kid, ends_at_ms), _changed("rotate", kid, was, is_now)

    return await audit.write(gateway, actor, reason, change)


async def revoke(gateway: AdminGateway, actor: Actor, kid: str, *, reason: str | None = None) -> AdminKey:
    """Revokes an admin key, on every replica at once, and returns its record.

    A key that is revoked already keeps the time of its first revocation.

    Raises:
        Problem: ADMIN_KEY_NOT_FOUND, INVALID_REASON.

    """
    now_ms = gateway.clock.now_ms()

    def change(connection: Connection) -> tuple[AdminKey, Change]:
        before = admin_keys.to_change(connection, kid)
        admin_keys.revoke(connection, kid, now_ms=now_ms)
        after = admin_keys.to_change(connection, kid)
        was, is_now = {"revoked_at_ms": before.revoked_at_ms}, {"revoked_at_ms": after.revoked_at_ms}
        return after, _changed("revoke", kid, was, is_now)

    return await audit.write(gateway, actor, reason, change)


def _changed(action: str, kid: str, before: dict[str, Any] | None, after: dict[str, Any]) -> Change:
    return Change(
        action=f"admin_key.{action}",
        subject_kind="admin_key",
        subject_id=kid,
        tenant_id=None,
        before=before,
        after=after,
    )
