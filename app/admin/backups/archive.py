"""Archiving: finished requests go to files, with their events and entries, and leave the database.

A batch is a file, and a transaction that removes what is in it: first the file is on the disk, then the rows
go, and their sums, ids and Idempotency-Keys stay. So an archive that is broken off is continued by calling it
again, and a batch is in the database or in the archive, never in neither.

A request goes once all of its entries stand in closed months before the moment: so the statements that
have them are final, and what is left of the ledger goes on from their closing balances. One whose output has
copies goes once these are removed.
"""

import asyncio
import gzip
import hashlib
import os
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, get_args

from sqlalchemy import Connection, Table, and_, delete, exists, func, insert, or_, select, tuple_

from app.admin import audit
from app.admin.actor import Actor
from app.admin.amounts import statements
from app.admin.audit import Change
from app.admin.backups.backup import sync
from app.admin.session import AdminGateway
from app.admin.verifying.archived_sums import Month, keep_sums
from app.admin.violations import refuse
from app.auth.keys import Mode
from app.db.schema.tables import (
    archive_batches,
    archived_requests,
    asset_events,
    assets,
    generation_events,
    generations,
    ledger_entries,
    tenants,
)
from app.db.schema.tables import statements as statement_rows
from app.errors import INVALID_CHANGE, FieldError
from app.generations.lifecycle import TERMINAL
from app.kit.ids import new_id
from app.kit.json import dumps
from app.quotas.account import Owner, lock_tenant
from app.quotas.sums import rollups

