"""Leases on live generations: the temporary right to poll one, claimed by row and released after the poll.

`next_poll_at_ms` is when a row is due for a poll. While a row is leased it is when the lease ends, so that
rows leased by a replica that died become due like any other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, or_, select, update

from app.db.schema.states import FOLLOWED, state_in
from app.db.schema.tables import generations
from app.db.statements.many import Many
from app.db.statements.prepared import Prepared
from app.generations.store import Generation, generation_of, is_in

_IS_FOLLOWED = is_in(FOLLOWED)
_OF_CREDENTIAL = (generations.c.credential == bindparam("of_credential"), _IS_FOLLOWED)
_FIRST_POLL = Prepared(select(func.min(generations.c.next_poll_at_ms)).where(*_OF_CREDENTIAL))
_LAST_POLL = Prepared(select(func.max(generations.c.next_poll_at_ms)).where(*_OF_CREDENTIAL))
# Two statements: the rows are locked by the first, so that the second changes just these.
_DUE = Prepared(
    select(generations)
    .where(*_OF_CREDENTIAL, generations.c.next_poll_at_ms <= bindparam("now_ms"))
    .order_by(generations.c.next_poll_at_ms)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_LEASE: Final = Many(
    "UPDATE generations SET lease_until_ms = until, next_poll_at_ms = until"
    " FROM (SELECT CAST({first} AS BIGINT) AS until) AS lease WHERE id IN (VALUES {rows})",
    "id",
)
_LEASED: dict[str, Any] = {"lease_until_ms": bindparam("until_ms"), "next_poll_at_ms": bindparam("until_ms")}
_IS_ONE = generations.c.id == bindparam("of_id")
_CLAIM = Prepared(
    update(generations)
    .where(
        _IS_ONE,
        _IS_FOLLOWED,
        or_(
            generations.c.polled_at_ms.is_(None),
            generations.c.polled_at_ms <= bindparam("before_ms"),
            generations.c.polled_at_ms > bindparam("now_ms"),
        ),
        or_(
            generations.c.lease_until_ms.is_(None),
            generations.c.lease_until_ms <= bindparam("now_ms"),
            generations.c.lease_until_ms > bindparam("furthest_ms"),
        ),
    )
    .values(_LEASED)
    .returning(generations)
)
_TOUCH = (
    update(generations)
    .where(_IS_ONE, generations.c.version == bindparam("of_version"), _IS_FOLLOWED)
    .values(
        {
            name: bindparam(name)
            for name in (
                "polled_at_ms",
                "next_poll_at_ms",
                "lease_until_ms",
                "queue_position",
                "missing_since_ms",
                "stale_reason",
            )
        }
    )
)
_TOUCH_ONE = Prepared(_TOUCH.returning(generations))
_TOUCH_ALL: Final = Many(
    "WITH seen(of_id, of_version, polled, next_poll, position, missing, stale) AS (VALUES {rows})"  # noqa: S608 - our own constants
    " UPDATE generations SET polled_at_ms = polled, next_poll_at_ms = next_poll, lease_until_ms = NULL,"
    " queue_position = position, missing_since_ms = missing, stale_reason = stale"
    f" FROM seen WHERE id = of_id AND version = of_version AND {state_in(FOLLOWED)}",
    *("of_id", "of_version", "polled", "next_poll", "position", "missing", "stale"),
    whole={"of_version", "polled", "next_poll", "position", "missing"},
)
_RELEASE = (
    update(generations)
    .where(_IS_ONE, _IS_FOLLOWED)
    .values({name: bindparam(name) for name in ("next_poll_at_ms", "lease_until_ms")})
)


@dataclass(frozen=True, slots=True)
class PollRecord:
    """The result of a poll that changed no state: the values to store if the row still has this `version`.

    `stale_reason` says why the poll showed nothing about the job; None when it did.
    """

    generation_id: str
    version: int
    polled_at_ms: int
    next_poll_at_ms: int
    queue_position: int | None = None
    missing_since_ms: int | None = None
    stale_reason: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the UPDATE statement."""
        return {
            "of_id": self.generation_id,
            "of_version": self.version,
            "polled_at_ms": self.polled_at_ms,
            "next_poll_at_ms": self.next_poll_at_ms,
            "lease_until_ms": None,
            "queue_position": self.queue_position,
            "missing_since_ms": self.missing_since_ms,
            "stale_reason": self.stale_reason,
        }


