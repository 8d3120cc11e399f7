"""API keys, for the operator. `create` and `rotate` return the key itself; it is stored nowhere."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast, get_args

from pydantic import AwareDatetime
from sqlalchemy import Connection

from app.admin import audit
from app.admin.actor import Actor
from app.admin.audit import Change
from app.admin.paging import MAX_PAGE, Page, PageSize, page_of, unknown_cursor
from app.admin.session import AdminGateway
from app.admin.violations import faults_of_text, refuse
from app.auth import keys, tenants
from app.auth.keys import DEFAULT_SCOPES, SCOPES, APIKey, Mode, Search
from app.db.schema.asset_states import MirrorMode
from app.errors import INVALID_API_KEY_TERMS, FieldError
from app.kit.clock import iso
from app.kit.text import is_storable, quoted

MAX_NAME: Final = 100
MAX_DAYS: Final = 36_500
"""The most days that a key can be given to live, or to live on beside the key that replaces it: a century."""
_MAX_MS: Final = MAX_DAYS * 86_400_000
_MODE_PREFIX: Final = re.compile(r"rg_(live|test)_")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was made: its record, and the key itself."""

    record: APIKey
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RotatedKey:
    """A key that replaces another, whose kid is `replaces`, and which works until `old_ends_at_ms`."""

    record: APIKey
    key: str = field(repr=False)
    replaces: str
    old_ends_at_ms: int


async def listed(
    gateway: AdminGateway,
    *,
    tenant: str | None = None,
    mode: Mode | None = None,
    prefix: str | None = None,
    name: str | None = None,
    used_before: AwareDatetime | None = None,
    used_after: AwareDatetime | None = None,
    limit: PageSize = MAX_PAGE,
    cursor: str | None = None,
) -> Page[APIKey]:
    """Returns API keys, oldest first, in pages: all of them, or those that are searched for.

    `prefix` is the beginning of a key or of its kid, `name` a part of its name. A key that was never used was
    used before any moment.

    Raises:
        Problem: TENANT_NOT_FOUND, INVALID_PARAMETER.

    """
    searched = (prefix or "") + (name or "") + (cursor or "")
    if not is_storable(searched):
        raise unknown_cursor()
    if cursor is not None and await gateway.db.read(keys.find, cursor) is None:
        raise unknown_cursor()
    tenant_id = None if tenant is None else (await gateway.db.read(tenants.by_name, tenant)).id
    began = None if prefix is None else _MODE_PREFIX.match(prefix)
    wanted = Search(
        tenant_id=tenant_id,
        mode=mode if began is None else cast("Mode", began[1]),
        prefix=prefix if prefix is None or began is None else prefix[began.end() :].partition("_")[0],
        name=name,
        used_before_ms=None if used_before is None else int(used_before.timestamp() * 1000),
        used_after_ms=None if used_after is None else int(used_after.timestamp() * 1000),
        after=cursor,
    )
    return page_of(await gateway.db.read(keys.search, wanted, limit=limit + 1), limit, lambda one: one.kid)


async def show(gateway: AdminGateway, kid: str) -> APIKey:
    """Returns an API key's record.

    Raises:
        Problem: API_KEY_NOT_FOUND.

    """
    return await gateway.db.read(keys.to_read, kid)


async def create(
    gateway: AdminGateway,
    actor: Actor,
    tenant: str,
    *,
    mode: Mode,
    name: str = "",
    scopes: Sequence[str] = DEFAULT_SCOPES,
    models: Sequence[str] | None = None,
    lifetime_ms: int | None = None,
    reason: str | None = None,
) -> NewKey:
    """Makes a key of a tenant.

    `models` of None allows every model. The key expires after `lifetime_ms`; None: never.

    Raises:
        Problem: INVALID_API_KEY_TERMS, TENANT_NOT_FOUND, INVALID_REASON.
        SettingsError: there is no pepper, or a weak one.

    """
    faults = _faults_of_terms(
        gateway, mode=mode, name=name, scopes=scopes, models=models, lifetime_ms=lifetime_ms
    )
    refuse(INVALID_API_KEY_TERMS, faults)
    now_ms = gateway.clock.now_ms()
    expires_at_ms = None if lifetime_ms is None else now_ms + lifetime_ms
    pepper = gateway.settings.current_pepper()

    def make(connection: Connection) -> tuple[NewKey, Change]:
        owner = tenants.by_name(connection, tenant)
        kid, key = keys.create(
            connection,
            owner.id,
            mode=mode,
            name=name,
            pepper=pepper,
            now_ms=now_ms,
            scopes=scopes,
            models=models,
            expires_at_ms=expires_at_ms,
        )
        made = keys.to_change(connection, kid)
        return NewKey(made, key), _changed("create", made, None, _terms_of(made))

    return await audit.write(gateway, actor, reason, make)