_BATCH: Final = 500
_DAY_MS: Final = 86_400_000
_MODES: Final[tuple[Mode, ...]] = get_args(Mode)
_ABOUT: Final = func.coalesce(ledger_entries.c.generation_id, ledger_entries.c.about_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch that was archived: its file below the folder, the file's SHA-256, and what went into it."""

    file: str
    sha256: str
    requests: int
    events: int
    entries: int


@dataclass(frozen=True, slots=True)
class _Content:
    """The rows of a batch, and the bytes of its file before they are compressed."""

    requests: Sequence[Mapping[str, Any]]
    events: Sequence[Mapping[str, Any]]
    entries: Sequence[Mapping[str, Any]]
    assets: Sequence[Mapping[str, Any]]
    asset_events: Sequence[Mapping[str, Any]]
    text: bytes


@dataclass(frozen=True, slots=True)
class _Account:
    """Whose requests are archived: those that ended before a moment, with entries in closed months alone."""

    owner: Owner
    months: Sequence[Month]
    before_ms: int


class _ChangedError(Exception):
    """A row of the batch has changed since its file was written."""


async def archive(
    gateway: AdminGateway,
    actor: Actor,
    folder: Path,
    *,
    before: date,
    reason: str | None = None,
    batch: int = _BATCH,
    tell: Callable[[Batch], None] = lambda _: None,
) -> int:
    """Archives the requests that had ended before a day (UTC), and returns how many.

    It works beside running servers, in short transactions, and continues where an earlier call was broken
    off. Each batch leaves an entry in the audit log, with its file and hash.

    Raises:
        Problem: INVALID_CHANGE, the day is too near; INVALID_REASON, DATABASE_UNAVAILABLE.
        OSError: a file cannot be written.

    """
    before_ms = _checked(gateway, before)
    await statements.close_all(gateway)
    await _forget_hours(gateway)
    count = 0
    for owner in await gateway.db.read(_owners):
        account = _Account(owner, await gateway.db.read(_months, owner, before_ms), before_ms)
        after = (0, "")
        while True:
            ids, after = await gateway.db.read(_next, account, after, batch)
            if not ids:
                break
            content = await gateway.db.read(_content, ids)
            made = await asyncio.to_thread(_write, folder, owner, content)
            try:
                await audit.write(gateway, actor, reason, _remove, gateway, account, made, content)
            except _ChangedError:
                continue  # the next call archives them as they are then
            count += made.requests
            tell(made)
    return count


def _checked(gateway: AdminGateway, before: date) -> int:
    """Returns the moment at which the day begins.

    Raises:
        Problem: INVALID_CHANGE, hours of usage are still kept for that day.

    """
    days = gateway.settings.hourly_usage_days
    today = datetime.fromtimestamp(gateway.clock.now_ms() / 1000, UTC).date()
    last = today - timedelta(days=days + 1)
    if before > last:
        detail = f"must be {last} or earlier: usage by the hour is kept for {days} days."
        refuse(INVALID_CHANGE, [FieldError("#/before", "maximum", detail)])
    return int(datetime(before.year, before.month, before.day, tzinfo=UTC).timestamp() * 1000)


async def _forget_hours(gateway: AdminGateway) -> None:
    """Removes the hours of usage that are not kept any more, as a loop of the servers does now and then.

    What is archived has no sums by the hour, so none may be left.
    """
    horizon_ms = gateway.clock.now_ms() - gateway.settings.hourly_usage_days * _DAY_MS
    while await gateway.db.write(rollups.forget_hours, before_ms=horizon_ms, limit=_BATCH):
        pass


def _write(folder: Path, owner: Owner, content: _Content) -> Batch:
    """Writes the file of a batch whole, so that it is on the disk.

    Its name has a part of its hash, so an archive that runs at the same time cannot replace it by another.
    """
    packed = gzip.compress(content.text, mtime=0)
    sha256 = hashlib.sha256(packed).hexdigest()
    name = f"{owner.tenant_id}-{owner.mode}/{content.requests[0]['id']}-{sha256[:16]}.jsonl.gz"
    path = folder / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    coming = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(coming, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(packed)
            file.flush()
            os.fsync(file.fileno())
        coming.rename(path)
    except BaseException:
        coming.unlink(missing_ok=True)
        raise
    sync(path.parent)
    sync(folder)
    return Batch(
        file=name,
        sha256=sha256,
        requests=len(content.requests),
        events=len(content.events) + len(content.asset_events),
        entries=len(content.entries),
    )


def _owners(connection: Connection) -> list[Owner]:
    return [Owner(one, mode) for one in connection.scalars(select(tenants.c.id)) for mode in _MODES]


def _months(connection: Connection, owner: Owner, before_ms: int) -> list[Month]:
    """Returns the closed months of an account that ended before a moment, the oldest first."""
    row = statement_rows.c
    query = select(row.month, row.until_ms, row.last_id).where(
        row.tenant_id == owner.tenant_id, row.mode == owner.mode, row.until_ms <= before_ms
    )
    return [Month(*one) for one in connection.execute(query.order_by(row.month))]


def _next(
    connection: Connection, account: _Account, after: tuple[int, str], limit: int
) -> tuple[list[str], tuple[int, str]]:
    """Returns the ids of the next requests that may be archived, the oldest first, and where they end."""
    _, until_ms, last_id = account.months[-1] if account.months else ("", 0, 0)
    owner, before_ms = account.owner, account.before_ms
    one, entry = generations.c, ledger_entries.c
    is_open = or_(entry.at_ms >= until_ms, entry.id > last_id)
    # Copies, and what attempts that were interrupted may have left in the store.
    has_bytes = or_(assets.c.finished_at_ms.is_(None), assets.c.interrupted_from.is_not(None))
    query = (
        select(one.id, one.created_at_ms)
        .where(
            one.tenant_id == owner.tenant_id,
            one.mode == owner.mode,
            one.created_at_ms < before_ms,
            tuple_(one.created_at_ms, one.id) > tuple_(*after),
            one.finished_at_ms < before_ms,
            one.state.in_(sorted(TERMINAL)),
            ~exists().where(and_(entry.generation_id == one.id, is_open)),
            ~exists().where(and_(entry.about_id == one.id, is_open)),
            ~exists().where(and_(assets.c.generation_id == one.id, has_bytes)),
        )
        .order_by(one.created_at_ms, one.id)
        .limit(limit)
    )
    rows = connection.execute(query).all()
    return [row.id for row in rows], (rows[-1].created_at_ms, rows[-1].id) if rows else after


def _content(connection: Connection, ids: Sequence[str]) -> _Content:
    """Returns the rows of these requests: a line of the file for each, with its events and entries."""
    requests = _rows(connection, generations, generations.c.id.in_(ids), generations.c.id)
    events = _rows(
        connection,
        generation_events,
        generation_events.c.generation_id.in_(ids),
        *(generation_events.c[name] for name in ("generation_id", "version")),
    )
    entries = [
        row
        for column in (ledger_entries.c.generation_id, ledger_entries.c.about_id)
        for row in _rows(connection, ledger_entries, column.in_(ids), ledger_entries.c.id)
    ]
    copies = _rows(
        connection,
        assets,
        assets.c.generation_id.in_(ids),
        *(assets.c[name] for name in ("generation_id", "place")),
    )
    ends = _rows(
        connection,
        asset_events,
        asset_events.c.generation_id.in_(ids),
        *(asset_events.c[name] for name in ("generation_id", "number")),
    )
    of_events, of_entries, of_copies, of_ends = (
        _by_request(events, "generation_id"),
        _by_request(entries, "generation_id", "about_id"),
        _by_request(copies, "generation_id"),
        _by_request(ends, "generation_id"),
    )
    lines = [
        dumps(
            {
                "request": one,
                "events": of_events.get(one["id"], []),
                "entries": of_entries.get(one["id"], []),
                "assets": of_copies.get(one["id"], []),
                "asset_events": of_ends.get(one["id"], []),
            }
        )
        for one in requests
    ]
    return _Content(requests, events, entries, copies, ends, b"".join(line + b"\n" for line in lines))


def _rows(connection: Connection, table: Table, condition: Any, *order: Any) -> list[dict[str, Any]]:
    found = connection.execute(select(table).where(condition).order_by(*order)).mappings()
    return [dict(row) for row in found]


def _by_request(rows: Sequence[Mapping[str, Any]], *names: str) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[next(row[name] for name in names if row[name] is not None)].append(row)
    return found


def _remove(
    connection: Connection, gateway: AdminGateway, account: _Account, made: Batch, content: _Content
) -> tuple[None, Change]:
    """Removes a batch whose file is on the disk, and keeps its ids, keys and sums."""
    owner = account.owner
    lock_tenant(connection, owner.tenant_id)
    ids = [row["id"] for row in content.requests]
    if _content(connection, ids).text != content.text:
        raise _ChangedError
    now_ms = gateway.clock.now_ms()
    batch_id = new_id(now_ms)
    of_account = {"tenant_id": owner.tenant_id, "mode": owner.mode}
    connection.execute(
        insert(archive_batches).values(
            id=batch_id,
            **of_account,
            file=made.file,
            sha256=made.sha256,
            requests=made.requests,
            events=made.events,
            entries=made.entries,
            last_event_number=max(
                (row["number"] for row in (*content.events, *content.asset_events)), default=0
            ),
            at_ms=now_ms,
        )
    )
    kept = ("key_space", "idempotency_key")
    rows = [
        {"id": row["id"], "batch_id": batch_id, **of_account, **{name: row[name] for name in kept}}
        for row in content.requests
    ]
    connection.execute(insert(archived_requests), rows)
    keep_sums(connection, batch_id, owner, content.entries, account.months)
    connection.execute(delete(ledger_entries).where(_ABOUT.in_(ids)))
    connection.execute(delete(asset_events).where(asset_events.c.generation_id.in_(ids)))
    connection.execute(delete(assets).where(assets.c.generation_id.in_(ids)))
    connection.execute(delete(generation_events).where(generation_events.c.generation_id.in_(ids)))
    connection.execute(delete(generations).where(generations.c.id.in_(ids)))
    return None, Change(
        action="archive.batch",
        subject_kind="archive",
        subject_id=made.file,
        tenant_id=owner.tenant_id,
        before=None,
        after={
            "sha256": made.sha256,
            "requests": made.requests,
            "events": made.events,
            "entries": made.entries,
            "first": ids[0],
            "last": ids[-1],
        },
    )
