"""API keys of tenants and admin keys, as operators read them. The key itself is in one answer alone."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

from app.auth import admin_keys, keys
from app.auth.admin_keys import ADMIN_SCOPES
from app.auth.keys import SCOPES, Mode
from app.db.schema.asset_states import MirrorMode
from app.documents.fields import Moment, iso_or_none
from app.documents.schema import keywords
from app.kit.clock import iso

Kid = Annotated[str, keywords("The key's public identifier, which is not the key.")]
NewKey = Annotated[
    str | None,
    keywords("The key itself. It is shown once: null where this repeats the answer of an earlier call."),
]


class APIKey(TypedDict):
    """An API key's record, without the key."""

    kid: Kid
    tenant: Annotated[str, keywords("Its tenant's name.")]
    mode: Mode
    name: str
    state: Annotated[str, keywords(enum=["active", "revoked", "expired", "disabled"])]
    last_four: str
    scopes: list[Annotated[str, keywords(enum=list(SCOPES))]]
    models: Annotated[list[str] | None, keywords("The only models that it may use; null: all.")]
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    rotated_to: Annotated[str | None, keywords("The kid of the key that replaces it.")]
    last_used_at: Annotated[Moment | None, keywords("When it was last used, to the hour.")]
    queueing: Annotated[bool | None, keywords("Whether its requests may be queued; null: as its tenant's.")]
    mirror: Annotated[MirrorMode | None, keywords("Whether its outputs are mirrored; null: as its tenant's.")]


class APIKeyPage(TypedDict):
    """A page of API keys, oldest first."""

    keys: list[APIKey]
    next_cursor: str | None


class CreatedAPIKey(APIKey):
    """An API key that was created."""

    key: NewKey


class RotatedAPIKey(CreatedAPIKey):
    """An API key that replaces another."""

    replaces: Annotated[str, keywords("The kid of the key that it replaces.")]
    old_key_ends_at: Moment


def api_key(one: keys.APIKey, now_ms: int) -> APIKey:
    """Returns the document of an API key."""
    return {
        "kid": one.kid,
        "tenant": one.tenant_name,
        "mode": one.mode,
        "name": one.name,
        "state": one.state(now_ms),
        "last_four": one.last_four,
        "scopes": sorted(one.scopes),
        "models": None if one.models is None else sorted(one.models),
        "created_at": iso(one.created_at_ms),
        "expires_at": iso_or_none(one.expires_at_ms),
        "revoked_at": iso_or_none(one.revoked_at_ms),
        "rotated_to": one.rotated_to,
        "last_used_at": iso_or_none(one.last_used_at_ms),
        "queueing": one.queueing,
        "mirror": one.mirror,
    }


def api_key_page(entries: Sequence[keys.APIKey], next_cursor: str | None, now_ms: int) -> APIKeyPage:
    """Returns the document of a page of API keys."""
    return {"keys": [api_key(one, now_ms) for one in entries], "next_cursor": next_cursor}


class AdminKey(TypedDict):
    """An admin key's record, without the key; or a person's, to whom there is none."""

    kid: Kid
    name: str
    state: Annotated[str, keywords(enum=["active", "revoked", "expired"])]
    last_four: Annotated[
        str, keywords("The end of the key; empty for a person who signs in by OpenID Connect.")
    ]
    scopes: list[Annotated[str, keywords(enum=list(ADMIN_SCOPES))]]
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    rotated_to: Annotated[str | None, keywords("The kid of the key that replaces it.")]
    last_used_at: Annotated[Moment | None, keywords("When it was last used, to the minute.")]


class AdminKeys(TypedDict):
    """All admin keys, oldest first."""

    admin_keys: list[AdminKey]


class CreatedAdminKey(AdminKey):
    """An admin key that was created."""

    key: NewKey


class RotatedAdminKey(CreatedAdminKey):
    """An admin key that replaces another."""

    replaces: Annotated[str, keywords("The kid of the key that it replaces.")]
    old_key_ends_at: Moment


def admin_key(one: admin_keys.AdminKey, now_ms: int) -> AdminKey:
    """Returns the document of an admin key."""
    return {
        "kid": one.kid,
        "name": one.name,
        "state": one.state(now_ms),
        "last_four": one.last_four,
        "scopes": sorted(one.scopes),
        "created_at": iso(one.created_at_ms),
        "expires_at": iso_or_none(one.expires_at_ms),
        "revoked_at": iso_or_none(one.revoked_at_ms),
        "rotated_to": one.rotated_to,
        "last_used_at": iso_or_none(one.last_used_at_ms),
    }
