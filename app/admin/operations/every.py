"""The table of all operations, in the order of the contract."""

from typing import Any, Final

from app.admin.operation import Operation
from app.admin.operations import audit, checks, files, webhooks
from app.admin.operations.access import admin_keys, client_tokens, keys, portal_links, tenants
from app.admin.operations.amounts import ledger, limits, overrides, refusals, statements, thresholds, usage
from app.admin.operations.running import (
    credentials,
    dispatch,
    models,
    overview,
    processes,
    requests,
    settings,
)

OPERATIONS: Final[tuple[Operation[Any], ...]] = (
    *overview.OPERATIONS,
    *tenants.OPERATIONS,
    *keys.OPERATIONS,
    *client_tokens.OPERATIONS,
    *portal_links.OPERATIONS,
    *limits.OPERATIONS,
    *overrides.OPERATIONS,
    *requests.OPERATIONS,
    *ledger.OPERATIONS,
    *usage.OPERATIONS,
    *statements.OPERATIONS,
    *thresholds.OPERATIONS,
    *webhooks.OPERATIONS,
    *dispatch.OPERATIONS,
    *credentials.OPERATIONS,
    *models.OPERATIONS,
    *checks.OPERATIONS,
    *settings.OPERATIONS,
    *files.OPERATIONS,
    *processes.OPERATIONS,
    *admin_keys.OPERATIONS,
    *audit.OPERATIONS,
    *refusals.OPERATIONS,
)
