"""The operations on temporary overrides of limits."""

from typing import Final

from app.admin.amounts import overrides as cases
from app.admin.amounts.overrides import OverrideRow
from app.admin.operation import Operation
from app.admin.paging import Page
from app.admin.session import AdminGateway
from app.documents.admin.amounts import limits as documents
from app.documents.admin.amounts.limits import LimitOverride, LimitOverridePage
from app.errors import (
    API_KEY_NOT_FOUND,
    INVALID_ACCOUNT,
    INVALID_LIMIT,
    MODEL_NOT_FOUND,
    OVERRIDE_EXISTS,
    OVERRIDE_NOT_FOUND,
    TENANT_NOT_FOUND,
)

_OVERRIDES: Final = "/admin/v1/limit-overrides"


def _document(gateway: AdminGateway, one: OverrideRow) -> LimitOverride:
    return documents.limit_override(one.tenant, one.override, gateway.clock.now_ms())


def _page(gateway: AdminGateway, page: Page[OverrideRow]) -> LimitOverridePage:
    return {
        "overrides": [_document(gateway, one) for one in page.entries],
        "next_cursor": page.next_cursor,
    }


LIST: Final = Operation(
    name="list_limit_overrides",
    command="limits overrides",
    method="GET",
    path=_OVERRIDES,
    scope="read",
    tag="limits",
    text="In pages; those that are over only with `ended`.",
    function=cases.listed,
    document=_page,
    shape=LimitOverridePage,
    faults=(TENANT_NOT_FOUND,),
)
CREATE: Final = Operation(
    name="create_limit_override",
    command="limits override",
    method="POST",
    path=_OVERRIDES,
    scope="operate",
    tag="limits",
    text="Its amount counts in place of the limit's, or of a default, from now until `until`, exactly. It is"
    " shown by `GET /v1/quota`. One limit has one override at a time.",
    function=cases.create,
    document=_document,
    shape=LimitOverride,
    faults=(
        *(INVALID_LIMIT, OVERRIDE_EXISTS, INVALID_ACCOUNT, TENANT_NOT_FOUND, API_KEY_NOT_FOUND),
        MODEL_NOT_FOUND,
    ),
    status=201,
)
END: Final = Operation(
    name="end_limit_override",
    command="limits end-override",
    method="POST",
    path=f"{_OVERRIDES}/{{override_id}}/end",
    scope="operate",
    tag="limits",
    text="The limit itself applies again at once. One that is over already stays as it is.",
    function=cases.end,
    document=_document,
    shape=LimitOverride,
    faults=(OVERRIDE_NOT_FOUND,),
)

OPERATIONS: Final = (LIST, CREATE, END)
