"""Handlers of client tokens, for API keys: mint, list and revoke tokens, show their use and refusals."""

import re
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from app.api.bodies import json_response, read_object
from app.api.cors import public_origin
from app.api.cursors import decode_cursor, encode_cursor
from app.api.deps import CanMint, Open
from app.auth import client_tokens
from app.auth.client_tokens import DEFAULT_S, END_USER, MAX_S, MIN_S, ClientToken, TokenTerms
from app.auth.principal import Principal
from app.catalog.excess import within_bounds
from app.catalog.findings import fragment
from app.client_tokens.mint import invalid
from app.documents.access import client_tokens as documents
from app.errors import CLIENT_TOKEN_NOT_FOUND, FieldError, Problem
from app.gateway import Gateway
from app.generations import token_limits
from app.quotas.account import Owner
from app.quotas.amounts import MICROCREDITS
from app.quotas.limits import MAX_AMOUNT, MAX_BYTES

_TOKEN_ID: Final = re.compile(r"[0-9A-Za-z]{12}")
_MAX_LISTED: Final = 20
_MAX_REQUESTS: Final = 20  # newest requests of a token that its record lists
_TEXT: Final = 300
_WATCHES: Final = (
    "models",
    "bounds",
    "max_generations",
    "max_microcredits",
    "max_upload_bytes",
    "end_user",
    "visibility",
)

Text = Annotated[str, Field(max_length=_TEXT)]


class _TermsBody(BaseModel):
    """The body of a mint: every member may be left out. `ClientTokenTerms` publishes it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    lifetime_s: Annotated[int, Field(ge=MIN_S, le=MAX_S)] = DEFAULT_S
    models: Annotated[list[Text], Field(min_length=1, max_length=_MAX_LISTED)] | None = None
    bounds: Annotated[dict[Text, dict[Text, Any]], Field(min_length=1, max_length=_MAX_LISTED)] | None = None
    max_generations: Annotated[int, Field(ge=0, le=MAX_AMOUNT)] | None = None
    max_microcredits: Annotated[int, Field(ge=0, le=MAX_AMOUNT * MICROCREDITS)] | None = None
    max_upload_bytes: Annotated[int, Field(ge=0, le=MAX_BYTES)] | None = None
    origins: Annotated[list[Text], Field(min_length=1, max_length=_MAX_LISTED)] | None = None
    end_user: Annotated[str, Field(pattern=rf"^{END_USER}\z")] | None = None
    visibility: Literal["token", "end_user"] | None = None
    request_id: Text | None = None


_SCHEMA: Final = _TermsBody.model_json_schema()


async def create_client_token(request: Request, gateway: Open, principal: CanMint) -> Response:
    """Create a token that a web page holds in place of an API key. It is shown only once."""
    body = await read_object(request, cap_bytes=gateway.settings.max_body_bytes)
    own = public_origin(gateway.base_url)
    token, text = await gateway.access.minter.mint(
        principal, _terms_of(body), own_origins=() if own is None else (own,)
    )
    document = documents.minted_client_token(token, text, gateway.clock.now_ms())
    return json_response(document, status_code=201)


async def list_client_tokens(
    gateway: Open,
    principal: CanMint,
    *,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    end_user: Annotated[str | None, Query(pattern=f"^{END_USER}$")] = None,
) -> Response:
    """The tenant's client tokens in the mode of this key, newest first, without the tokens themselves."""
    found = await gateway.db.read(
        client_tokens.page,
        principal.tenant_id,
        mode=principal.mode,
        limit=limit + 1,
        before=None if cursor is None else decode_cursor(cursor, _is_token_id),
        end_user=end_user,
    )
    shown, headers, next_cursor = found[:limit], {}, None
    if len(found) > limit:
        next_cursor = encode_cursor(shown[-1].created_at_ms, shown[-1].token_id)
        address = f"{gateway.base_url}/v1/client-tokens?limit={limit}&cursor={next_cursor}"
        headers["Link"] = f'<{address}{f"&end_user={quote(end_user)}" if end_user else ""}>; rel="next"'
    document = documents.client_token_page(shown, next_cursor, gateway.clock.now_ms())
    return json_response(document, headers=headers)


async def get_client_token(gateway: Open, principal: CanMint, token_id: str) -> Response:
    """A client token's record: its terms, its usage and its latest refusals."""
    return await _in_full(gateway, await _own(gateway, principal, token_id))


async def revoke_client_token(gateway: Open, principal: CanMint, token_id: str) -> Response:
    """Revoke a client token, on every server within five seconds. Repeating it is harmless."""
    found = await _own(gateway, principal, token_id)
    await gateway.db.write(client_tokens.revoke, found.token_id, now_ms=gateway.clock.now_ms())
    return await _in_full(gateway, await _own(gateway, principal, token_id))


async def _in_full(gateway: Gateway, token: ClientToken) -> Response:
    owner = Owner(token.tenant_id, token.mode)
    usage = await gateway.db.read(token_limits.used, owner, token.token_id)
    request_ids = await gateway.db.read(token_limits.newest, owner, token.token_id, limit=_MAX_REQUESTS)
    refusals = await gateway.db.read(client_tokens.refusals_of, token.token_id)
    return json_response(
        documents.client_token_in_full(token, usage, request_ids, refusals, gateway.clock.now_ms())
    )


async def _own(gateway: Gateway, principal: Principal, token_id: str) -> ClientToken:
    """Returns the tenant's client token with this id and of the principal's mode.

    Raises:
        Problem: CLIENT_TOKEN_NOT_FOUND, in the same words where it is of another tenant or mode, and where
            there is none.

    """
    found = None
    if _is_token_id(token_id):
        found = await gateway.db.read(client_tokens.of_tenant, token_id, principal.tenant_id, principal.mode)
    if found is None:
        raise Problem(CLIENT_TOKEN_NOT_FOUND, "This tenant has no such client token.")
    return found


def _is_token_id(text: str) -> bool:
    return _TOKEN_ID.fullmatch(text) is not None


def _terms_of(body: dict[str, Any]) -> TokenTerms:
    """Returns the terms in a body.

    Raises:
        Problem: INVALID_TOKEN_TERMS.

    """
    cut = within_bounds(_SCHEMA, body)  # pydantic judges all entries of an object that has too many
    errors = [
        FieldError(fragment(one.path), "too_long", f"must have at most {one.limit} entries, has {one.size:,}")
        for one in cut.found
    ]
    try:
        intent = _TermsBody.model_validate(cut.body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        errors += [FieldError(fragment(one["loc"]), str(one["type"]), str(one["msg"])) for one in found]
        raise invalid(errors) from None
    if intent.request_id is not None:
        errors += [
            FieldError(f"#/{name}", "watches", "cannot be combined with `request_id`")
            for name in _WATCHES
            if getattr(intent, name) is not None
        ]
    if intent.visibility == "end_user" and intent.end_user is None:
        errors.append(FieldError("#/visibility", "end_user", "requires `end_user`"))
    if errors:
        raise invalid(errors)
    usual: Literal["token", "end_user"] = "token" if intent.end_user is None else "end_user"
    return TokenTerms(
        lifetime_s=intent.lifetime_s,
        models=intent.models,
        bounds=intent.bounds,
        origins=intent.origins,
        max_generations=intent.max_generations,
        max_microcredits=intent.max_microcredits,
        end_user=intent.end_user,
        visibility="request" if intent.request_id is not None else intent.visibility or usual,
        request_id=intent.request_id,
        max_upload_bytes=intent.max_upload_bytes,
    )
