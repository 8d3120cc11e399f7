"""Erasing what a tenant or an end user left: inputs, outputs, copies, uploaded files, and who called.

What was paid stays: requests keep their states, prices, times and ids; the ledger is not touched. Requests
that are under way are left until they have ended, so an erasure that leaves some is repeated. The bytes of
copies and files are deleted by the servers' sweeps, within a minute, and the erasure says how many are left.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from sqlalchemy import Connection, and_, delete, func, or_, select, tuple_, update

from app.admin import audit
from app.admin.actor import Actor
from app.admin.audit import Change
from app.admin.session import AdminGateway
from app.admin.violations import refuse
from app.auth import tenants
from app.auth.client_tokens import END_USER
from app.auth.keys import Mode
from app.auth.tenants import Tenant
from app.db.schema.asset_states import Removal
from app.db.schema.tables import (
    assets,
    files,
    generations,
    webhook_attempts,
    webhook_deliveries,
    webhook_messages,
)
from app.errors import INVALID_CHANGE, FieldError
from app.files.rows import FileState
from app.generations import messages
from app.generations.lifecycle import TERMINAL
from app.quotas.account import lock_tenant

_BATCH: Final = 200
_MODES: Final[tuple[Mode, ...]] = get_args(Mode)
ERASED_INPUT: Final = "{}"
"""What stands in place of an input that was erased."""
_G, _A, _F = generations.c, assets.c, files.c
_PERSONAL: Final = ("media", "output", "error", "evidence", "caller_address", "user_agent")
_HAS_CONTENT: Final = or_(_G.input != ERASED_INPUT, *(_G[name].is_not(None) for name in _PERSONAL))
_Place = tuple[int, str]
_START: Final = (0, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What an erasure did, and what is left: requests that have not ended, copies and files with bytes."""

    tenant: str
    end_user: str | None
    requests: int
    assets: int
    files: int
    requests_left: int
    assets_left: int
    files_left: int


@dataclass(frozen=True, slots=True)
class _Whose:
    """Whose traces are erased: all of a tenant's, or those of one of its end users."""

    tenant: Tenant
    end_user: str | None

    def of(self, columns: Any) -> Any:
        """Returns the condition that a row of a table is one of these."""
        is_tenants = columns.tenant_id == self.tenant.id
        return is_tenants if self.end_user is None else and_(is_tenants, columns.end_user == self.end_user)

    def change(self, **counts: int) -> Change:
        """Returns what the audit log says of a step."""
        return Change(
            action="tenant.erase",
            subject_kind="tenant",
            subject_id=self.tenant.id,
            tenant_id=self.tenant.id,
            before=None,
            after={"end_user": self.end_user, **counts},
        )


async def erase(
    gateway: AdminGateway,
    actor: Actor,
    name: str,
    *,
    end_user: str | None = None,
    reason: str | None = None,
) -> Erased:
    """Erases inputs, outputs, copies, files and callers of an end user, or of a disabled tenant.

    It works beside running servers, in short transactions, each with an entry in the audit log. Repeating it
    goes on with what was left.

    Raises:
        Problem: TENANT_NOT_FOUND, INVALID_CHANGE, INVALID_REASON, DATABASE_UNAVAILABLE.

    """
    tenant = await gateway.db.read(tenants.by_name, name)
    if end_user is None and tenant.disabled_at_ms is None:
        detail = f"Tenant {name!r} is enabled: disable it first, or name one of its end users."
        refuse(INVALID_CHANGE, [FieldError("#/end_user", "conflict", detail)])
    if end_user is not None and not re.fullmatch(END_USER, end_user):
        refuse(INVALID_CHANGE, [FieldError("#/end_user", "pattern", "is not the label of an end user.")])
    whose = _Whose(tenant, end_user)
    requests = 0
    for mode in _MODES:
        after = _START
        while found := await gateway.db.read(_next, whose, mode, after):
            ids = [generation_id for _, generation_id in found]
            now_ms = gateway.clock.now_ms()
            await audit.write(gateway, actor, reason, _erase_requests, whose, ids, now_ms)
            requests, after = requests + len(ids), found[-1]
    copies = uploads = 0
    while True:  # at least once: the erasure leaves an entry also where there was nothing
        some = await audit.write(gateway, actor, reason, _mark, whose, gateway.clock.now_ms())
        copies, uploads = copies + some[0], uploads + some[1]
        if max(some) < _BATCH:
            break
    requests_left, assets_left, files_left = await gateway.db.read(_left, whose)
    return Erased(
        tenant=tenant.name,
        end_user=end_user,
        requests=requests,
        assets=copies,
        files=uploads,
        requests_left=requests_left,
        assets_left=assets_left,
        files_left=files_left,
    )


