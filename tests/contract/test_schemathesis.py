"""Schemathesis over the whole published contract, against a served gateway with a real sandbox behind it."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from app.auth import keys, tenants
from app.main import create_server_app
from app.server.protocol import GuardedProtocol, Limits
from tests.harness import PEPPER, settings_for
from tests.sandbox.harness import DEADLINE_S, Running

ROOT = Path(__file__).parents[2]
EXAMPLES = 20
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
    (folder / "reelgate.db").write_bytes(sqlite_template.read_bytes())
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    chosen = settings_for(
        f"sqlite:///{folder / 'reelgate.db'}",
        folder,
        sandbox.options.public_url,
        public_url=url,
        default_limits=[],
        reads_per_minute=0,
        max_wait_s=0,
    )
    _, edge = create_server_app(chosen)
    config = uvicorn.Config(
        edge,
        http=partial(GuardedProtocol, Limits.of(chosen)),  # type: ignore[arg-type]  # called like a class
        lifespan="on",
        ws="none",
        loop="asyncio",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    until = time.monotonic() + DEADLINE_S
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < until
        time.sleep(0.01)
    key = asyncio.run(_key(chosen.database))
    try:
        yield Served(url, key, f"{sandbox.options.public_url}/samples/harbour.jpg")
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
        listener.close()


async def _key(url: str) -> str:
    from app.db.engine import open_database  # noqa: PLC0415 - beside its only use

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
