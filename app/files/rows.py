"""The rows of uploaded files. Nobody but the store knows a row's bytes, whose key is made of its id.

A row is `storing` before any of its bytes is in the store, and `deleting` until all of them are gone: so a
row that is `stored` always has its bytes, wherever a process dies.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from app.auth.keys import Mode
from app.auth.principal import Principal
from app.db.schema.tables import files
from app.kit.ids import is_id, new_id
from app.media.facts import Facts
from app.quotas.account import Owner, lock_tenant
from app.quotas.limits import Payer
from app.quotas.sums import stored
from app.storage.store import INCOMING, key_of


class FileState(StrEnum):
    """How far a file has come."""

    AWAITED = "awaited"
    """A form was given out with which it is sent to the store itself."""
    STORING = "storing"
    STORED = "stored"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """An uploaded file. `owner` is who may use it besides the tenant's keys; see `owner_of`."""

    id: str
    tenant_id: str
    mode: Mode
    owner: str
    kid: str
    end_user: str | None
    token_id: str | None
    state: FileState
    name: str | None
    model_id: str | None
    place: str | None
    sha256: str
    bytes: int
    type: str
    width: int | None
    height: int | None
    created_at_ms: int
    expires_at_ms: int | None
    lease_until_ms: int | None

    @property
    def key(self) -> str:
        """The key of its bytes in the store."""
        return key_of("files", self.tenant_id, self.id)

    @property
    def incoming_key(self) -> str:
        """The key under which the bytes of a direct upload arrive."""
        return key_of(INCOMING, self.tenant_id, self.id)

    @property
    def facts(self) -> Facts:
        """What its bytes tell."""
        return Facts(self.type, self.bytes, self.width, self.height)

    @property
    def account(self) -> tuple[Owner, Payer]:
        """Whose stored bytes it counts in."""
        return Owner(self.tenant_id, self.mode), Payer(self.kid, self.end_user or "")

    def is_there(self, now_ms: int) -> bool:
        """Returns whether it is stored, and not expired."""
        alive = self.expires_at_ms is None or self.expires_at_ms > now_ms
        return self.state is FileState.STORED and alive


def owner_of(principal: Principal) -> str:
    """Returns who may use what the caller uploads, besides the tenant's keys.

    It is the end user of a client token or, where it names none, the token itself; "" is nobody.
    """
    token = principal.token
    if token is None:
        return ""
    return f"token:{token.token_id}" if token.end_user is None else f"user:{token.end_user}"


def can_see(principal: Principal, file: File) -> bool:
    """Returns whether the caller may use a file of its tenant and mode."""
    return principal.token is None or file.owner == owner_of(principal)


def draft(principal: Principal, *, now_ms: int, **columns: Any) -> File:
    """Returns a new file of the caller's, which no row has yet."""
    token = principal.token
    return File(
        id=new_id(now_ms),
        tenant_id=principal.tenant_id,
        mode=principal.mode,
        owner=owner_of(principal),
        kid=principal.root_kid,
        end_user=None if token is None else token.end_user,
        token_id=None if token is None else token.token_id,
        created_at_ms=now_ms,
        **columns,
    )


def add(connection: Connection, file: File) -> None:
    """Inserts a row, whose bytes are counted already."""
    connection.execute(insert(files).values({name: getattr(file, name) for name in File.__slots__}))


def find(connection: Connection, file_id: str, owner: Owner | None = None) -> File | None:
    """Returns a file in any state, of this tenant and mode alone where they are given; None: no such file."""
    if not is_id(file_id):
        return None
    query = select(files).where(files.c.id == file_id)
    if owner is not None:
        query = query.where(files.c.tenant_id == owner.tenant_id, files.c.mode == owner.mode)
    row = connection.execute(query).one_or_none()
    return None if row is None else _file(row)


def find_all(connection: Connection, owner: Owner, file_ids: Collection[str]) -> dict[str, File]:
    """Returns the files with these ids of this tenant and mode, in any state, by their ids."""
    query = select(files).where(
        files.c.id.in_([one for one in file_ids if is_id(one)]),
        files.c.tenant_id == owner.tenant_id,
        files.c.mode == owner.mode,
    )
    return {row.id: _file(row) for row in connection.execute(query)}


def awaited(connection: Connection, file_ids: Collection[str]) -> set[str]:
    """Returns those of these ids whose direct upload was not completed or given up yet."""
    query = select(files.c.id).where(files.c.id.in_(file_ids), files.c.state == FileState.AWAITED)
    return set(connection.scalars(query))


