"""Removing copies: the bytes first, and then the row says so.

A removal begins with a mark in the row, from when on the bytes are not served. Whoever dies in between leaves
the mark, and the next sweep goes on.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, literal_column, select, update

from app.db.engines.engine import Database
from app.db.schema.asset_states import (
    IS_AT_REST,
    IS_LEFT_OVER,
    IS_REMOVING,
    IS_STORED_FOR_A_TIME,
    AssetState,
    Removal,
)
from app.db.schema.tables import assets, generations
from app.db.statements.prepared import Prepared
from app.kit.clock import Clock
from app.kit.log import get_logger
from app.mirror import rows
from app.mirror.copier import interrupted_keys
from app.mirror.records import Tell
from app.mirror.rows import Asset, asset_of
from app.quotas.account import lock_tenant
from app.quotas.sums import stored
from app.storage.store import StorageError, Store

_log = get_logger("mirror")
_BATCH: Final = 200
_A: Final = assets.c
_AT_REST: Final[Any] = literal_column(IS_AT_REST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """Removes the copies whose time is over, and goes on with removals that were broken off."""

    db: Database
    clock: Clock
    store: Store
    tell: Tell

    async def run_once(self) -> int:
        """Removes what is due, and returns the number of copies."""
        marked = _BATCH
        while marked >= _BATCH:
            marked = await self.db.write(mark_expired, now_ms=self.clock.now_ms(), limit=_BATCH)
        removed, after = 0, ""
        while found := await self.db.read(removing, after=after, limit=_BATCH):
            for asset in found:
                removed += await self.remove(asset)
            after = found[-1].id
        for asset in await self.db.read(left_over, limit=_BATCH):
            if await self._delete_all(asset):
                await self.db.write(forget_interrupted, asset.id)
        return removed

    async def remove(self, asset: Asset) -> bool:
        """Removes a copy whose removal has begun; returns False where it has to be tried again.

        What is being copied at this moment is removed once that has ended.
        """
        if not await self._delete_all(asset):
            return False
        return await self.db.write_for(
            asset.tenant_id, finish, asset, tell=self.tell, now_ms=self.clock.now_ms()
        )

    async def _delete_all(self, asset: Asset) -> bool:
        try:
            for key in [*interrupted_keys(asset), *([asset.storage_key] if asset.storage_key else [])]:
                await self.store.delete(key)
        except (StorageError, OSError) as error:
            reason = str(error)
            _log.warning("A copy could not be deleted; trying again later.", asset=asset.id, reason=reason)
            return False
        return True


def mark_expired(connection: Connection, *, now_ms: int, limit: int) -> int:
    """Begins the removal of some copies whose time is over; returns how many."""
    due = (
        select(_A.id)
        .where(literal_column(IS_STORED_FOR_A_TIME), _A.expires_at_ms <= now_ms, _A.removing_at_ms.is_(None))
        .order_by(_A.expires_at_ms)
        .limit(limit)
    )
    return _mark(connection, _A.id.in_(due), Removal.RETENTION, now_ms)


def mark(connection: Connection, asset_id: str, removal: Removal, *, now_ms: int) -> bool:
    """Begins the removal of an asset; returns False where it has ended, or is being removed already."""
    return _mark(connection, _A.id == asset_id, removal, now_ms) > 0


def _mark(connection: Connection, which: Any, removal: Removal, now_ms: int) -> int:
    marked = (
        update(assets)
        .where(which, _A.finished_at_ms.is_(None), _A.removing_at_ms.is_(None))
        .values(removing_at_ms=now_ms, removal=removal)
    )
    return connection.execute(marked).rowcount


def removing(connection: Connection, *, after: str, limit: int) -> list[Asset]:
    """Returns assets that are to be removed and are not being copied, in the order of their ids."""
    query = (
        select(*rows.columns())
        .where(literal_column(IS_REMOVING), _AT_REST, _A.id > after)
        .order_by(_A.id)
        .limit(limit)
    )
    return [asset_of(row) for row in connection.execute(query)]


def left_over(connection: Connection, *, limit: int) -> list[Asset]:
    """Returns assets that ended without a copy, of whose last attempts there may be bytes."""
    query = select(*rows.columns()).where(literal_column(IS_LEFT_OVER)).limit(limit)
    return [asset_of(row) for row in connection.execute(query)]


def forget_interrupted(connection: Connection, asset_id: str) -> None:
    """Records that nothing is left of an asset's attempts."""
    connection.execute(update(assets).where(_A.id == asset_id).values(interrupted_from=None))


def finish(connection: Connection, asset: Asset, *, tell: Tell, now_ms: int) -> bool:
    """Records that the bytes of an asset are deleted; returns False where it is being copied meanwhile."""
    lock_tenant(connection, asset.tenant_id)
    which = {"of_id": asset.id, "attempt": asset.attempts, "was": asset.state.value}
    row = _FINISH.one_or_none(connection, which | {"now": now_ms})
    if row is None:
        return False
    if asset.state is AssetState.STORED:
        stored.give_back(connection, *asset.account, asset.size_bytes or 0)
    named = _ENDPOINT.one_or_none(connection, {"of_id": asset.generation_id})
    removed = asset_of(row)
    if removed.removal is not Removal.ERASED:
        tell(connection, removed, removed.removal or Removal.DELETED, now_ms, named[0] if named else None)
    return True


_FINISH: Final = Prepared(
    update(assets)
    .where(
        _A.id == bindparam("of_id"),
        _A.attempts == bindparam("attempt"),
        _A.state == bindparam("was"),  # else it was copied meanwhile, and its bytes are there
        literal_column(IS_REMOVING),
        _AT_REST,
    )
    .values(
        state=literal_column(f"'{AssetState.EXPIRED}'"),
        finished_at_ms=bindparam("now"),
        storage_key=None,
        interrupted_from=None,
    )
    .returning(*rows.columns())
)
_ENDPOINT: Final = Prepared(
    select(generations.c.webhook_endpoint_id).where(generations.c.id == bindparam("of_id"))
)
