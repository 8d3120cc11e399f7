"""The operations on client tokens."""

from typing import Final

from app.admin.access import client_tokens as cases
from app.admin.access.client_tokens import TokenInFull
from app.admin.operation import Operation
from app.admin.paging import Page
from app.admin.session import AdminGateway
from app.auth import client_tokens
from app.documents.access import client_tokens as documents
from app.documents.access.client_tokens import ClientToken, ClientTokenInFull, ClientTokenPage
from app.errors import CLIENT_TOKEN_NOT_FOUND, TENANT_NOT_FOUND

_TOKENS: Final = "/admin/v1/client-tokens"
_TOKEN: Final = f"{_TOKENS}/{{token_id}}"


def _document(gateway: AdminGateway, one: client_tokens.ClientToken) -> ClientToken:
    return documents.client_token(one, gateway.clock.now_ms())


def _page(gateway: AdminGateway, page: Page[client_tokens.ClientToken]) -> ClientTokenPage:
    return documents.client_token_page(page.entries, page.next_cursor, gateway.clock.now_ms())


def _in_full(gateway: AdminGateway, found: TokenInFull) -> ClientTokenInFull:
    return documents.client_token_in_full(
        found.token, found.used, found.newest, found.refusals, gateway.clock.now_ms()
    )


LIST: Final = Operation(
    name="list_client_tokens",
    command="client-tokens list",
    method="GET",
    path=_TOKENS,
    scope="read",
    tag="client tokens",
    text="The tokens of one tenant, in both modes, without the tokens themselves.",
    function=cases.listed,
    document=_page,
    shape=ClientTokenPage,
    faults=(TENANT_NOT_FOUND,),
)
SHOW: Final = Operation(
    name="get_client_token",
    command="client-tokens show",
    method="GET",
    path=_TOKEN,
    scope="read",
    tag="client tokens",
    text="With its usage, the newest requests that it made, and its newest refusals.",
    function=cases.show,
    document=_in_full,
    shape=ClientTokenInFull,
    faults=(CLIENT_TOKEN_NOT_FOUND,),
)
REVOKE: Final = Operation(
    name="revoke_client_token",
    command="client-tokens revoke",
    method="POST",
    path=f"{_TOKEN}/revoke",
    scope="operate",
    tag="client tokens",
    text="On every server within five seconds. Its requests continue.",
    function=cases.revoke,
    document=_document,
    shape=ClientToken,
    faults=(CLIENT_TOKEN_NOT_FOUND,),
)

OPERATIONS: Final = (LIST, SHOW, REVOKE)