def _faults_of_terms(
    gateway: AdminGateway,
    *,
    mode: str,
    name: str,
    scopes: Sequence[str],
    models: Sequence[str] | None,
    lifetime_ms: int | None,
) -> list[FieldError]:
    errors = faults_of_text("#/name", "a key's name", name, max_length=MAX_NAME)
    if mode not in get_args(Mode):
        errors.append(FieldError("#/mode", "enum", f"a key's mode is one of {', '.join(get_args(Mode))}."))
    if not scopes:
        errors.append(FieldError("#/scopes", "min_items", "a key has at least one scope."))
    for number, scope in enumerate(scopes):
        if scope not in SCOPES:
            detail = f"there is no scope {quoted(scope)}; there are {', '.join(SCOPES)}."
            errors.append(FieldError(f"#/scopes/{number}", "enum", detail))
    for number, model_id in enumerate(models or ()):
        if gateway.catalog.models.get(model_id) is None:
            detail = f"the catalogue has no model {quoted(model_id)}."
            errors.append(FieldError(f"#/models/{number}", "model", detail))
    if lifetime_ms is not None and not 0 < lifetime_ms <= _MAX_MS:
        detail = f"the lifetime of a key must be greater than 0 and at most {MAX_DAYS} days."
        errors.append(FieldError("#/lifetime_ms", "range", detail))
    return errors


async def rotate(
    gateway: AdminGateway, actor: Actor, kid: str, *, overlap_ms: int, reason: str | None = None
) -> RotatedKey:
    """Makes a second key like the first, which stays valid for `overlap_ms` more.

    Raises:
        Problem: INVALID_API_KEY_TERMS, API_KEY_NOT_FOUND, API_KEY_NOT_ACTIVE, INVALID_REASON.
        SettingsError: there is no pepper, or a weak one.

    """
    if not 0 <= overlap_ms <= _MAX_MS:
        detail = f"an overlap is from 0 to {MAX_DAYS} days."
        refuse(INVALID_API_KEY_TERMS, [FieldError("#/overlap_ms", "range", detail)])
    now_ms, pepper = gateway.clock.now_ms(), gateway.settings.current_pepper()

    def change(connection: Connection) -> tuple[RotatedKey, Change]:
        before = keys.to_change(connection, kid)
        new_kid, key, ends_at_ms = keys.rotate(
            connection, kid, overlap_ms=overlap_ms, pepper=pepper, now_ms=now_ms
        )
        made = keys.to_change(connection, new_kid)
        was = {"rotated_to": before.rotated_to, "expires_at_ms": before.expires_at_ms}
        is_now = {"rotated_to": new_kid, "expires_at_ms": ends_at_ms}
        return RotatedKey(made, key, kid, ends_at_ms), _changed("rotate", before, was, is_now)

    return await audit.write(gateway, actor, reason, change)


async def narrow(
    gateway: AdminGateway,
    actor: Actor,
    kid: str,
    *,
    name: str | None = None,
    scopes: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    lifetime_ms: int | None = None,
    reason: str | None = None,
) -> APIKey:
    """Narrows the terms of a key, on every replica within five seconds; None leaves a term as it is.

    Scopes and models can only be taken away, and the key can only expire earlier, `lifetime_ms` from now:
    whoever holds it was never given more.

    Raises:
        Problem: INVALID_API_KEY_TERMS, API_KEY_NOT_FOUND, INVALID_REASON.

    """
    now_ms = gateway.clock.now_ms()

    def change(connection: Connection) -> tuple[APIKey, Change]:
        before = keys.to_change(connection, kid)
        refuse(
            INVALID_API_KEY_TERMS,
            _faults_of_narrowing(
                before, name=name, scopes=scopes, models=models, lifetime_ms=lifetime_ms, now_ms=now_ms
            ),
        )
        keys.narrow(
            connection,
            kid,
            name=before.name if name is None else name,
            scopes=before.scopes if scopes is None else scopes,
            models=before.models if models is None else models,
            expires_at_ms=before.expires_at_ms if lifetime_ms is None else now_ms + lifetime_ms,
        )
        after = keys.to_change(connection, kid)
        return after, _changed("narrow", after, _terms_of(before), _terms_of(after))

    return await audit.write(gateway, actor, reason, change)


