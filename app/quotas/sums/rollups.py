"""Roll-ups: what the ledger says of each hour and each day, summed in its transaction.

An amount is counted where and when it is entered: a hold when its generation was made, its settle or refund
when that was entered, however much later. So the sums of any hours or days are those of the ledger's entries
in them. Hours and days are those of the time zone that the tenant has at that moment. Every entry is counted
in one hour and one day; a later change of the time zone moves none.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import lru_cache
from itertools import chain
from itertools import count as count_from
from typing import Final, NamedTuple, TypeVar

from sqlalchemy import Connection, delete, select, tuple_

from app.db.schema.tables import usage_counts
from app.db.statements import prepared
from app.db.statements.deferral import write_deferred, write_later
from app.quotas.limits import Payer

_K = TypeVar("_K")


class Facet(StrEnum):
    """What a row sums: an hour, a day, or a day of one end user or of one client token."""

    HOUR = "hour"
    DAY = "day"
    END_USER = "end_user"
    TOKEN = "token"  # noqa: S105 - no secret


SUBMITTED: Final = "submitted"
"""The outcome of a hold: its generation was submitted."""
REFUSED: Final = "refused"
"""The outcome of a call that was answered with an error."""
COUNTS: Final = (
    "held_generations",
    "held_microcredits",
    "spent_generations",
    "spent_microcredits",
    "refunded_generations",
    "refunded_microcredits",
    "refused_calls",
    "ended_generations",
    "added_microcredits",
    "adjusted_microcredits",
    "cost_microusd",
)
"""The names of everything that is summed."""
_DAY, _HOUR, _END_USER, _TOKEN = (one.value for one in (Facet.DAY, Facet.HOUR, Facet.END_USER, Facet.TOKEN))
_SIZES: Final = (16, 8, 4, 2, 1)  # rows of a statement: few numbers, so that all stay prepared
_Key = tuple[str, str, str, int, str, str, str, str]
_OfWhom = tuple[str, str, str, str, str, str, str, int, int]
_Change = tuple[_OfWhom, dict[str, int]]
"""What is added, to the sums of whom, by whom, of what, and when."""
_KEY: Final = ("tenant_id", "mode", "facet", "period", "subject", "kid", "model_id", "outcome")
_QUARTER_MS: Final = 900_000
_HOUR_MS: Final = 3_600_000
_MAX_MICROUSD: Final = 10**15


class Bucket(NamedTuple):
    """The hour (its start, in milliseconds since 1970) and the day (such as 20261130) of a moment."""

    hour_ms: int
    day: int


def bucket_of(at_ms: int, zone: tzinfo) -> Bucket:
    """Returns the hour and the day of a moment in a time zone.

    The quarter of an hour (UTC) that the moment is in decides: time zones differ by quarters.
    """
    return _bucket_of(at_ms // _QUARTER_MS, zone)


@lru_cache(maxsize=1_400)
def _bucket_of(quarter: int, zone: tzinfo) -> Bucket:
    at_ms = quarter * _QUARTER_MS
    local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)
    since_ms = (local.minute * 60 + local.second) * 1000
    return Bucket(at_ms - since_ms, day_number(local.year, local.month, local.day))


def day_number(year: int, month: int, day: int) -> int:
    """Returns a day as the rows have it: 20261130."""
    return year * 10_000 + month * 100 + day


def count(
    connection: Connection,
    tenant_id: str,
    mode: str,
    payer: Payer,
    model_id: str,
    *,
    outcome: str,
    zone: tzinfo,
    at_ms: int,
    **counts: int,
) -> None:
    """Adds to the sums of the hour and the day of a moment, before the transaction's COMMIT.

    `counts` are amounts by their names in `COUNTS`. The caller holds the lock on the tenant's row. Whoever
    reads the sums in a transaction that may have changed them calls
    `app.db.statements.deferral.write_deferred` first.
    """
    changes = {name: amount for name, amount in counts.items() if amount}
    if changes:
        of_whom = (tenant_id, mode, payer.kid, payer.end_user, payer.token_id, model_id, str(outcome))
        write_later(connection, _add, ((*of_whom, *bucket_of(at_ms, zone)), changes))


def _add(connection: Connection, changes: Sequence[_Change]) -> None:
    """Adds changes to the sums: each row once, in the order of keys, as every transaction does."""
    of_whom: dict[_OfWhom, dict[str, int]] = {}
    for one, counts in changes:
        _merge(of_whom, one, counts)
    sums: dict[_Key, dict[str, int]] = {}
    for one, counts in of_whom.items():
        for key in _keys_of(one):
            _merge(sums, key, counts)
    _write(connection, sums)


def _write(connection: Connection, sums: Mapping[_Key, Mapping[str, int]]) -> None:
    named = {name for row in sums.values() for name in row}
    if unknown := named.difference(COUNTS):
        raise ValueError(f"not summed: {', '.join(sorted(unknown))}")
    names = tuple(name for name in COUNTS if name in named)
    rows = [(*key, *(row.get(name, 0) for name in names)) for key, row in sorted(sums.items())]
    is_sqlite, at = connection.dialect.name == "sqlite", 0
    for size in _SIZES:
        while len(rows) - at >= size:
            some = chain.from_iterable(rows[at : at + size])
            prepared.execute(connection, _statement(names, size, is_sqlite), tuple(some))
            at += size


def _merge(sums: dict[_K, dict[str, int]], key: _K, counts: Mapping[str, int]) -> None:
    row = sums.get(key)
    if row is None:
        sums[key] = dict(counts)
    else:
        for name, amount in counts.items():
            row[name] = row.get(name, 0) + amount


def _keys_of(of_whom: _OfWhom) -> Iterator[_Key]:
    tenant_id, mode, kid, end_user, token_id, model_id, outcome, hour_ms, day = of_whom
    yield tenant_id, mode, _DAY, day, "", kid, model_id, outcome
    yield tenant_id, mode, _HOUR, hour_ms, "", kid, model_id, outcome
    if end_user:
        yield tenant_id, mode, _END_USER, day, end_user, kid, model_id, outcome
    if token_id:
        yield tenant_id, mode, _TOKEN, day, token_id, kid, model_id, outcome


@lru_cache(maxsize=128)
def _statement(names: tuple[str, ...], rows: int, is_sqlite: bool) -> str:  # noqa: FBT001 - a key of the cache
    """Returns the statement that adds counts of these names to so many rows, with a place for each value.

    It is text, since SQLAlchemy has no upsert that is the same for both databases.
    """
    columns = (*_KEY, *names)
    marks = ("?" if is_sqlite else f"${number}" for number in count_from(1))
    each = ", ".join(f"({', '.join(next(marks) for _ in columns)})" for _ in range(rows))
    sums = ", ".join(f"{name} = usage_counts.{name} + excluded.{name}" for name in names)
    return (
        f"INSERT INTO usage_counts ({', '.join(columns)}) VALUES {each}"  # noqa: S608 - our names
        f" ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {sums}"
    )


def microusd(cost_usd: str | None) -> int:
    """Returns a cost of RunComfy's, in US dollars, as whole millionths of a dollar; 0 for what is no cost."""
    try:
        amount = int((Decimal(cost_usd or 0) * 1_000_000).to_integral_value())
    except (InvalidOperation, ValueError, OverflowError):
        return 0
    return min(max(amount, 0), _MAX_MICROUSD)


def forget_hours(connection: Connection, *, before_ms: int, limit: int) -> int:
    """Removes at most `limit` rows of hours that began before a moment, the oldest of each mode first.

    Their days stay. Returns the number of rows.
    """
    write_deferred(connection)
    key = tuple(usage_counts.c[name] for name in _KEY)
    old = (
        select(*key)
        .where(
            usage_counts.c.mode.in_(("live", "test")),
            usage_counts.c.facet == Facet.HOUR,
            usage_counts.c.period < before_ms,
        )
        .order_by(usage_counts.c.mode, usage_counts.c.period)
        .limit(limit)
    )
    return connection.execute(delete(usage_counts).where(tuple_(*key).in_(old))).rowcount
