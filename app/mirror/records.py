"""Recording what came of an attempt to copy an asset."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, bindparam, literal_column, select, update

from app.db.schema.asset_states import IS_COPYING, AssetState
from app.db.schema.tables import assets
from app.db.statements.prepared import Prepared
from app.mirror import rows
from app.mirror.claims import Claimed
from app.mirror.rows import Asset, Copied, asset_of
from app.mirror.schedule import INTERNAL, QUOTA, STORAGE, TIMEOUT, verdict
from app.quotas.account import lock_tenant
from app.quotas.limits import Limit
from app.quotas.problem import QuotaProblem
from app.quotas.sums import stored

COPIED: Final = "copied"
# A store that failed, or took too long, may have kept what it said no word of: it is deleted before the next
# attempt. So are bytes that were put and do not fit into a limit, if this server dies before it deletes them.
_MAY_HAVE_LEFT: Final = frozenset({STORAGE, TIMEOUT, INTERNAL, QUOTA})
_A: Final = assets.c
_COPYING: Final[Any] = literal_column(IS_COPYING)


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt that failed, by the class of its error."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Times in milliseconds: for how long copies are kept, and RunComfy's links are taken to live.

    The first is of tenants without a time of their own; None is for ever. `limits` are the default limits, of
    which those on stored bytes count.
    """

    keep_ms: int | None
    link_life_ms: int
    limits: Sequence[Limit] = ()


Tell: TypeAlias = Callable[[Connection, Asset, str, int, str | None], None]
"""Appends the event of an asset's end and writes its messages: the asset as it is now, the reason, the
moment, and the webhook endpoint that its request's submit named. Its caller has locked the tenant's row."""


def record(
    connection: Connection,
    claimed: Claimed,
    outcome: Copied | Failed,
    *,
    terms: Terms,
    tell: Tell,
    now_ms: int,
    spread: float,
) -> Asset | None:
    """Records an attempt; returns the asset as it is afterwards.

    None means that its lease had ended, and that somebody else has the asset: then what was put into the
    store by this attempt belongs to no row, and the caller deletes it.
    """
    lock_tenant(connection, claimed.asset.tenant_id)
    which = {"of_id": claimed.id, "attempt": claimed.attempt}
    if _LEASED.one_or_none(connection, which) is None:
        return None
    if isinstance(outcome, Copied) and not _fits(connection, claimed.asset, outcome, terms, now_ms):
        outcome = Failed(QUOTA)
    values, reason = _values(claimed, outcome, terms, now_ms=now_ms, spread=spread)
    asset = asset_of(_CLOSE_LEASE.one(connection, which | values))
    if asset.state is not AssetState.PENDING and asset.removing_at_ms is None:
        tell(connection, asset, reason, now_ms, claimed.webhook_endpoint_id)
    return asset


def _fits(connection: Connection, asset: Asset, copied: Copied, terms: Terms, now_ms: int) -> bool:
    """Counts the bytes of a copy; returns False where they do not fit into a limit on stored bytes."""
    owner, payer = asset.account
    try:
        stored.hold(connection, owner, payer, copied.size_bytes, defaults=terms.limits, now_ms=now_ms)
    except QuotaProblem:
        return False
    return True


def _values(
    claimed: Claimed, outcome: Copied | Failed, terms: Terms, *, now_ms: int, spread: float
) -> tuple[dict[str, Any], str]:
    nothing = dict.fromkeys(_SET)
    if isinstance(outcome, Copied):
        return nothing | {
            "state": AssetState.STORED.value,
            "next_at_ms": now_ms,
            "storage_key": outcome.storage_key,
            "sha256": outcome.sha256,
            "size_bytes": outcome.size_bytes,
            "media_type": outcome.media_type,
            "stored_at_ms": now_ms,
            "expires_at_ms": expires_at_ms(claimed, terms, now_ms),
        }, COPIED
    found = verdict(
        outcome.error,
        attempts=claimed.attempt,
        created_at_ms=claimed.asset.created_at_ms,
        link_life_ms=terms.link_life_ms,
        now_ms=now_ms,
        spread=spread,
    )
    is_over = found.next_at_ms is None
    left = claimed.asset.interrupted_from or claimed.attempt
    return nothing | {
        "interrupted_from": left if outcome.error in _MAY_HAVE_LEFT else None,
        "state": found.state.value,
        "next_at_ms": found.next_at_ms or now_ms,
        "last_error": found.error,
        "finished_at_ms": now_ms if is_over else None,
    }, found.error


def expires_at_ms(claimed: Claimed, terms: Terms, now_ms: int) -> int | None:
    """Returns when a copy that is stored now is removed: by the shortest of what counts; None is never."""
    of_tenant = terms.keep_ms if claimed.tenant_keep_s is None else (claimed.tenant_keep_s * 1000 or None)
    of_request = None if claimed.request_keep_s is None else claimed.request_keep_s * 1000
    kept_ms = min((one for one in (of_tenant, of_request) if one is not None), default=None)
    return None if kept_ms is None else now_ms + kept_ms


_SET: Final = (
    "state",
    "next_at_ms",
    "last_error",
    "storage_key",
    "sha256",
    "size_bytes",
    "media_type",
    "stored_at_ms",
    "expires_at_ms",
    "finished_at_ms",
    "interrupted_from",
)
_LEASED: Final = Prepared(
    select(_A.id)
    .where(_A.id == bindparam("of_id"), _A.attempts == bindparam("attempt"), _COPYING)
    .with_for_update()
)
_CLOSE_LEASE: Final = Prepared(
    update(assets)
    .where(_A.id == bindparam("of_id"), _A.attempts == bindparam("attempt"), _COPYING)
    .values({name: bindparam(name) for name in _SET} | {"lease_until_ms": None})
    .returning(*rows.columns())
)
