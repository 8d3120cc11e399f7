"""The Python library over a network that loses, cuts and delays, and a server that restarts: one job each."""

import asyncio
from pathlib import Path

import httpx2
import pytest
from reelgate_client import AsyncReelgate, Progress, Reelgate
from reelgate_client.types import Result

from tests.clients.conftest import Stack
from tests.clients.histories import BRISK, History, one_job_one_charge

_MODEL = "bytedance/dreamina-3-0/image-to-video"
_PARTS = 10


def _run(stack: Stack, mark: str, told: list[Progress]) -> Result:
    with (
        httpx2.Client(trust_env=False) as http,
        Reelgate(stack.key, stack.url, retries=BRISK, http=http) as client,
    ):
        return client.run(_MODEL, stack.input(mark), on_progress=told.append)


async def _run_in_a_loop(stack: Stack, mark: str, told: list[Progress]) -> Result:
    async with (
        httpx2.AsyncClient(trust_env=False) as http,
        AsyncReelgate(stack.key, stack.url, retries=BRISK, http=http) as client,
    ):
        return await client.run(_MODEL, stack.input(mark), on_progress=told.append)


@pytest.mark.parametrize("part", range(_PARTS))
def test_any_history_of_the_network_makes_one_job_one_charge_and_one_result(
    stack: Stack, mark: str, part: int
) -> None:
    seeds = range(part * 10, part * 10 + 10) if part else range(6)
    for seed in seeds:
        history = History.drawn(seed)
        own = f"{mark}-{seed}"
        stack.relay.fail(*history.plan)
        told: list[Progress] = []
        result = asyncio.run(_run_in_a_loop(stack, own, told)) if seed % 2 else _run(stack, own, told)
        assert result["status"] == "succeeded", history
        assert {one.request_id for one in told} == {result["request_id"]}, history
        assert told[0].state == "accepted"
        assert told[-1].final
        one_job_one_charge(stack, own, result["request_id"])


def test_the_answer_of_a_silent_server_is_asked_for_again_with_the_same_key(stack: Stack, mark: str) -> None:
    stack.relay.fail("drop", only="^POST ")
    with (
        httpx2.Client(trust_env=False) as http,
        Reelgate(stack.key, stack.url, retries=BRISK, http=http, timeout_s=0.5) as client,
    ):
        handle = client.submit(_MODEL, stack.input(mark))
        assert client.wait(handle.id)["request_id"] == handle.id
    assert [fault for call, fault in stack.relay.met if call.startswith("POST")] == ["drop", "pass"]
    one_job_one_charge(stack, mark, handle.id)


def test_a_file_arrives_whole_over_a_wire_that_breaks(stack: Stack, mark: str, tmp_path: Path) -> None:
    with (
        httpx2.Client(trust_env=False) as http,
        Reelgate(stack.key, stack.url, retries=BRISK, http=http) as client,
    ):
        result = client.run(_MODEL, stack.input(mark))
        output = result["output"]
        assert output is not None
        whole = httpx2.get(output["video"], trust_env=False).content
        assert client.download(result, tmp_path / "a.mp4").path.read_bytes() == whole
