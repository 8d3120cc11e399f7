"""Operators who do the same at once: each change is made once, and the audit log has them in their order."""

import asyncio

import pytest
from sqlalchemy import Connection, func, select

from app.admin.access import client_tokens, keys, tenants
from app.admin.actor import Actor
from app.admin.amounts import ledger, limits
from app.admin.verifying.verify import verify
from app.auth import client_tokens as token_rows
from app.auth import keys as key_rows
from app.auth.client_tokens import TokenTerms
from app.db.engines.engine import Database
from app.db.schema.tables import ledger_entries, quota_usage
from app.errors import API_KEY_NOT_ACTIVE, REFERENCE_CONFLICT, Problem
from app.quotas.account import limits_of
from tests.admin.desk import Desk, open_desk
from tests.rows import NOW_MS, PEPPER

pytestmark = pytest.mark.anyio

ACTOR = Actor("command", "olga")
AT_ONCE = 8


@pytest.fixture
async def desk(db: Database) -> Desk:
    return await open_desk(db)


async def test_a_payment_that_is_entered_many_times_at_once_counts_once(desk: Desk) -> None:
    done = await asyncio.gather(
        *(ledger.top_up(desk.gateway, ACTOR, desk.of, "12.5", reference="PAYMENT-1") for _ in range(AT_ONCE))
    )
    assert [one.is_new for one in done].count(True) == 1
    sums = await desk.gateway.db.read(
        lambda at: at.execute(select(func.count(), func.sum(ledger_entries.c.microcredits))).one()
    )
    added = await desk.gateway.db.read(lambda at: at.scalars(select(quota_usage.c.added_microcredits)).all())
    assert tuple(map(int, sums)) == (1, 12_500_000)
    assert list(added) == [12_500_000]
    assert (await desk.gateway.db.snapshot(verify)).findings == []
    kept = {"microcredits": 12_500_000, "reference": "PAYMENT-1"}
    changes = await desk.changes("ledger.top_up")
    assert sorted(changes, key=str) == sorted(
        [(None, kept | {"note": None}), *[(kept, kept)] * (AT_ONCE - 1)], key=str
    )


async def test_of_two_payments_with_one_reference_one_is_refused(desk: Desk) -> None:
    done = await asyncio.gather(
        *(
            ledger.top_up(desk.gateway, ACTOR, desk.of, amount, reference="PAYMENT-1")
            for amount in ("1", "2")
        ),
        return_exceptions=True,
    )
    (refused,) = [one for one in done if isinstance(one, Problem)]
    assert refused.fault is REFERENCE_CONFLICT
    assert len(await desk.changes("ledger.top_up")) == 1


async def test_top_ups_at_once_all_count(desk: Desk) -> None:
    await asyncio.gather(*(ledger.top_up(desk.gateway, ACTOR, desk.of, "0.000001") for _ in range(AT_ONCE)))
    added = await desk.gateway.db.read(lambda at: at.scalars(select(quota_usage.c.added_microcredits)).all())
    assert list(added) == [AT_ONCE]


async def test_limits_that_are_set_at_once_are_those_of_one_operator(desk: Desk) -> None:
    """Not one number of each: all or none of a command's limits are set, and the log is a chain."""
    await asyncio.gather(
        *(
            limits.set_limits(
                desk.gateway, ACTOR, desk.of, [f"in-flight={number}", f"generations-day={number}"]
            )
            for number in range(AT_ONCE)
        )
    )
    changes = await desk.changes("limits.set")
    assert [before for before, _ in changes] == [{}, *(after for _, after in changes[:-1])]
    found = {limit.metric: limit.amount for _, limit in await desk.gateway.db.read(limits_of)}
    assert len(found) == 2
    assert len(set(found.values())) == 1
    assert {name: one["amount"] for name, one in changes[-1][1].items()} == found


async def test_a_tenant_that_is_disabled_and_enabled_at_once_has_a_history_that_fits(desk: Desk) -> None:
    await asyncio.gather(
        *(
            (tenants.disable if number % 2 else tenants.enable)(desk.gateway, ACTOR, desk.tenant)
            for number in range(AT_ONCE)
        )
    )

    changes = await desk.changes("tenant.")
    assert len(changes) == AT_ONCE
    assert [before for before, _ in changes] == [
        {"disabled_at_ms": None},
        *(after for _, after in changes[:-1]),
    ]


async def test_a_key_is_rotated_once(desk: Desk) -> None:
    done = await asyncio.gather(
        *(keys.rotate(desk.gateway, ACTOR, desk.kid, overlap_ms=0) for _ in range(AT_ONCE)),
        return_exceptions=True,
    )
    refused = [one for one in done if isinstance(one, Problem)]
    assert [one.fault for one in refused] == [API_KEY_NOT_ACTIVE] * (AT_ONCE - 1)
    assert len(await desk.changes("key.rotate")) == 1
    assert len((await keys.listed(desk.gateway, tenant=desk.tenant)).entries) == 2


async def test_of_a_token_that_is_revoked_at_once_the_first_time_stays(desk: Desk) -> None:
    def mint(connection: Connection) -> str:
        parent = key_rows.find(connection, desk.kid)
        assert parent is not None
        made, _ = token_rows.create(connection, parent, TokenTerms(), pepper=PEPPER, now_ms=NOW_MS)
        return made.token_id

    token_id = await desk.gateway.db.write(mint)
    done = await asyncio.gather(
        *(client_tokens.revoke(desk.gateway, ACTOR, token_id) for _ in range(AT_ONCE))
    )
    (at_ms,) = {one.revoked_at_ms for one in done}
    changes = await desk.changes("client_token.revoke")
    assert changes[0] == ({"revoked_at_ms": None}, {"revoked_at_ms": at_ms})
    assert changes[1:] == [({"revoked_at_ms": at_ms}, {"revoked_at_ms": at_ms})] * (AT_ONCE - 1)
