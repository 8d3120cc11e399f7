"""Reading the audit log: listing, exporting and verifying it; its head; and pruning it by retention."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import AwareDatetime
from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, select, update

from app.admin import accounts, audit, chain
from app.admin.actor import Actor
from app.admin.audit import Change
from app.admin.chain import Break, Entry, Head
from app.admin.checks import conditions
from app.admin.paging import MAX_PAGE, Page, PageSize, page_of, unknown_cursor
from app.admin.session import AdminGateway
from app.admin.violations import refuse
from app.config import Settings
from app.db.schema.tables import audit_entries, audit_head
from app.errors import INVALID_PARAMETER, FieldError
from app.kit.log import get_logger
from app.kit.text import is_storable

_log = get_logger("audit")
_STEP: Final = 1000
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_ROW: Final = audit_entries.c
_LINK: Final = frozenset({"seq", "prev_hash", "hash", "text"})
_RETENTION: Final = Actor("gateway", "retention")


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilter:
    """Which entries to list: all that is given must match. `tenant` is a tenant's name.

    An entry was made from `created_after` on, and before `created_before`.
    """

    tenant: str | None = None
    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    created_after: AwareDatetime | None = None
    created_before: AwareDatetime | None = None


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """What an entry says, with its hashes, and the name of its tenant; None: of no tenant's."""

    link: Entry
    document: Mapping[str, Any]
    tenant: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What verifying the chain has shown: how many entries it read, its head, and its first break, if any.

    Entries up to `pruned` were removed when their retention period was over.
    """

    entries: int
    pruned: int
    head: Head | None
    first_break: Break | None


async def listed(
    gateway: AdminGateway, wanted: EntryFilter, *, limit: PageSize = MAX_PAGE, cursor: str | None = None
) -> Page[ListedEntry]:
    """Returns entries, newest first, in pages.

    Raises:
        Problem: TENANT_NOT_FOUND, INVALID_PARAMETER.

    """
    if cursor is not None and not _NUMBER.fullmatch(cursor):
        raise unknown_cursor()
    tenant_id = await accounts.tenant_id_of(gateway, wanted.tenant)
    before = None if cursor is None else int(cursor)
    found = await gateway.db.read(_page, wanted, tenant_id, before, limit + 1)
    names = await accounts.tenant_names(gateway)
    listed_ones = []
    for one in found:
        document = json.loads(one.text)
        listed_ones.append(ListedEntry(one, document, names.get(document["tenant_id"])))
    return page_of(listed_ones, limit, lambda one: str(one.link.seq))


def _page(
    connection: Connection, wanted: EntryFilter, tenant_id: str | None, before: int | None, limit: int
) -> list[Entry]:
    filters = {
        "tenant_id": tenant_id,
        "actor_name": wanted.actor,
        "action": wanted.action,
        "subject_id": wanted.subject,
    }
    given = {name: value for name, value in filters.items() if value is not None}
    if not all(map(is_storable, given.values())):
        return []
    conditions: list[ColumnElement[bool]] = [_ROW[name] == value for name, value in given.items()]
    if wanted.created_after is not None:
        conditions.append(_ROW.at_ms >= int(wanted.created_after.timestamp() * 1000))
    if wanted.created_before is not None:
        conditions.append(_ROW.at_ms < int(wanted.created_before.timestamp() * 1000))
    if before is not None:
        conditions.append(_ROW.seq < before)
    query = select(audit_entries).where(*conditions).order_by(_ROW.seq.desc()).limit(limit)
    return [_entry(row) for row in connection.execute(query).mappings()]


async def exported(
    gateway: AdminGateway, *, limit: PageSize = MAX_PAGE, cursor: str | None = None
) -> Page[Entry]:
    """Returns entries as they are stored and hashed, oldest first, in pages.

    A cursor is the number of an entry, behind which the page begins.

    Raises:
        Problem: INVALID_PARAMETER.

    """
    if cursor is not None and not _NUMBER.fullmatch(cursor):
        raise unknown_cursor()
    found = await gateway.db.read(_links, int(cursor or 0), limit + 1)
    return page_of(found, limit, lambda one: str(one.seq))


async def verified(gateway: AdminGateway, *, head: str | None = None) -> Verified:
    """Verifies the whole chain, and that it continues a head, if one is given.

    Raises:
        Problem: INVALID_PARAMETER, where `head` is no head.

    """
    outside = None if head is None else chain.head_in(head)
    if head is not None and outside is None:
        detail = "this is no head of an audit log: give the three lines that `reelgate audit head` prints."
        refuse(INVALID_PARAMETER, [FieldError("#/query/head", "pattern", detail)])
    found = await gateway.db.snapshot(lambda connection: verify(connection, anchor=outside))
    await conditions.tell_verified(
        gateway, conditions.Name.AUDIT_VERIFY_FAILED, int(found.first_break is not None)
    )
    return found


async def head(gateway: AdminGateway) -> Head:
    """Returns the head of the chain, to be kept outside the database."""
    return await gateway.db.read(head_of) or Head(0, chain.GENESIS)


def origin_of(settings: Settings) -> str:
    """Returns the name of this log in its heads: the gateway's address without a scheme, and `/audit`."""
    parts = urlsplit(settings.base_url)
    return f"{parts.netloc}{parts.path}/audit"


