import json
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest

from app.catalog.catalog import SHIPPED, load_catalog
from app.main import contract as build_contract
from tests.api.published import OUTSIDE, Contract, keep_promises, plain_logs
from tests.harness import World, settings_for
from tests.sandbox.harness import TOKEN, Running, running


@pytest.fixture(scope="session")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    """The OpenAPI document as it is published, read back from its JSON."""
    settings = settings_for("sqlite:///unused.db", tmp_path_factory.mktemp("contract"), "http://127.0.0.1:1")
    document: dict[str, Any] = json.loads(json.dumps(build_contract(settings, load_catalog(SHIPPED))))
    return Contract(document)


@pytest.fixture
async def world(world: World, contract: Contract) -> AsyncIterator[World]:
    """The world, where every answer to any test keeps the contract and tells no secret of the upstream's."""
    answered: list[tuple[str, str]] = []

    async def check(answer: httpx2.Response) -> None:
        if OUTSIDE.fullmatch(answer.request.url.path):
            return
        await answer.aread()
        answered.append((str(answer.request.url), f"{answer.headers}\n{answer.text}"))
        keep_promises(answer)
        if answer.request.method != "HEAD":
            assert contract.breaches(answer) == []

    world.client.event_hooks = {"response": [check]}
    with plain_logs():
        yield world
    submissions = world.sandbox.ledger()["submissions"]
    marked = [one for one in submissions if any(mark in json.dumps(one["input"]) for mark in world.marks)]
    secrets = {one["request_id"] for one in marked if one["request_id"]} | {TOKEN}
    # A caller who writes one into an address reads it again in `instance`; that tells nothing.
    told = [(url, one) for url, said in answered for one in secrets if one in said and one not in url]
    assert told == []


@pytest.fixture(scope="session")
def live_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A second stand-in, in the place of the real RunComfy that live keys reach."""
    with running(tmp_path_factory.mktemp("live"), concurrency=1000, hang_limit_s=5.0) as served:
        served.warm_up()
        yield served


@pytest.fixture
def closed_url() -> Iterator[str]:
    """An address that nobody listens on, and nobody else can take meanwhile."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
