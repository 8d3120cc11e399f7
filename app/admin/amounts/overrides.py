"""Temporary overrides of limits, for the operator: creating, listing and ending them.

An override has its own amount for one limit until a moment. What the limit itself says is untouched, and
applies again by itself afterwards.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import AwareDatetime
from sqlalchemy import Connection

from app.admin import accounts, audit
from app.admin.accounts import Account, AccountName
from app.admin.actor import Actor
from app.admin.audit import Change
from app.admin.paging import MAX_PAGE, Page, PageSize, page_of, unknown_cursor
from app.admin.session import AdminGateway
from app.admin.violations import refuse
from app.auth import tenants
from app.errors import INVALID_LIMIT, OVERRIDE_EXISTS, OVERRIDE_NOT_FOUND, FieldError, Problem
from app.kit.clock import iso
from app.kit.ids import is_id
from app.kit.text import quoted
from app.quotas import account as rows
from app.quotas import overrides
from app.quotas.limits import Limit, LimitError, parse_limit
from app.quotas.overrides import Override


@dataclass(frozen=True, slots=True)
class OverrideRow:
    """An override with its tenant's name."""

    tenant: str
    override: Override


async def listed(
    gateway: AdminGateway,
    *,
    tenant: str | None = None,
    ended: bool = False,
    limit: PageSize = MAX_PAGE,
    cursor: str | None = None,
) -> Page[OverrideRow]:
    """Returns the overrides that last, oldest first, in pages; with `ended`, those that are over too.

    They are of one tenant, or of all tenants.

    Raises:
        Problem: TENANT_NOT_FOUND, INVALID_PARAMETER.

    """
    if cursor is not None and not is_id(cursor):
        raise unknown_cursor()
    found = await gateway.db.read(
        overrides.page,
        await accounts.tenant_id_of(gateway, tenant),
        until_after_ms=0 if ended else gateway.clock.now_ms(),
        after=cursor,
        limit=limit + 1,
    )
    names = await accounts.tenant_names(gateway)
    page = page_of(found, limit, lambda one: one.id)
    return Page([OverrideRow(names[one.owner.tenant_id], one) for one in page.entries], page.next_cursor)


async def create(
    gateway: AdminGateway,
    actor: Actor,
    name: AccountName,
    override: str,
    until: AwareDatetime,
    *,
    reason: str | None = None,
) -> OverrideRow:
    """Overrides a limit, or the lack of one, until a moment: `override` is such as `credits-day=50`.

    Raises:
        Problem: INVALID_LIMIT, OVERRIDE_EXISTS, INVALID_ACCOUNT, TENANT_NOT_FOUND, API_KEY_NOT_FOUND,
            MODEL_NOT_FOUND, INVALID_REASON.

    """
    errors = []
    parsed = None
    try:
        parsed = parse_limit(override)
    except LimitError as error:
        errors.append(FieldError("#/override", "limit", str(error)))
    now_ms, until_ms = gateway.clock.now_ms(), int(until.timestamp() * 1000)
    if until_ms <= now_ms:
        errors.append(FieldError("#/until", "range", "an override ends in the future."))
    refuse(INVALID_LIMIT, errors)
    account = await accounts.find(gateway, name, served=True)
    if parsed is None:
        raise AssertionError  # it was refused above
    wanted = Limit(account.scope, parsed.metric, parsed.amount, parsed.burst)

    def change(connection: Connection) -> tuple[OverrideRow, Change]:
        rows.lock_tenant(connection, account.owner.tenant_id)
        if found := overrides.lasting(connection, account.owner, wanted, now_ms=now_ms):
            detail = (
                f"{wanted.policy} is overridden until {iso(found.until_ms)} by {found.id}; end that first."
            )
            raise Problem(OVERRIDE_EXISTS, detail)
        made = overrides.create(connection, account.owner, wanted, until_ms=until_ms, now_ms=now_ms)
        return OverrideRow(name.tenant, made), _changed("create", made, None, _terms_of(made))

    return await audit.write(gateway, actor, reason, change)


async def end(
    gateway: AdminGateway, actor: Actor, override_id: str, *, reason: str | None = None
) -> OverrideRow:
    """Ends an override now. One that is over already keeps its end.

    Raises:
        Problem: OVERRIDE_NOT_FOUND, INVALID_REASON.

    """
    now_ms = gateway.clock.now_ms()

    def change(connection: Connection) -> tuple[OverrideRow, Change]:
        found = _find(connection, override_id)
        rows.lock_tenant(connection, found.owner.tenant_id)
        before = _find(connection, override_id)  # as it is under the lock
        overrides.end(connection, override_id, now_ms=now_ms)
        after = _find(connection, override_id)
        tenant = tenants.by_id(connection, after.owner.tenant_id)
        was, is_now = {"until_ms": before.until_ms}, {"until_ms": after.until_ms}
        return OverrideRow(tenant.name, after), _changed("end", after, was, is_now)

    return await audit.write(gateway, actor, reason, change)


def _find(connection: Connection, override_id: str) -> Override:
    found = overrides.find(connection, override_id) if is_id(override_id) else None
    if found is None:
        shown = quoted(override_id)
        detail = f"there is no override {shown}; `reelgate limits overrides` shows them."
        raise Problem(OVERRIDE_NOT_FOUND, detail)
    return found


def _terms_of(one: Override) -> dict[str, Any]:
    return {
        "account": Account(one.owner, one.limit.scope).label,
        "metric": str(one.limit.metric),
        "amount": one.limit.amount,
        "burst": one.limit.burst,
        "until_ms": one.until_ms,
    }


def _changed(
    action: str, one: Override, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> Change:
    return Change(
        action=f"limit_override.{action}",
        subject_kind="limit_override",
        subject_id=one.id,
        tenant_id=one.owner.tenant_id,
        before=before,
        after=after,
    )
