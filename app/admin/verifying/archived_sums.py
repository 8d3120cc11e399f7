"""The sums of archived requests: what they had charged by day, their roll-ups, their entries by closed month.

`ledger verify` and `statements verify` add them to what the rows say.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, and_, insert, select, update

from app.admin.verifying.verify_usage import Place, add_expected
from app.db.schema.tables import (
    archived_charges,
    archived_months,
    archived_requests,
    archived_usage,
    generations,
)
from app.generations import store
from app.quotas.account import Owner
from app.quotas.amounts import NAMES
from app.quotas.balances.ledger import Charge
from app.quotas.sums.rollups import Facet


class Month(NamedTuple):
    """A closed month: the end of its entries, in milliseconds, and the number of its last entry."""

    month: str
    until_ms: int
    last_id: int

    def has(self, entry: Mapping[str, Any]) -> bool:
        """Returns whether an entry is in its statement, or in one before it."""
        return bool(entry["at_ms"] < self.until_ms and entry["id"] <= self.last_id)


def keep_sums(
    connection: Connection,
    batch_id: str,
    owner: Owner,
    entries: Sequence[Mapping[str, Any]],
    months: Sequence[Month],
) -> None:
    """Keeps what the rows of a batch add to the sums, while they are still there."""
    account = {"tenant_id": owner.tenant_id, "mode": owner.mode}
    for table, key, sums in (
        *_charges(connection, batch_id, account),
        *_usage(connection, batch_id),
        *_of_months(entries, account, months),
    ):
        _add(connection, table, key, sums)


def _charges(
    connection: Connection, batch_id: str, account: Mapping[str, str]
) -> Iterator[tuple[Table, dict[str, Any], dict[str, int]]]:
    one = generations.c
    group = (one.root_kid, one.model_id, one.end_user, one.quota_day)
    of_batch = select(archived_requests.c.id).where(archived_requests.c.batch_id == batch_id)
    query = select(*group, *store.AMOUNT_SUMS).where(one.id.in_(of_batch), one.charge == Charge.SETTLED)
    for kid, model_id, end_user, day, *amounts in connection.execute(query.group_by(*group)):
        key = {**account, "kid": kid, "model_id": model_id, "end_user": end_user or "", "quota_day": day}
        yield archived_charges, key, {name: int(amount) for name, amount in zip(NAMES, amounts, strict=True)}


def _usage(connection: Connection, batch_id: str) -> Iterator[tuple[Table, dict[str, Any], dict[str, int]]]:
    sums: dict[Place, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def collect(place: Place, counts: Mapping[str, int]) -> None:
        if place.facet != Facet.HOUR:  # hours of that time are not kept any more
            for name, amount in counts.items():
                sums[place][name] += amount

    add_expected(connection, collect, batch_id=batch_id)
    for place, counts in sums.items():
        yield archived_usage, place._asdict(), counts


def _of_months(
    entries: Sequence[Mapping[str, Any]], account: Mapping[str, str], months: Sequence[Month]
) -> Iterator[tuple[Table, dict[str, Any], dict[str, int]]]:
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in entries:
        month = next(
            one for one, until_ms, last_id in months if row["at_ms"] < until_ms and row["id"] <= last_id
        )
        of_kind = sums[month, row["kind"]]
        of_kind[0] += 1
        of_kind[1] += row["microcredits"]
    for (month, kind), (number, change) in sums.items():
        key = {**account, "month": month, "kind": kind}
        yield archived_months, key, {"entries": number, "microcredits": change}


def _add(connection: Connection, table: Table, key: Mapping[str, Any], sums: Mapping[str, int]) -> None:
    """Adds sums to the row of a key, which is inserted where there is none. The tenant's row is locked."""
    row = and_(*(table.c[name] == value for name, value in key.items()))
    more = {name: table.c[name] + amount for name, amount in sums.items()}
    if connection.execute(update(table).where(row).values(more)).rowcount == 0:
        connection.execute(insert(table).values({**key, **sums}))
