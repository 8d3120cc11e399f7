"""The caller's connection: what is done for a caller alone is given up when that caller has gone."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import Request

from app.errors import HTTP_ERROR, Problem

T = TypeVar("T")


async def left(request: Request) -> None:
    """Returns once the caller has disconnected; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Returns the result of work that is cancelled when the caller disconnects.

    Only for what changes nothing: a submit goes on without its caller.

    Raises:
        Problem: HTTP_ERROR, which nobody reads.

    """
    task, leaving = asyncio.ensure_future(work), asyncio.ensure_future(left(request))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Problem(HTTP_ERROR, "The connection was closed before the answer.")
    finally:
        for one in (task, leaving):
            one.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)