def record_poll(connection: Connection, record: PollRecord) -> Generation | None:
    """Records one poll and ends the lease.

    Returns the updated generation, or None where its version or state has changed since it was read.
    """
    row = _TOUCH_ONE.one_or_none(connection, record.parameters)
    return None if row is None else generation_of(row)


def record_polls(connection: Connection, records: Sequence[PollRecord]) -> None:
    """Records many polls in one batch, each as `record_poll` does. They are of different generations."""
    _TOUCH_ALL.run(
        connection,
        [
            (
                *(one.generation_id, one.version, one.polled_at_ms, one.next_poll_at_ms),
                *(one.queue_position, one.missing_since_ms, one.stale_reason),
            )
            # In one order, so that two servers that record the same rows rarely wait for one another.
            for one in sorted(records, key=lambda one: one.generation_id)
        ],
    )


def span_of_polls(connection: Connection, credential: str) -> tuple[int, int] | None:
    """Returns when the first and the last of a credential's live generations are due; None without any."""
    (first,) = _FIRST_POLL.one(connection, {"of_credential": credential})
    if first is None:
        return None
    (last,) = _LAST_POLL.one(connection, {"of_credential": credential})
    return None if last is None else (first, last)


def live_by_credential(connection: Connection) -> dict[str, tuple[int, int]]:
    """Returns, for each credential, the number of its live generations and when the first of them is due."""
    query = (
        select(generations.c.credential, func.count(), func.min(generations.c.next_poll_at_ms))
        .where(_IS_FOLLOWED)
        .group_by(generations.c.credential)
    )
    return {name: (count, first_ms or 0) for name, count, first_ms in connection.execute(query)}


def claim_due(
    connection: Connection, credential: str, *, now_ms: int, lease_until_ms: int, limit: int
) -> list[Generation]:
    """Leases the generations of a credential that have been due for the longest, at most `limit` of them.

    No other caller is given one of them until `lease_until_ms`. They are returned in that order, as they were
    before.
    """
    rows = _DUE.all(connection, {"of_credential": credential, "now_ms": now_ms, "most": limit})
    found = [generation_of(row) for row in rows]
    _LEASE.match(connection, [(one.id,) for one in found], lease_until_ms)
    return found


def claim(
    connection: Connection,
    generation_id: str,
    *,
    now_ms: int,
    lease_until_ms: int,
    polled_before_ms: int,
    max_lease_ms: int,
) -> Generation | None:
    """Leases one generation for a poll, if it was not polled after `seen_before_ms` and nobody leases it.

    Returns None otherwise. A last poll in the future, or a lease that ends more than `max_lease_ms` from now,
    was written before the clock was set back, and is disregarded.
    """
    row = _CLAIM.one_or_none(
        connection,
        {
            "of_id": generation_id,
            "now_ms": now_ms,
            "until_ms": lease_until_ms,
            "before_ms": polled_before_ms,
            "furthest_ms": now_ms + max_lease_ms,
        },
    )
    return None if row is None else generation_of(row)


def release(connection: Connection, generation_id: str, *, now_ms: int) -> None:
    """Releases a lease early: the generation is due at once, for whichever replica claims it first."""
    connection.execute(_RELEASE, {"of_id": generation_id, "next_poll_at_ms": now_ms, "lease_until_ms": None})


def release_all(connection: Connection, generation_ids: Sequence[str], *, now_ms: int) -> None:
    """Releases leases as `release` does."""
    for generation_id in generation_ids:
        release(connection, generation_id, now_ms=now_ms)


def reset_far_polls(connection: Connection, credential: str, *, now_ms: int, furthest_ms: int) -> int:
    """Makes generations of a credential due now whose next poll lies after `furthest_ms`.

    No poll is ever scheduled that far ahead: such rows were written before the clock was set back. Returns
    the number of rows changed.
    """
    found = connection.execute(
        update(generations)
        .where(
            generations.c.credential == credential,
            _IS_FOLLOWED,
            generations.c.next_poll_at_ms > furthest_ms,
        )
        .values(next_poll_at_ms=now_ms, lease_until_ms=None)
    )
    return found.rowcount
