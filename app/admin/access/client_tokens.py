"""Client tokens, for the operator: listing, showing and revoking them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from app.admin import audit
from app.admin.actor import Actor
from app.admin.audit import Change
from app.admin.paging import MAX_PAGE, Page, PageSize, cursor_of, page_of, place_in
from app.admin.session import AdminGateway
from app.auth import client_tokens, tenants
from app.auth.client_tokens import ClientToken, Refusal
from app.errors import CLIENT_TOKEN_NOT_FOUND, Problem
from app.generations import token_limits
from app.kit.redaction import redactor
from app.kit.text import quoted
from app.quotas.account import Owner
from app.quotas.standing import Usage

MAX_LISTED: Final = 10_000


@dataclass(frozen=True, slots=True)
class TokenInFull:
    """A token's record, its usage, the ids of the newest requests that it made, and its newest refusals."""

    token: ClientToken
    used: Usage
    newest: Sequence[str]
    refusals: Sequence[Refusal]


async def listed(
    gateway: AdminGateway,
    tenant: str,
    *,
    end_user: str | None = None,
    limit: PageSize = MAX_PAGE,
    cursor: str | None = None,
) -> Page[ClientToken]:
    """Returns a tenant's client tokens, newest first, in pages; only those of `end_user` where it is given.

    Raises:
        Problem: TENANT_NOT_FOUND, INVALID_PARAMETER.

    """
    before = None if cursor is None else place_in(cursor, int, str)
    owner = await gateway.db.read(tenants.by_name, tenant)
    if end_user is not None and not re.fullmatch(client_tokens.END_USER, end_user):
        return Page((), None)
    found = await gateway.db.read(
        client_tokens.page,
        owner.id,
        mode=None,
        limit=limit + 1,
        before=None if before is None else (before[0], before[1]),
        end_user=end_user,
    )
    return page_of(found, limit, lambda one: cursor_of(one.created_at_ms, one.token_id))


async def show(gateway: AdminGateway, token_id: str) -> TokenInFull:
    """Returns everything that is stored about a token.

    Raises:
        Problem: CLIENT_TOKEN_NOT_FOUND.

    """
    token = await gateway.db.read(_find, token_id)
    owner = Owner(token.tenant_id, token.mode)
    return TokenInFull(
        token,
        await gateway.db.read(token_limits.used, owner, token_id),
        await gateway.db.read(token_limits.newest, owner, token_id, limit=MAX_LISTED),
        await gateway.db.read(client_tokens.refusals_of, token_id),
    )


async def revoke(
    gateway: AdminGateway, actor: Actor, token_id: str, *, reason: str | None = None
) -> ClientToken:
    """Revokes a token, on every replica within five seconds, and returns its record; its jobs go on.

    A token that is revoked already keeps the time of its first revocation.

    Raises:
        Problem: CLIENT_TOKEN_NOT_FOUND, INVALID_REASON.

    """
    return await audit.write(gateway, actor, reason, _revoke, token_id, gateway.clock.now_ms())


def _revoke(connection: Connection, token_id: str, now_ms: int) -> tuple[ClientToken, Change]:
    before = _find(connection, token_id, to_change=True)
    client_tokens.revoke(connection, token_id, now_ms=now_ms)
    after = _find(connection, token_id)
    return after, Change(
        action="client_token.revoke",
        subject_kind="client_token",
        subject_id=token_id,
        tenant_id=after.tenant_id,
        before={"revoked_at_ms": before.revoked_at_ms},
        after={"revoked_at_ms": after.revoked_at_ms},
    )


def _find(connection: Connection, token_id: str, *, to_change: bool = False) -> ClientToken:
    found = client_tokens.find(connection, token_id, to_change=to_change)
    if found is None:
        shown = quoted(redactor.hide_keys(token_id))
        detail = f"there is no client token {shown}; `reelgate client-tokens list` shows them."
        raise Problem(CLIENT_TOKEN_NOT_FOUND, detail)
    return found[0]