def _faults_of_narrowing(
    key: APIKey,
    *,
    name: str | None,
    scopes: Sequence[str] | None,
    models: Sequence[str] | None,
    lifetime_ms: int | None,
    now_ms: int,
) -> list[FieldError]:
    errors = [] if name is None else faults_of_text("#/name", "a key's name", name, max_length=MAX_NAME)
    for pointer, noun, wanted, had in (
        ("#/scopes", "scope", scopes, key.scopes),
        ("#/models", "model", models, key.models),
    ):
        if wanted is not None and not wanted:
            errors.append(FieldError(pointer, "min_items", f"a key has at least one {noun}; or revoke it."))
        for number, one in enumerate(wanted or ()):
            if had is not None and one not in had:
                detail = f"the key does not have the {noun} {quoted(one)}, and cannot be given it."
                errors.append(FieldError(f"{pointer}/{number}", "wider", detail))
    if lifetime_ms is not None:
        if not 0 < lifetime_ms <= _MAX_MS:
            detail = f"the lifetime of a key must be greater than 0 and at most {MAX_DAYS} days."
            errors.append(FieldError("#/lifetime_ms", "range", detail))
        elif key.expires_at_ms is not None and now_ms + lifetime_ms > key.expires_at_ms:
            detail = f"the key expires at {iso(key.expires_at_ms)} already, and cannot live longer."
            errors.append(FieldError("#/lifetime_ms", "wider", detail))
    return errors


async def revoke(gateway: AdminGateway, actor: Actor, kid: str, *, reason: str | None = None) -> APIKey:
    """Revokes a key, on every replica within five seconds, and returns its record.

    A key that is revoked already keeps the time of its first revocation.

    Raises:
        Problem: API_KEY_NOT_FOUND, INVALID_REASON.

    """
    now_ms = gateway.clock.now_ms()

    def change(connection: Connection) -> tuple[APIKey, Change]:
        before = keys.to_change(connection, kid)
        keys.revoke(connection, kid, now_ms=now_ms)
        after = keys.to_change(connection, kid)
        was, is_now = {"revoked_at_ms": before.revoked_at_ms}, {"revoked_at_ms": after.revoked_at_ms}
        return after, _changed("revoke", after, was, is_now)

    return await audit.write(gateway, actor, reason, change)


async def set_queueing(
    gateway: AdminGateway, actor: Actor, kid: str, *, queueing: bool | None, reason: str | None = None
) -> APIKey:
    """Sets whether the key's requests may be queued; None leaves it to its tenant. Returns the key's record.

    Raises:
        Problem: API_KEY_NOT_FOUND, INVALID_REASON.

    """

    def change(connection: Connection) -> tuple[APIKey, Change]:
        before = keys.to_change(connection, kid)
        keys.set_queueing(connection, kid, queueing=queueing)
        after = keys.to_change(connection, kid)
        was, is_now = {"queueing": before.queueing}, {"queueing": after.queueing}
        return after, _changed("set_queueing", after, was, is_now)

    return await audit.write(gateway, actor, reason, change)


async def set_mirror(
    gateway: AdminGateway,
    actor: Actor,
    kid: str,
    *,
    mirror: MirrorMode | None,
    reason: str | None = None,
) -> APIKey:
    """Sets whether the key's outputs are mirrored; null leaves it to its tenant. Returns the key's record.

    Raises:
        Problem: API_KEY_NOT_FOUND, INVALID_API_KEY_TERMS, INVALID_REASON.

    """
    if mirror not in (None, *get_args(MirrorMode)):
        known = ", ".join(get_args(MirrorMode))
        detail = f"there is no mirror {quoted(str(mirror))}; there are {known}."
        refuse(INVALID_API_KEY_TERMS, [FieldError("#/mirror", "enum", detail)])

    def change(connection: Connection) -> tuple[APIKey, Change]:
        before = keys.to_change(connection, kid)
        keys.set_mirror(connection, kid, mirror)
        after = keys.to_change(connection, kid)
        return after, _changed("set_mirror", after, {"mirror": before.mirror}, {"mirror": after.mirror})

    return await audit.write(gateway, actor, reason, change)


def _changed(action: str, key: APIKey, before: dict[str, Any] | None, after: dict[str, Any] | None) -> Change:
    return Change(
        action=f"key.{action}",
        subject_kind="api_key",
        subject_id=key.kid,
        tenant_id=key.tenant_id,
        before=before,
        after=after,
    )


def _terms_of(key: APIKey) -> dict[str, Any]:
    return {
        "mode": key.mode,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "models": None if key.models is None else sorted(key.models),
        "expires_at_ms": key.expires_at_ms,
    }
