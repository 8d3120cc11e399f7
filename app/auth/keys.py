"""API keys: `rg_<mode>_<kid>_<secret><check>`, and the form that client tokens share with them.

The kid identifies the row, the secret proves possession, and the check detects typing errors without the
database. What is stored is an HMAC under the server's pepper; the key itself is shown once, on its creation.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from sqlalchemy import Connection, Row, func, insert, select, tuple_, update

from app.auth.tenants import MediaChecks, origins_in
from app.db.schema.asset_states import MirrorMode
from app.db.schema.tables import api_keys, tenants
from app.errors import API_KEY_NOT_ACTIVE, API_KEY_NOT_FOUND, Problem
from app.kit.json import from_column, to_column
from app.kit.redaction import redactor
from app.kit.secrets import CHECK_LENGTH, checksum, keyed_digest, pepper_id, random_text
from app.kit.text import is_storable, quoted

Mode = Literal["live", "test"]
DEFAULT_SCOPES = ("submit", "read")
SCOPE_CREATE_TOKENS = "tokens:create"
SCOPE_READ_USAGE = "usage:read"
SCOPE_READ_WEBHOOKS = "webhooks:read"
SCOPE_WRITE_WEBHOOKS = "webhooks:write"
SCOPE_MANAGE = "account:manage"
SCOPES = (
    *DEFAULT_SCOPES,
    SCOPE_CREATE_TOKENS,
    SCOPE_READ_USAGE,
    SCOPE_READ_WEBHOOKS,
    SCOPE_WRITE_WEBHOOKS,
    SCOPE_MANAGE,
)

KID_LENGTH = 12
SECRET_LENGTH = 33  # 33 * log2(62) = 196 bits
_SHAPE = re.compile(
    rf"rg_(live|test|client)_([0-9A-Za-z]{{{KID_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})([0-9A-Za-z]{{{CHECK_LENGTH}}})\Z"
)


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key or client token as a caller sends it: well formed, but not yet verified.

    `kid` is the id of the row, of a key or of a client token.
    """

    kind: Literal["live", "test", "client"]
    kid: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class APIKey:
    """A key's record, with its tenant's name and state; the secret is not in it.

    `models` of None allows every model. `root_kid` is the first key of a chain of rotations, whose limits all
    of them share. `queueing` says whether its requests may be queued, None leaves it to the tenant, and the
    tenant's None to the settings. `mirror` says whether its outputs are mirrored, None leaves it to the
    tenant.
    """

    kid: str
    tenant_id: str
    tenant_name: str
    tenant_disabled_at_ms: int | None
    tenant_media_checks: MediaChecks | None
    tenant_origins: frozenset[str]
    tenant_queueing: bool | None
    name: str
    mode: Mode
    digest: str = field(repr=False)
    pepper_id: str
    last_four: str
    scopes: frozenset[str]
    models: frozenset[str] | None
    created_at_ms: int
    expires_at_ms: int | None
    revoked_at_ms: int | None
    rotated_to: str | None
    root_kid: str
    last_used_at_ms: int | None
    queueing: bool | None
    mirror: MirrorMode | None

    def state(self, now_ms: int) -> str:
        """Returns `active`, `revoked`, `expired` or `disabled` (the tenant is)."""
        return state_of(self.revoked_at_ms, self.expires_at_ms, self.tenant_disabled_at_ms, now_ms=now_ms)


def state_of(
    revoked_at_ms: int | None, expires_at_ms: int | None, tenant_disabled_at_ms: int | None, *, now_ms: int
) -> str:
    """Returns the state of a key with these times: `active`, `revoked`, `expired` or `disabled` (tenant)."""
    if revoked_at_ms is not None:
        return "revoked"
    if expires_at_ms is not None and expires_at_ms <= now_ms:
        return "expired"
    return "active" if tenant_disabled_at_ms is None else "disabled"


def parse(text: str) -> PresentedKey | None:
    """Returns the parts of a well-formed key or client token with a right check; None for other texts."""
    match = _SHAPE.match(text)
    if match is None or checksum(text[:-CHECK_LENGTH]) != match[4]:
        return None
    return PresentedKey(cast("Literal['live', 'test', 'client']", match[1]), match[2], text)


def generate(kind: Literal["live", "test", "client", "admin"]) -> tuple[str, str]:
    """Creates a key or client token with a new secret; returns its kid and the whole text."""
    kid = random_text(KID_LENGTH)
    body = f"rg_{kind}_{kid}_{random_text(SECRET_LENGTH)}"
    return kid, body + checksum(body)


