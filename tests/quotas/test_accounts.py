"""Changes of an account: the tenant is held for them, once."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import Connection

from app.db.engines.engine import Database
from app.db.statements import prepared
from app.quotas import account
from app.quotas.account import Owner
from app.quotas.balances import ledger
from app.quotas.balances.ledger import Kind
from app.quotas.limits import Limit, Scope
from app.quotas.metrics import Metric
from tests.rows import NOW_MS, add_owner

pytestmark = pytest.mark.anyio

IN_FLIGHT = Limit(Scope(), Metric.IN_FLIGHT, 5)
LINE = Limit(Scope(), Metric.CREDITS_TOTAL, 50)


def _top_up(connection: Connection, owner: Owner, **more: Any) -> None:
    ledger.add(connection, owner, Scope(), Kind.TOP_UP, 10, now_ms=NOW_MS, **more)


@pytest.mark.parametrize(
    "change",
    [
        _top_up,
        lambda connection, owner: account.set_limit(connection, owner, IN_FLIGHT, now_ms=NOW_MS),
        lambda connection, owner: account.unset_limit(connection, owner, Scope(), Metric.IN_FLIGHT),
    ],
    ids=["top-up", "set", "unset"],
)
async def test_a_change_holds_the_tenant_once(
    db: Database, change: Callable[[Connection, Owner], object]
) -> None:
    def changed(connection: Connection) -> list[str]:
        owner, statements = Owner(add_owner(connection)[0], "test"), []

        send = prepared._send

        def note(driver: Any, statement: str, parameters: Any) -> Any:
            statements.append(statement)
            return send(driver, statement, parameters)

        with patch.object(prepared, "_send", note):
            change(connection, owner)
        return statements

    assert sum("FROM tenants" in one for one in await db.write(changed)) == 1


async def test_the_limits_of_a_tenant_are_its_own_and_a_second_top_up_keeps_the_first_ones_line(
    db: Database,
) -> None:
    def limits(connection: Connection) -> tuple[list[Limit], int]:
        owners = [Owner(add_owner(connection)[0], "test") for _ in range(2)]
        for owner in owners:
            account.set_limit(connection, owner, IN_FLIGHT, now_ms=NOW_MS)
        _top_up(connection, owners[0], defaults=(LINE,))
        _top_up(connection, owners[0], defaults=())
        own = account.limits_of(connection, owners[0].tenant_id)
        assert {owner for owner, _ in own} == {owners[0]}
        return [one for _, one in own], len(account.limits_of(connection))

    assert await db.write(limits) == ([LINE, IN_FLIGHT], 3)
