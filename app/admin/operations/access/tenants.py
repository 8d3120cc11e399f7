"""The operations on tenants."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection

from app.admin.access import tenants as cases
from app.admin.operation import Operation
from app.admin.paging import Page
from app.admin.session import AdminGateway
from app.auth import tenants
from app.documents.admin.access import tenants as documents
from app.documents.admin.access.tenants import Tenant, TenantPage
from app.errors import INVALID_TENANT, TENANT_EXISTS, TENANT_NOT_FOUND

_TENANT: Final = "/admin/v1/tenants/{name}"


def _document(gateway: AdminGateway, one: tenants.Tenant) -> Tenant:
    return documents.tenant(one, gateway.settings)


def _page(gateway: AdminGateway, page: Page[tenants.Tenant]) -> TenantPage:
    return documents.tenant_page(page.entries, page.next_cursor, gateway.settings)


def _current(gateway: AdminGateway, connection: Connection, arguments: Mapping[str, Any]) -> Tenant:
    return _document(gateway, tenants.by_name(connection, arguments["name"], to_change=True))


LIST: Final = Operation(
    name="list_tenants",
    command="tenants list",
    method="GET",
    path="/admin/v1/tenants",
    scope="read",
    tag="tenants",
    text="In pages: `next_cursor` is the `cursor` of the next one, and null on the last.",
    function=cases.listed,
    document=_page,
    shape=TenantPage,
)
CREATE: Final = Operation(
    name="create_tenant",
    command="tenants create",
    method="POST",
    path="/admin/v1/tenants",
    scope="operate",
    tag="tenants",
    text="It has no keys yet, and the limits of the gateway's settings.",
    function=cases.create,
    document=_document,
    shape=Tenant,
    faults=(INVALID_TENANT, TENANT_EXISTS),
    status=201,
    current=_current,
)
SHOW: Final = Operation(
    name="get_tenant",
    command="tenants show",
    method="GET",
    path=_TENANT,
    scope="read",
    tag="tenants",
    text="Its `ETag` is what an edit names in `If-Match`.",
    function=cases.show,
    document=_document,
    shape=Tenant,
    faults=(TENANT_NOT_FOUND,),
    current=_current,
)
RENAME: Final = Operation(
    name="rename_tenant",
    command="tenants rename",
    method="PUT",
    path=f"{_TENANT}/name",
    scope="operate",
    tag="tenants",
    text="Its address changes with its name; its id does not.",
    function=cases.rename,
    document=_document,
    shape=Tenant,
    faults=(INVALID_TENANT, TENANT_NOT_FOUND, TENANT_EXISTS),
    current=_current,
)
SET_TIME_ZONE: Final = Operation(
    name="set_tenant_time_zone",
    command="tenants set-time-zone",
    method="PUT",
    path=f"{_TENANT}/time-zone",
    scope="operate",
    tag="tenants",
    text="What was counted stays in the day in which it was counted.",
    function=cases.set_time_zone,
    document=_document,
    shape=Tenant,
    faults=(INVALID_TENANT, TENANT_NOT_FOUND),
    current=_current,
)
SET_MEDIA_CHECKS: Final = Operation(
    name="set_tenant_media_checks",
    command="tenants set-media-checks",
    method="PUT",
    path=f"{_TENANT}/media-checks",
    scope="operate",
    tag="tenants",
    text="It takes effect within a second.",
    function=cases.set_media_checks,
    document=_document,
    shape=Tenant,
    faults=(INVALID_TENANT, TENANT_NOT_FOUND),
    current=_current,
)
SET_ORIGINS: Final = Operation(
    name="set_tenant_origins",
    command="tenants set-origins",
    method="PUT",
    path=f"{_TENANT}/origins",
    scope="operate",
    tag="tenants",
    text="They replace the present ones. An empty list removes all.",
    function=cases.set_origins,
    document=_document,
    shape=Tenant,
    faults=(INVALID_TENANT, TENANT_NOT_FOUND),
    current=_current,
)
SET_QUEUEING: Final = Operation(
    name="set_tenant_queueing",
    command="tenants set-queueing",
    method="PUT",
    path=f"{_TENANT}/queueing",
    scope="operate",
    tag="tenants",
    text="`max_queued` and `weight` stay as they are where they are null or left out.",
    function=cases.set_queueing,
    document=_document,
    shape=Tenant,
    faults=(INVALID_TENANT, TENANT_NOT_FOUND),
    current=_current,
)
SET_MIRROR: Final = Operation(
    name="set_tenant_mirror",
    command="tenants set-mirror",
    method="PUT",
    path=f"{_TENANT}/mirror",
    scope="operate",
    tag="tenants",
    text="It counts for requests that complete from now on. Copies that are stored keep their time.",
    function=cases.set_mirror,
    document=_document,
    shape=Tenant,
    faults=(INVALID_TENANT, TENANT_NOT_FOUND),
    current=_current,
)
DISABLE: Final = Operation(
    name="disable_tenant",
    command="tenants disable",
    method="POST",
    path=f"{_TENANT}/disable",
    scope="operate",
    tag="tenants",
    text="Its keys and client tokens are refused on every server within five seconds, its event streams end,"
    " and its queue stands still. Jobs that were sent are followed to their end, and charged.",
    function=cases.disable,
    document=_document,
    shape=Tenant,
    faults=(TENANT_NOT_FOUND,),
    current=_current,
)
ENABLE: Final = Operation(
    name="enable_tenant",
    command="tenants enable",
    method="POST",
    path=f"{_TENANT}/enable",
    scope="operate",
    tag="tenants",
    text="Keys and client tokens that have not ended work again, and its queue is sent.",
    function=cases.enable,
    document=_document,
    shape=Tenant,
    faults=(TENANT_NOT_FOUND,),
    current=_current,
)

OPERATIONS: Final = (
    LIST,
    CREATE,
    SHOW,
    RENAME,
    SET_TIME_ZONE,
    SET_MEDIA_CHECKS,
    SET_ORIGINS,
    SET_QUEUEING,
    SET_MIRROR,
    DISABLE,
    ENABLE,
)