def _next(connection: Connection, whose: _Whose, mode: Mode, after: _Place) -> list[_Place]:
    """Returns the next requests with something to erase, the oldest first: when each was made, and its id."""
    query = (
        select(_G.created_at_ms, _G.id)
        .where(
            whose.of(_G),
            _G.mode == mode,
            tuple_(_G.created_at_ms, _G.id) > tuple_(*after),
            _G.state.in_(sorted(TERMINAL)),
            _HAS_CONTENT,
        )
        .order_by(_G.created_at_ms, _G.id)
        .limit(_BATCH)
    )
    return [(created_at_ms, generation_id) for created_at_ms, generation_id in connection.execute(query)]


def _erase_requests(
    connection: Connection, whose: _Whose, ids: Sequence[str], now_ms: int
) -> tuple[None, Change]:
    connection.execute(
        update(generations)
        .where(_G.id.in_(ids))
        .values(
            dict.fromkeys(_PERSONAL)
            | {"input": ERASED_INPUT, "erased_at_ms": func.coalesce(_G.erased_at_ms, now_ms)}
        )
    )
    told = messages.ids_of(connection, ids)
    for start in range(0, len(told), _BATCH):
        _forget_messages(connection, told[start : start + _BATCH])
    return None, whose.change(requests=len(ids))


def _forget_messages(connection: Connection, ids: Sequence[str]) -> None:
    """Removes messages of webhooks, with their deliveries and what receivers answered.

    Messages go first: then nobody makes another delivery of one.
    """
    connection.execute(delete(webhook_messages).where(webhook_messages.c.id.in_(ids)))
    delivery = webhook_deliveries.c
    sent = select(delivery.id).where(delivery.message_id.in_(ids))
    connection.execute(delete(webhook_attempts).where(webhook_attempts.c.delivery_id.in_(sent)))
    connection.execute(delete(webhook_deliveries).where(delivery.message_id.in_(ids)))


def _mark(connection: Connection, whose: _Whose, now_ms: int) -> tuple[tuple[int, int], Change]:
    """Begins the removal of some copies and uploaded files; returns how many of each."""
    lock_tenant(connection, whose.tenant.id)
    copies = select(_A.id).where(whose.of(_A), _A.removing_at_ms.is_(None), _A.finished_at_ms.is_(None))
    ids = connection.scalars(copies.limit(_BATCH)).all()
    marked = update(assets).where(_A.id.in_(ids))
    connection.execute(marked.values(removing_at_ms=now_ms, removal=Removal.ERASED))
    uploads = select(_F.id).where(whose.of(_F), _F.state != FileState.DELETING)
    file_ids = connection.scalars(uploads.limit(_BATCH)).all()
    given_up = {"state": FileState.DELETING, "name": None, "lease_until_ms": now_ms}
    connection.execute(update(files).where(_F.id.in_(file_ids)).values(given_up))
    return (len(ids), len(file_ids)), whose.change(assets=len(ids), files=len(file_ids))


def _left(connection: Connection, whose: _Whose) -> tuple[int, int, int]:
    requests = select(func.count()).where(whose.of(_G), _G.state.not_in(sorted(TERMINAL)))
    copies = select(func.count()).where(whose.of(_A), _A.finished_at_ms.is_(None))
    uploads = select(func.count()).where(whose.of(_F))
    return (
        connection.execute(requests).scalar_one(),
        connection.execute(copies).scalar_one(),
        connection.execute(uploads).scalar_one(),
    )
