"""The table of all operations, in the order of the contract."""

from typing import Any, Final

from app.admin.operation import Operation
from app.admin.operations import (
    admin_keys,
    audit,
    client_tokens,
    dispatch,
    keys,
    limits,
    overrides,
    refusals,
    tenants,
)

OPERATIONS: Final[tuple[Operation[Any], ...]] = (
    *tenants.OPERATIONS,
    *keys.OPERATIONS,
    *client_tokens.OPERATIONS,
    *limits.OPERATIONS,
    *overrides.OPERATIONS,
    *dispatch.OPERATIONS,
    *admin_keys.OPERATIONS,
    *audit.OPERATIONS,
    *refusals.OPERATIONS,
)
