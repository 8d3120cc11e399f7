"""The table of all operations, in the order of the contract."""

from typing import Any, Final

from app.admin.operation import Operation
from app.admin.operations import (
    admin_keys,
    audit,
    checks,
    client_tokens,
    credentials,
    dispatch,
    keys,
    ledger,
    limits,
    models,
    overrides,
    overview,
    portal_links,
    processes,
    refusals,
    requests,
    settings,
    statements,
    tenants,
    thresholds,
    usage,
    webhooks,
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
    *processes.OPERATIONS,
    *admin_keys.OPERATIONS,
    *audit.OPERATIONS,
    *refusals.OPERATIONS,
)
