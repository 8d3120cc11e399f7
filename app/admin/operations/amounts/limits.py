"""The operations on limits."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection

from app.admin.amounts import limits as cases
from app.admin.amounts.limits import LimitRow
from app.admin.operation import Operation
from app.admin.paging import Page
from app.admin.session import AdminGateway
from app.documents.admin.amounts import limits as documents
from app.documents.admin.amounts.limits import AccountLimits, LimitPage
from app.errors import (
    API_KEY_NOT_FOUND,
    INVALID_ACCOUNT,
    INVALID_LIMIT,
    LIMIT_NOT_FOUND,
    MODEL_NOT_FOUND,
    TENANT_NOT_FOUND,
)

_ACCOUNT: Final = "/admin/v1/limits/account"
_NOT_FOUND: Final = (INVALID_ACCOUNT, TENANT_NOT_FOUND, API_KEY_NOT_FOUND)


def _page(_gateway: AdminGateway, page: Page[LimitRow]) -> LimitPage:
    return {
        "limits": [
            documents.listed_limit(one.tenant, one.account.owner, one.limit, one.standing)
            for one in page.entries
        ],
        "next_cursor": page.next_cursor,
    }


def _document(_gateway: AdminGateway, found: cases.AccountLimits) -> AccountLimits:
    return documents.account_limits(
        found.tenant,
        found.account.owner,
        found.account.scope,
        own=found.limits,
        standings=found.standings,
        refused_models=found.refused_models,
    )


def _current(gateway: AdminGateway, connection: Connection, arguments: Mapping[str, Any]) -> AccountLimits:
    return _document(gateway, cases.current(connection, gateway, arguments["name"]))


LIST: Final = Operation(
    name="list_limits",
    command="limits list",
    method="GET",
    path="/admin/v1/limits",
    scope="read",
    tag="limits",
    text="In pages, without the defaults of the settings.",
    function=cases.listed,
    document=_page,
    shape=LimitPage,
    faults=(TENANT_NOT_FOUND,),
)
SHOW: Final = Operation(
    name="get_account_limits",
    command="limits show",
    method="GET",
    path=_ACCOUNT,
    scope="read",
    tag="limits",
    text="An account is a tenant in one mode, or the part of it that belongs to a key, an end user or a"
    " model. Its `ETag` changes with the limits that are set, not with what is used of them.",
    function=cases.show,
    document=_document,
    shape=AccountLimits,
    faults=_NOT_FOUND,
    current=_current,
)
SET: Final = Operation(
    name="set_account_limits",
    command="limits set",
    method="PUT",
    path=_ACCOUNT,
    scope="operate",
    tag="limits",
    text="Limits on metrics that are not named stay as they are. All are set, or none.",
    function=cases.set_limits,
    document=_document,
    shape=AccountLimits,
    faults=(INVALID_LIMIT, *_NOT_FOUND, MODEL_NOT_FOUND),
    current=_current,
)
UNSET: Final = Operation(
    name="remove_account_limits",
    command="limits unset",
    method="POST",
    path=f"{_ACCOUNT}/remove",
    scope="operate",
    tag="limits",
    text="The defaults of the settings apply again. All are removed, or none.",
    function=cases.unset_limits,
    document=_document,
    shape=AccountLimits,
    faults=(INVALID_LIMIT, LIMIT_NOT_FOUND, *_NOT_FOUND),
    current=_current,
)

OPERATIONS: Final = (LIST, SHOW, SET, UNSET)
