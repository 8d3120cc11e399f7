"""Limits, for the operator: listing, setting and removing them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from app.admin import accounts, audit
from app.admin.accounts import Account, AccountName
from app.admin.actor import Actor
from app.admin.audit import Change
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
class LimitsSet:
    """The standings of the account's limits after some were set.

    `refused_models` are the ids of models that are refused from now on, because their files do not declare
    how many seconds of output a request orders, and one of these limits is on that unit.
    """

    standings: tuple[Standing, ...]
    refused_models: Sequence[str] = ()


async def listed(gateway: AdminGateway, *, tenant: str | None = None) -> list[LimitRow]:
    """Returns every limit of one tenant, or of all tenants (None), without the defaults of the settings.

    Raises:
        Problem: TENANT_NOT_FOUND.

    """
    found = await gateway.db.read(rows.limits_of, await accounts.tenant_id_of(gateway, tenant))
    names = await accounts.tenant_names(gateway)
    listed = []
    for owner, limit in found:
        account = Account(owner, limit.scope)
        standings = await accounts.standings_of(gateway, account)
        standing = next((one for one in standings if one.limit == limit), None)
        listed.append(LimitRow(names[owner.tenant_id], account, limit, standing))
    return listed


async def set_limits(
    gateway: AdminGateway,
    actor: Actor,
    name: AccountName,
    wanted: Sequence[str],
    *,
    reason: str | None = None,
) -> LimitsSet:
    """Sets limits, such as `credits-day=12.5`; all of them or, where one is refused, none.

    Raises:
        Problem: INVALID_LIMIT, INVALID_ACCOUNT, TENANT_NOT_FOUND, API_KEY_NOT_FOUND, MODEL_NOT_FOUND,
            INVALID_REASON.

    """
    errors, limits = [], []
    for number, text in enumerate(wanted):
        try:
            limits.append(parse_limit(text))
        except LimitError as error:
            errors.append(FieldError(f"#/limits/{number}", "limit", str(error)))
    refuse(INVALID_LIMIT, [*errors, *_twice("#/limits", [text.partition("=")[0] for text in wanted])])
    account = await accounts.find(gateway, name, served=True)
    limits = [Limit(account.scope, one.metric, one.amount, one.burst) for one in limits]
    await audit.write(gateway, actor, reason, _set, account, limits, gateway.clock.now_ms())
    declared = [one for one in limits if one.metric.unit is Unit.OUTPUT_SECONDS]
    return LimitsSet(
        standings=await accounts.standings_of(gateway, account),
        refused_models=refused_models(gateway.catalog.models.values(), declared) if declared else (),
    )


def _set(
    connection: Connection, account: Account, limits: Sequence[Limit], now_ms: int
) -> tuple[None, Change]:
    rows.lock_tenant(connection, account.owner.tenant_id)
    metrics = [one.metric for one in limits]
    before = _amounts(connection, account, metrics)
    for one in limits:
        rows.put_limit(connection, account.owner, one, now_ms=now_ms)
    return None, _changed("set", account, before, _amounts(connection, account, metrics))


async def unset_limits(
    gateway: AdminGateway,
    actor: Actor,
    name: AccountName,
    metrics: Sequence[str],
    *,
    reason: str | None = None,
) -> tuple[Standing, ...]:
    """Removes limits, all or none, so that defaults apply again.

    Returns the standings of the account's limits afterwards.

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
    await audit.write(gateway, actor, reason, _unset, account, [Metric(one) for one in metrics])
    return await accounts.standings_of(gateway, account)


def _unset(connection: Connection, account: Account, metrics: Sequence[Metric]) -> tuple[None, Change]:
    rows.lock_tenant(connection, account.owner.tenant_id)
    before = _amounts(connection, account, metrics)
    missing = [one for one in metrics if not rows.unset_limit(connection, account.owner, account.scope, one)]
    if missing:
        detail = f"there was no such limit: {', '.join(missing)}; nothing was removed."
        raise Problem(LIMIT_NOT_FOUND, detail)
    return None, _changed("unset", account, before, _amounts(connection, account, metrics))


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
