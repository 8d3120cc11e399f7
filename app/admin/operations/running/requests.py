"""The operations on requests of all tenants."""

from typing import Final

from app.admin.operation import Operation
from app.admin.paging import Page
from app.admin.running import requests as cases
from app.admin.running.requests import ListedRequest, RequestInFull
from app.admin.session import AdminGateway
from app.config import Settings, SettingsError
from app.documents.admin.running.requests import (
    AdminRequest,
    AdminRequestInFull,
    AdminRequestPage,
    request,
    request_in_full,
)
from app.errors import (
    INVALID_CHANGE,
    NOT_ATTACHABLE,
    NOT_UNKNOWN,
    REQUEST_ARCHIVED,
    REQUEST_NOT_FOUND,
    TENANT_NOT_FOUND,
    UPSTREAM_UNUSABLE,
)
from app.files.sending import FileLinks
from app.mirror.rows import ASSET, Asset

_HOUR_S: Final = 3600
_REQUEST: Final = "/admin/v1/requests/{request_id}"


def _page(_gateway: AdminGateway, page: Page[ListedRequest]) -> AdminRequestPage:
    return {
        "requests": [request(one.request, one.tenant) for one in page.entries],
        "next_cursor": page.next_cursor,
    }


def _links(settings: Settings) -> FileLinks | None:
    """Returns what makes links; None for a command that runs without the secrets of the server."""
    try:
        return FileLinks.of(settings)
    except SettingsError:
        return None


def _in_full(gateway: AdminGateway, found: RequestInFull) -> AdminRequestInFull:
    links = _links(gateway.settings)
    expires_s = (gateway.clock.now_ms() // 1000 // _HOUR_S + 2) * _HOUR_S  # so a link is the same for an hour

    def link(one: Asset) -> str | None:
        row_id = one.id.removeprefix(ASSET)
        if links is None or not one.is_served:
            return None
        return links.copy_url(one.tenant_id, row_id, expires_s=expires_s)

    copies = [(one, link(one)) for one in found.copies]
    return request_in_full(found.request, found.tenant, found.events, copies, gateway.settings.base_url)


def _document(_gateway: AdminGateway, one: ListedRequest) -> AdminRequest:
    return request(one.request, one.tenant)


LIST: Final = Operation(
    name="search_requests",
    command="requests list",
    method="GET",
    path="/admin/v1/requests",
    scope="read",
    tag="requests",
    text="All that is given must match. A page may be empty while more follow: a search looks at a bounded"
    " number of rows at a time. There are no more where `next_cursor` is null.",
    function=cases.listed,
    document=_page,
    shape=AdminRequestPage,
    faults=(TENANT_NOT_FOUND,),
)
SHOW: Final = Operation(
    name="get_request_in_full",
    command="requests show",
    method="GET",
    path=_REQUEST,
    scope="read",
    tag="requests",
    text="With its input, output, evidence, events, and the copies of its output.",
    function=cases.show,
    document=_in_full,
    shape=AdminRequestInFull,
    faults=(
        REQUEST_NOT_FOUND,
        REQUEST_ARCHIVED,
    ),
)
RESOLVE: Final = Operation(
    name="resolve_request",
    command="requests resolve",
    method="POST",
    path=f"{_REQUEST}/resolve",
    scope="money",
    tag="requests",
    text="Look for its job at RunComfy first. Give exactly one of `upstream_request_id` and `charged`.",
    function=cases.resolve,
    document=_document,
    shape=AdminRequest,
    faults=(
        REQUEST_NOT_FOUND,
        REQUEST_ARCHIVED,
        NOT_UNKNOWN,
        INVALID_CHANGE,
        NOT_ATTACHABLE,
        UPSTREAM_UNUSABLE,
    ),
)

OPERATIONS: Final = (LIST, SHOW, RESOLVE)
