"""Servers behind the shipped proxies are restarted one by one under load, and no call notices."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.harness import SUBMIT
from tests.operations import proxies
from tests.operations.proxies import NAME, Proxy
from tests.patience import PATIENCE_S
from tests.processes import Place, Process, a_key, place_for, started
from tests.sandbox.harness import Running

CALLS = int(os.environ.get("REELGATE_TEST_ROLLING_CALLS", "300"))
"""For a long run: REELGATE_TEST_ROLLING_CALLS=10000."""
AT_ONCE = 8
PAUSE_S = 0.02  # of each caller between two calls: others work on this machine too
STREAMS = 4
DRAIN_DELAY_S = 6  # of the shipped units
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


class Load:
    """Calls of every kind through a proxy, until enough were answered and every server was restarted."""

    def __init__(self, proxy: Proxy, key: str, sandbox: Running) -> None:
        self.client = httpx2.AsyncClient(
            base_url=proxy.url,
            headers={"Host": NAME, "Authorization": f"Bearer {key}"},
            verify=False,
            trust_env=False,
            timeout=PATIENCE_S,
            limits=httpx2.Limits(max_connections=200),
        )
        self.body = {
            "image_urls": [f"{sandbox.options.public_url}/samples/harbour.jpg"],
            "prompt": "a boat [sandbox:canned]",
        }
        self.queued = {**self.body, "prompt": "a boat [sandbox:queued]"}
        self.answered: Counter[str] = Counter()
        self.errors: list[str] = []
        self.resumed = 0
        self.restarted = False

    async def run(self, restarting: Any) -> None:
        async with self.client:
            live = await self._submit(self.queued)
            streams = [asyncio.create_task(self._stream(live)) for _ in range(STREAMS)]
            workers = [asyncio.create_task(self._calls(live, number)) for number in range(AT_ONCE)]
            await asyncio.to_thread(restarting)
            self.restarted = True
            await asyncio.gather(*workers)
            for one in streams:
                one.cancel()
            await asyncio.gather(*streams, return_exceptions=True)

    def _is_over(self) -> bool:
        return self.restarted and self.answered.total() >= CALLS

    async def _calls(self, live: str, number: int) -> None:
        mine = await self._submit(self.body)
        turn = number
        while not self._is_over():
            turn += 1
            await asyncio.sleep(PAUSE_S)
            try:
                if turn % 10 == 0:
                    mine = await self._submit(self.body)
                elif turn % 10 == 1:
                    await self._get("held", f"/v1/requests/{live}/status?wait=1")
                else:
                    await self._get("read", f"/v1/requests/{mine}/status")
            except (httpx2.HTTPError, AssertionError) as error:
                self.errors.append(f"{turn % 10}: {error!r}")

    async def _submit(self, body: dict[str, Any]) -> str:
        answer = await self.client.post(SUBMIT, json=body)
        assert answer.status_code == 200, answer.text
        self.answered["submit"] += 1
        return str(answer.json()["request_id"])

    async def _get(self, kind: str, path: str) -> None:
        answer = await self.client.get(path)
        assert answer.status_code == 200, answer.text
        self.answered[kind] += 1

    async def _stream(self, live: str) -> None:
        """Follows a request; a stream that ends as streams do is resumed, any other end is an error."""
        while True:
            try:
                async with self.client.stream("GET", f"/v1/requests/{live}/events") as answer:
                    assert answer.status_code == 200
                    async for _ in answer.aiter_bytes():
                        pass
            except (httpx2.HTTPError, AssertionError) as error:
                self.errors.append(f"stream: {error!r}")
            self.resumed += 1


@contextmanager
def two_servers(
    database_url: str, folder: Path, sandbox: Running
) -> Iterator[tuple[list[Place], list[Process], ExitStack]]:
    places = []
    for name in ("a", "b"):
        (folder / name).mkdir()
        settings = {"DRAIN_DELAY_S": str(DRAIN_DELAY_S), "DRAIN_S": "40", "READS_PER_MINUTE": "1000000"}
        settings |= {"LOG_FORMAT": "json", "STREAMS_PER_TENANT": "1000"}
        places.append(place_for(folder / name, database_url, sandbox.options.public_url, **settings))
    with ExitStack() as stack:
        yield places, [stack.enter_context(started(place)) for place in places], stack


@on_postgresql
@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_no_call_notices_that_its_servers_are_restarted_one_by_one(
    kind: str, database_url: str, tmp_path: Path, sandbox: Running
) -> None:
    _, key = a_key(database_url)
    with two_servers(database_url, tmp_path, sandbox) as (places, servers, stack):
        ports = tuple(int(place.settings["PORT"]) for place in places)
        proxy = stack.enter_context(getattr(proxies, kind)(tmp_path, ports))
        load = Load(proxy, key, sandbox)

        def restart_all() -> None:
            rounds = 0
            while not rounds or load.answered.total() < CALLS:
                for number, place in enumerate(places):
                    time.sleep(1)
                    servers[number].send(signal.SIGTERM)
                    assert servers[number].wait() == 0
                    servers[number] = stack.enter_context(started(place))
                    time.sleep(2)  # until the proxy takes it for alive again
                rounds += 1

        asyncio.run(load.run(restart_all))
        assert load.errors == [], (len(load.errors), load.answered)
        assert load.answered.total() >= CALLS
        assert min(load.answered[one] for one in ("submit", "held", "read")) > 0
        assert load.resumed >= STREAMS  # each server had some, and ended them as streams end
