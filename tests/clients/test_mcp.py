"""`reelgate mcp`, driven over standard input and output by the official SDK's own client."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.conftest import Stack
from tests.clients.histories import one_job_one_charge
from tests.processes import Commands, bare_environment

if TYPE_CHECKING:
    from mcp import Client

MODEL = "bytedance/dreamina-3-0/image-to-video"


@asynccontextmanager
async def agent(stack: Stack) -> AsyncIterator["Client"]:
    from mcp import Client, StdioServerParameters, stdio_client  # noqa: PLC0415 - takes all who collect a second

    command = shutil.which("reelgate", path=str(Path(sys.executable).parent))
    assert command is not None
    environment = bare_environment() | {"REELGATE_URL": stack.url, "REELGATE_KEY": stack.key, "NO_PROXY": "*"}
    parameters = StdioServerParameters(command=command, args=["mcp"], env=environment)
    async with Client(stdio_client(parameters)) as client:
        yield client


def test_an_agent_finds_a_model_asks_its_price_makes_a_video_and_is_told_of_progress(
    stack: Stack, mark: str
) -> None:
    told: list[str] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        assert (progress, total) == (len(told) + 1, None)
        told.append(str(message))

    async def talk() -> str:
        async with agent(stack) as client:
            tools = {one.name for one in (await client.list_tools()).tools}
            assert tools == {"list_models", "describe_model", "quote", "run", "result", "cancel", "quota"}
            found = await _data(client, "list_models", search="dreamina")
            assert [one["model_id"] for one in found["result"]] == [MODEL]
            described = await _data(client, "describe_model", model=MODEL)
            assert "image_urls" in described["input_schema"]["properties"]
            given = stack.input(mark)
            assert (await _data(client, "quote", model=MODEL, input=given))["admissible"]
            made = await client.call_tool("run", {"model": MODEL, "input": given}, progress_callback=note)
            assert not made.is_error, made.content
            document: dict[str, Any] = made.structured_content or {}
            assert document["files"]
            request_id = str(document["request_id"])
            assert (await _data(client, "result", request_id=request_id))["status"] == "succeeded"
            assert (await _data(client, "quota"))["limits"]
            wrong = await client.call_tool("run", {"model": MODEL, "input": {"prompt": 5}})
            assert wrong.is_error
            assert "#/prompt" in str(wrong.content)
            assert "invalid_input" in str(wrong.content)
            return request_id

    request_id = asyncio.run(talk())
    assert "completed" in told[-1]
    assert request_id in told[0]
    one_job_one_charge(stack, mark, request_id)


async def _data(client: "Client", tool: str, **arguments: Any) -> dict[str, Any]:
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    found = answer.structured_content
    assert found is not None
    return dict(found)


@pytest.mark.parametrize("missing", ["KEY"])
def test_without_a_gateway_or_a_key_it_says_what_to_set(
    reelgate: Commands, stack: Stack, missing: str
) -> None:
    place = stack.place.but(URL=stack.url, KEY=stack.key).but(**{missing: None})
    ended = reelgate.run(place, "mcp", expect=1)
    assert f"REELGATE_{missing}" in ended.err
    assert "Traceback" not in ended.err
