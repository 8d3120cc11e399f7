"""Statements: the closed months of an account, as rows that are never changed.

A month closes once its end has passed in the tenant's time zone. It has every entry of the ledger that was
entered in it. The next one begins where it ended, also where the time zone was changed in between.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, func, insert, select

from app.db.schema.tables import archived_months, statements
from app.quotas import account
from app.quotas.account import Owner, zone_of
from app.quotas.balances import entries
from app.quotas.balances.entries import Span
from app.quotas.balances.ledger import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A month that has ended and is not closed: which entries it has, and the balance before them."""

    owner: Owner
    month: str
    time_zone: str
    from_ms: int
    until_ms: int
    earlier_id: int
    last_id: int
    opening_microcredits: int

    @property
    def span(self) -> Span:
        """The entries of the month."""
        return Span(
            from_ms=self.from_ms, until_ms=self.until_ms, earlier_id=self.earlier_id, last_id=self.last_id
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement(Draft):
    """A closed month: the number of its entries, the sums of their changes, and the balance after them.

    `held_microcredits` was taken from the balance; the other sums were added to it. `csv_sha256` is the hash
    of the statement as CSV.
    """

    entries: int
    held_microcredits: int
    refunded_microcredits: int
    added_microcredits: int
    adjusted_microcredits: int
    closing_microcredits: int
    csv_sha256: str
    closed_at_ms: int


def next_draft(connection: Connection, owner: Owner, *, now_ms: int) -> Draft | None:
    """Returns the next month to be closed; None where none has ended. Locks the tenant's row.

    Under that lock no entry with a lower number than the last one is still to be committed.
    """
    zone = account.lock_tenant(connection, owner.tenant_id)
    before = last(connection, owner)
    first = _first_open(connection, owner, before, zone)
    if first is None:
        return None
    if before is not None:
        from_ms, earlier_id, opening = before.until_ms, before.last_id, before.closing_microcredits
    else:
        from_ms, earlier_id, opening = _start_ms(first, zone.key), 0, 0
    month = first.isoformat()[:7]
    until_ms = _start_ms(_after(month), zone.key)
    if now_ms < until_ms:
        return None
    return Draft(
        owner=owner,
        month=month,
        time_zone=zone.key,
        from_ms=from_ms,
        until_ms=until_ms,
        earlier_id=earlier_id,
        last_id=entries.last_id(connection, owner),
        opening_microcredits=opening,
    )


def number_due(connection: Connection, owner: Owner, *, now_ms: int) -> int:
    """Returns how many months of an account have ended and are not closed. Locks the tenant's row."""
    zone = account.lock_tenant(connection, owner.tenant_id)
    first = _first_open(connection, owner, last(connection, owner), zone)
    number = 0
    while first is not None and _start_ms(first := _after(first.isoformat()[:7]), zone.key) <= now_ms:
        number += 1
    return number


def _first_open(
    connection: Connection, owner: Owner, before: Statement | None, zone: ZoneInfo
) -> date | None:
    """Returns the first day of the month after the last closed one; None of an account without entries."""
    if before is not None:
        return _after(before.month)
    first_ms = entries.first_at_ms(connection, owner)
    if first_ms is None:
        return None
    local = datetime.fromtimestamp(first_ms / 1000, UTC).astimezone(zone)
    return date(local.year, local.month, 1)


def close(connection: Connection, statement: Statement) -> bool:
    """Stores a statement, and returns whether it is new: its month may have been closed meanwhile."""
    account.lock_tenant(connection, statement.owner.tenant_id)
    before = last(connection, statement.owner)
    if before is not None and before.month >= statement.month:
        return False
    values = asdict(statement)
    owner = values.pop("owner")
    connection.execute(insert(statements).values(**owner, **values))
    return True


def last(connection: Connection, owner: Owner) -> Statement | None:
    """Returns the last statement of an account; None where no month is closed."""
    found = listed(connection, owner, limit=1)
    return found[0] if found else None


def listed(connection: Connection, owner: Owner, *, before: str = "9999-99", limit: int) -> list[Statement]:
    """Returns at most `limit` statements of an account, the newest first, those before a month."""
    query = (
        select(statements)
        .where(
            statements.c.tenant_id == owner.tenant_id,
            statements.c.mode == owner.mode,
            statements.c.month < before,
        )
        .order_by(statements.c.month.desc())
        .limit(limit)
    )
    return [_statement(row) for row in connection.execute(query)]


def find(connection: Connection, owner: Owner, month: str) -> Statement | None:
    """Returns the statement of a month; None where it is not closed."""
    query = select(statements).where(
        statements.c.tenant_id == owner.tenant_id,
        statements.c.mode == owner.mode,
        statements.c.month == month,
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _statement(row)


def every(connection: Connection) -> Sequence[Statement]:
    """Returns all statements, by account and month."""
    query = select(statements).order_by(*statements.primary_key.columns)
    return [_statement(row) for row in connection.execute(query)]


def archived(
    connection: Connection, owner: Owner, *, from_month: str = "", until_month: str
) -> dict[Kind, tuple[int, int]]:
    """Returns the number and the sum of the entries that were archived, of these closed months, by kind."""
    month = archived_months.c
    query = (
        select(month.kind, func.sum(month.entries), func.sum(month.microcredits))
        .where(
            month.tenant_id == owner.tenant_id,
            month.mode == owner.mode,
            month.month >= from_month,
            month.month <= until_month,
        )
        .group_by(month.kind)
    )
    found = {Kind(kind): (int(number), int(change)) for kind, number, change in connection.execute(query)}
    return {kind: found.get(kind, (0, 0)) for kind in Kind}


def _after(month: str) -> date:
    year, number = int(month[:4]), int(month[5:])
    return date(year + number // 12, number % 12 + 1, 1)


def _start_ms(first: date, zone_name: str) -> int:
    return int(datetime(first.year, first.month, first.day, tzinfo=zone_of(zone_name)).timestamp() * 1000)


def _statement(row: Row[Any]) -> Statement:
    values = dict(row._mapping)  # noqa: SLF001 - documented
    owner = Owner(values.pop("tenant_id"), values.pop("mode"))
    return Statement(owner=owner, **values)
