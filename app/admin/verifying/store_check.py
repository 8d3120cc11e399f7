"""Comparing the store with the database: every row's bytes are there, and all bytes have a row.

What is counted as stored is compared with the rows as well, since limits are judged by it.

It works beside running servers: what differs is looked at a second time, because copies are made and removed
meanwhile.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, literal_column, or_, select

from app.admin.session import AdminGateway
from app.admin.verifying.stored_sums import WrongSum, compared
from app.db.schema.asset_states import IS_STORED, AssetState
from app.db.schema.tables import assets, files
from app.files.rows import FileState
from app.storage.opening import open_storage
from app.storage.store import StorageError, Store, key_of

MAX_FAULTS: Final = 1_000
"""The most faults that are told; all are counted."""
_BATCH: Final = 500
_FOLDERS: Final = ("assets/", "files/")
_A, _F = assets.c, files.c


class StoreRule(StrEnum):
    """What may be wrong."""

    MISSING = "missing"
    WRONG_SIZE = "wrong_size"
    WRONG_HASH = "wrong_hash"
    NO_ROW = "no_row"
    UNREADABLE = "unreadable"
    WRONG_SUM = "wrong_sum"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFault:
    """What differs: `subject` is the id of a row, the key of bytes without one, or of whom a sum is."""

    rule: StoreRule
    subject: str
    detail: str


@dataclass(slots=True, kw_only=True)
class StoreReport:
    """What was compared, and what differs. `faults` are the first ones; `count` is of all."""

    rows: int = 0
    stored_bytes: int = 0
    objects: int = 0
    sums: int = 0
    is_deep: bool = False
    count: int = 0
    faults: list[StoreFault] = field(default_factory=list)

    def tell(self, rule: StoreRule, subject: str, detail: str) -> None:
        """Adds a fault."""
        self.count += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(StoreFault(rule=rule, subject=subject, detail=detail))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A row that says that there are bytes."""

    id: str
    key: str
    size_bytes: int
    sha256: str


async def verify(gateway: AdminGateway, *, deep: bool = False) -> StoreReport:
    """Compares the rows of copies and files with the bytes in the store, both ways, and with what is counted.

    With `deep` all bytes are read and hashed. Nothing is changed.

    Raises:
        Problem: DATABASE_UNAVAILABLE.

    """
    report = StoreReport(is_deep=deep)
    report.sums, wrong = await gateway.db.snapshot(compared)
    for one in wrong:
        report.tell(StoreRule.WRONG_SUM, one.subject, _told(one))
    async with open_storage(gateway.settings, gateway.clock) as storage:
        for find in (_copies, _files):
            async for some in _rows(gateway, find):
                for row in some:
                    await _compare(gateway, storage.store, find, row, report)
        for folder in _FOLDERS:
            try:
                await _look_for_orphans(gateway, storage.store, folder, report)
            except StorageError as error:
                report.tell(StoreRule.UNREADABLE, folder, f"the store cannot be listed: {error.reason}")
    return report


def _told(one: WrongSum) -> str:
    return f"{one.counted} bytes are counted, and the rows have {one.should}."


_Find = Callable[[Connection, str, str | None], list[_Row]]
"""A function that returns some of the rows behind an id, in their order, or the one with an id alone."""


async def _rows(gateway: AdminGateway, find: _Find) -> AsyncIterator[Sequence[_Row]]:
    after = ""
    while some := await gateway.db.read(find, after, None):
        yield some
        after = some[-1].id


def _copies(connection: Connection, after: str, only: str | None) -> list[_Row]:
    query = (
        select(_A.id, _A.storage_key, _A.size_bytes, _A.sha256)
        .where(
            literal_column(IS_STORED),
            _A.removing_at_ms.is_(None),
            _A.id > after if only is None else _A.id == only,
        )
        .order_by(_A.id)
        .limit(_BATCH)
    )
    return [
        _Row(id=row.id, key=row.storage_key, size_bytes=row.size_bytes, sha256=row.sha256)
        for row in connection.execute(query)
    ]


def _files(connection: Connection, after: str, only: str | None) -> list[_Row]:
    query = (
        select(_F.id, _F.tenant_id, _F.bytes, _F.sha256)
        .where(_F.state == FileState.STORED, _F.id > after if only is None else _F.id == only)
        .order_by(_F.id)
        .limit(_BATCH)
    )
    return [
        _Row(id=row.id, key=key_of("files", row.tenant_id, row.id), size_bytes=row.bytes, sha256=row.sha256)
        for row in connection.execute(query)
    ]


async def _compare(gateway: AdminGateway, store: Store, find: _Find, row: _Row, report: StoreReport) -> None:
    report.rows += 1
    report.stored_bytes += row.size_bytes
    try:
        fault = await _fault_of(store, row, deep=report.is_deep)
    except StorageError as error:
        report.tell(StoreRule.UNREADABLE, row.id, f"{row.key}: {error.reason}")
        return
    if fault is None or row not in await gateway.db.read(find, "", row.id):  # it was removed meanwhile
        return
    report.tell(fault[0], row.id, f"{row.key}: {fault[1]}")


async def _fault_of(store: Store, row: _Row, *, deep: bool) -> tuple[StoreRule, str] | None:
    size = await store.size(row.key)
    if size is None:
        return StoreRule.MISSING, f"{row.size_bytes} bytes are not there."
    if size != row.size_bytes:
        return StoreRule.WRONG_SIZE, f"has {size} bytes, and should have {row.size_bytes}."
    if deep and size and await _hash_of(store, row) != row.sha256:
        return StoreRule.WRONG_HASH, "has other bytes than those that were stored."
    return None


async def _hash_of(store: Store, row: _Row) -> str:
    digest = hashlib.sha256()
    async with aclosing(store.read(row.key, 0, row.size_bytes)) as chunks:
        async for chunk in chunks:
            digest.update(chunk)
    return digest.hexdigest()


async def _look_for_orphans(gateway: AdminGateway, store: Store, folder: str, report: StoreReport) -> None:
    some: dict[str, int] = {}
    async for key, size in store.keys(folder):
        some[key] = size
        if len(some) >= _BATCH:
            await _judge(gateway, store, some, report)
            some = {}
    await _judge(gateway, store, some, report)


async def _judge(gateway: AdminGateway, store: Store, some: Mapping[str, int], report: StoreReport) -> None:
    report.objects += len(some)
    suspects = set(some) - await gateway.db.read(_known, list(some))
    for key in sorted(suspects):
        if await store.size(key) is not None and not await gateway.db.read(_known, [key]):
            report.tell(StoreRule.NO_ROW, key, f"{some[key]} bytes belong to no row.")


def _known(connection: Connection, keys: Sequence[str]) -> set[str]:
    """Returns the keys that belong to a row, or to an attempt whose end is not recorded yet."""
    names = {key: key.rpartition("/")[2] for key in keys}
    uploads = select(_F.id).where(_F.id.in_(set(names.values())))  # of any state: they may have bytes
    of_uploads = set(connection.scalars(uploads))
    found = set(connection.scalars(select(_A.storage_key).where(_A.storage_key.in_(keys))))
    attempts = {key: name.rpartition("-")[0] for key, name in names.items()}
    open_ones = select(_A.id).where(
        _A.id.in_(set(attempts.values())),
        or_(_A.state == AssetState.COPYING, _A.interrupted_from.is_not(None)),
    )
    under_way = set(connection.scalars(open_ones))
    return {key for key in keys if key in found or names[key] in of_uploads or attempts[key] in under_way}
