"""A bounded amount of something, such as bytes of memory, that many share: those without room wait."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


class RoomFullError(Exception):
    """There was no room within the time."""


@dataclass(eq=False)
class _Waiting:
    owner: str
    amount: int
    admitted: asyncio.Future[None]


class Room:
    """Room for `size` units, of which one owner may hold `share`.

    Those who wait are admitted in their order; only whoever waits for its own owner's share is passed over.
    """

    def __init__(self, size: int, share: int) -> None:
        self._size = size
        self._share = share
        self._held: Counter[str] = Counter()
        self._waiting: list[_Waiting] = []

    @property
    def held(self) -> int:
        """How much is held now, by all together."""
        return self._held.total()

    @asynccontextmanager
    async def holding(self, amount: int, owner: str, *, within_s: float) -> AsyncIterator[None]:
        """Holds an amount inside the block; it must not be more than a share.

        Raises:
            RoomFullError: there was no room within the time.

        """
        await self._enter(amount, owner, within_s)
        try:
            yield
        finally:
            self._leave(amount, owner)

    async def _enter(self, amount: int, owner: str, within_s: float) -> None:
        one = _Waiting(owner, amount, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        self._admit()
        try:
            async with asyncio.timeout(within_s):
                await one.admitted
        except BaseException as error:
            if one in self._waiting:
                self._waiting.remove(one)
                self._admit()  # whoever waited behind it may be smaller
            else:
                self._leave(amount, owner)
            if isinstance(error, TimeoutError):
                raise RoomFullError from None
            raise

    def _leave(self, amount: int, owner: str) -> None:
        self._held[owner] -= amount
        if not self._held[owner]:
            del self._held[owner]
        self._admit()

    def _admit(self) -> None:
        for one in list(self._waiting):
            if self._held[one.owner] + one.amount > self._share:
                continue
            if self.held + one.amount > self._size:
                return
            self._waiting.remove(one)
            self._held[one.owner] += one.amount
            one.admitted.set_result(None)