def find_same(connection: Connection, file: File, *, now_ms: int) -> File | None:
    """Returns a stored file with the same content and owner, other than this one; None if there is none."""
    query = select(files).where(
        files.c.tenant_id == file.tenant_id,
        files.c.mode == file.mode,
        files.c.owner == file.owner,
        files.c.sha256 == file.sha256,
        files.c.state == FileState.STORED,
        files.c.id != file.id,
        or_(files.c.expires_at_ms.is_(None), files.c.expires_at_ms > now_ms),
    )
    row = connection.execute(query.order_by(files.c.id).limit(1)).one_or_none()
    return None if row is None else _file(row)


def page(
    connection: Connection, principal: Principal, *, before: str | None, limit: int, now_ms: int
) -> list[File]:
    """Returns the files that the caller may use, newest first, before an id."""
    query = select(files).where(
        files.c.tenant_id == principal.tenant_id,
        files.c.mode == principal.mode,
        files.c.state == FileState.STORED,
        or_(files.c.expires_at_ms.is_(None), files.c.expires_at_ms > now_ms),
    )
    if principal.token is not None:
        query = query.where(files.c.owner == owner_of(principal))
    if before is not None:
        query = query.where(files.c.id < before)
    return [_file(row) for row in connection.execute(query.order_by(files.c.id.desc()).limit(limit))]


def change(connection: Connection, file: File, only_from: FileState, **columns: Any) -> bool:
    """Changes a row that is still in this state; returns whether it was."""
    done = connection.execute(
        update(files).where(files.c.id == file.id, files.c.state == only_from).values(columns)
    )
    return done.rowcount == 1


def give_up(connection: Connection, file: File, *, now_ms: int) -> bool:
    """Begins to delete a file: from now on nobody can use it. Returns whether this call did.

    The tenant's row is locked, so that a file is not found as the same as another one at that moment.
    """
    lock_tenant(connection, file.tenant_id)
    done = connection.execute(
        update(files)
        .where(files.c.id == file.id, files.c.state != FileState.DELETING)
        .values(state=FileState.DELETING, lease_until_ms=now_ms)
    )
    return done.rowcount == 1


def give_up_due(connection: Connection, file: File, *, now_ms: int) -> bool:
    """Begins to delete a file, if it is still due: its time may have become longer meanwhile.

    Returns whether it is to be deleted; else its bytes are still needed, or are gone.
    """
    lock_tenant(connection, file.tenant_id)
    found = find(connection, file.id)
    if found is None or not _is_due(found, now_ms):
        return False
    give_up(connection, found, now_ms=now_ms)
    return True


def postpone(connection: Connection, file: File, *, until_ms: int) -> None:
    """Has the sweeper try no earlier again to remove a file that is being deleted."""
    change(connection, file, FileState.DELETING, lease_until_ms=until_ms)


def _is_due(file: File, now_ms: int) -> bool:
    until_ms = file.expires_at_ms if file.state is FileState.STORED else file.lease_until_ms
    return until_ms is not None and until_ms <= now_ms


def forget(connection: Connection, file: File) -> None:
    """Removes the row of a file whose bytes are gone, and counts them no more. Repeating it is harmless."""
    lock_tenant(connection, file.tenant_id)
    gone = delete(files).where(files.c.id == file.id, files.c.state == FileState.DELETING)
    # What the row says counts: `file` may be from before its bytes were measured.
    size_bytes = connection.execute(gone.returning(files.c.bytes)).scalar_one_or_none()
    if size_bytes is not None:
        stored.give_back(connection, *file.account, size_bytes)


def due(connection: Connection, *, now_ms: int, limit: int) -> list[File]:
    """Returns files to be deleted: those that expired, were given up, or that nobody stores any more."""
    expired = select(files).where(files.c.state == FileState.STORED, files.c.expires_at_ms <= now_ms)
    left = select(files).where(files.c.state != FileState.STORED, files.c.lease_until_ms <= now_ms)
    found: list[Row[Any]] = []
    for query, column in ((left, files.c.lease_until_ms), (expired, files.c.expires_at_ms)):
        found += connection.execute(query.order_by(column).limit(limit - len(found)))
    return [_file(row) for row in found]


def _file(row: Row[Any]) -> File:
    values = dict(row._mapping)  # noqa: SLF001 - the public way to a row's columns by name
    return File(**{**values, "state": FileState(values["state"])})