def create(
    connection: Connection,
    tenant_id: str,
    *,
    mode: Mode,
    name: str,
    pepper: str,
    now_ms: int,
    scopes: Sequence[str] = DEFAULT_SCOPES,
    models: Sequence[str] | None = None,
    expires_at_ms: int | None = None,
    root_kid: str | None = None,
    queueing: bool | None = None,
    mirror: MirrorMode | None = None,
) -> tuple[str, str]:
    """Creates a key; returns its kid, and the key itself, which is stored nowhere.

    `models` of None allows every model. The key shares the limits of `root_kid`, if that is given.
    """
    kid, key = generate(mode)
    connection.execute(
        insert(api_keys).values(
            kid=kid,
            tenant_id=tenant_id,
            name=name,
            mode=mode,
            digest=keyed_digest(pepper, key),
            pepper_id=pepper_id(pepper),
            last_four=key[-4:],
            scopes=to_column(sorted(scopes)),
            models=to_column(sorted(models) if models else None),
            created_at_ms=now_ms,
            expires_at_ms=expires_at_ms,
            root_kid=root_kid,
            queueing=queueing,
            mirror=mirror,
        )
    )
    return kid, key


def rotate(
    connection: Connection, kid: str, *, overlap_ms: int, pepper: str, now_ms: int
) -> tuple[str, str, int]:
    """Creates a second key like the first, which stays valid for `overlap_ms` more.

    Returns the new kid, the new key, and when the old one ends (milliseconds since 1970).

    Raises:
        Problem: API_KEY_NOT_FOUND, API_KEY_NOT_ACTIVE.

    """
    old = to_change(connection, kid)
    state = "rotated" if old.rotated_to else old.state(now_ms)
    if state == "disabled":
        raise Problem(API_KEY_NOT_ACTIVE, f"the tenant of key {kid!r}, {old.tenant_name!r}, is disabled.")
    if state != "active":
        raise Problem(API_KEY_NOT_ACTIVE, f"key {kid!r} is {state} already.")
    ends_at_ms = min(now_ms + overlap_ms, old.expires_at_ms or now_ms + overlap_ms)
    new_kid, key = create(
        connection,
        old.tenant_id,
        mode=old.mode,
        name=old.name,
        pepper=pepper,
        now_ms=now_ms,
        scopes=sorted(old.scopes),
        models=sorted(old.models) if old.models else None,
        expires_at_ms=old.expires_at_ms,
        root_kid=old.root_kid,
        queueing=old.queueing,
        mirror=old.mirror,
    )
    changed = connection.execute(
        update(api_keys)
        .where(api_keys.c.kid == kid, api_keys.c.rotated_to.is_(None), api_keys.c.revoked_at_ms.is_(None))
        .values(expires_at_ms=ends_at_ms, rotated_to=new_kid)
    )
    if changed.rowcount != 1:  # somebody else was first; the transaction rolls back, and the new key with it
        raise Problem(API_KEY_NOT_ACTIVE, f"key {kid!r} was rotated or revoked just now.")
    return new_kid, key, ends_at_ms


def revoke(connection: Connection, kid: str, *, now_ms: int) -> None:
    """Ends a key now. Revoking it again changes nothing.

    Raises:
        Problem: API_KEY_NOT_FOUND.

    """
    to_change(connection, kid)
    connection.execute(
        update(api_keys)
        .where(api_keys.c.kid == kid, api_keys.c.revoked_at_ms.is_(None))
        .values(revoked_at_ms=now_ms)
    )


def set_queueing(connection: Connection, kid: str, *, queueing: bool | None) -> None:
    """Sets whether a key's requests may be queued; None leaves it to its tenant.

    Raises:
        Problem: API_KEY_NOT_FOUND.

    """
    to_change(connection, kid)
    connection.execute(update(api_keys).where(api_keys.c.kid == kid).values(queueing=queueing))


def set_mirror(connection: Connection, kid: str, mirror: MirrorMode | None) -> None:
    """Sets whether outputs of a key that complete from now on are mirrored; None leaves it to its tenant.

    Raises:
        Problem: API_KEY_NOT_FOUND.

    """
    to_change(connection, kid)
    connection.execute(update(api_keys).where(api_keys.c.kid == kid).values(mirror=mirror))


def narrow(
    connection: Connection,
    kid: str,
    *,
    name: str,
    scopes: Collection[str],
    models: Collection[str] | None,
    expires_at_ms: int | None,
) -> None:
    """Sets the terms of a key; whoever calls has checked that they allow no more than before."""
    connection.execute(
        update(api_keys)
        .where(api_keys.c.kid == kid)
        .values(
            name=name,
            scopes=to_column(sorted(scopes)),
            models=to_column(sorted(models) if models is not None else None),
            expires_at_ms=expires_at_ms,
        )
    )


def mark_used(connection: Connection, kid: str, *, now_ms: int) -> None:
    """Records when the key was used last."""
    connection.execute(update(api_keys).where(api_keys.c.kid == kid).values(last_used_at_ms=now_ms))


