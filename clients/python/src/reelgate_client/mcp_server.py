"""A gateway as tools of an agent, by the Model Context Protocol over standard input and output.

What the agent may spend is decided by the limits of the API key: give it one of its own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

from reelgate_client import AsyncReelgate, ReelgateError, RequestFailed, __version__, files_of
from reelgate_client.types import Result

T = TypeVar("T")
_INSTRUCTIONS = (
    "Makes videos, images and sound with the models of a Reelgate gateway. Each run costs money, within the"
    " limits of the user's key: describe_model tells the inputs, quote the price; run submits once and waits."
    " Do not call run again for the same wish after an error that names a request_id: ask result for it."
)
_READS = ToolAnnotations(read_only_hint=True, open_world_hint=True)


@dataclass
class _Session:
    client: AsyncReelgate


Ctx = Context[_Session]


def server(client: AsyncReelgate) -> MCPServer[_Session]:
    """Returns a server whose tools call a gateway. It closes the client at its end."""

    @asynccontextmanager
    async def opened(_: MCPServer[_Session]) -> AsyncGenerator[_Session]:
        async with client:
            yield _Session(client)

    made = MCPServer(
        "reelgate", version=__version__, instructions=_INSTRUCTIONS, lifespan=opened, log_level="WARNING"
    )
    for tool in (list_models, describe_model, quote, result, quota):
        made.add_tool(tool, annotations=_READS)
    made.add_tool(
        run, annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=True)
    )
    made.add_tool(cancel, annotations=ToolAnnotations(read_only_hint=False, idempotent_hint=True))
    return made


async def list_models(ctx: Ctx, search: str = "", limit: int = 50) -> list[dict[str, Any]]:
    """Lists the models: id, name, what they make, and their usual price. `search` narrows the list."""
    page = await _told(_client(ctx).models(search=search or None, limit=limit))
    shown = ("model_id", "display_name", "categories", "base_price_usd", "price_unit")
    return [{name: one[name] for name in shown if name in one} for one in map(dict, page["models"])]


async def describe_model(ctx: Ctx, model: str) -> dict[str, Any]:
    """Describes one model: the JSON Schema of its inputs, its prices, and the rules for pictures."""
    found = dict(await _told(_client(ctx).model(model)))
    shown = ("model_id", "display_name", "required_inputs", "input_schema", "pricing", "media_rules")
    return {name: found[name] for name in shown if name in found}


async def quote(ctx: Ctx, model: str, input: dict[str, Any]) -> dict[str, Any]:  # noqa: A002 - what the API calls it
    """Tells what a run of this input would cost, in micro-credits, and what is wrong with it. Free."""
    return dict(await _told(_client(ctx).quote(model, input)))


async def run(
    ctx: Ctx,
    model: str,
    input: dict[str, Any],  # noqa: A002 - what the API calls it
    timeout_s: float = 600,
) -> dict[str, Any]:
    """Submits one paid run, waits for it, and returns the addresses of its files.

    Pictures of the input are https addresses or data: URIs. After `timeout_s` the run goes on: ask `result`
    for it.
    """
    client = _client(ctx)
    handle = await _told(client.submit(model, input))
    told = 0

    async def follow() -> Result:
        nonlocal told
        async for event in handle.events(timeout_s=timeout_s):
            told += 1
            await ctx.report_progress(told, message=f"{event['state']} (request {handle.id})")
        return await client.wait(handle.id)

    return _shown(await _told(follow()))


async def result(ctx: Ctx, request_id: str) -> dict[str, Any]:
    """Returns the status of a run, and the addresses of its files once it has succeeded. Costs nothing."""
    return _shown(await _told(_client(ctx).result(request_id)))


async def cancel(ctx: Ctx, request_id: str) -> dict[str, Any]:
    """Cancels a run that has not started; `outcome` says whether it was still possible."""
    return dict(await _told(_client(ctx).cancel(request_id)))


async def quota(ctx: Ctx) -> dict[str, Any]:
    """Tells the limits of the key, and what is left of them. Costs nothing."""
    return dict(await _told(_client(ctx).quota()))


def serve() -> None:
    """Serves until standard input ends; REELGATE_URL and REELGATE_KEY name the gateway and the key."""
    server(AsyncReelgate()).run("stdio")


def _client(ctx: Ctx) -> AsyncReelgate:
    return ctx.request_context.lifespan_context.client


def _shown(found: Result) -> dict[str, Any]:
    shown = {"request_id": found["request_id"], "status": found["status"], "files": files_of(found)}
    return shown | ({"error": found["error"]} if found.get("error") else {})


async def _told(work: Awaitable[T]) -> T:
    """What a call returns; its failure as a text that an agent can act upon."""
    try:
        return await work
    except RequestFailed as error:
        raise ToolError(f"{error} (request_id {error.request_id})") from error
    except ReelgateError as error:
        about = f" request_id: {error.request_id}." if error.request_id else ""
        again = "yes" if error.retryable else "no"
        raise ToolError(f"{error} (code {error.code}; trying again helps: {again}.{about})") from error


if __name__ == "__main__":
    serve()
