"""Limits, for the operator: listing, setting and removing them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from app.admin import accounts, audit
from app.admin.accounts import Account, AccountName
from app.admin.actor import Actor
from app.admin.audit import Change
from app.admin.paging import MAX_PAGE, Page, PageSize, cursor_of, page_of, place_in
from app.admin.session import AdminGateway
from app.admin.violations import refuse
from app.errors import INVALID_LIMIT, LIMIT_NOT_FOUND, FieldError, Problem
from app.kit.text import quoted
from app.quotas import account as rows
from app.quotas.limits import Limit, LimitError, parse_limit, refused_models
from app.quotas.metrics import SETTABLE, Metric, Unit
from app.quotas.standing import Standing


@dataclass(frozen=True, slots=True)
class LimitRow:
    """A limit with its tenant's name and its standing; that is None where the limit is `none`."""

    tenant: str
    account: Account
    limit: Limit
    standing: Standing | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLimits:
    """The limits of an account: those that were set for it, and how all that apply to it stand.

    `refused_models` are the ids of models that are refused because their files do not declare how many
    seconds of output a request orders, and one of the limits that were just set is on that unit.
    """

    tenant: str
    account: Account
    limits: tuple[Limit, ...]
    standings: tuple[Standing, ...]
    refused_models: Sequence[str] = ()


async def listed(
    gateway: AdminGateway,
    *,
    tenant: str | None = None,
    limit: PageSize = MAX_PAGE,
    cursor: str | None = None,
) -> Page[LimitRow]:
    """Returns the limits of one tenant, or of all tenants, in pages, without the defaults of the settings.

    Raises:
        Problem: TENANT_NOT_FOUND, INVALID_PARAMETER.

    """
    after = None if cursor is None else place_in(cursor, *(str,) * 6)
    tenant_id = await accounts.tenant_id_of(gateway, tenant)
    found = await gateway.db.read(rows.page_of_limits, tenant_id, after=after, limit=limit + 1)
    names = await accounts.tenant_names(gateway)
    page = page_of(found, limit, lambda one: cursor_of(*one[0].place, *one[1].place))
    listed = []
    for owner, one in page.entries:
        account = Account(owner, one.scope)
        standings = await accounts.standings_of(gateway, account)
        standing = next((each for each in standings if each.limit.metric is one.metric), None)
        listed.append(LimitRow(names[owner.tenant_id], account, one, standing))
    return Page(listed, page.next_cursor)


async def show(gateway: AdminGateway, name: AccountName) -> AccountLimits:
    """Returns the limits of one account, with how they stand.

    Raises:
        Problem: INVALID_ACCOUNT, TENANT_NOT_FOUND, API_KEY_NOT_FOUND.

    """
    account = await accounts.find(gateway, name, served=False)
    return await gateway.db.read(_in_full, gateway, name.tenant, account)


def current(connection: Connection, gateway: AdminGateway, name: AccountName) -> AccountLimits:
    """Returns the limits of an account, and locks its tenant's row, which every change of limits locks.

    Raises:
        Problem: TENANT_NOT_FOUND, API_KEY_NOT_FOUND, INVALID_ACCOUNT.

    """
    account = accounts.account_named(connection, name)
    rows.lock_tenant(connection, account.owner.tenant_id)
    return _in_full(connection, gateway, name.tenant, account)


def _in_full(
    connection: Connection,
    gateway: AdminGateway,
    tenant: str,
    account: Account,
    refused: Sequence[str] = (),
) -> AccountLimits:
    of_tenant = rows.limits_of(connection, account.owner.tenant_id)
    return AccountLimits(
        tenant=tenant,
        account=account,
        limits=tuple(
            one for owner, one in of_tenant if owner == account.owner and one.scope == account.scope
        ),
        standings=accounts.standings_in(connection, gateway, account),
        refused_models=refused,
    )