def find(connection: Connection, kid: str) -> APIKey | None:
    """Returns a key's record by its kid, or None."""
    if not is_storable(kid):
        return None
    row = connection.execute(_SELECT.where(api_keys.c.kid == kid)).one_or_none()
    return None if row is None else _api_key(row)


def find_all(connection: Connection, kids: Collection[str]) -> dict[str, APIKey]:
    """Returns the records of several keys, by their kids; a kid without a key is left out."""
    rows = connection.execute(_SELECT.where(api_keys.c.kid.in_(kids)))
    return {key.kid: key for key in map(_api_key, rows)}


def newest_pepper_id(connection: Connection) -> str | None:
    """The id of the pepper that the newest key was made with; None where there is no key."""
    query = select(api_keys.c.pepper_id).order_by(api_keys.c.created_at_ms.desc()).limit(1)
    return connection.execute(query).scalar_one_or_none()


def to_change(connection: Connection, kid: str) -> APIKey:
    """Returns a key's record and locks its row until the commit.

    Raises:
        Problem: API_KEY_NOT_FOUND.

    """
    if is_storable(kid):
        connection.execute(
            select(api_keys.c.kid).where(api_keys.c.kid == kid).with_for_update(key_share=True)
        )
    return to_read(connection, kid)


def to_read(connection: Connection, kid: str) -> APIKey:
    """Returns a key's record.

    Raises:
        Problem: API_KEY_NOT_FOUND.

    """
    key = find(connection, kid)
    if key is None:
        shown = quoted(redactor.hide_keys(kid))
        raise Problem(
            API_KEY_NOT_FOUND,
            f"there is no key {shown}; `reelgate keys list` shows them.",
        )
    return key


def of_tenant(connection: Connection, tenant_id: str | None) -> list[APIKey]:
    """Returns the keys of one tenant, or of all tenants (None), oldest first."""
    query = _SELECT.order_by(api_keys.c.created_at_ms, api_keys.c.kid)
    if tenant_id is not None:
        query = query.where(api_keys.c.tenant_id == tenant_id)
    return [_api_key(row) for row in connection.execute(query)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which keys are searched for; None: any.

    `prefix` is the beginning of a kid, `name` a part of the name in any case. A key that was never used was
    used before any moment. `after` is the kid of the last key of the page before.
    """

    tenant_id: str | None = None
    mode: Mode | None = None
    prefix: str | None = None
    name: str | None = None
    used_before_ms: int | None = None
    used_after_ms: int | None = None
    after: str | None = None


def search(connection: Connection, wanted: Search, *, limit: int) -> list[APIKey]:
    """Returns up to `limit` of the keys that are searched for, oldest first."""
    query = _SELECT.order_by(api_keys.c.created_at_ms, api_keys.c.kid).limit(limit)
    if wanted.tenant_id is not None:
        query = query.where(api_keys.c.tenant_id == wanted.tenant_id)
    if wanted.mode is not None:
        query = query.where(api_keys.c.mode == wanted.mode)
    if wanted.prefix is not None:
        query = query.where(api_keys.c.kid.startswith(wanted.prefix, autoescape=True))
    if wanted.name is not None:
        query = query.where(func.lower(api_keys.c.name).contains(wanted.name.lower(), autoescape=True))
    if wanted.used_before_ms is not None:
        query = query.where(func.coalesce(api_keys.c.last_used_at_ms, 0) < wanted.used_before_ms)
    if wanted.used_after_ms is not None:
        query = query.where(api_keys.c.last_used_at_ms >= wanted.used_after_ms)
    if wanted.after is not None:
        last = select(api_keys.c.created_at_ms).where(api_keys.c.kid == wanted.after).scalar_subquery()
        place = tuple_(api_keys.c.created_at_ms, api_keys.c.kid)
        query = query.where(place > tuple_(last, wanted.after))
    return [_api_key(row) for row in connection.execute(query)]


_SELECT = select(
    api_keys,
    tenants.c.name.label("tenant_name"),
    tenants.c.disabled_at_ms.label("tenant_disabled_at_ms"),
    tenants.c.media_checks.label("tenant_media_checks"),
    tenants.c.origins.label("tenant_origins"),
    tenants.c.queueing.label("tenant_queueing"),
).join(tenants, tenants.c.id == api_keys.c.tenant_id)


def _api_key(row: Row[tuple[object, ...]]) -> APIKey:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented access to a row's names
    values["scopes"] = frozenset(from_column(values["scopes"]))
    values["tenant_origins"] = origins_in(values["tenant_origins"])
    models = from_column(values["models"])
    values["models"] = None if models is None else frozenset(models)
    values["root_kid"] = values["root_kid"] or values["kid"]
    return APIKey(**values)
