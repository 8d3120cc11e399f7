"""The web origins of tenants, on both databases."""

import pytest
from sqlalchemy import Connection, update

from app.auth import keys, tenants
from app.auth.origins import Origins
from app.auth.tenants import OriginError
from app.db.engines.engine import Database
from app.db.schema import tables
from tests.harness import FakeClock
from tests.rows import NOW_MS, add_owner

pytestmark = pytest.mark.anyio

NORMAL = {
    "https://app.example": "https://app.example",
    "HTTPS://App.EXAMPLE": "https://app.example",
    "https://app.example/": "https://app.example",
    "https://app.example:443": "https://app.example",
    "http://app.example:80": "http://app.example",
    "http://app.example:443": "http://app.example:443",
    "https://app.example:8443": "https://app.example:8443",
    " https://app.example ": "https://app.example",
    "http://localhost:5173": "http://localhost:5173",
    "http://127.0.0.1:5173": "http://127.0.0.1:5173",
    "http://[::1]:5173": "http://[::1]:5173",
    "http://tauri.localhost": "http://tauri.localhost",
    "capacitor://localhost": "capacitor://localhost",
    "ionic://localhost/": "ionic://localhost",
    "tauri://localhost": "tauri://localhost",
    "app://obsidian.md": "app://obsidian.md",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop": "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "safari-web-extension://5F2A0D3C-0000-4000-8000-0123456789AB": (
        "safari-web-extension://5F2A0D3C-0000-4000-8000-0123456789AB"
    ),
}
NONE = (
    "",
    "*",
    "null",
    "app.example",
    "//app.example",
    "https://",
    "https://*",
    "https://*.app.example",
    "https://app.example/page",
    "https://app.example?a=b",
    "https://user@app.example",
    "https://user:secret@app.example",
    "https://app.example:port",
    "https://app.example:99999",
    "https://app example",
    "https://app.example, https://other.example",
    "https://bücher.example",
    "file:///page.html",
    "ftp://app.example",
    "htps://app.example",
    "httpss://app.example",
    "capacitor://",
    "capacitor://*",
    "capacitor://localhost/page",
    "capacitor://localhost#a",
    "capacitor:localhost",
    "data://app.example",
    "wss://app.example",
    "https://app.example#a",
    "javascript:alert(1)",
)


def _of(connection: Connection, tenant_id: str) -> frozenset[str]:
    (found,) = [one for one in tenants.list_all(connection) if one.id == tenant_id]
    assert tenants.by_name(connection, found.name) == found
    return found.origins


def _disable(connection: Connection, tenant_id: str) -> None:
    statement = update(tables.tenants).where(tables.tenants.c.id == tenant_id)
    connection.execute(statement.values(disabled_at_ms=NOW_MS))


async def test_a_tenant_has_the_origins_that_were_set_last(db: Database) -> None:
    tenant_id, kid = await db.write(add_owner)
    assert await db.read(_of, tenant_id) == frozenset()
    for listed in (["https://a.example", "https://b.example"], ["https://c.example"], []):
        assert await db.write(tenants.set_origins, tenant_id, listed) == frozenset(listed)
        assert await db.read(_of, tenant_id) == frozenset(listed)
        key = await db.read(keys.find, kid)
        assert key is not None
        assert key.tenant_origins == frozenset(listed)
        assert await db.read(tenants.all_origins) == frozenset(listed)


async def test_the_origins_of_all_are_those_of_the_tenants_that_are_not_disabled(db: Database) -> None:
    first, second, third, _ = [(await db.write(add_owner))[0] for _ in range(4)]
    assert await db.read(tenants.all_origins) == frozenset()
    await db.write(tenants.set_origins, first, ["https://a.example", "https://both.example"])
    await db.write(tenants.set_origins, second, ["https://b.example", "https://both.example"])
    await db.write(tenants.set_origins, third, ["https://c.example"])
    everybodys = {"https://a.example", "https://b.example", "https://c.example", "https://both.example"}
    assert await db.read(tenants.all_origins) == everybodys
    await db.write(_disable, second)
    assert await db.read(tenants.all_origins) == everybodys - {"https://b.example"}


async def test_origins_are_kept_as_browsers_write_them(db: Database) -> None:
    tenant_id, _ = await db.write(add_owner)
    for given, kept in NORMAL.items():
        assert await db.write(tenants.set_origins, tenant_id, [given]) == {kept}, given
        assert await db.read(_of, tenant_id) == {kept}, given
    assert await db.write(tenants.set_origins, tenant_id, list(NORMAL)) == set(NORMAL.values())


async def test_what_is_no_origin_changes_nothing(db: Database) -> None:
    tenant_id, _ = await db.write(add_owner)
    await db.write(tenants.set_origins, tenant_id, ["https://app.example"])
    for given in NONE:
        with pytest.raises(OriginError):
            await db.write(tenants.set_origins, tenant_id, ["https://other.example", given])
        assert await db.read(_of, tenant_id) == {"https://app.example"}, given


async def test_what_is_remembered_of_them_is_a_second_old_at_most(db: Database) -> None:
    tenant_id, _ = await db.write(add_owner)
    clock = FakeClock()
    origins = Origins(db, clock)
    assert not await origins.include("https://app.example")
    await db.write(tenants.set_origins, tenant_id, ["https://app.example"])
    clock.advance(0.999)
    assert not await origins.include("https://app.example")
    clock.advance(0.001)
    assert await origins.include("https://app.example")
    assert not await origins.include("https://app.example.evil.example")
    await db.write(tenants.set_origins, tenant_id, [])
    clock.advance(1)
    assert not await origins.include("https://app.example")
    await db.write(tenants.set_origins, tenant_id, ["https://app.example"])
    clock.advance(-10)  # a clock that is set back does not keep what is old
    assert await origins.include("https://app.example")