async def set_limits(
    gateway: AdminGateway,
    actor: Actor,
    name: AccountName,
    limits: Sequence[str],
    *,
    reason: str | None = None,
) -> AccountLimits:
    """Sets limits, such as `credits-day=12.5`; all of them or, where one is refused, none.

    Raises:
        Problem: INVALID_LIMIT, INVALID_ACCOUNT, TENANT_NOT_FOUND, API_KEY_NOT_FOUND, MODEL_NOT_FOUND,
            INVALID_REASON.

    """
    errors, parsed = [], []
    for number, text in enumerate(limits):
        try:
            parsed.append(parse_limit(text))
        except LimitError as error:
            errors.append(FieldError(f"#/limits/{number}", "limit", str(error)))
    refuse(INVALID_LIMIT, [*errors, *_twice("#/limits", [text.partition("=")[0] for text in limits])])
    account = await accounts.find(gateway, name, served=True)
    wanted = [Limit(account.scope, one.metric, one.amount, one.burst) for one in parsed]
    declared = [one for one in wanted if one.metric.unit is Unit.OUTPUT_SECONDS]
    refused = refused_models(gateway.catalog.models.values(), declared) if declared else ()

    def change(connection: Connection) -> tuple[AccountLimits, Change]:
        changed = _set(connection, account, wanted, gateway.clock.now_ms())
        return _in_full(connection, gateway, name.tenant, account, refused), changed

    return await audit.write(gateway, actor, reason, change)


def _set(connection: Connection, account: Account, limits: Sequence[Limit], now_ms: int) -> Change:
    rows.lock_tenant(connection, account.owner.tenant_id)
    metrics = [one.metric for one in limits]
    before = _amounts(connection, account, metrics)
    for one in limits:
        rows.put_limit(connection, account.owner, one, now_ms=now_ms)
    return _changed("set", account, before, _amounts(connection, account, metrics))


async def unset_limits(
    gateway: AdminGateway,
    actor: Actor,
    name: AccountName,
    metrics: Sequence[str],
    *,
    reason: str | None = None,
) -> AccountLimits:
    """Removes limits, all or none, so that defaults apply again.

    Raises:
        Problem: INVALID_LIMIT, LIMIT_NOT_FOUND, INVALID_ACCOUNT, TENANT_NOT_FOUND, API_KEY_NOT_FOUND,
            INVALID_REASON.

    """
    known = ", ".join(SETTABLE)
    errors = [
        FieldError(f"#/metrics/{number}", "enum", f"there is no metric {quoted(one)}; metrics are {known}.")
        for number, one in enumerate(metrics)
        if one not in SETTABLE
    ]
    refuse(INVALID_LIMIT, [*errors, *_twice("#/metrics", metrics)])
    account = await accounts.find(gateway, name, served=False)

    def change(connection: Connection) -> tuple[AccountLimits, Change]:
        changed = _unset(connection, account, [Metric(one) for one in metrics])
        return _in_full(connection, gateway, name.tenant, account), changed

    return await audit.write(gateway, actor, reason, change)


def _unset(connection: Connection, account: Account, metrics: Sequence[Metric]) -> Change:
    rows.lock_tenant(connection, account.owner.tenant_id)
    before = _amounts(connection, account, metrics)
    missing = [one for one in metrics if not rows.unset_limit(connection, account.owner, account.scope, one)]
    if missing:
        detail = f"there was no such limit: {', '.join(missing)}; nothing was removed."
        raise Problem(LIMIT_NOT_FOUND, detail)
    return _changed("unset", account, before, _amounts(connection, account, metrics))


def _twice(pointer: str, names: Sequence[str]) -> list[FieldError]:
    """Returns a violation for each metric that is in the list more than once."""
    return [
        FieldError(f"{pointer}/{number}", "duplicate", f"{one} is given twice.")
        for number, one in enumerate(names)
        if one in SETTABLE and one in names[:number]
    ]


def _amounts(connection: Connection, account: Account, metrics: Sequence[Metric]) -> dict[str, Any]:
    """Returns the limits of an account on these metrics; a metric without a limit is left out."""
    found = {
        limit.metric: {"amount": limit.amount, "burst": limit.burst}
        for owner, limit in rows.limits_of(connection, account.owner.tenant_id)
        if owner == account.owner and limit.scope == account.scope
    }
    return {str(one): found[one] for one in metrics if one in found}


def _changed(action: str, account: Account, before: Mapping[str, Any], after: Mapping[str, Any]) -> Change:
    return Change(
        action=f"limits.{action}",
        subject_kind="account",
        subject_id=account.label,
        tenant_id=account.owner.tenant_id,
        before=before,
        after=after,
    )
