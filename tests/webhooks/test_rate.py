"""Ten endpoints at a rate, of which three are bad: the others hear before any that hangs is given up."""

import os
from pathlib import Path

import pytest

from app.db.engines.engine import open_database
from app.webhooks.deliveries import sender
from bench import deliveries
from bench.children import Child, Children, free_port
from bench.transactions import tenant
from bench.webhooks import _add_endpoints

pytestmark = pytest.mark.anyio

RATE, SECONDS = 10.0, 2.0


async def test_seven_of_ten_endpoints_hear_long_before_the_one_that_hangs_is_given_up(
    database_url: str, tmp_path: Path
) -> None:
    """On any machine; how fast on a quiet one, `python -m bench webhooks` says."""
    db = open_database(database_url)
    tenant_id, _ = await db.write(tenant, "hearing")
    await db.write(_add_endpoints, tenant_id, deliveries.ENDPOINTS)
    await db.close()
    port, cores = free_port(), frozenset(os.sched_getaffinity(0))
    with Children() as children:
        child = Child("receivers", ["bench.receivers", str(port)], folder=tmp_path, cores=cores)
        children.add(child).wait_until_it_answers(port, "/ready")
        found = await deliveries.measure(database_url, tenant_id, port, rate=RATE, seconds=SECONDS)
    assert found.first_attempts == RATE * SECONDS * 7
    assert found.p99_ms < sender._HEAD_S * 1000 / 2
