"""Worlds whose tenant has its outputs mirrored."""

from typing import Any

from sqlalchemy import Connection, select, update

from app.auth import tenants
from app.db.schema.asset_states import MirrorMode
from app.db.schema.tables import assets, generations
from app.kit.json import to_column
from tests.harness import World, until


async def mirrored(world: World, mode: MirrorMode = "beside", *, keep_s: int | None = None) -> None:
    """Have the outputs of the world's tenant mirrored."""
    await world.gateway.db.write(tenants.set_mirror, world.tenant_id, mode, keep_s=keep_s)


async def completed(world: World, output: dict[str, Any] | None = None) -> str:
    """A request that has completed, with the sandbox's output or with one that is put into its place."""
    request_id = await world.submitted()
    await world.finish(request_id)
    if output is not None:

        def change(connection: Connection) -> None:
            changed = update(generations).where(generations.c.id == request_id)
            connection.execute(changed.values(output=to_column(output)))

        await world.gateway.db.write(change)
    return request_id


async def copy(world: World) -> None:
    """Let the loop do what is due, and wait for the end of it."""
    world.gateway.mirror.due.woken.set()
    await world.gateway.mirror.run_once()
    await until(lambda: not world.gateway.mirror.under_way)


async def copies(world: World, request_id: str) -> list[dict[str, Any]]:
    """The assets of a request, as its owner reads them."""
    found: list[dict[str, Any]] = (await world.get(f"/v1/requests/{request_id}/assets"))["assets"]
    return found


async def rows(world: World) -> list[Any]:
    """The rows of all assets, in the order in which they were made."""

    def read(connection: Connection) -> list[Any]:
        return list(connection.execute(select(assets).order_by(assets.c.generation_id, assets.c.place)))

    return await world.gateway.db.read(read)


def kept(world: World) -> list[str]:
    """The names of the files in the store and in its intake."""
    settings = world.gateway.settings
    folder = settings.files_dir or settings.data_dir / "files"
    return sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())
