"""Connecting to whichever of a host's addresses answers first (RFC 8305, "happy eyeballs")."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Any, Final, Protocol, TypeVar

import httpcore2

from app.egress.addresses import Address

_HEAD_START_S: Final = 0.25  # that an attempt has over the next one
_FAILURES: Final = (httpcore2.ConnectError, httpcore2.ConnectTimeout, OSError)


class Closable(Protocol):
    """A connection of whatever kind."""

    async def aclose(self) -> None:
        """Closes it."""


_C = TypeVar("_C", bound=Closable)


def in_turns(addresses: Sequence[Address]) -> list[Address]:
    """Returns the addresses in their order, the two families in turns: one may be dead altogether."""
    first = [one for one in addresses if one.version == addresses[0].version]
    second = [one for one in addresses if one.version != addresses[0].version]
    return [one for one in chain.from_iterable(zip_longest(first, second)) if one is not None]


async def first_stream(
    connect: Callable[[Address], Awaitable[_C]], addresses: Sequence[Address], *, within_s: float
) -> _C | None:
    """Returns the first connection that is made; None where there is none within the time.

    Each address is tried a moment after the one before, or at once when that has failed.
    """
    if len(addresses) == 1:
        return await _only(connect(addresses[0]), within_s)
    left = list(reversed(addresses))
    running: set[asyncio.Future[_C]] = set()
    stream: _C | None = None
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while stream is None and (left or running):
                    if left:
                        running.add(asyncio.ensure_future(connect(left.pop())))
                    done, _ = await asyncio.wait(
                        running,
                        timeout=_HEAD_START_S if left else None,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    for one in done:
                        if stream is None and _has_connected(one):
                            stream = one.result()
                            running.discard(one)
                    running = {one for one in running if one not in done or _has_connected(one)}
    finally:
        await _abandon(running)
    return stream


async def _only(attempt: Awaitable[_C], within_s: float) -> _C | None:
    """Returns the connection to an only address, with which nothing races.

    One that was made in time counts, also where this process had no turn until the time was over.
    """
    running = asyncio.ensure_future(attempt)
    stream: _C | None = None
    try:
        await asyncio.wait({running}, timeout=within_s)
        if running.done() and _has_connected(running):
            stream = running.result()
    finally:
        if stream is None:
            await _abandon({running})
    return stream


def _has_connected(attempt: "asyncio.Future[Any]") -> bool:
    error = attempt.exception()
    if error is not None and not isinstance(error, _FAILURES):
        raise error
    return error is None


async def _abandon(attempts: "Collection[asyncio.Future[Any]]") -> None:
    """Ends the attempts that are not needed any more, and closes what they connected."""
    for one in attempts:
        one.cancel()
    for result in await asyncio.gather(*attempts, return_exceptions=True):
        if not isinstance(result, BaseException):
            with suppress(Exception):
                await result.aclose()
