"""API keys as rows."""

import asyncio

import pytest

from app.auth import keys, tenants
from app.db.engines.engine import Database
from app.errors import API_KEY_NOT_ACTIVE, Fault, Problem
from app.kit.secrets import pepper_id
from tests.rows import NOW_MS, PEPPER

pytestmark = pytest.mark.anyio


async def _a_key(db: Database) -> tuple[str, str]:
    tenant = await db.write(tenants.create, "acme", now_ms=NOW_MS)
    return await db.write(keys.create, tenant.id, mode="test", name="n", pepper=PEPPER, now_ms=NOW_MS)


async def test_the_secret_is_in_no_column(db: Database) -> None:
    kid, key = await _a_key(db)
    row = await db.read(keys.find, kid)
    assert row is not None
    secret = key.rpartition("_")[2]
    kept = [getattr(row, name) for name in row.__dataclass_fields__]
    assert not any(secret[: len(secret) // 2] in str(value) for value in kept)
    assert row.last_four == key[-4:]


async def test_a_key_is_rotated_once_by_any_number_of_racers(db: Database) -> None:
    """Else one of the successors would live on, unseen by the record of the old key."""
    kid, _ = await _a_key(db)
    refused: list[Fault] = []

    async def rotate() -> str | None:
        try:
            return (await db.write(keys.rotate, kid, overlap_ms=1000, pepper=PEPPER, now_ms=NOW_MS))[0]
        except Problem as problem:
            refused.append(problem.fault)
            return None

    successors = [one for one in await asyncio.gather(*(rotate() for _ in range(8))) if one]
    assert len(successors) == 1
    assert refused == [API_KEY_NOT_ACTIVE] * 7
    old = await db.read(keys.find, kid)
    assert old is not None
    assert old.rotated_to == successors[0]
    assert len(await db.read(keys.of_tenant, None)) == 2


async def test_a_rotated_key_ends_after_its_overlap_and_never_later_than_before(db: Database) -> None:
    kid, _ = await _a_key(db)
    _, _, ends_at_ms = await db.write(keys.rotate, kid, overlap_ms=500, pepper=PEPPER, now_ms=NOW_MS)
    assert ends_at_ms == NOW_MS + 500
    old = await db.read(keys.find, kid)
    assert old is not None
    assert (old.state(NOW_MS + 499), old.state(NOW_MS + 500)) == ("active", "expired")


async def test_revoking_twice_keeps_the_first_moment(db: Database) -> None:
    kid, _ = await _a_key(db)
    await db.write(keys.revoke, kid, now_ms=NOW_MS + 1)
    await db.write(keys.revoke, kid, now_ms=NOW_MS + 2)
    row = await db.read(keys.find, kid)
    assert row is not None
    assert row.revoked_at_ms == NOW_MS + 1
    with pytest.raises(Problem, match="api_key_not_found"):
        await db.write(keys.revoke, "nosuchkid000", now_ms=NOW_MS)


async def test_the_newest_key_says_which_pepper_keys_are_made_with(db: Database) -> None:
    assert await db.read(keys.newest_pepper_id) is None
    await _a_key(db)
    assert await db.read(keys.newest_pepper_id) == pepper_id(PEPPER)
    tenant = await db.read(tenants.by_name, "acme")
    await db.write(keys.create, tenant.id, mode="test", name="n", pepper="another", now_ms=NOW_MS + 1)
    assert await db.read(keys.newest_pepper_id) == pepper_id("another")
