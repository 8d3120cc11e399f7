"""A server that starts while a migration takes away what it needs does not run on."""

import pytest
from sqlalchemy import update

from app.db import revision
from app.db.schema.tables import schema_floor
from app.worker import running
from tests.harness import World

pytestmark = pytest.mark.anyio


async def test_a_server_whose_schema_went_between_its_opening_and_its_first_heartbeat_does_not_start(
    world: World,
) -> None:
    gone = update(schema_floor).values(revision="9999")
    await world.gateway.db.write(lambda connection: connection.execute(gone))
    with pytest.raises(revision.SchemaError, match="without migration 9999 cannot use"):
        async with running(world.gateway):
            pytest.fail("it runs on a schema that it cannot use")
