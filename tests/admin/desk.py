"""A desk to work at as an operator: a session with one tenant and one key of it, and its audit log."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from app.admin.access import tenants
from app.admin.accounts import AccountName
from app.admin.session import AdminSession
from app.config import Settings
from app.db.engines.engine import Database
from app.db.schema.tables import audit_entries
from app.kit.clock import SystemClock
from tests.rows import PEPPER, add_owner


@dataclass(frozen=True, slots=True)
class Desk:
    """An operator's session, the name of a tenant and the kid of its key."""

    gateway: AdminSession
    tenant: str
    kid: str

    @property
    def of(self) -> AccountName:
        """The tenant's account of test keys."""
        return AccountName(tenant=self.tenant, test=True)

    async def audited(self) -> int:
        """Returns the number of rows in the audit log."""
        count = select(func.count()).select_from(audit_entries)
        return await self.gateway.db.read(lambda connection: connection.scalar(count)) or 0

    async def changes(self, action: str) -> list[tuple[Any, Any]]:
        """Returns what was before and after of each change of that kind, in the order of the log.

        `action` is such as `ledger.top_up`, or the beginning of several, such as `tenant.`.
        """
        rows = select(audit_entries.c.text).order_by(audit_entries.c.seq)

        def read(connection: Connection) -> list[tuple[Any, Any]]:
            found = connection.scalars(rows.where(audit_entries.c.action.startswith(action)))
            return [(one["before"], one["after"]) for one in map(json.loads, found)]

        return await self.gateway.db.read(read)


async def open_desk(db: Database) -> Desk:
    """Returns a desk with a fresh tenant and key."""
    settings = Settings.model_validate({"pepper": PEPPER, "environment": "production"})
    gateway = AdminSession(settings, SystemClock(), db)
    tenant_id, kid = await db.write(add_owner)
    names = {one.id: one.name for one in (await tenants.listed(gateway)).entries}
    return Desk(gateway, names[tenant_id], kid)
