"""The right to look at a live generation upstream, for a while: rows are claimed by lease and given back.

`next_poll_at_ms` is when a row is due; of one that is claimed, when its lease ends, so that what a dead
server held is found as anything else that is due.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, or_, select, update

from app.db.tables import generations
from app.generations.lifecycle import State
from app.generations.store import Generation, generation_of, is_in

_IS_FOLLOWED = is_in((State.IN_QUEUE, State.IN_PROGRESS))
_OF_CREDENTIAL = (generations.c.credential == bindparam("of_credential"), _IS_FOLLOWED)
_FIRST_POLL = select(func.min(generations.c.next_poll_at_ms)).where(*_OF_CREDENTIAL)
_LAST_POLL = select(func.max(generations.c.next_poll_at_ms)).where(*_OF_CREDENTIAL)
# A table expression, which is worked out once: a subquery might be for every row, and lock more than it
# takes.
_DUE = (
    select(generations.c.id)
    .where(*_OF_CREDENTIAL, generations.c.next_poll_at_ms <= bindparam("now_ms"))
    .order_by(generations.c.next_poll_at_ms)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("due")
)
_LEASED: dict[str, Any] = {"lease_until_ms": bindparam("until_ms"), "next_poll_at_ms": bindparam("until_ms")}
_CLAIM_DUE = (
    update(generations)
    .where(generations.c.id.in_(select(_DUE.c.id)), _IS_FOLLOWED)
    .values(_LEASED)
    .returning(generations)
)
_IS_ONE = generations.c.id == bindparam("of_id")
_CLAIM = (
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
_TOUCH_ONE = _TOUCH.returning(generations)
_RELEASE = (
    update(generations)
    .where(_IS_ONE, _IS_FOLLOWED)
    .values({name: bindparam(name) for name in ("next_poll_at_ms", "lease_until_ms")})
)


@dataclass(frozen=True, slots=True)
class PollRecord:
    """A look at a generation that changed no state: how its row is to be, if it is still of that version.

    `stale_reason` says why the look showed nothing.
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
        """As the statement takes them."""
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
    """Note one look; the generation after it, or None where another was faster. It ends the lease."""
    row = connection.execute(_TOUCH_ONE, record.parameters).one_or_none()
    return None if row is None else generation_of(row)


def record_polls(connection: Connection, records: Sequence[PollRecord]) -> None:
    """Note many looks in one go, each as `touch` does."""
    # In one order: two servers that note the same rows must not wait for one another.
    connection.execute(_TOUCH, [one.parameters for one in sorted(records, key=lambda one: one.generation_id)])


def span_of_polls(connection: Connection, credential: str) -> tuple[int, int] | None:
    """When the first and the last of a credential's live generations are due; None without any."""
    first = connection.scalar(_FIRST_POLL, {"of_credential": credential})
    last = connection.scalar(_LAST_POLL, {"of_credential": credential})
    return None if first is None or last is None else (first, last)


def live_by_credential(connection: Connection) -> dict[str, tuple[int, int]]:
    """How many live generations each credential has, and when the first of them is due."""
    query = (
        select(generations.c.credential, func.count(), func.min(generations.c.next_poll_at_ms))
        .where(_IS_FOLLOWED)
        .group_by(generations.c.credential)
    )
    return {name: (count, first_ms or 0) for name, count, first_ms in connection.execute(query)}


def claim_due(
    connection: Connection, credential: str, *, now_ms: int, lease_until_ms: int, limit: int
) -> list[Generation]:
    """Take the right to look at those that are due for the longest. Nobody else is given it until it ends."""
    rows = connection.execute(
        _CLAIM_DUE,
        {"of_credential": credential, "now_ms": now_ms, "until_ms": lease_until_ms, "most": limit},
    )
    return [generation_of(row) for row in rows]


def claim(
    connection: Connection,
    generation_id: str,
    *,
    now_ms: int,
    lease_until_ms: int,
    seen_before_ms: int,
    max_lease_ms: int,
) -> Generation | None:
    """Take the right to look at one whose last look was before a moment.

    None where that is not so, or somebody else has the right. A moment that is still to come, and a lease
    that is longer than any, are of a clock that was set back.
    """
    row = connection.execute(
        _CLAIM,
        {
            "of_id": generation_id,
            "now_ms": now_ms,
            "until_ms": lease_until_ms,
            "before_ms": seen_before_ms,
            "furthest_ms": now_ms + max_lease_ms,
        },
    ).one_or_none()
    return None if row is None else generation_of(row)


def release(connection: Connection, generation_id: str, *, now_ms: int) -> None:
    """Give the right to look back: it is due at once, for whoever comes first."""
    connection.execute(_RELEASE, {"of_id": generation_id, "next_poll_at_ms": now_ms, "lease_until_ms": None})


def pull_in(connection: Connection, credential: str, *, now_ms: int, furthest_ms: int) -> int:
    """Make due at once what is due later than anything can be: the clock was set back. How many."""
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
