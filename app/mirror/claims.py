"""Leasing assets: whoever has the lease on one copies it, and nobody else does.

A lease is short and renewed for as long as the copy goes on, so that what was under way on a server that died
is due again within a minute, however large the file. What is due is found by tenant: the first rows of each,
whatever waits behind them, and a tenant that has as many copies under way as it may is left out.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, literal_column, select, update

from app.db.schema.asset_states import IS_COPYING, IS_PENDING, AssetState
from app.db.schema.tables import assets, generations, tenants
from app.db.statements.prepared import Prepared
from app.db.work_turn import has_turn
from app.kit.json import from_column
from app.mirror import rows
from app.mirror.rows import Asset, asset_of, url_at
from app.mirror.schedule import INTERRUPTED

LEASE_S: Final = 60.0
RENEW_S: Final = 20.0
_TURN: Final = "mirror"
_MAX_FREED: Final = 200
_A: Final = assets.c
_PENDING: Final[Any] = literal_column(IS_PENDING)
_KEPT: Final = _A.removing_at_ms.is_(None)
_COPYING: Final[Any] = literal_column(IS_COPYING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """An asset with the lease on it, and everything that copying it takes.

    `url` is None where the output was erased. `keep_s` are the times for which copies may be kept, as the
    tenant and the request have them; None where one has none.
    """

    asset: Asset
    url: str | None
    tenant_keep_s: int | None
    request_keep_s: int | None
    webhook_endpoint_id: str | None

    @property
    def id(self) -> str:
        """The asset's id."""
        return self.asset.id

    @property
    def attempt(self) -> int:
        """The number of the attempt that is to be made."""
        return self.asset.attempts


@dataclass(frozen=True, slots=True)
class Claim:
    """The assets that were leased, and when the next one is due of those that wait; None: none does."""

    assets: Sequence[Claimed] = ()
    next_at_ms: int | None = None


def claim(connection: Connection, *, per_tenant: int, limit: int, now_ms: int) -> Claim | None:
    """Leases at most `limit` assets that are due.

    Of each tenant at most `per_tenant` are under way, on all servers together; tenants with the fewest come
    first. None is returned where another server claims at this moment.
    """
    if not has_turn(connection, _TURN):
        return None
    under_way: Counter[str] = Counter(dict(_UNDER_WAY.all(connection, {})))
    waiting: dict[str, int] = dict(_HEADS.all(connection, {}))
    due = sorted(
        (one for one in waiting if waiting[one] <= now_ms), key=lambda one: (under_way[one], waiting[one])
    )
    leased: list[Asset] = []
    until_ms = now_ms + int(LEASE_S * 1000)
    for tenant_id in due:
        room = min(per_tenant - under_way[tenant_id], limit - len(leased))
        if room <= 0:
            continue
        for (asset_id,) in _FIRST.all(connection, {"tenant": tenant_id, "now": now_ms, "most": room}):
            found = _LEASE.one_or_none(connection, {"of_id": asset_id, "until": until_ms})
            if found is not None:
                leased.append(asset_of(found))
    later = [at_ms for at_ms in waiting.values() if at_ms > now_ms]
    return Claim([_with_source(connection, one) for one in leased], min(later, default=None))


def next_due(connection: Connection) -> int | None:
    """Returns when the next claim may find something to copy or to free; None where nothing waits."""
    moments = [at_ms for _, at_ms in _HEADS.all(connection, {})]
    (lease,) = _FIRST_LEASE.one(connection, {})
    return min((one for one in (*moments, lease) if one is not None), default=None)


def renew(connection: Connection, held: Sequence[tuple[str, int]], *, now_ms: int) -> set[str]:
    """Renews the leases on these assets, each with its attempt; returns the ids of those that were renewed.

    The others were freed meanwhile: somebody else copies them.
    """
    until_ms = now_ms + int(LEASE_S * 1000)
    return {
        asset_id
        for asset_id, attempt in held
        if _RENEW.run(connection, {"of_id": asset_id, "attempt": attempt, "until": until_ms})
    }


