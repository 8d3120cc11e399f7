"""The operations on API keys of tenants."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection

from app.admin.access import keys as cases
from app.admin.access.keys import NewKey, RotatedKey
from app.admin.operation import Operation
from app.admin.paging import Page
from app.admin.session import AdminGateway
from app.auth import keys
from app.documents.admin.access import keys as documents
from app.documents.admin.access.keys import APIKey, APIKeyPage, CreatedAPIKey, RotatedAPIKey
from app.errors import API_KEY_NOT_ACTIVE, API_KEY_NOT_FOUND, INVALID_API_KEY_TERMS, TENANT_NOT_FOUND
from app.kit.clock import iso

_KEY: Final = "/admin/v1/keys/{kid}"


def _document(gateway: AdminGateway, one: keys.APIKey) -> APIKey:
    return documents.api_key(one, gateway.clock.now_ms())


def _page(gateway: AdminGateway, page: Page[keys.APIKey]) -> APIKeyPage:
    return documents.api_key_page(page.entries, page.next_cursor, gateway.clock.now_ms())


def _created(gateway: AdminGateway, made: NewKey) -> CreatedAPIKey:
    return {**_document(gateway, made.record), "key": made.key}


def _rotated(gateway: AdminGateway, made: RotatedKey) -> RotatedAPIKey:
    return {
        **_document(gateway, made.record),
        "key": made.key,
        "replaces": made.replaces,
        "old_key_ends_at": iso(made.old_ends_at_ms),
    }


def _current(gateway: AdminGateway, connection: Connection, arguments: Mapping[str, Any]) -> APIKey:
    return _document(gateway, keys.to_change(connection, arguments["kid"]))


LIST: Final = Operation(
    name="list_keys",
    command="keys list",
    method="GET",
    path="/admin/v1/keys",
    scope="read",
    tag="API keys",
    text="In pages, without the keys themselves. Every parameter narrows the search.",
    function=cases.listed,
    document=_page,
    shape=APIKeyPage,
    faults=(TENANT_NOT_FOUND,),
)
CREATE: Final = Operation(
    name="create_key",
    command="keys create",
    method="POST",
    path="/admin/v1/keys",
    scope="operate",
    tag="API keys",
    text="The answer has the key itself, which is stored nowhere. A repeated call is answered without it: if"
    " the first answer was lost, revoke the key and create another.",
    function=cases.create,
    document=_created,
    shape=CreatedAPIKey,
    faults=(INVALID_API_KEY_TERMS, TENANT_NOT_FOUND),
    status=201,
    reveals="key",
)
SHOW: Final = Operation(
    name="get_key",
    command="keys show",
    method="GET",
    path=_KEY,
    scope="read",
    tag="API keys",
    text="Its `ETag` is what an edit names in `If-Match`.",
    function=cases.show,
    document=_document,
    shape=APIKey,
    faults=(API_KEY_NOT_FOUND,),
    current=_current,
)
NARROW: Final = Operation(
    name="narrow_key",
    command="keys narrow",
    method="PUT",
    path=f"{_KEY}/terms",
    scope="operate",
    tag="API keys",
    text="Scopes and models can only be taken away, and the key can only expire earlier. A member that is"
    " null or left out stays as it is.",
    function=cases.narrow,
    document=_document,
    shape=APIKey,
    faults=(INVALID_API_KEY_TERMS, API_KEY_NOT_FOUND),
    current=_current,
)
SET_QUEUEING: Final = Operation(
    name="set_key_queueing",
    command="keys set-queueing",
    method="PUT",
    path=f"{_KEY}/queueing",
    scope="operate",
    tag="API keys",
    text="It takes effect within a second.",
    function=cases.set_queueing,
    document=_document,
    shape=APIKey,
    faults=(API_KEY_NOT_FOUND,),
    current=_current,
)
SET_MIRROR: Final = Operation(
    name="set_key_mirror",
    command="keys set-mirror",
    method="PUT",
    path=f"{_KEY}/mirror",
    scope="operate",
    tag="API keys",
    text="It counts for requests that complete from now on.",
    function=cases.set_mirror,
    document=_document,
    shape=APIKey,
    faults=(INVALID_API_KEY_TERMS, API_KEY_NOT_FOUND),
    current=_current,
)
ROTATE: Final = Operation(
    name="rotate_key",
    command="keys rotate",
    method="POST",
    path=f"{_KEY}/rotate",
    scope="operate",
    tag="API keys",
    text="The answer is the new key. Both work until `old_key_ends_at`, and share their limits. A repeated"
    " call is answered without the key itself.",
    function=cases.rotate,
    document=_rotated,
    shape=RotatedAPIKey,
    faults=(INVALID_API_KEY_TERMS, API_KEY_NOT_FOUND, API_KEY_NOT_ACTIVE),
    status=201,
    reveals="key",
)
REVOKE: Final = Operation(
    name="revoke_key",
    command="keys revoke",
    method="POST",
    path=f"{_KEY}/revoke",
    scope="operate",
    tag="API keys",
    text="On every server within five seconds, with the client tokens that it made. Jobs that were sent are"
    " followed to their end.",
    function=cases.revoke,
    document=_document,
    shape=APIKey,
    faults=(API_KEY_NOT_FOUND,),
    current=_current,
)

OPERATIONS: Final = (LIST, CREATE, SHOW, NARROW, SET_QUEUEING, SET_MIRROR, ROTATE, REVOKE)
