"""Accounts as an operator names them: whose limits and whose balance a use case is about."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from app.admin.session import AdminGateway
from app.admin.violations import refuse
from app.auth import keys, tenants
from app.auth.client_tokens import END_USER
from app.auth.keys import Mode
from app.errors import API_KEY_NOT_FOUND, INVALID_ACCOUNT, MODEL_NOT_FOUND, FieldError, Problem
from app.kit.redaction import redactor
from app.kit.text import quoted
from app.quotas.account import Owner
from app.quotas.limits import EVERY_END_USER, Payer, Scope
from app.quotas.standing import Standing

_MODEL_ID: Final = re.compile(r"[A-Za-z0-9._/-]{1,200}")
"""The characters of a model's id; whether the catalogue has it is another question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountName:
    """The name that an operator gives for an account, or for a part of it.

    `tenant` is the tenant's name. Its live keys have one account, and its test keys another, which `test`
    chooses. `kid` narrows the account to one key and says the mode too; `end_user` narrows it to one end
    user, or to each without a limit of its own (`*`); `model_id` narrows it to one model.
    """

    tenant: str
    kid: str | None = None
    end_user: str | None = None
    model_id: str | None = None
    test: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """An account that exists: its owner, and the part of it that a use case is about."""

    owner: Owner
    scope: Scope

    @property
    def label(self) -> str:
        """The account as the audit log writes it: `live`, `test key=KID model=MODEL`."""
        of = {"key": self.scope.kid, "end_user": self.scope.end_user, "model": self.scope.model_id}
        return " ".join([self.owner.mode, *(f"{name}={value}" for name, value in of.items() if value)])


async def find(gateway: AdminGateway, name: AccountName, *, served: bool) -> Account:
    """Returns the account of a name.

    With `served` the model must be in the catalogue. Without it any model will do, so that limits and
    balances of a model that has left the catalogue can still be changed.

    Raises:
        Problem: INVALID_ACCOUNT, TENANT_NOT_FOUND, API_KEY_NOT_FOUND, MODEL_NOT_FOUND.

    """
    errors = []
    if name.end_user is not None and name.kid is not None:
        detail = "give a key or an end user, not both: each has limits of its own."
        errors.append(FieldError("#/end_user", "conflict", detail))
    if name.end_user not in {None, EVERY_END_USER} and not re.fullmatch(END_USER, name.end_user or ""):
        label = quoted(name.end_user or "")
        detail = (
            f"{label} is not an end user: use 1 to 64 letters, digits or ._~@:+=|-, or '*' for all"
            " that have no limit of their own."
        )
        errors.append(FieldError("#/end_user", "pattern", detail))
    if name.model_id is not None and not _MODEL_ID.fullmatch(name.model_id):
        errors.append(FieldError("#/model_id", "pattern", f"{quoted(name.model_id)} is no id of a model."))
    refuse(INVALID_ACCOUNT, errors)
    account = await gateway.db.read(account_named, name)
    if served and name.model_id is not None and gateway.catalog.models.get(name.model_id) is None:
        raise Problem(MODEL_NOT_FOUND, f"the catalogue has no model {quoted(name.model_id)}.")
    return account


def account_named(connection: Connection, name: AccountName) -> Account:
    """Returns the account of a name whose parts have the right form.

    Raises:
        Problem: TENANT_NOT_FOUND, API_KEY_NOT_FOUND, INVALID_ACCOUNT.

    """
    tenant = tenants.by_name(connection, name.tenant)
    mode: Mode = "test" if name.test else "live"
    kid = ""
    if name.kid is not None:
        key = keys.find(connection, name.kid)
        if key is None or key.tenant_id != tenant.id:
            kid = quoted(redactor.hide_keys(name.kid))
            detail = f"tenant {name.tenant!r} has no key {kid}; `reelgate keys list` shows them."
            raise Problem(API_KEY_NOT_FOUND, detail)
        if name.test and key.mode == "live":
            detail = f"{name.kid} is a live key, but --test names an account of test keys."
            refuse(INVALID_ACCOUNT, [FieldError("#/test", "conflict", detail)])
        kid, mode = key.root_kid, key.mode
    return Account(Owner(tenant.id, mode), Scope(kid, name.model_id or "", name.end_user or ""))


async def standings_of(gateway: AdminGateway, account: Account) -> tuple[Standing, ...]:
    """Returns the standings of the limits on this part of an account."""
    return await gateway.db.read(standings_in, gateway, account)


def standings_in(connection: Connection, gateway: AdminGateway, account: Account) -> tuple[Standing, ...]:
    """Returns the standings of the limits on this part of an account, as this transaction sees them."""
    from app.generations.queue import decide  # noqa: PLC0415 - a list needs nothing of requests

    scope = account.scope
    now = decide.account_of(
        connection,
        account.owner,
        Payer(scope.kid, scope.end_user),
        scope.model_id or None,
        decide.policy_of(gateway.settings),
        now_ms=gateway.clock.now_ms(),
    )
    return tuple(one for one in now.standings() if one.limit.scope == scope)


async def tenant_id_of(gateway: AdminGateway, tenant: str | None) -> str | None:
    """Returns the id of the tenant with that name; None where no name is given.

    Raises:
        Problem: TENANT_NOT_FOUND.

    """
    return None if tenant is None else (await gateway.db.read(tenants.by_name, tenant)).id


async def tenant_names(gateway: AdminGateway) -> Mapping[str, str]:
    """Returns the names of all tenants, by their ids."""
    return {one.id: one.name for one in await gateway.db.read(tenants.list_all)}