def head_of(connection: Connection) -> Head | None:
    """Returns the stored head; None where its row is gone."""
    row = connection.execute(select(audit_head.c.seq, audit_head.c.hash)).one_or_none()
    return None if row is None else Head(*row)


def verify(connection: Connection, *, anchor: Head | None = None, only_last: int | None = None) -> Verified:
    """Verifies the chain, or only its last entries; reads it in steps, on one view of the database."""
    row = connection.execute(select(audit_head)).one_or_none()
    before = Head(0, chain.GENESIS) if row is None else Head(row.pruned_seq, row.pruned_hash)
    stored = None if row is None else Head(row.seq, row.hash)
    pruned = before.size
    if only_last is not None and stored is not None and stored.size - only_last > before.size:
        kept = _links(connection, stored.size - only_last - 1, 1)
        before = Head(kept[0].seq, kept[0].hash) if kept else before
    count = 0

    def entries() -> Iterator[Entry]:
        nonlocal count
        seq = before.size
        while page := _links(connection, seq, _STEP):
            yield from page
            count += len(page)
            seq = page[-1].seq

    found = chain.first_break(
        entries(),
        before=before,
        head=stored,
        anchor=anchor,
        claims=lambda number: _claiming(connection, number),
    )
    if found is None and pruned and row is not None and only_last is None:
        found = _fault_of_pruning(connection, Head(pruned, row.pruned_hash))
    return Verified(entries=count, pruned=pruned, head=stored, first_break=found)


def _fault_of_pruning(connection: Connection, pruned: Head) -> Break | None:
    """Checks that an entry says that all up to here were pruned: the database's row alone proves nothing."""
    query = select(_ROW.text).where(_ROW.action == chain.PRUNE).order_by(_ROW.seq.desc())
    told = [json.loads(text)["after"] for text in connection.scalars(query)]
    if {"seq": pruned.size, "hash": pruned.hash} in told:
        return None
    return Break("missing", pruned.size, f"entries up to {pruned.size} are missing, and no entry says why.")


def _links(connection: Connection, after: int, limit: int) -> list[Entry]:
    query = select(audit_entries).where(_ROW.seq > after).order_by(_ROW.seq).limit(limit)
    return [_entry(row) for row in connection.execute(query).mappings()]


def _entry(row: RowMapping) -> Entry:
    return Entry(
        **{name: row[name] for name in _LINK},
        columns={name: value for name, value in row.items() if name not in _LINK},
    )


def _claiming(connection: Connection, number: int) -> Entry | None:
    """Returns the entry whose text has this number; it is looked for only where the chain is broken."""
    seq = -(2**62)
    while page := _links(connection, seq, _STEP):
        for one in page:
            try:
                if json.loads(one.text)["seq"] == number:
                    return one
            except (ValueError, KeyError, TypeError):
                continue
        seq = page[-1].seq
    return None


@dataclass(slots=True, kw_only=True)
class AuditUpkeep:
    """Writes the head to the log whenever it has moved, and removes entries whose retention is over.

    `keep_s` is how many seconds entries are kept; 0 means for ever.
    """

    gateway: AdminGateway
    keep_s: float
    _told: Head | None = None

    async def tell_head(self) -> int:
        """Writes the head to the log, if it is another than last time. Returns its number."""
        found = await self.gateway.db.read(head_of)
        if found is not None and found != self._told:
            self._told = found
            line = found.checkpoint(origin_of(self.gateway.settings))
            _log.info("The head of the audit log.", head=" ".join(line.split()))
        return 0 if found is None else found.size

    async def prune(self) -> int:
        """Removes the entries whose retention is over, which is recorded in the log itself.

        The newest entry stays. Returns how many were removed.
        """
        if not self.keep_s:
            return 0
        before_ms = self.gateway.clock.now_ms() - int(self.keep_s * 1000)
        if await self.gateway.db.read(_last_before, before_ms) is None:
            return 0
        return await audit.write(self.gateway, _RETENTION, None, _prune, before_ms)


def _last_before(connection: Connection, before_ms: int) -> Head | None:
    """Returns the last entry of those that are all older than `before_ms`, except the newest entry."""
    younger = connection.scalar(select(func.min(_ROW.seq)).where(_ROW.at_ms >= before_ms))
    newest = connection.scalar(select(func.max(_ROW.seq)))
    if newest is None:
        return None
    last = min(younger or newest, newest) - 1
    row = connection.execute(select(_ROW.seq, _ROW.hash).where(_ROW.seq == last)).one_or_none()
    return None if row is None else Head(*row)


def _prune(connection: Connection, before_ms: int) -> tuple[int, Change]:
    last = _last_before(connection, before_ms)
    row = connection.execute(select(audit_head.c.pruned_seq, audit_head.c.pruned_hash)).one()
    before = {"seq": row.pruned_seq, "hash": row.pruned_hash}
    after = before if last is None else {"seq": last.size, "hash": last.hash}
    connection.execute(update(audit_head).values(pruned_seq=after["seq"], pruned_hash=after["hash"]))
    gone = connection.execute(delete(audit_entries).where(_ROW.seq <= after["seq"])).rowcount
    return gone, Change(
        action=chain.PRUNE,
        subject_kind="audit",
        subject_id="entries",
        tenant_id=None,
        before=before,
        after=after,
    )