def free(connection: Connection, *, now_ms: int) -> int:
    """Makes assets due whose lease has ended, as their server died; returns how many."""
    ended = select(_A.id, _A.attempts).where(_COPYING, _A.lease_until_ms < now_ms).limit(_MAX_FREED)
    freed = 0
    for asset_id, attempt in connection.execute(ended).all():
        changed = (
            update(assets)
            .where(_A.id == asset_id, _A.attempts == attempt, _COPYING)
            .values(
                state=AssetState.PENDING,
                next_at_ms=now_ms,
                lease_until_ms=None,
                last_error=INTERRUPTED,
                interrupted_from=func.coalesce(_A.interrupted_from, _A.attempts),
            )
        )
        freed += connection.execute(changed).rowcount
    return freed


def give_back(connection: Connection, asset_id: str, attempt: int, *, now_ms: int) -> None:
    """Makes an asset due at once whose copy was broken off."""
    _GIVE_BACK.run(connection, {"of_id": asset_id, "attempt": attempt, "now": now_ms, "why": INTERRUPTED})


def _with_source(connection: Connection, asset: Asset) -> Claimed:
    found = _SOURCE.one_or_none(connection, {"of_id": asset.generation_id, "tenant": asset.tenant_id})
    output, request_keep_s, endpoint_id, tenant_keep_s = found or (None, None, None, None)
    return Claimed(
        asset=asset,
        url=url_at(from_column(output), asset.pointer),
        tenant_keep_s=tenant_keep_s,
        request_keep_s=request_keep_s,
        webhook_endpoint_id=endpoint_id,
    )


def _heads() -> Any:
    """Returns the statement that finds each tenant with pending assets, and when its first one is due.

    It goes from one tenant to the next in the index, so it takes as many steps as there are tenants with
    assets that wait, however many these are.
    """
    one, other, due = (assets.alias(name) for name in ("first", "other", "due"))
    walked = (
        select(func.min(one.c.tenant_id).label("tenant_id"))
        .where(_pending_in("first"))
        .cte("walked", recursive=True)
    )
    following = (
        select(func.min(other.c.tenant_id))
        .where(_pending_in("other"), other.c.tenant_id > walked.c.tenant_id)
        .scalar_subquery()
    )
    walked = walked.union_all(select(following).where(walked.c.tenant_id.is_not(None)))
    first_due = (
        select(func.min(due.c.next_at_ms))
        .where(_pending_in("due"), due.c.tenant_id == walked.c.tenant_id)
        .scalar_subquery()
    )
    return select(walked.c.tenant_id, first_due).where(walked.c.tenant_id.is_not(None))


def _pending_in(alias: str) -> Any:
    return literal_column(f"{alias}.{IS_PENDING}")


_HEADS: Final = Prepared(_heads())
_FIRST_LEASE: Final = Prepared(select(func.min(_A.lease_until_ms)).where(_COPYING))
_UNDER_WAY: Final = Prepared(select(_A.tenant_id, func.count()).where(_COPYING).group_by(_A.tenant_id))
_FIRST: Final = Prepared(
    select(_A.id)
    .where(_A.tenant_id == bindparam("tenant"), _PENDING, _KEPT, _A.next_at_ms <= bindparam("now"))
    .order_by(_A.next_at_ms)
    .limit(bindparam("most"))
)
_LEASE: Final = Prepared(
    update(assets)
    .where(_A.id == bindparam("of_id"), _PENDING, _KEPT)
    .values(
        state=literal_column(f"'{AssetState.COPYING}'"),
        attempts=_A.attempts + 1,
        lease_until_ms=bindparam("until"),
    )
    .returning(*rows.columns())
)
_RENEW: Final = Prepared(
    update(assets)
    .where(_A.id == bindparam("of_id"), _A.attempts == bindparam("attempt"), _COPYING)
    .values(lease_until_ms=bindparam("until"))
)
_GIVE_BACK: Final = Prepared(
    update(assets)
    .where(_A.id == bindparam("of_id"), _A.attempts == bindparam("attempt"), _COPYING)
    .values(
        state=literal_column(f"'{AssetState.PENDING}'"),
        next_at_ms=bindparam("now"),
        lease_until_ms=None,
        last_error=bindparam("why"),
        interrupted_from=func.coalesce(_A.interrupted_from, _A.attempts),
    )
)
_SOURCE: Final = Prepared(
    select(
        generations.c.output,
        generations.c.mirror_keep_s,
        generations.c.webhook_endpoint_id,
        tenants.c.mirror_keep_s,
    )
    .join_from(generations, tenants, tenants.c.id == generations.c.tenant_id)
    .where(generations.c.id == bindparam("of_id"), generations.c.tenant_id == bindparam("tenant"))
)
