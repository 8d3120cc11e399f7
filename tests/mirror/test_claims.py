"""Whose file is copied next: whoever's is due, within the caps, and one worker alone has it."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, select, update
from sqlalchemy.pool import NullPool

from app.auth import tenants
from app.db.engines.engine import sync_url
from app.db.schema.tables import assets
from app.mirror import claims, rows
from app.mirror.claims import LEASE_S, Claim
from app.mirror.schedule import INTERRUPTED
from tests.mirror.rows import NOW_MS, add_asset

LEASED_MS = int(LEASE_S * 1000)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(sync_url(database_url), poolclass=NullPool)
    yield engine
    engine.dispose()


def claim(connection: Connection, *, limit: int = 10, per_tenant: int = 2, now_ms: int = NOW_MS) -> Claim:
    found = claims.claim(connection, per_tenant=per_tenant, limit=limit, now_ms=now_ms)
    assert found is not None
    return found


def row(connection: Connection, asset_id: str) -> Any:
    return connection.execute(select(assets).where(assets.c.id == asset_id)).one()


def test_each_tenant_has_its_share_however_many_of_another_wait(engine: Engine) -> None:
    with engine.begin() as connection:
        many = tenants.create(connection, "many", now_ms=NOW_MS).id
        few = tenants.create(connection, "few", now_ms=NOW_MS).id
        for place in range(30):
            add_asset(connection, many, place=place, next_at_ms=NOW_MS - 1000 + place)
        add_asset(connection, few, next_at_ms=NOW_MS - 1)
        found = claim(connection)
        assert Counter(one.asset.tenant_id for one in found.assets) == {many: 2, few: 1}
        assert [one.asset.place for one in found.assets if one.asset.tenant_id == many] == [0, 1]
        assert claim(connection).assets == []  # the tenant has as many under way as it may
        assert {one.attempt for one in found.assets} == {1}


def test_what_is_not_due_is_left_and_its_moment_told(engine: Engine) -> None:
    with engine.begin() as connection:
        tenant = tenants.create(connection, "one", now_ms=NOW_MS).id
        add_asset(connection, tenant, next_at_ms=NOW_MS + 5000)
        assert claim(connection) == Claim([], NOW_MS + 5000)
        assert claims.next_due(connection) == NOW_MS + 5000
        assert len(claim(connection, now_ms=NOW_MS + 5000).assets) == 1


def test_a_lease_is_renewed_while_it_is_held_and_freed_when_it_has_ended(engine: Engine) -> None:
    with engine.begin() as connection:
        tenant = tenants.create(connection, "one", now_ms=NOW_MS).id
        asset_id = add_asset(connection, tenant)
        (first,) = claim(connection).assets
        later = NOW_MS + 40_000
        assert claims.renew(connection, [(asset_id, first.attempt)], now_ms=later) == {asset_id}
        assert claims.free(connection, now_ms=NOW_MS + LEASED_MS + 1) == 0
        assert claims.next_due(connection) == later + LEASED_MS
        assert claims.free(connection, now_ms=later + LEASED_MS + 1) == 1
        freed = row(connection, asset_id)
        assert (freed.state, freed.last_error, freed.interrupted_from) == ("pending", INTERRUPTED, 1)
        assert claims.renew(connection, [(asset_id, first.attempt)], now_ms=later) == set()
        (second,) = claim(connection, now_ms=later + LEASED_MS + 1).assets
        assert second.attempt == 2
        assert claims.renew(connection, [(asset_id, first.attempt)], now_ms=later) == set()


def test_what_is_to_be_removed_is_not_copied(engine: Engine) -> None:
    with engine.begin() as connection:
        tenant = tenants.create(connection, "one", now_ms=NOW_MS).id
        asset_id = add_asset(connection, tenant)
        connection.execute(update(assets).where(assets.c.id == asset_id).values(removing_at_ms=NOW_MS))
        assert claim(connection).assets == []


def test_two_workers_never_have_the_same_file(engine: Engine) -> None:
    with engine.begin() as connection:
        claim(connection)  # the first one ever makes the row whose lock is the turn
        tenant = tenants.create(connection, "one", now_ms=NOW_MS).id
        for place in range(6):
            add_asset(connection, tenant, place=place)
    if engine.dialect.name == "sqlite":  # one writer: the second worker's transaction begins after the first
        with engine.begin() as one:
            first = claim(one, per_tenant=3)
        with engine.begin() as other:
            second = claim(other, per_tenant=6)
    else:
        with engine.begin() as one, engine.begin() as other:
            first = claim(one, per_tenant=3)
            assert claims.claim(other, per_tenant=6, limit=10, now_ms=NOW_MS) is None
            one.commit()
            second = claim(other, per_tenant=6)
    have = [one.id for one in (*first.assets, *second.assets)]
    assert (len(first.assets), len(second.assets), len(set(have))) == (3, 3, 6)


def test_an_output_without_its_file_leads_to_no_address(engine: Engine) -> None:
    with engine.begin() as connection:
        tenant = tenants.create(connection, "one", now_ms=NOW_MS).id
        add_asset(connection, tenant)
        (found,) = claim(connection).assets
        assert found.url is None  # the generation is not there
    assert rows.url_at({"video": "https://a.test/1"}, "/video") == "https://a.test/1"
    assert rows.url_at({"videos": ["https://a.test/1"]}, "/videos/1") is None
