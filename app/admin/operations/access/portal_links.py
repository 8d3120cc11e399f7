"""The operation on links that open the portal."""

from typing import Final

from app.admin.access import sign_ins as cases
from app.admin.access.sign_ins import PortalLink
from app.admin.operation import Operation
from app.admin.session import AdminGateway
from app.documents.access.portal import PortalLink as PortalLinkDocument
from app.documents.access.portal import portal_link
from app.errors import API_KEY_NOT_FOUND, INVALID_API_KEY, INVALID_CHANGE, PORTAL_DISABLED


def _document(_gateway: AdminGateway, made: PortalLink) -> PortalLinkDocument:
    return portal_link(made.record, made.scopes, made.url, made.expires_at_ms)


CREATE_LINK: Final = Operation(
    name="create_portal_link",
    command="portal-links create",
    method="POST",
    path="/admin/v1/portal-links",
    scope="operate",
    tag="portal",
    text="Give it to a person of the tenant: it works once, within a minute, and what they do is done as that"
    " key. A repeated call is answered without the link itself.",
    function=cases.create_link,
    document=_document,
    shape=PortalLinkDocument,
    faults=(PORTAL_DISABLED, API_KEY_NOT_FOUND, INVALID_API_KEY, INVALID_CHANGE),
    status=201,
    reveals="url",
)

OPERATIONS: Final = (CREATE_LINK,)
