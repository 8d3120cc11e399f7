"""Handlers for the tenant's own people: its API keys, its web origins, and links to the portal.

They do what the operator's commands do, by the same functions, for one tenant and one mode; what they change
is in the audit log, as the API key's. No key can give more than it has itself.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any, Final, TypeVar

from fastapi import Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from app.admin.access import keys as cases
from app.admin.access import sign_ins
from app.admin.access import tenants as tenant_cases
from app.admin.access.keys import MAX_NAME
from app.admin.actor import Actor
from app.api.bodies import json_response, read_object
from app.api.deps import CanManage, Open
from app.auth import keys
from app.auth.keys import DEFAULT_SCOPES, APIKey
from app.auth.principal import Principal
from app.catalog.findings import fragment
from app.documents.access.portal import portal_link
from app.documents.admin.access import keys as documents
from app.errors import (
    API_KEY_NOT_FOUND,
    INSUFFICIENT_SCOPE,
    INVALID_ACCOUNT_CHANGE,
    INVALID_API_KEY_TERMS,
    INVALID_TENANT,
    FieldError,
    Problem,
)
from app.gateway import Gateway
from app.kit.clock import iso
from app.kit.text import quoted

_CAP_BYTES: Final = 20_000
_REASON: Final = "by the tenant"
_MAX_LISTED: Final = 100
_WEEK_S: Final = 604_800
_MAX_S: Final = 3_153_600_000
Text = Annotated[str, Field(max_length=200)]
Texts = Annotated[list[Text], Field(max_length=_MAX_LISTED)]
LifetimeS = Annotated[int, Field(ge=1, le=_MAX_S)]
Name = Annotated[str, Field(max_length=MAX_NAME)]
B = TypeVar("B", bound=BaseModel)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _NewKey(_Body):
    name: Name = ""
    scopes: Texts = Field(default_factory=lambda: [*DEFAULT_SCOPES])
    models: Texts | None = None
    lifetime_s: LifetimeS | None = None


class _Narrowing(_Body):
    name: Name | None = None
    scopes: Texts | None = None
    models: Texts | None = None
    lifetime_s: LifetimeS | None = None


class _Rotation(_Body):
    overlap_s: Annotated[int, Field(ge=0, le=_MAX_S)] = _WEEK_S


class _Origins(_Body):
    origins: Texts


class _Link(_Body):
    scopes: Texts | None = None


async def list_keys(
    gateway: Open,
    principal: CanManage,
    *,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """The tenant's API keys in the mode of this key, oldest first, without the keys themselves."""
    if cursor is not None:
        await _own(gateway, principal, cursor)
    page = await cases.listed(
        gateway, tenant=principal.tenant_name, mode=principal.mode, limit=limit, cursor=cursor
    )
    return json_response(documents.api_key_page(page.entries, page.next_cursor, gateway.clock.now_ms()))


async def create_key(request: Request, gateway: Open, principal: CanManage) -> Response:
    """Create an API key of the tenant, in the mode of this key. It is shown only once."""
    wanted = await _read(request, _NewKey)
    _refuse_more(principal, wanted.scopes, wanted.models)
    models = wanted.models if wanted.models is not None or principal.models is None else [*principal.models]
    with _told_to_tenants():
        made = await cases.create(
            gateway,
            _actor(principal),
            principal.tenant_name,
            mode=principal.mode,
            name=wanted.name,
            scopes=wanted.scopes,
            models=models,
            lifetime_ms=_ms(wanted.lifetime_s),
            reason=_REASON,
        )
    document = documents.api_key(made.record, gateway.clock.now_ms())
    return json_response({**document, "key": made.key}, status_code=201)


async def narrow_key(request: Request, gateway: Open, principal: CanManage, kid: str) -> Response:
    """Narrow the terms of one of the tenant's API keys, on every server within five seconds."""
    wanted = await _read(request, _Narrowing)
    await _own(gateway, principal, kid)
    with _told_to_tenants():
        after = await cases.narrow(
            gateway,
            _actor(principal),
            kid,
            name=wanted.name,
            scopes=wanted.scopes,
            models=wanted.models,
            lifetime_ms=_ms(wanted.lifetime_s),
            reason=_REASON,
        )
    return json_response(documents.api_key(after, gateway.clock.now_ms()))


async def rotate_key(request: Request, gateway: Open, principal: CanManage, kid: str) -> Response:
    """Create a second API key like one of the tenant's. Both work for a while; the old one then ends."""
    wanted = await _read(request, _Rotation)
    old = await _own(gateway, principal, kid)
    _refuse_more(principal, sorted(old.scopes), None if old.models is None else sorted(old.models))
    if old.models is None and principal.models is not None:
        raise Problem(INSUFFICIENT_SCOPE, "That key may use more models than yours.")
    made = await cases.rotate(
        gateway, _actor(principal), kid, overlap_ms=wanted.overlap_s * 1000, reason=_REASON
    )
    document = {
        **documents.api_key(made.record, gateway.clock.now_ms()),
        "key": made.key,
        "replaces": made.replaces,
        "old_key_ends_at": iso(made.old_ends_at_ms),
    }
    return json_response(document, status_code=201)


