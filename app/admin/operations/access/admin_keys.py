"""The operations on admin keys."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from app.admin.access import admin_keys as cases
from app.admin.access.admin_keys import NewAdminKey, RotatedAdminKey
from app.admin.operation import Operation
from app.admin.session import AdminGateway
from app.auth import admin_keys
from app.documents.admin.access import keys as documents
from app.documents.admin.access.keys import AdminKey, AdminKeys, CreatedAdminKey
from app.documents.admin.access.keys import RotatedAdminKey as RotatedAdminKeyDocument
from app.errors import ADMIN_KEY_NOT_ACTIVE, ADMIN_KEY_NOT_FOUND, INVALID_ADMIN_KEY_TERMS
from app.kit.clock import iso

_KEY: Final = "/admin/v1/admin-keys/{kid}"


def _document(gateway: AdminGateway, one: admin_keys.AdminKey) -> AdminKey:
    return documents.admin_key(one, gateway.clock.now_ms())


def _all(gateway: AdminGateway, found: Sequence[admin_keys.AdminKey]) -> AdminKeys:
    return {"admin_keys": [_document(gateway, one) for one in found]}


def _created(gateway: AdminGateway, made: NewAdminKey) -> CreatedAdminKey:
    return {**_document(gateway, made.record), "key": made.key}


def _rotated(gateway: AdminGateway, made: RotatedAdminKey) -> RotatedAdminKeyDocument:
    return {
        **_document(gateway, made.record),
        "key": made.key,
        "replaces": made.replaces,
        "old_key_ends_at": iso(made.old_ends_at_ms),
    }


def _current(gateway: AdminGateway, connection: Connection, arguments: Mapping[str, Any]) -> AdminKey:
    return _document(gateway, admin_keys.to_change(connection, arguments["kid"]))


LIST: Final = Operation(
    name="list_admin_keys",
    command="admin-keys list",
    method="GET",
    path="/admin/v1/admin-keys",
    scope="root",
    tag="admin keys",
    text="Without the keys themselves.",
    function=cases.listed,
    document=_all,
    shape=AdminKeys,
)
CREATE: Final = Operation(
    name="create_admin_key",
    command="admin-keys create",
    method="POST",
    path="/admin/v1/admin-keys",
    scope="root",
    tag="admin keys",
    text="The answer has the key itself, which is stored nowhere. A repeated call is answered without it.",
    function=cases.create,
    document=_created,
    shape=CreatedAdminKey,
    faults=(INVALID_ADMIN_KEY_TERMS,),
    status=201,
    reveals="key",
)
ROTATE: Final = Operation(
    name="rotate_admin_key",
    command="admin-keys rotate",
    method="POST",
    path=f"{_KEY}/rotate",
    scope="root",
    tag="admin keys",
    text="The answer is the new key. Both work until `old_key_ends_at`. A repeated call is answered without"
    " the key itself.",
    function=cases.rotate,
    document=_rotated,
    shape=RotatedAdminKeyDocument,
    faults=(INVALID_ADMIN_KEY_TERMS, ADMIN_KEY_NOT_FOUND, ADMIN_KEY_NOT_ACTIVE),
    status=201,
    reveals="key",
)
REVOKE: Final = Operation(
    name="revoke_admin_key",
    command="admin-keys revoke",
    method="POST",
    path=f"{_KEY}/revoke",
    scope="root",
    tag="admin keys",
    text="On every server at once. A key can revoke itself, also the last one.",
    function=cases.revoke,
    document=_document,
    shape=AdminKey,
    faults=(ADMIN_KEY_NOT_FOUND,),
    current=_current,
)

OPERATIONS: Final = (LIST, CREATE, ROTATE, REVOKE)
