"""Schemathesis over the contract of the admin API, against a served gateway.

That each operation keeps its contract where it is called as it should be is also held by
`tests/admin/test_admin_routes.py`, in each run of the tests.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    ignored_auth,
    missing_required_header,
    positive_data_acceptance,
)

from app.auth import admin_keys
from app.db.engines.engine import open_database
from tests.contract.serving import serving
from tests.harness import PEPPER
from tests.sandbox.harness import Running

ROOT = Path(__file__).parents[2]
EXAMPLES = 8
_LEFT_OUT = [
    # A valid call may be about what is not there, or in contradiction to what is: the status says so.
    positive_data_acceptance,
    # Any other key is answered as where there is nothing: 404.
    ignored_auth,
    # Without `If-Match` the answer is a 428 (RFC 6585), which it does not know.
    missing_required_header,
]


@dataclass
class Desk:
    url: str
    key: str


@pytest.fixture(scope="module")
def desk(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory, sandbox: Running) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("schemathesis-admin")
    with serving(sqlite_template, folder, sandbox.options.public_url, admin_api=True) as (url, chosen):
        yield Desk(url, asyncio.run(_key(chosen.database)))


async def _key(url: str) -> str:
    db = open_database(url)
    try:
        now_ms = time.time_ns() // 1_000_000
        _, key = await db.write(
            admin_keys.create, name="olga", scopes=("root",), pepper=PEPPER, now_ms=now_ms
        )
    finally:
        await db.close()
    return key


schema = schemathesis.openapi.from_dict(json.loads((ROOT / "openapi-admin.json").read_text()))
# Calls at the edges of every parameter are seven eighths of the time. What is drawn breaks schemas too.
schema.config.phases.coverage.enabled = False


@pytest.mark.filterwarnings(
    "ignore:Do not use the `random` module"
)  # Schemathesis does, in its own strategies
@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
def test_no_operation_breaks_its_contract_whatever_it_is_sent(case: Any, desk: Desk) -> None:
    case.call_and_validate(
        base_url=desk.url,
        headers={"Authorization": f"Bearer {desk.key}"},
        excluded_checks=_LEFT_OUT,
        timeout=30,
    )
