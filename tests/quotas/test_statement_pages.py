"""Pages of a statement have all its entries once, the late ones too; the last costs what the first does."""

from typing import Any

import pytest
from sqlalchemy import Connection, insert

from app.db.engines.engine import Database
from app.db.schema.tables import ledger_entries
from app.quotas.account import Owner
from app.quotas.balances import entries
from app.quotas.balances.entries import Place, Span
from app.quotas.balances.ledger import Kind
from tests.rows import NOW_MS, add_owner

pytestmark = pytest.mark.anyio
HOUR_MS, LIMIT = 3_600_000, 50
BEFORE, OWN, LATE = 1500, 1500, 3


def _add(connection: Connection) -> tuple[Owner, Span]:
    """An account with entries of two months, some of them late; and the span of the second statement."""
    tenant_id, _ = add_owner(connection)
    times = [NOW_MS - number * 60_000 for number in range(BEFORE, 0, -1)]
    _insert(connection, tenant_id, times)
    owner = Owner(tenant_id, "test")
    earlier = entries.last_id(connection, owner)
    _insert(connection, tenant_id, [NOW_MS - number * HOUR_MS for number in range(1, LATE + 1)])
    _insert(connection, tenant_id, [NOW_MS + number * 60_000 for number in range(OWN)])
    span = Span(
        from_ms=NOW_MS,
        until_ms=NOW_MS + OWN * 60_000,
        earlier_id=earlier,
        last_id=entries.last_id(connection, owner),
    )
    _insert(connection, tenant_id, [NOW_MS + 1, NOW_MS - 1])  # after its closing
    return owner, span


def _insert(connection: Connection, tenant_id: str, times: list[int]) -> None:
    same: dict[str, Any] = {
        "tenant_id": tenant_id,
        "mode": "test",
        "kid": "",
        "model_id": "",
        "microcredits": 2,
    }
    kinds = (Kind.TOP_UP, Kind.ADJUSTMENT)
    rows = [same | {"microcredits": 2, "kind": kinds[at // 60_000 % 2], "at_ms": at} for at in times]
    connection.execute(insert(ledger_entries), rows)


async def test_a_statement_has_each_of_its_entries_and_late_ones_once(db: Database) -> None:
    def check(connection: Connection) -> None:
        owner, span = _add(connection)
        found = [line for page in entries.pages(connection, owner, span) for line in page]
        assert [line.at_ms for line in found] == sorted(line.at_ms for line in found)
        assert len({line.id for line in found}) == len(found) == OWN + LATE
        sums = entries.sums(connection, owner, span)
        assert sum(number for number, _ in sums.values()) == OWN + LATE
        assert sum(change for _, change in sums.values()) == 2 * (OWN + LATE)
        place = found[LATE + 700].place
        back = entries.page(connection, owner, span=span, after=place, newest_first=True, limit=1000)
        assert back == found[: LATE + 700][::-1]

    await db.write(check)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_last_page_of_a_statement_costs_no_more_than_its_first(db: Database) -> None:
    def check(connection: Connection) -> None:
        owner, span = _add(connection)

        def steps(after: Place) -> int:
            counted = 0

            def count() -> None:
                nonlocal counted
                counted += 1

            driver: Any = connection.connection.driver_connection
            driver.set_progress_handler(count, 100)
            assert len(entries.page(connection, owner, span=span, after=after, limit=LIMIT)) == LIMIT
            driver.set_progress_handler(None, 0)
            return counted

        first, last = steps((NOW_MS + 60_000, 0)), steps((NOW_MS + (OWN - LIMIT - 1) * 60_000, 0))
        assert last < 1.5 * first, "each page would read the statement from its beginning"

    await db.write(check)