async def revoke_key(gateway: Open, principal: CanManage, kid: str) -> Response:
    """Revoke one of the tenant's API keys, on every server within five seconds. It can be this one."""
    await _own(gateway, principal, kid)
    after = await cases.revoke(gateway, _actor(principal), kid, reason=_REASON)
    return json_response(documents.api_key(after, gateway.clock.now_ms()))


async def get_origins(principal: CanManage) -> Response:
    """The web origins whose pages may call with the tenant's keys and client tokens."""
    return json_response({"origins": sorted(principal.origins)})


async def set_origins(request: Request, gateway: Open, principal: CanManage) -> Response:
    """Replace the web origins whose pages may call with the tenant's keys and client tokens."""
    wanted = await _read(request, _Origins)
    with _told_to_tenants():
        after = await tenant_cases.set_origins(
            gateway, _actor(principal), principal.tenant_name, wanted.origins, reason=_REASON
        )
    return json_response({"origins": sorted(after.origins)})


async def create_portal_link(request: Request, gateway: Open, principal: CanManage) -> Response:
    """Create a link that opens the portal once, within a minute, as this key."""
    wanted = await _read(request, _Link)
    if wanted.scopes is not None:
        _refuse_more(principal, wanted.scopes, None)
    scopes = [*principal.scopes] if wanted.scopes is None else wanted.scopes
    made = await sign_ins.create_link(
        gateway, _actor(principal), principal.kid, scopes=scopes, reason=_REASON
    )
    document = portal_link(made.record, made.scopes, made.url, made.expires_at_ms)
    return json_response(document, status_code=201)


def _actor(principal: Principal) -> Actor:
    return Actor("api_key", principal.kid)


async def _own(gateway: Gateway, principal: Principal, kid: str) -> APIKey:
    """Returns the tenant's key with this kid and of the principal's mode.

    Raises:
        Problem: API_KEY_NOT_FOUND, in the same words where it is of another tenant or mode, and where there
            is none.

    """
    found = await gateway.db.read(keys.find, kid) if kid.isascii() and kid.isalnum() else None
    if found is None or (found.tenant_id, found.mode) != (principal.tenant_id, principal.mode):
        raise Problem(API_KEY_NOT_FOUND, "This tenant has no such key in this mode.")
    return found


def _refuse_more(principal: Principal, scopes: list[str], models: list[str] | None) -> None:
    """Refuses a key or a link that could do more than whoever makes it.

    Raises:
        Problem: INVALID_ACCOUNT_CHANGE.

    """
    errors = [
        FieldError(f"#/scopes/{number}", "wider", f"this key does not have the scope {quoted(one)}.")
        for number, one in enumerate(scopes)
        if one not in principal.scopes
    ]
    errors += [
        FieldError(f"#/models/{number}", "wider", f"this key may not use the model {quoted(one)}.")
        for number, one in enumerate(models or ())
        if not principal.may_use(one)
    ]
    if errors:
        raise Problem(INVALID_ACCOUNT_CHANGE, errors[0].detail, errors=errors)


@contextmanager
def _told_to_tenants() -> Iterator[None]:
    """Tells what a use case refuses by the names that members have here, and by one error."""
    try:
        yield
    except Problem as problem:
        if problem.fault not in {INVALID_API_KEY_TERMS, INVALID_TENANT}:
            raise
        errors = [
            replace(one, pointer=one.pointer.replace("lifetime_ms", "lifetime_s")) for one in problem.errors
        ]
        raise Problem(INVALID_ACCOUNT_CHANGE, problem.detail, errors=errors) from None


async def _read(request: Request, shape: type[B]) -> B:
    """Returns the checked body.

    Raises:
        Problem: INVALID_ACCOUNT_CHANGE, UNSUPPORTED_MEDIA_TYPE, BODY_TOO_LARGE, INVALID_JSON.

    """
    body: Mapping[str, Any] = await read_object(request, cap_bytes=_CAP_BYTES)
    try:
        return shape.model_validate(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)[:20]
        errors = [FieldError(fragment(one["loc"]), str(one["type"]), str(one["msg"])) for one in found]
        raise Problem(INVALID_ACCOUNT_CHANGE, errors[0].detail, errors=errors) from None


def _ms(seconds: int | None) -> int | None:
    return None if seconds is None else seconds * 1000
