"""Schemathesis over the whole published contract, against a served gateway with a real sandbox behind it."""

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
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from app.auth import keys, tenants
from tests.contract.serving import serving
from tests.harness import PEPPER
from tests.sandbox.harness import Running

ROOT = Path(__file__).parents[2]
EXAMPLES = 10
_ENDLESS = frozenset({"stream_events"})  # never ends by itself, and so has a test of its own
_LEFT_OUT = [
    # A valid body may be one that RunComfy's stand-in or a limit refuses, with the status that says so.
    positive_data_acceptance,
    # Headers that cannot be understood are ignored, as their standards say (`Prefer`, `If-None-Match`).
    negative_data_rejection,
]


@dataclass
class Served:
    url: str
    key: str
    picture: str


# Stands for a picture of the sandbox's, whose address is known when it is served.
_PICTURE = "https://picture.invalid/harbour.jpg"
for _name in ("image_uri", "video_uri", "audio_uri", "media_uri"):
    schemathesis.openapi.format(_name, st.just(_PICTURE))


@pytest.fixture(scope="module")
def served(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory, sandbox: Running
) -> Iterator[Served]:
    """A gateway over real HTTP, in a thread, with nothing in the way of many calls."""
    folder = tmp_path_factory.mktemp("schemathesis")
    with serving(sqlite_template, folder, sandbox.options.public_url) as (url, chosen):
        key = asyncio.run(_key(chosen.database))
        yield Served(url, key, f"{sandbox.options.public_url}/samples/harbour.jpg")


async def _key(url: str) -> str:
    from app.db.engines.engine import open_database  # noqa: PLC0415 - beside its only use

    db = open_database(url)
    try:
        now_ms = time.time_ns() // 1_000_000
        tenant = await db.write(tenants.create, "schemathesis", now_ms=now_ms)
        _, key = await db.write(keys.create, tenant.id, mode="test", name="", pepper=PEPPER, now_ms=now_ms)
    finally:
        await db.close()
    return key


schema = schemathesis.openapi.from_dict(json.loads((ROOT / "openapi.json").read_text())).exclude(
    operation_id=sorted(_ENDLESS)
)


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
def test_no_operation_breaks_its_contract_whatever_it_is_sent(case: Any, served: Served) -> None:
    if isinstance(case.body, dict):
        case.body = _for_the_sandbox(case.body, served.picture)
    case.call_and_validate(
        base_url=served.url,
        headers={"Authorization": f"Bearer {served.key}"},
        excluded_checks=_LEFT_OUT,
        timeout=30,
    )


def _for_the_sandbox(body: dict[str, Any], picture: str) -> dict[str, Any]:
    """The same with a picture that is there and, if a prompt is one, a film that need not be rendered."""
    fitting = json.loads(json.dumps(body).replace(_PICTURE, picture))
    if isinstance(fitting.get("prompt"), str):
        fitting["prompt"] = "[sandbox:canned]" + fitting["prompt"][:700]
    assert isinstance(fitting, dict)
    return fitting
