"""The store and the database are compared both ways, beside servers that copy and remove."""

from pathlib import Path

import pytest
from sqlalchemy import Connection, Executable, delete, select, update

from app.admin.verifying import store_check
from app.admin.verifying.store_check import StoreReport, StoreRule
from app.db.schema.tables import assets, files, stored_bytes, tenants
from tests.harness import World
from tests.mirror.worlds import completed, copy, kept, mirrored, rows
from tests.pictures import png
from tests.sandbox.harness import DREAMINA

pytestmark = pytest.mark.anyio


async def found(world: World, *, deep: bool = False) -> list[tuple[str, str]]:
    report = await store_check.verify(world.gateway, deep=deep)
    assert report.count == len(report.faults)
    return [(one.rule, one.subject) for one in report.faults]


def place_of(world: World, key: str) -> Path:
    return world.gateway.settings.data_dir / "files" / key


async def tenant_name(world: World) -> str:
    name = await world.gateway.db.read(lambda connection: connection.scalar(select(tenants.c.name)))
    return str(name)


async def test_whatever_differs_is_named_and_what_is_right_is_counted(world: World) -> None:
    await mirrored(world)
    for _ in range(4):
        await completed(world)
    for _ in range(2):
        await copy(world)
    whole, lost, short, changed = await rows(world)
    picture = png()
    uploaded = (await world.client.post("/v1/files", content=picture)).json()["file_id"]
    report = await store_check.verify(world.gateway, deep=True)
    size = 4 * whole.size_bytes + len(picture)
    assert report == StoreReport(rows=5, objects=5, stored_bytes=size, sums=2, is_deep=True)
    place_of(world, f"files/{world.tenant_id}/{uploaded}").unlink()
    place_of(world, lost.storage_key).unlink()
    place_of(world, short.storage_key).write_bytes(b"short")
    data = bytearray(place_of(world, changed.storage_key).read_bytes())
    data[-1] ^= 1
    place_of(world, changed.storage_key).write_bytes(data)
    stray = place_of(world, f"assets/{world.tenant_id}/ast_01990000-0000-7000-8000-000000000001-1")
    stray.write_bytes(b"stray")
    expected = {
        ("missing", lost.id),
        ("missing", uploaded),
        ("wrong_size", short.id),
        ("no_row", f"assets/{world.tenant_id}/{stray.name}"),
    }
    assert set(await found(world)) == expected
    assert set(await found(world, deep=True)) == expected | {("wrong_hash", changed.id)}


async def test_what_is_being_copied_or_removed_at_this_moment_is_no_fault(world: World) -> None:
    await mirrored(world)
    await completed(world)
    await copy(world)
    (row,) = await rows(world)

    async def as_if(**values: object) -> None:
        def change(connection: Connection) -> None:
            connection.execute(update(assets).values(**values))
            counted = row.size_bytes if values["state"] == "stored" else 0
            connection.execute(update(stored_bytes).values(bytes=counted))

        await world.gateway.db.write(change)

    await as_if(state="copying", storage_key=None)
    assert await found(world) == []  # the bytes are there, and the record of it comes
    await as_if(state="pending", interrupted_from=1)
    assert await found(world) == []  # they are deleted before the next attempt
    await as_if(state="stored", storage_key=row.storage_key, interrupted_from=None, removing_at_ms=1)
    place_of(world, row.storage_key).unlink()
    assert await found(world) == []
    assert kept(world) == []


async def test_each_sum_of_stored_bytes_that_is_not_that_of_its_rows_is_named(world: World) -> None:
    await mirrored(world)
    await completed(world)
    await copy(world)
    (row,) = await rows(world)
    terms = {"end_user": "ada", "models": [DREAMINA]}
    token = (await world.client.post("/v1/client-tokens", json=terms)).json()["token"]
    picture = png()
    question, headers = {"model_id": DREAMINA}, world.with_key(token)
    sent = await world.client.post("/v1/files", params=question, content=picture, headers=headers)
    assert sent.status_code == 201, sent.text
    both = row.size_bytes + len(picture)

    async def wrong() -> list[tuple[str, str]]:
        report = await store_check.verify(world.gateway)
        assert report.sums == 3
        found = [one for one in report.faults if one.rule is StoreRule.WRONG_SUM]
        return [(one.subject, one.detail) for one in found]

    async def change(*statements: Executable) -> None:
        def execute(connection: Connection) -> None:
            for one in statements:
                connection.execute(one)

        await world.gateway.db.write(execute)

    def told(counted: int, should: int) -> str:
        return f"{counted} bytes are counted, and the rows have {should}."

    # What is being removed counts until its bytes are gone, and so does an upload before it is stored.
    await change(update(files).values(state="deleting"), update(assets).values(removing_at_ms=1))
    assert await wrong() == []
    sums, of_ada = stored_bytes.c, stored_bytes.c.end_user == "ada"
    acme = f"{await tenant_name(world)} test"
    await change(
        update(stored_bytes).where(of_ada).values(bytes=sums.bytes + 1),
        delete(stored_bytes).where(sums.kid == row.kid),
    )
    expected = [
        (f"{acme} end user ada", told(len(picture) + 1, len(picture))),
        (f"{acme} key {row.kid}", told(0, both)),
    ]
    assert await wrong() == expected
    await change(update(assets).values(state="expired", storage_key=None))  # without giving its bytes back
    assert await wrong() == [
        (acme, told(both, len(picture))),
        expected[0],
        (expected[1][0], told(0, len(picture))),
    ]
